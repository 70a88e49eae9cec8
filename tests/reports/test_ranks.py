from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.ranks import rank_ranges, rank_text, surely_better
from reports.statistics import holm

studies = st.lists(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=5), min_size=1, max_size=6)


def test_pairs_are_those_that_scipy_and_holm_tell_apart() -> None:
    rng = np.random.default_rng(1)
    groups = [rng.normal(mean, 1.0, n) for mean, n in ((0.0, 3), (1.5, 5), (3.0, 4), (3.2, 6), (9.0, 3))]
    pairs = list(itertools.combinations(range(5), 2))
    p = holm([stats.ttest_ind(groups[i], groups[j], equal_var=False).pvalue for i, j in pairs])
    found = surely_better(groups, lower_is_better=True)
    expected = np.zeros((5, 5), dtype=bool)
    for (i, j), value in zip(pairs, p, strict=True):
        lower, upper = (i, j) if groups[i].mean() < groups[j].mean() else (j, i)
        expected[lower, upper] = value < 0.05
    assert found.tolist() == expected.tolist()
    assert 0 < found.sum() < 10
    assert surely_better(groups, lower_is_better=False).tolist() == expected.T.tolist()


def test_against_one_fewer_comparisons_are_corrected_for() -> None:
    groups = [np.array([-1.0, -0.3, 0.3, 1.0]) + mean for mean in (0.0, 2.0, *[9.0] * 8)]
    every, one = surely_better(groups, lower_is_better=True), surely_better(groups, lower_is_better=True, against=0)
    p = holm([stats.ttest_ind(groups[0], groups[j], equal_var=False).pvalue for j in range(1, 10)])
    assert one[0].tolist() == [False, *(value < 0.05 for value in p)]
    assert not one[1:].any()
    assert one[0].sum() > every[0].sum()  # a declared baseline is tested more sharply


@given(studies, st.booleans())
def test_what_is_surely_better_is_an_order(groups: list[list[float]], lower: bool) -> None:
    better = surely_better(groups, lower_is_better=lower)
    assert not (better & better.T).any()
    for i, j in zip(*np.nonzero(better), strict=True):
        assert min(len(groups[i]), len(groups[j])) >= 3
        assert (np.mean(groups[i]) < np.mean(groups[j])) == lower
    ranges = rank_ranges(better)
    for i, (low, high) in enumerate(ranges):
        assert 1 <= low <= high <= len(groups)
        for j in np.nonzero(better[i])[0]:
            assert low <= ranges[j][0]


def test_without_variance_only_equal_means_are_tied() -> None:
    better = surely_better([[8.0] * 3, [8.0] * 4, [7.0] * 3], lower_is_better=False)
    assert better.tolist() == [[False, False, True], [False, False, True], [False] * 3]
    assert rank_ranges(better) == [(1, 2), (1, 2), (3, 3)]


@pytest.mark.parametrize("groups", [[], [[1.0, 2.0, 3.0]], [[1.0], [2.0, 3.0]]])
def test_nothing_to_compare_is_nobody_better(groups: list[list[float]]) -> None:
    assert not surely_better(groups, lower_is_better=True).any()
    assert rank_ranges(surely_better(groups, lower_is_better=True)) == [(1, len(groups))] * len(groups)


def test_against_a_group_of_few_seeds_nothing_is_tested() -> None:
    groups = [[1.0, 1.1], [5.0, 5.1, 5.2], [9.0, 9.1, 9.2]]
    assert not surely_better(groups, lower_is_better=True, against=0).any()


def test_a_range_reads_as_one_rank_or_two() -> None:
    assert [rank_text(ranks) for ranks in ((1, 1), (2, 4))] == ["1", "2–4"]

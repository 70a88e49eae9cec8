from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ganbench.errors import UserError
from reports.statistics import Interval, interval, iqm, probability_of_improvement, proportion

numbers = st.floats(-1e6, 1e6, allow_nan=False)


def test_t_interval_by_hand() -> None:
    # mean 3, s = sqrt(2.5), t(0.975, 4) = 2.776445: half-width 1.963243
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.low, found.point, found.high) == pytest.approx((3 - 1.963243, 3, 3 + 1.963243), abs=1e-6)
    assert found.n == 5
    assert found.reason is None


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_t_interval_is_scipys(confidence: float) -> None:
    x = np.random.default_rng(1).gamma(2.0, 3.0, 7)
    low, high = stats.ttest_1samp(x, 0).confidence_interval(confidence)
    found = interval(x, confidence=confidence)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


def test_t_interval_covers_the_mean_as_often_as_it_says() -> None:
    # 2,000 studies of 5 seeds: the share that covers has a standard error of half a point
    studies = np.random.default_rng(2).normal(3.0, 2.0, (2_000, 5))
    intervals = [interval(study) for study in studies]
    covered = np.mean([i.low <= 3.0 <= i.high for i in intervals if i.low is not None and i.high is not None])
    assert 0.93 < covered < 0.97


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_fewer_than_three_seeds_have_no_interval(method: str) -> None:
    assert interval([4.0, 6.0], method=method) == Interval(None, 5.0, None, 2)  # type: ignore[arg-type]
    assert interval([4.0, 6.0]).reason == "no interval: n = 2 seeds"
    assert interval([4.0]).reason == "no interval: n = 1 seed"
    assert interval([4.0, 5.0, 6.0], method=method).low is not None  # type: ignore[arg-type]


def test_bootstrap_agrees_with_scipys_percentiles_and_repeats() -> None:
    x = np.random.default_rng(3).exponential(2.0, 30)
    reference = stats.bootstrap((x,), np.mean, method="percentile", rng=np.random.default_rng(4)).confidence_interval
    found = interval(x, method="bootstrap")
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=0.03)
    assert interval(x, method="bootstrap") == found
    assert interval(x, method="bootstrap", seed=1) != found


@given(st.lists(numbers, min_size=3, max_size=9))
def test_point_lies_inside(values: list[float]) -> None:
    found = interval(values)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.point <= found.high
    assert not found.apart(found)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_a_proportions_interval_is_wilsons(counts: tuple[int, int], confidence: float) -> None:
    k, n = counts
    found = proportion(k, n, confidence=confidence)
    reference = stats.binomtest(k, n).proportion_ci(confidence_level=confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-12)
    assert 0 <= found.low <= found.share <= found.high <= 1


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_a_share_of_nothing_is_refused(k: int, n: int) -> None:
    with pytest.raises(UserError, match="is no share"):
        proportion(k, n)


def test_apart_needs_two_intervals_without_a_common_point() -> None:
    low, high = Interval(1.0, 2.0, 3.0, 3), Interval(3.5, 4.0, 4.5, 3)
    assert low.apart(high)
    assert high.apart(low)
    assert not low.apart(Interval(3.0, 4.0, 5.0, 3))  # touching is not apart
    assert not low.apart(Interval(None, 99.0, None, 2))
    assert not Interval(None, 99.0, None, 2).apart(low)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf"), 1.0], [[1.0, 2.0]]])
def test_values_that_are_none_are_refused(values: list[float]) -> None:
    for estimate in (interval, iqm):
        with pytest.raises(UserError, match="finite"):
            estimate(values)
    with pytest.raises(UserError, match="finite"):
        probability_of_improvement(values, [1.0], lower_is_better=True)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="confidence"):
        interval([1.0, 2.0, 3.0], confidence=95)
    with pytest.raises(UserError, match="method"):
        interval([1.0, 2.0, 3.0], method="magic")  # type: ignore[arg-type]


@given(st.lists(numbers, min_size=1, max_size=30))
def test_iqm_is_the_trimmed_mean(values: list[float]) -> None:
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-9, abs=1e-6)


def test_iqm_ignores_the_outer_quarters() -> None:
    assert iqm([-1e9, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 1e9]) == pytest.approx(2.5)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8).map(lambda x: [float(v) for v in x]),
    st.lists(st.integers(0, 5), min_size=1, max_size=8).map(lambda x: [float(v) for v in x]),
)
def test_probability_of_improvement_is_mann_whitneys_u(a: list[float], b: list[float]) -> None:
    u = stats.mannwhitneyu(a, b, method="asymptotic").statistic if len({*a, *b}) > 1 else len(a) * len(b) / 2
    higher = probability_of_improvement(a, b, lower_is_better=False)
    assert higher == pytest.approx(u / (len(a) * len(b)))
    assert probability_of_improvement(a, b, lower_is_better=True) == pytest.approx(1 - higher)
    assert probability_of_improvement(b, a, lower_is_better=False) == pytest.approx(1 - higher)


def test_probability_of_improvement_by_hand() -> None:
    assert probability_of_improvement([1.0, 2.0], [2.0, 3.0], lower_is_better=True) == pytest.approx(3.5 / 4)
    assert probability_of_improvement([1.0], [1.0], lower_is_better=True) == 0.5

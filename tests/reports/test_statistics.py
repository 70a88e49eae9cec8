from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from ganbench.errors import UserError
from reports.statistics import (
    Interval,
    Method,
    budget_curve,
    difference,
    difference_p,
    holm,
    interval,
    iqm,
    performance_profile,
    probability_of_improvement,
    proportion,
)

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


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_fewer_than_three_seeds_have_no_interval(method: str) -> None:
    assert interval([4.0, 6.0], method=method) == Interval(None, 5.0, None, 2)  # type: ignore[arg-type]
    assert interval([4.0, 6.0]).reason == "no interval: n = 2 seeds"
    assert interval([4.0]).reason == "no interval: n = 1 seed"
    assert interval([4.0, 5.0, 6.0], method=method).low is not None  # type: ignore[arg-type]


def test_bootstrap_is_scipys_percentiles_as_far_out_as_t_reaches() -> None:
    x = np.random.default_rng(3).exponential(2.0, 30)
    tail = stats.norm.cdf(-np.sqrt(30 / 29) * stats.t.ppf(0.975, 29))
    reference = stats.bootstrap(
        (x,), np.mean, method="percentile", confidence_level=1 - 2 * tail, rng=np.random.default_rng(4)
    ).confidence_interval
    found = interval(x, method="bootstrap")
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=0.03)
    assert interval(x, method="bootstrap") == found
    assert interval(x, method="bootstrap", seed=1) != found
    assert interval(x, method="bootstrap", seed=np.random.default_rng(0)) == found  # or an explicit Generator


def test_bootstrap_of_a_difference_is_scipys() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(1.0, 1.0, 40), rng.normal(3.0, 2.0, 40)

    def change(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return y.mean(axis=axis) - x.mean(axis=axis)

    for paired in (False, True):
        reference = stats.bootstrap(
            (a, b), change, paired=paired, method="percentile", confidence_level=0.955, rng=rng, vectorized=True
        ).confidence_interval  # at n = 40 the ends are as far out as percentiles of 95.5 %
        found = difference(a, b, paired=paired, method="bootstrap")
        assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.07)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@given(
    st.lists(st.floats(-100, 100), min_size=3, max_size=9, unique=True),
    st.lists(st.floats(-100, 100), min_size=3, max_size=9, unique=True),
)
def test_a_difference_is_welchs_as_in_scipy(confidence: float, a: list[float], b: list[float]) -> None:
    assume(min(np.std(a), np.std(b)) > 1e-3)
    test = stats.ttest_ind(b, a, equal_var=False)
    low, high = test.confidence_interval(confidence)
    found = difference(a, b, confidence=confidence)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert found.point == pytest.approx(np.mean(b) - np.mean(a), abs=1e-12)
    assert found.n == min(len(a), len(b))
    p = difference_p(a, b)
    assert p == pytest.approx(test.pvalue, rel=1e-7)
    if abs(p - (1 - confidence)) > 1e-9:
        assert found.holds(0.0) == (p > 1 - confidence)


def test_a_paired_difference_is_scipys() -> None:
    rng = np.random.default_rng(8)
    a = rng.normal(size=6)
    b = a + rng.normal(0.2, 0.1, 6)
    test = stats.ttest_rel(b, a)
    low, high = test.confidence_interval(0.95)
    found = difference(a, b, paired=True)
    assert (found.low, found.high, found.n) == pytest.approx((low, high, 6))
    assert difference_p(a, b, paired=True) == pytest.approx(test.pvalue)
    unpaired = difference(a, b)
    assert found.half_width is not None
    assert unpaired.half_width is not None
    assert found.half_width < unpaired.half_width / 3  # what a seed does to both sides is gone


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_a_difference_of_few_seeds_has_no_interval(method: Method) -> None:
    for a, b, paired in (([1.0, 2.0], [5.0, 6.0, 7.0], False), ([1.0, 2.0], [5.0, 6.5], True)):
        found = difference(a, b, paired=paired, method=method)
        assert (found.low, found.high, found.n) == (None, None, 2)
        assert found.reason == "no interval: n = 2 seeds"
        assert math.isnan(difference_p(a, b, paired=paired))


def test_a_difference_without_variance_is_what_it_is() -> None:
    for method in ("t", "bootstrap"):
        assert difference([8.0] * 3, [7.0] * 4, method=method) == Interval(-1.0, -1.0, -1.0, 3)  # type: ignore[arg-type]
    assert difference_p([8.0] * 3, [7.0] * 4) == 0.0
    assert difference_p([0.1] * 3, [0.1] * 7) == 1.0  # though the two sums round differently
    assert difference([0.1] * 3, [0.1] * 7).holds(0.0)
    assert difference_p([1.0] * 3, [1.0] * 3, paired=True) == 1.0
    assert difference([0.0, 1e-200, 2e-200], [0.0, 1e-200, 2e-200]).holds(0.0)  # squares of which are 0


def test_pairs_need_their_other() -> None:
    with pytest.raises(UserError, match="3 and 4 values are no pairs"):
        difference([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], paired=True)
    with pytest.raises(UserError, match="are no pairs"):
        difference_p([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], paired=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_bonferroni_test(p_values: list[float]) -> None:
    # by definition: the largest Bonferroni p-value of any set of hypotheses that the hypothesis is in
    n = len(p_values)
    sets = [chosen for size in range(1, n + 1) for chosen in itertools.combinations(range(n), size)]
    expected = [
        min(1.0, max(len(chosen) * min(p_values[j] for j in chosen) for chosen in sets if i in chosen))
        for i in range(n)
    ]
    assert holm(p_values) == pytest.approx(expected)


def test_holm_of_none_and_of_what_is_no_p_value() -> None:
    assert holm([]) == []
    for wrong in (1.5, -0.1, math.nan):
        with pytest.raises(UserError, match="between 0 and 1"):
            holm([0.5, wrong])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.lists(st.integers(-1, 6), max_size=5), st.integers(0, 3))
def test_a_profile_counts_the_runs_that_reach_tau(scores: list[int], taus: list[int], failed: int) -> None:
    values = [*map(float, scores), *[math.nan] * failed]
    for lower in (True, False):
        expected = [sum(s <= tau if lower else s >= tau for s in scores) / len(values) for tau in taus]
        assert performance_profile(values, [float(tau) for tau in taus], lower_is_better=lower) == expected


def test_a_profile_of_failures_alone_stays_at_0() -> None:
    assert performance_profile([math.nan, math.inf], [1.0, 1e9], lower_is_better=True) == [0.0, 0.0]
    with pytest.raises(UserError, match="at least one run"):
        performance_profile([], [1.0], lower_is_better=True)


@given(st.lists(st.one_of(st.floats(-50, 50), st.just(math.nan)), min_size=1, max_size=7), st.booleans())
def test_a_budget_curve_is_the_mean_over_all_subsets(scores: list[float], lower: bool) -> None:
    assume(any(map(math.isfinite, scores)))
    curve = budget_curve(scores, lower_is_better=lower)
    assert curve.k == list(range(1, len(scores) + 1))
    for k, point in zip(curve.k, curve.point, strict=True):
        works = [[s for s in subset if math.isfinite(s)] for subset in itertools.combinations(scores, k)]
        bests = [(min if lower else max)(subset) for subset in works if subset]
        assert point == pytest.approx(np.mean(bests), abs=1e-9)


def test_a_budget_curves_band_starts_as_the_interval_of_the_mean_and_ends_with_three_groups() -> None:
    scores = np.random.default_rng(9).normal(20.0, 3.0, 30)
    curve = budget_curve(scores, lower_is_better=True)
    mean = interval(scores)
    assert (curve.low[0], curve.point[0], curve.high[0]) == pytest.approx((mean.low, mean.point, mean.high), rel=0.01)
    assert (
        [low is not None for low in curve.low]
        == [high is not None for high in curve.high]
        == [True] * 10 + [False] * 20
    )
    assert curve.point == sorted(curve.point, reverse=True)
    assert curve == budget_curve(scores, lower_is_better=True)
    mirrored = budget_curve(-scores, lower_is_better=False)
    assert mirrored.point == pytest.approx([-value for value in curve.point])


def test_a_budget_curve_of_few_configurations_has_no_band() -> None:
    curve = budget_curve([3.0, 1.0], lower_is_better=True)
    assert (curve.k, curve.point) == ([1, 2], [2.0, 1.0])
    assert curve.low == curve.high == [None, None]


def test_a_budget_curve_of_many_configurations_is_drawn_at_a_hundred_points() -> None:
    scores = np.random.default_rng(10).normal(size=2_000)
    curve = budget_curve(scores, lower_is_better=True)
    assert (curve.k[0], curve.k[-1]) == (1, 2_000)
    assert len(curve.k) <= 100
    assert curve.point[-1] == pytest.approx(scores.min())


@pytest.mark.parametrize("scores", [[], [math.nan], [[1.0]]])
def test_a_budget_curve_of_nothing_is_refused(scores: list[float]) -> None:
    with pytest.raises(UserError, match="at least one finite score"):
        budget_curve(scores, lower_is_better=True)


@given(st.lists(numbers, min_size=3, max_size=9))
def test_point_lies_inside(values: list[float]) -> None:
    found = interval(values)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.point <= found.high
    assert found.holds(found.point)


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

"""What a handful of training seeds allows one to say: estimators and intervals, apart from any drawing.

Values are scores of one recipe under one protocol, one per training seed: a sequence of n finite floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ganbench.errors import UserError

FEWEST = 3  # below this many seeds an interval would be a guess: with n = 2 the t quantile is 12.7
RESAMPLES = 10_000
CURVE_RESAMPLES = 2_000  # of a whole curve: a band's end then moves by a fiftieth of its width from seed to seed
CURVE_POINTS = 100

Values = Sequence[float] | npt.NDArray[np.float64]
Seed = int | np.random.Generator
Method = Literal["t", "bootstrap"]


@dataclass(frozen=True)
class Interval:
    """A mean over `n` seeds and its confidence interval; `low` and `high` are None when n < 3.

    Of a difference of two recipes, `n` counts the pairs of seeds, or the seeds of the side that has fewer.
    """

    low: float | None
    point: float
    high: float | None
    n: int

    @property
    def half_width(self) -> float | None:
        """Half of high − low, in the unit of the values; None without an interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def reason(self) -> str | None:
        """Why there is no interval, or None when there is one."""
        return f"no interval: n = {self.n} seed{'s' * (self.n != 1)}" if self.low is None else None

    def holds(self, value: float) -> bool:
        """Whether `value` cannot be ruled out: it lies inside, or there is no interval.

        >>> Interval(-0.5, 1.0, 2.5, 5).holds(0.0), Interval(0.5, 1.0, 1.5, 5).holds(0.0)
        (True, False)
        """
        return self.low is None or self.high is None or self.low <= value <= self.high


def interval(values: Values, *, confidence: float = 0.95, method: Method = "t", seed: Seed = 0) -> Interval:
    """Mean of `values` with its two-sided confidence interval.

    Args:
        values: n ≥ 1 finite numbers, one per training seed.
        confidence: in (0, 1).
        method: "t" is Student's interval, right for means of nearly normal values at any n; "bootstrap" takes
            percentiles of resampled means, as far out as makes them as wide as t for normal values (the expanded
            percentiles of Hesterberg 2015). It needs some ten seeds: resampled means never leave the range of values.
        seed: of the bootstrap's own generator, or that generator.

    Raises:
        UserError: no values, values that are not finite, or an argument out of its range.

    >>> interval([1.0, 2.0, 3.0])  # doctest: +ELLIPSIS
    Interval(low=-0.484..., point=2.0, high=4.484..., n=3)
    >>> interval([1.0, 2.0]).reason
    'no interval: n = 2 seeds'
    """
    _check(confidence, method)
    x = _finite(values)
    n = len(x)
    point, variance = moments(x)
    if n < FEWEST:
        return Interval(None, point, None, n)
    if method == "bootstrap":
        means = _resampled_means(x, np.random.default_rng(seed))
        return _percentiles(means, point, n, _tail(confidence, n - 1, (n / (n - 1)) ** 0.5))
    return _t_interval(point, (variance / n) ** 0.5, n - 1, n, confidence)


def difference(
    a: Values,
    b: Values,
    *,
    paired: bool = False,
    confidence: float = 0.95,
    method: Method = "t",
    seed: Seed = 0,
) -> Interval:
    """Mean of `b` minus mean of `a` with its two-sided confidence interval.

    Unpaired, it is Welch's (1947) interval, which does not suppose that both vary alike. It is right for independent
    runs, and too wide, never too narrow, for runs that equal seeds make alike.

    Args:
        a: n_a ≥ 1 finite numbers, one per training seed.
        b: n_b ≥ 1 such; with `paired`, b[i] belongs to a[i] (the same training seed).
        paired: take the interval of the differences b[i] − a[i].
        confidence: in (0, 1).
        method: "t" or "bootstrap", as of `interval`; unpaired, both sides are resampled each for itself.
        seed: of the bootstrap's own generator, or that generator.

    Raises:
        UserError: as `interval`, and for pairs of which one lacks its other.

    >>> found = difference([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    >>> round(found.low, 3), found.point, round(found.high, 3), found.n
    (0.733, 3.0, 5.267, 3)
    >>> difference([1.0, 2.0], [4.0, 5.0, 6.0]).reason
    'no interval: n = 2 seeds'
    """
    _check(confidence, method)
    x, y = _finite(a), _finite(b)
    if paired:
        return interval(_pairs(x, y), confidence=confidence, method=method, seed=seed)
    n = min(len(x), len(y))
    (mean_x, var_x), (mean_y, var_y) = moments(x), moments(y)
    point = mean_y - mean_x
    if n < FEWEST:
        return Interval(None, point, None, n)
    error, freedom = map(float, welch(var_x, len(x), var_y, len(y)))
    if method == "bootstrap":
        generator = np.random.default_rng(seed)
        means = -_resampled_means(x, generator) + _resampled_means(y, generator)
        resampled = (float(x.var()) / len(x) + float(y.var()) / len(y)) ** 0.5
        return _percentiles(means, point, n, _tail(confidence, freedom, error / resampled if resampled else 1.0))
    return _t_interval(point, error, freedom, n, confidence)


def difference_p(a: Values, b: Values, *, paired: bool = False) -> float:
    """Two-sided p-value of "both have the same mean": Welch's t test, or with `paired` the paired one.

    It is below 1 − confidence exactly where the t interval of `difference` leaves 0 out. Without variance on either
    side it is 1 for equal means and 0 for others. NaN with fewer than 3 values on a side: nothing was tested.

    >>> round(difference_p([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), 4)
    0.0213
    """
    x, y = _finite(a), _finite(b)
    if paired:
        change = _pairs(x, y)
        mean, variance = moments(change)
        n = len(change)
        return float(t_test(mean, (variance / n) ** 0.5, n - 1)) if n >= FEWEST else math.nan
    if min(len(x), len(y)) < FEWEST:
        return math.nan
    (mean_x, var_x), (mean_y, var_y) = moments(x), moments(y)
    return float(t_test(mean_y - mean_x, *welch(var_x, len(x), var_y, len(y))))


def welch(var_a: Any, n_a: Any, var_b: Any, n_b: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Standard error and degrees of freedom (Welch 1947, Satterthwaite 1946) of a difference of two means.

    Variances (with n − 1) and numbers of values, as numbers or as arrays that broadcast; n ≥ 2.
    """
    first, second = np.asarray(var_a / n_a, dtype=np.float64), np.asarray(var_b / n_b, dtype=np.float64)
    total = first + second
    # by shares, for squares of very small variances are 0; without variance any share will do
    share = np.divide(first, total, out=np.full_like(total, 0.5), where=total > 0)
    freedom = 1 / (share**2 / (n_a - 1) + (1 - share) ** 2 / (n_b - 1))
    return np.sqrt(total), np.asarray(freedom)


def t_test(change: Any, error: Any, freedom: Any) -> npt.NDArray[np.float64]:
    """Two-sided p-value of `change` = 0 by its standard error, elementwise; without error 1 for no change, else 0."""
    from scipy.special import stdtr

    change, error = np.asarray(change, dtype=np.float64), np.asarray(error, dtype=np.float64)
    ratio = np.divide(np.abs(change), error, out=np.where(change == 0, 0.0, np.inf), where=error > 0)
    return np.asarray(2 * stdtr(freedom, -ratio))


def holm(p_values: Sequence[float] | npt.NDArray[np.float64]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order given.

    Calling those below α significant is wrong about any of them with a probability of at most α, however they
    depend on each other.

    Raises `UserError` for a value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise UserError("p-values lie between 0 and 1: leave out what was not tested")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1.0)
    return [float(value) for value in corrected]


@dataclass(frozen=True)
class Proportion:
    """`k` of `n` with the confidence interval of the share behind it, all of `low` and `high` in [0, 1]."""

    k: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """k / n."""
        return self.k / self.n


def proportion(k: int, n: int, *, confidence: float = 0.95) -> Proportion:
    """The share of `k` in `n` independent trials, with Wilson's (1927) score interval.

    It stays inside [0, 1] and says something even of 0 or all of a few trials, where the usual k/n ± z·s is a point.

    Raises `UserError` for k outside 0 … n, no trials, or a confidence outside (0, 1).

    >>> found = proportion(3, 3)
    >>> found.share, round(found.low, 3), round(found.high, 3)
    (1.0, 0.439, 1.0)
    """
    _check(confidence)
    if not 0 <= k <= n or n < 1:
        raise UserError(f"{k} of {n} is no share: give 0 ≤ k ≤ n, of at least one trial")
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (k + z2 / 2) / (n + z2)
    half = math.sqrt(z2 * (k * (n - k) / n + z2 / 4)) / (n + z2)
    return Proportion(k, n, 0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def iqm(values: Values) -> float:
    """Interquartile mean: the mean without the lowest and the highest ⌊n/4⌋ values (Agarwal et al. 2021).

    Raises `UserError` for no values or values that are not finite.

    >>> iqm([100.0, 1.0, 2.0, 3.0])
    2.5
    """
    x = np.sort(_finite(values))
    cut = len(x) // 4
    return float(x[cut : len(x) - cut].mean())


def probability_of_improvement(a: Values, b: Values, *, lower_is_better: bool) -> float:
    """Probability that a random seed of `a` beats a random seed of `b`, ties counting half.

    The Mann-Whitney U statistic over n_a · n_b (Agarwal et al. 2021, eq. 3); 0.5 means no difference.
    Raises `UserError` for no values or values that are not finite.

    >>> probability_of_improvement([1.0, 2.0], [2.0, 3.0], lower_is_better=True)
    0.875
    """
    gain = _finite(b)[None, :] - _finite(a)[:, None]
    wins = gain > 0 if lower_is_better else gain < 0
    return float(np.mean(wins + 0.5 * (gain == 0)))


def performance_profile(values: Values, taus: Values, *, lower_is_better: bool) -> list[float]:
    """For each τ of `taus`, the share of runs whose score is τ or better (Dolan & Moré 2002; Agarwal et al. 2021).

    `values` holds one score per run; one that is not finite stands for a run that failed, which reaches no τ.
    Raises `UserError` without any run.

    >>> performance_profile([1.0, 2.0, float("nan"), 4.0], [0.5, 2.0, 9.0], lower_is_better=True)
    [0.0, 0.5, 0.75]
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise UserError("a performance profile needs at least one run, in one dimension")
    sign = 1 if lower_is_better else -1
    reached = np.sort(sign * x[np.isfinite(x)])
    counts = np.searchsorted(reached, sign * np.asarray(taus, dtype=np.float64), side="right")
    return [float(count) / len(x) for count in counts]


@dataclass(frozen=True)
class BudgetCurve:
    """Expected best score after `k` configurations, with its band; all lists are as long as `k`.

    `low` and `high` are None where there is no honest band: see `budget_curve`.
    """

    k: list[int]
    low: list[float | None]
    point: list[float]
    high: list[float | None]


def budget_curve(scores: Values, *, lower_is_better: bool, confidence: float = 0.95, seed: Seed = 0) -> BudgetCurve:
    """Expected best of k configurations drawn from those that were tried (the budget curve of Lucic et al. 2018).

    The point is the mean of the best over all subsets of k of the n, which is unbiased; drawing with replacement
    (Dodge et al. 2019) promises too little (Tang et al. 2020). The band is the point ± t · its bootstrap standard
    error, with n/k − 1 degrees of freedom: the n hold n/k groups of k, and the estimate hangs on their bests. It ends
    where fewer than three groups are left. (Percentiles of the resamples, the usual band, hold the truth in 82 % of
    studies at n = 60, k = 16; this one in 95 %.)

    Args:
        scores: one score per configuration, n ≥ 1; one that is not finite stands for a configuration that failed and
            is the best of none. The expectation is then over the draws in which at least one works.
        lower_is_better: whether the best is the smallest.
        confidence: of the band, in (0, 1), at each k by itself.
        seed: of the resampling's own generator, or that generator.

    Returns:
        The curve at every k up to n, or for n > 100 at 100 of them, closer for small k.

    Raises:
        UserError: not one finite score, or a confidence out of its range.

    >>> curve = budget_curve([3.0, 1.0, 2.0], lower_is_better=True)
    >>> curve.k, [round(value, 3) for value in curve.point]
    ([1, 2, 3], [2.0, 1.333, 1.0])
    """
    _check(confidence)
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).any():
        raise UserError("a budget curve needs at least one finite score, in one dimension")
    n = len(x)
    sign = 1 if lower_is_better else -1
    costs = np.where(np.isfinite(x), sign * x, np.inf)
    k = np.arange(1, n + 1)
    if n > CURVE_POINTS:
        k = np.unique(np.round(np.geomspace(1, n, CURVE_POINTS)).astype(int))
    chances = _chances_of_best(n, k)
    point = sign * _expected_best(costs[None, :], chances)[0]
    banded = k[k <= n / FEWEST]
    low: list[float | None] = [None] * len(k)
    high = low.copy()
    if len(banded):
        drawn = np.random.default_rng(seed).choice(costs, size=(CURVE_RESAMPLES, n))
        drawn = drawn[np.isfinite(drawn).any(axis=1)]  # of a resample of failures alone there is no best
        error = _expected_best(drawn, chances[:, : len(banded)]).std(axis=0) * (n / (n - 1)) ** 0.5
        for place, groups in enumerate(n / banded):
            at = _t_interval(float(point[place]), float(error[place]), groups - 1, n, confidence)
            low[place], high[place] = at.low, at.high
    return BudgetCurve([int(value) for value in k], low, [float(value) for value in point], high)


def _chances_of_best(n: int, k: npt.NDArray[np.int_]) -> npt.NDArray[np.float64]:
    """(n, len(k)): the chance that the i-th best of n is the best of k drawn without replacement."""
    from scipy.special import gammaln

    rank = np.arange(n)[:, None]  # how many are better
    others = np.maximum(n - rank - k, 0)
    logs = gammaln(n - rank) - gammaln(others + 1) - gammaln(k)  # C(n − 1 − rank, k − 1)
    logs -= gammaln(n + 1) - gammaln(n - k + 1) - gammaln(k + 1)  # C(n, k)
    return np.where(n - rank >= k, np.exp(logs), 0.0)


def _expected_best(costs: npt.NDArray[np.float64], chances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(studies, len(k)): expected lowest cost of each row of `costs` (studies, n), infinite ones being failures."""
    ordered = np.sort(costs, axis=1)
    works = np.isfinite(ordered)
    best: npt.NDArray[np.float64] = (np.where(works, ordered, 0.0) @ chances) / (works @ chances)
    return best


def _check(confidence: float, method: str = "t") -> None:
    if not 0 < confidence < 1:
        raise UserError(f"confidence {confidence} is not between 0 and 1: use for example 0.95")
    if method not in ("t", "bootstrap"):
        raise UserError(f"unknown method {method!r} of an interval: use 't' or 'bootstrap'")


def _finite(values: Values) -> npt.NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise UserError("statistics need at least one value, all finite, in one dimension: leave failed scores out")
    return x


def _pairs(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(x) != len(y):
        raise UserError(f"{len(x)} and {len(y)} values are no pairs: give the same seeds on both sides")
    return y - x


def moments(x: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean and variance (with n − 1; 0 for one value); exact for equal values, which rounding would set apart."""
    rest = x - x[0]
    return float(x[0] + rest.mean()), float(rest.var(ddof=1)) if len(x) > 1 else 0.0


def _t_interval(point: float, error: float, freedom: float, n: int, confidence: float) -> Interval:
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    return Interval(point - half, point, point + half, n)


def _resampled_means(x: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    means: npt.NDArray[np.float64] = generator.choice(x, size=(RESAMPLES, len(x))).mean(axis=1)
    return means


def _tail(confidence: float, freedom: float, spread: float) -> float:
    """The share of resamples to leave out at each end; `spread` times theirs is the standard error of the estimate."""
    from scipy.special import stdtrit

    return NormalDist().cdf(-spread * float(stdtrit(freedom, (1 + confidence) / 2)))


def _percentiles(means: npt.NDArray[np.float64], point: float, n: int, tail: float) -> Interval:
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), point, float(high), n)

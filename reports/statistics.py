"""What a handful of training seeds allows one to say: estimators and intervals, apart from any drawing.

Values are scores of one recipe under one protocol, one per training seed: a sequence of n finite floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from ganbench.errors import UserError

FEWEST = 3  # below this many seeds an interval would be a guess: with n = 2 the t quantile is 12.7
RESAMPLES = 10_000

Values = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over `n` seeds and its confidence interval; `low` and `high` are None when n < 3."""

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

    def apart(self, other: Interval) -> bool:
        """Whether both intervals exist and share no point.

        >>> Interval(1.0, 2.0, 3.0, 5).apart(Interval(3.5, 4.0, 4.5, 5))
        True
        >>> Interval(1.0, 2.0, 3.0, 5).apart(Interval(None, 9.0, None, 1))
        False
        """
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        return self.high < other.low or other.high < self.low


def interval(
    values: Values, *, confidence: float = 0.95, method: Literal["t", "bootstrap"] = "t", seed: int = 0
) -> Interval:
    """Mean of `values` with its two-sided confidence interval.

    Args:
        values: n ≥ 1 finite numbers, one per training seed.
        confidence: in (0, 1).
        method: "t" is Student's interval, right for means of nearly normal values at any n;
            "bootstrap" takes percentiles of resampled means, which is too narrow for few seeds.
        seed: of the bootstrap's own generator.

    Raises:
        UserError: no values, values that are not finite, or an argument out of its range.

    >>> interval([1.0, 2.0, 3.0])  # doctest: +ELLIPSIS
    Interval(low=-0.484..., point=2.0, high=4.484..., n=3)
    >>> interval([1.0, 2.0]).reason
    'no interval: n = 2 seeds'
    """
    _check_confidence(confidence)
    if method not in ("t", "bootstrap"):
        raise UserError(f"unknown method {method!r} of an interval: use 't' or 'bootstrap'")
    x = _finite(values)
    n = len(x)
    point = float(x.mean())
    if n < FEWEST:
        return Interval(None, point, None, n)
    if method == "t":
        from scipy.stats import t

        half = float(t.ppf((1 + confidence) / 2, n - 1)) * float(x.std(ddof=1)) / n**0.5
        return Interval(point - half, point, point + half, n)
    means = np.random.default_rng(seed).choice(x, size=(RESAMPLES, n)).mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), point, float(high), n)


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
    _check_confidence(confidence)
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


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise UserError(f"confidence {confidence} is not between 0 and 1: use for example 0.95")


def _finite(values: Values) -> npt.NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise UserError("statistics need at least one value, all finite, in one dimension: leave failed scores out")
    return x

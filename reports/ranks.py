"""Which recipes are surely better than which: every pair tested, corrected for the number of pairs.

A mean that is smaller is no result by itself. Each pair of R recipes is tested with Welch's t test, and the
R (R − 1) / 2 p-values are corrected together (Holm 1979), so that the chance of even one wrong claim is at most
1 − confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from reports.statistics import FEWEST, Interval, Values, holm, moments, t_test, welch

Ranks = tuple[int, int]
Outcome = Literal["better", "worse", "tied"]


def surely_better(
    groups: Sequence[Values], *, lower_is_better: bool, against: int | None = None, confidence: float = 0.95
) -> npt.NDArray[np.bool_]:
    """(R, R): whether group i is better than group j, for each of the R `groups` of finite scores (one per seed).

    A group of fewer than 3 seeds is better or worse than none. With `against`, only the R − 1 comparisons with that
    group are made and corrected for; all others are False.

    >>> low, high = [1.0, 1.1, 1.2], [2.0, 2.1, 2.2]
    >>> surely_better([low, high, [9.0]], lower_is_better=True).tolist()
    [[False, True, False], [False, False, False], [False, False, False]]
    """
    better = np.zeros((len(groups), len(groups)), dtype=bool)
    tested = [place for place, values in enumerate(groups) if len(values) >= FEWEST]
    if against is None:
        first, second = (np.array(tested, dtype=int)[side] for side in np.triu_indices(len(tested), 1))
    else:
        second = np.array([place for place in tested if place != against] if against in tested else [], dtype=int)
        first = np.full_like(second, -1 if against is None else against)
    if not len(first):
        return better
    mean, variance, n = (np.zeros(len(groups)) for _ in range(3))
    for place in tested:
        values = np.asarray(groups[place], dtype=np.float64)
        mean[place], variance[place] = moments(values)
        n[place] = len(values)
    change = mean[second] - mean[first]
    p = t_test(change, *welch(variance[first], n[first], variance[second], n[second]))
    sure = np.array(holm(p)) < 1 - confidence
    first_wins = (change > 0) if lower_is_better else (change < 0)
    better[first, second] = sure & first_wins
    better[second, first] = sure & ~first_wins
    return better


def rank_ranges(better: npt.NDArray[np.bool_]) -> list[Ranks]:
    """The ranks that each group may have: 1 + those surely better … R − those surely worse.

    >>> rank_ranges(np.array([[False, True, False], [False, False, False], [False, False, False]]))
    [(1, 2), (2, 3), (1, 3)]
    """
    beaten_by, beats = better.sum(axis=0), better.sum(axis=1)
    return [(1 + int(worse), len(better) - int(wins)) for worse, wins in zip(beaten_by, beats, strict=True)]


def rank_text(ranks: Ranks) -> str:
    """A range of ranks as it is read.

    >>> rank_text((1, 3)), rank_text((2, 2))
    ('1–3', '2')
    """
    low, high = ranks
    return str(low) if low == high else f"{low}–{high}"


def outcome(change: Interval, *, lower_is_better: bool, sure: bool | None = None) -> Outcome | None:
    """What a difference of means says of the second side; None where there is no interval.

    `sure` is whether it differs from 0 (as a corrected test says); None: whether its own interval leaves 0 out.

    >>> outcome(Interval(0.5, 1.0, 1.5, 3), lower_is_better=True)
    'worse'
    >>> outcome(Interval(0.5, 1.0, 1.5, 3), lower_is_better=True, sure=False)
    'tied'
    """
    if change.low is None:
        return None
    if change.holds(0.0) if sure is None else not sure:
        return "tied"
    return "better" if (change.point < 0) == lower_is_better else "worse"

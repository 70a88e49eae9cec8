"""How samples fall on modes that are known: equal Gaussians (the ring, the grid), or a classifier's classes.

Srivastava et al. 2017, "VEEGAN" (arXiv:1705.07761); Lin et al. 2018, "PacGAN" (arXiv:1712.04086).
"""

from __future__ import annotations

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_matrix
from metrics.score import ClassScores, ModeScores

HIGH_QUALITY_SIGMAS = 3.0
COVERED_SHARE = 0.1


def mode_scores(fake: Array, *, centres: Array, std: float) -> ModeScores:
    """How the points fake (n, D) fall on equally likely isotropic Gaussians at centres (M, D) with deviation `std`.

    A point belongs to its nearest centre and is of high quality within 3·std of it: in two dimensions a
    perfect generator has 1 − exp(−9/2) = 98.89 % of those. A mode is covered when its high-quality points
    are at least a tenth of its fair share, n/(10·M): stricter than the papers' single point, which stray
    samples of a collapsed generator already reach. `kl` is KL(shares of the modes ‖ uniform) over all
    points, 0 … log M nats; read it beside `high_quality`.

    Raises `UserError` for unequal D, non-finite values or std ≤ 0.
    """
    points, means = as_matrix(fake, "fake"), as_matrix(centres, "centres")
    if points.shape[1] != means.shape[1]:
        raise UserError(f"fake points have {points.shape[1]} coordinates and the centres {means.shape[1]}")
    if not std > 0:
        raise UserError(f"std={std}: a mode's standard deviation is positive")
    n, modes = len(points), len(means)
    squared = _squared(points, means)
    nearest = squared.argmin(axis=1)
    good = squared.min(axis=1) <= (HIGH_QUALITY_SIGMAS * std) ** 2
    counts = np.bincount(nearest[good], minlength=modes)
    shares = np.bincount(nearest, minlength=modes) / n
    return ModeScores(covered=_covered(counts, n), high_quality=float(good.mean()), kl=_to_uniform(shares))


def nearest_modes(points: Array, *, centres: Array) -> np.ndarray:
    """The number int64 (n,) of each point's nearest centre."""
    nearest: np.ndarray = _squared(as_matrix(points, "points"), as_matrix(centres, "centres")).argmin(axis=1)
    return nearest


def class_scores(logits: Array) -> ClassScores:
    """How samples fall on equally likely classes, by their classifier's logits (n, C).

    A class is covered when at least a tenth of its fair share, n/(10·C), and at least one sample is given to it: with
    few samples for many classes, not even a perfect generator covers all.

    >>> import numpy as np
    >>> class_scores(np.eye(4)[[0, 0, 1, 1]])
    ClassScores(covered=2, kl=0.6931471805599453)
    """
    matrix = as_matrix(logits, "logits")
    counts = np.bincount(matrix.argmax(axis=1), minlength=matrix.shape[1])
    return ClassScores(covered=_covered(counts, len(matrix)), kl=_to_uniform(counts / len(matrix)))


def _squared(points: np.ndarray, means: np.ndarray) -> np.ndarray:
    return np.stack([((points - mean) ** 2).sum(axis=1) for mean in means], axis=1)


def _covered(counts: np.ndarray, n: int) -> int:
    return int((counts >= max(1.0, COVERED_SHARE * n / len(counts))).sum())


def _to_uniform(shares: np.ndarray) -> float:
    occupied = shares[shares > 0]
    return float((occupied * np.log(occupied * len(shares))).sum())

"""Fréchet distance of two Gaussians fitted to features: FID when the features are Inception's.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule" (arXiv:1706.08500).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrics.arrays import Array, as_matrix, as_pair


@dataclass(frozen=True)
class FrechetReference:
    """The real side of a Fréchet distance, computed once: mean (d,) and a factor B (d, r) of the covariance BBᵀ.

    `rank_deficient` tells that n ≤ d: the covariance then has no full rank and the distance depends
    heavily on n; prefer the kernel distance or a smaller feature layer.
    """

    mean: np.ndarray
    factor: np.ndarray
    rank_deficient: bool

    @classmethod
    def of(cls, features: Array, name: str = "real") -> FrechetReference:
        """From features (n ≥ 2, d), in float64; the covariance divides by n − 1."""
        matrix = as_matrix(features, name, at_least=2)
        mean, centred = _centred(matrix)
        n, d = centred.shape
        if n <= d:  # the centred features are a factor themselves, exact where eigh would round
            return cls(mean, centred.T, rank_deficient=True)
        values, vectors = np.linalg.eigh(centred.T @ centred)
        return cls(mean, vectors * np.sqrt(values.clip(min=0)), rank_deficient=False)

    def distance(self, fake: Array) -> float:
        """‖μ_r−μ_f‖² + tr(Σ_r + Σ_f − 2(Σ_rΣ_f)^½) for fake features (n ≥ 2, d).

        The last trace is the sum of singular values of BᵀF with Σ_f = FFᵀ: symmetric, never complex, no ε.
        Equal laws may give −1e-9 by rounding; it is not clamped.
        """
        matrix = as_matrix(fake, "fake", at_least=2)
        mean, centred = _centred(matrix)
        half = centred @ self.factor  # FᵀB
        if len(half) > half.shape[1]:
            roots = np.sqrt(np.linalg.eigvalsh(half.T @ half).clip(min=0))
        else:  # singular values directly: the square root of rounded zeros would add up
            roots = np.linalg.svd(half, compute_uv=False)
        spread = np.sum(self.factor**2) + np.sum(centred**2)
        return float(np.sum((self.mean - mean) ** 2) + spread - 2 * roots.sum())


def frechet_distance(*, real: Array, fake: Array) -> float:
    """Fréchet distance between Gaussians fitted to real (n, d) and fake (m, d) features, n and m ≥ 2.

    Raises `UserError` for other shapes, unequal d or non-finite values.

    >>> import numpy as np
    >>> points = np.array([[0.0], [2.0]])
    >>> round(frechet_distance(real=points, fake=points + 3), 9)
    9.0
    """
    first, second = as_pair(real, fake, at_least=2)
    return FrechetReference.of(first).distance(second)


def _centred(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and rows (x − mean)/√(n−1), whose Gram matrix is the covariance."""
    mean = matrix.mean(axis=0)
    return mean, (matrix - mean) / np.sqrt(len(matrix) - 1)

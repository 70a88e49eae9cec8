"""Fréchet distance of two Gaussians fitted to features: FID when the features are Inception's.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule" (arXiv:1706.08500);
Chong & Forsyth 2020, "Effectively Unbiased FID and Inception Score" (arXiv:1911.07023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import eigvalsh, lapack

from ganbench.errors import UserError
from metrics.arrays import Array, as_matrix, as_pair, as_rows, check_widths
from metrics.moments import Moments
from metrics.score import Estimate

POINTS = 15
"""Sample sizes to which FID∞ fits its line."""


@dataclass(frozen=True)
class FrechetReference:
    """The real side of a Fréchet distance, computed once: its mean (d,) and a factor B (d, r) of its covariance BBᵀ.

    B is lower triangular (Cholesky) where the covariance allows it, so that a distance costs half as much;
    the eigenvectors scaled to the covariance's numerical rank r where it is singular; and for n ≤ d the
    centred features themselves, exact where a factorisation would round.
    """

    mean: np.ndarray
    factor: np.ndarray
    n: int

    @classmethod
    def of(cls, features: Array | Moments, name: str = "real") -> FrechetReference:
        """From features (n ≥ 2, d) or their moments, in float64; the covariance divides by n − 1."""
        if not isinstance(features, Moments):
            rows = as_rows(features, name, at_least=2)
            if len(rows) <= rows.shape[1]:
                mean, centred = _centred(rows)
                return cls(mean, centred.T, len(rows))
            features = Moments.of(rows, name)
        return cls(features.mean, _factor(features.covariance), features.n)

    @property
    def rank_deficient(self) -> bool:
        """Whether n ≤ d: the covariance has no full rank, and the distance depends heavily on n."""
        return self.n <= len(self.mean)

    def distance(self, fake: Array | Moments) -> float:
        """‖μ_r−μ_f‖² + tr(Σ_r + Σ_f − 2(Σ_rΣ_f)^½) for fake features (m ≥ 2, d) or their moments.

        The last trace is the sum of the square roots of the eigenvalues of BᵀΣ_fB, or for m ≤ d of the
        Gram matrix of the centred fakes times B: symmetric, never complex, no ε. Equal laws may give
        −1e-9 by rounding; it is not clamped.
        """
        if not isinstance(fake, Moments):
            rows = as_rows(fake, "fake", at_least=2)
            check_widths(self.mean, rows)
            if len(rows) <= rows.shape[1]:
                mean, centred = _centred(rows)
                return self._distance(mean, float(np.sum(centred**2)), _gram(centred @ self.factor))
            fake = Moments.of(rows, "fake")
        check_widths(self.mean, fake.mean)
        half = fake.lower_covariance
        spread = float(np.trace(half))
        if self._triangular is None:
            return self._distance(fake.mean, spread, self.factor.T @ fake.covariance @ self.factor)
        sandwich, _ = lapack.dsygst(half, self._triangular, itype=2, lower=1, overwrite_a=1)
        return self._distance(fake.mean, spread, sandwich)

    def _distance(self, mean: np.ndarray, spread: float, squares: np.ndarray) -> float:
        """`squares` is symmetric (its lower triangle counts) with the eigenvalues of Σ_rΣ_f."""
        roots = np.sqrt(eigvalsh(squares, check_finite=False, overwrite_a=True, driver="evd").clip(min=0))
        return float(np.sum((self.mean - mean) ** 2) + np.sum(self.factor**2) + spread - 2 * roots.sum())

    @cached_property
    def _triangular(self) -> np.ndarray | None:
        """B in Fortran's order if it is lower triangular: BᵀΣB then costs half of two products."""
        square = self.factor.shape[0] == self.factor.shape[1]
        return np.asfortranarray(self.factor) if square and not np.triu(self.factor, 1).any() else None

    def arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays from which `from_arrays` makes the same reference."""
        return {"mean": self.mean, "factor": self.factor, "n": np.array(self.n)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> FrechetReference:
        """The inverse of `arrays`."""
        return cls(arrays["mean"], arrays["factor"], int(arrays["n"]))


def frechet_distance(*, real: Array | Moments, fake: Array | Moments) -> float:
    """Fréchet distance between Gaussians fitted to real (n, d) and fake (m, d) features, or their moments.

    Raises `UserError` for other shapes, n or m < 2, unequal d or non-finite values.

    >>> import numpy as np
    >>> points = np.array([[0.0], [2.0]])
    >>> round(frechet_distance(real=points, fake=points + 3), 9)
    9.0
    """
    return FrechetReference.of(real).distance(fake)


def frechet_audit(*, real: Array, fake: Array) -> float:
    """The same distance by the slow and backward stable route, to judge the fast one: |difference| ≤ 1e-6·max(1, FID).

    With centred features X and Y over √(n−1), tr (Σ_rΣ_f)^½ is the sum of the singular values of XYᵀ; a
    side with n > d is first replaced by the triangular factor of its QR decomposition. Nothing is squared.
    Raises `UserError` as `frechet_distance` does.
    """
    first, second = as_pair(real, fake, at_least=2)
    (mean, x), (other_mean, y) = _centred(first), _centred(second)
    spread = np.sum(x**2) + np.sum(y**2)
    short = [np.asarray(np.linalg.qr(side, mode="r")) if len(side) > side.shape[1] else side for side in (x, y)]
    values = np.linalg.svd(short[0] @ short[1].T, compute_uv=False)
    return float(np.sum((mean - other_mean) ** 2) + spread - 2 * values.sum())


def frechet_infinity(
    *, real: Array | Moments | FrechetReference, fake: Array, points: int = POINTS, seed: int = 0
) -> Estimate:
    """FID∞: the distance that infinitely many fakes would have, with the standard error of the fit.

    FID_N of random subsets (without replacement) of `points` sizes evenly spaced from m/10 to m is regressed
    on 1/N by least squares; the intercept at 1/N = 0 is the value. It removes the bias of the fake side
    only: what the real side's finite n adds stays. The paper draws its samples from a Sobol sequence; here
    they are the given ones, so published FID∞ values differ. The subsets overlap, so the error is optimistic.

    Raises `UserError` as `frechet_distance` does, and for m < 2·`points` or fewer than three points.
    """
    if points < 3:
        raise UserError(f"points={points}: a fitted line needs at least three sizes")
    rows = as_rows(fake, "fake", at_least=2 * points)
    reference = real if isinstance(real, FrechetReference) else FrechetReference.of(real)
    rng = np.random.default_rng(seed)
    sizes = np.linspace(max(2, len(rows) // 10), len(rows), points).astype(int)
    values = [reference.distance(rows[np.sort(rng.permutation(len(rows))[:size])]) for size in sizes]
    design = np.stack([np.ones(points), 1 / sizes], axis=1)
    fit, residuals, _, _ = np.linalg.lstsq(design, np.array(values))
    variance = residuals.sum() / (points - 2) * np.linalg.inv(design.T @ design)[0, 0]
    return Estimate(float(fit[0]), float(np.sqrt(variance)))


def _centred(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and rows (x − mean)/√(n−1), whose Gram matrix is the covariance; float64."""
    matrix = as_matrix(rows, "features")
    mean = matrix.mean(axis=0)
    matrix -= mean
    matrix /= np.sqrt(len(matrix) - 1)
    return mean, matrix


def _gram(half: np.ndarray) -> np.ndarray:
    """HHᵀ or HᵀH, whichever is smaller: their eigenvalues agree but for zeros."""
    return np.asarray(half @ half.T if len(half) <= half.shape[1] else half.T @ half)


def _factor(covariance: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:  # singular: constant or dependent features
        values, vectors = np.linalg.eigh(covariance)
        kept = values > values.max() * len(values) * np.finfo(np.float64).eps
        return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))

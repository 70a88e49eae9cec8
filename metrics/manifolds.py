"""Precision, recall, density and coverage from nearest neighbours, in one blockwise pass.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric" (arXiv:1904.06991);
Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics" (arXiv:2002.09797).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_matrix, check_widths
from metrics.score import Neighbours

BLOCK = 1024


@dataclass(frozen=True)
class RealManifold:
    """The real side of a neighbours' pass, computed once: centred features (n, d) and the balls' squared radii (n,)."""

    features: np.ndarray
    centre: np.ndarray
    radii: np.ndarray
    k: int
    block: int

    @classmethod
    def of(cls, real: Array, *, k: int, block: int = BLOCK) -> RealManifold:
        """From features (n > k, d), in float64; raises `UserError` for other shapes or non-finite values."""
        if k < 1:
            raise UserError(f"k={k}: ask for at least one neighbour")
        matrix = as_matrix(real, "real", at_least=k + 1)
        centre = matrix.mean(axis=0)  # far from the origin the squared norms would swallow the distances
        return cls(matrix - centre, centre, _radii(matrix - centre, k, block), k, block)

    def compare(self, fake: Array) -> Neighbours:
        """All five scores of fake features (m > k, d); see `neighbours`."""
        fakes = as_matrix(fake, "fake", at_least=self.k + 1)
        check_widths(self.features, fakes)
        fakes = fakes - self.centre
        fake_radii = _radii(fakes, self.k, self.block)
        balls = np.empty(len(fakes), dtype=np.int64)
        recalled = np.zeros(len(self.features), dtype=bool)
        covered = np.zeros(len(self.features), dtype=bool)
        for rows, distances in _distances(fakes, self.features, self.block):
            inside = distances <= self.radii
            balls[rows] = inside.sum(axis=1)
            covered |= inside.any(axis=0)
            recalled |= (distances <= fake_radii[rows, None]).any(axis=0)
        precision, recall = float((balls > 0).mean()), float(recalled.mean())
        return Neighbours(
            precision=precision,
            recall=recall,
            f1=2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0,
            density=float(balls.mean()) / self.k,
            coverage=float(covered.mean()),
        )


def neighbours(*, real: Array, fake: Array, k: int = 3, block: int = BLOCK) -> Neighbours:
    """All five scores of features real (n, d) and fake (m, d), n and m > k ≥ 1.

    A sample's ball reaches to its k-th nearest other sample of its own side (itself excluded by index, so
    that duplicates count), border included. Precision: share of fakes in some real ball; recall: share of
    reals in some fake ball; density: real balls around a fake, over k; coverage: share of real balls that
    hold a fake. For equal laws density is 1 and coverage 1 − 2⁻ᵏ, while precision and recall stay below 1;
    copies of the real samples score 1 throughout. Memory grows as `block`·n, not n².

    Raises `UserError` for too few samples, unequal d or non-finite values.
    """
    return RealManifold.of(real, k=k, block=block).compare(fake)


def _distances(x: np.ndarray, y: np.ndarray, block: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of `block` rows of x at a time to all of y."""
    x_norms, y_norms = (x * x).sum(axis=1), (y * y).sum(axis=1)
    for start in range(0, len(x), block):
        rows = slice(start, min(start + block, len(x)))
        yield rows, x_norms[rows, None] + y_norms - 2 * (x[rows] @ y.T)


def _radii(x: np.ndarray, k: int, block: int) -> np.ndarray:
    """Squared distance to the k-th nearest other row, widened by its rounding error.

    Without the widening a copy of the k-th neighbour would lie on the border or beyond it by chance.
    """
    radii = np.empty(len(x))
    for rows, distances in _distances(x, x, block):
        distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(distances, k - 1, axis=1)[:, k - 1].clip(min=0)
    widened: np.ndarray = radii + 1e-12 * (radii + (x * x).sum(axis=1))
    return widened

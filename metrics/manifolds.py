"""Precision, recall, density, coverage and nearest real samples, in one blockwise pass.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric" (arXiv:1904.06991);
Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics" (arXiv:2002.09797).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_rows, check_widths
from metrics.score import Neighbours
from metrics.search import TILE, Cloud, Nearest, members, rounding, search_own, squared, working_type


@dataclass(frozen=True)
class RealManifold:
    """The real side of a neighbours' pass, computed once: features (n, d) as given, and balls of squared radii (n,)."""

    cloud: Cloud
    radii: np.ndarray
    k: int

    @classmethod
    def of(cls, real: Array, *, k: int, block: int = TILE) -> RealManifold:
        """From features (n > k, d); raises `UserError` for other shapes or non-finite values."""
        if k < 1:
            raise UserError(f"k={k}: ask for at least one neighbour")
        rows = as_rows(real, "real", at_least=k + 1)
        cloud = Cloud(rows, rows.mean(axis=0, dtype=np.float64), block)
        return cls(cloud, _radii(cloud, k), k)

    def compare(self, fake: Array) -> Neighbours:
        """All scores of fake features (m > k, d); see `neighbours`."""
        rows = as_rows(fake, "fake", at_least=self.k + 1)
        real = self.cloud
        check_widths(real.rows, rows)
        fakes = Cloud(rows, real.centre, real.tile)
        dtype = working_type(fakes, real)
        fake_radii = _radii(fakes, self.k)
        balls = np.zeros(len(fakes), dtype=np.int64)
        recalled, covered = np.zeros(len(real), dtype=bool), np.zeros(len(real), dtype=bool)
        nearest = Nearest(len(fakes), 1, dtype)
        for mine in fakes.parts():
            left = fakes.left(mine, dtype)
            for others in real.parts():
                tile = _Tile(fakes, real, mine, others, left, dtype)
                i, j = tile.within(self.radii[None, others])
                balls[mine] += np.bincount(i, minlength=len(left))
                covered[j + others.start] = True
                _, j = tile.within(fake_radii[mine, None])
                recalled[j + others.start] = True
                nearest.offer(mine, tile.values, others.start)
        squares, index = nearest.settle(fakes, real, None)
        precision, recall = float((balls > 0).mean()), float(recalled.mean())
        return Neighbours(
            precision=precision,
            recall=recall,
            f1=2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0,
            density=float(balls.mean()) / self.k,
            coverage=float(covered.mean()),
            nearest=index[:, 0],
            distances=np.sqrt(squares[:, 0]),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays from which, with the features, `from_arrays` makes the same manifold."""
        return {"centre": self.cloud.centre, "radii": self.radii, "k": np.array(self.k)}

    @classmethod
    def from_arrays(cls, features: np.ndarray, arrays: Mapping[str, np.ndarray]) -> RealManifold:
        """The inverse of `arrays`."""
        return cls(Cloud(features, arrays["centre"]), arrays["radii"], int(arrays["k"]))


def neighbours(*, real: Array, fake: Array, k: int = 3, block: int = TILE) -> Neighbours:
    """All scores of features real (n, d) and fake (m, d), n and m > k ≥ 1, and each fake's nearest real row.

    A sample's ball reaches to its k-th nearest other sample of its own side (itself excluded by index, so
    that duplicates count), border included. Precision: share of fakes in some real ball; recall: share of
    reals in some fake ball; density: real balls around a fake, over k; coverage: share of real balls that
    hold a fake. For equal laws density is 1 and coverage 1 − 2⁻ᵏ, while precision and recall stay below 1;
    copies of the real samples score 1 throughout. Exact to float64; memory grows as `block`² + k·n.

    Raises `UserError` for too few samples, unequal d or non-finite values.
    """
    return RealManifold.of(real, k=k, block=block).compare(fake)


class _Tile:
    """Squared distances of some fakes to some reals, and what settles those within rounding of a decision."""

    def __init__(
        self, fakes: Cloud, real: Cloud, mine: slice, others: slice, left: np.ndarray, dtype: type[np.floating]
    ) -> None:
        self._sides = fakes, real, mine, others
        self._dtype = dtype
        self.values = self._compute(left, dtype)

    def _compute(self, left: np.ndarray, dtype: type[np.floating]) -> np.ndarray:
        _, real, _, others = self._sides
        tile: np.ndarray = left @ real.right(others, dtype).T
        return tile

    def within(self, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (fake, real) of the tile within squared radii of either side, (p, 1) or (1, q)."""
        fakes, real, mine, others = self._sides
        x, y = fakes.norms[mine], real.norms[others]
        doubt = None
        if self._dtype is np.float32:
            norms = x[:, None] + y.max() if radii.shape[1] == 1 else x.max() + y[None]
            doubt = rounding(norms, real.rows.shape[1], self._dtype)
        return members(
            self.values,
            radii,
            doubt,
            lambda i, j: squared(fakes.rows[mine], real.rows[others], i, j),
            lambda: self._compute(fakes.left(mine, np.float64), np.float64),
        )


def _radii(cloud: Cloud, k: int) -> np.ndarray:
    """Squared distance to the k-th nearest other row, widened by float64's rounding error.

    Without the widening a copy of the k-th neighbour would lie on the border or beyond it by chance.
    """
    radii = search_own(cloud, k)[0][:, -1]
    widened: np.ndarray = radii + 1e-12 * (radii + cloud.norms)
    return widened

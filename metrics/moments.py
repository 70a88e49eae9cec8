"""Mean and covariance of features that arrive batch by batch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.linalg import blas

from ganbench.errors import UserError
from metrics.arrays import BLOCK, Array, as_rows, blocks, check_widths


class Moments:
    """Count, mean and covariance of features (n, d), in float64; memory is d², whatever n.

    Sums are taken about a fixed shift, the first batch's mean: raw second moments of features far from
    the origin would cancel in the covariance.

    >>> import numpy as np
    >>> moments = Moments().update(np.array([[1.0], [2.0]])).update(np.array([[6.0]]))
    >>> moments.n, moments.mean.tolist(), moments.covariance.tolist()
    (3, [3.0], [[7.0]])
    """

    def __init__(self) -> None:
        self.n = 0
        self._shift = self._sum = np.zeros(0)
        self._products = np.zeros((0, 0))

    @classmethod
    def of(cls, features: Array, name: str = "features") -> Moments:
        """Of one array (n ≥ 2, d); raises `UserError` for other shapes or non-finite values."""
        return cls()._add(as_rows(features, name, at_least=2))

    def update(self, batch: Array) -> Moments:
        """Take in a batch (b ≥ 1, d) and return self; raises `UserError` for another d or non-finite values."""
        return self._add(as_rows(batch, "batch"))

    def _add(self, rows: np.ndarray) -> Moments:
        if self.n == 0:
            self._shift = rows[:BLOCK].mean(axis=0, dtype=np.float64)
            self._sum = np.zeros_like(self._shift)
            self._products = np.zeros((rows.shape[1], rows.shape[1]), order="F")
        check_widths(self._shift, rows)
        for block in blocks(len(rows)):
            shifted = rows[block] - self._shift
            self._sum += shifted.sum(axis=0)
            # one triangle, in place: numpy would make, mirror and add a whole product
            self._products = blas.dsyrk(1.0, shifted.T, beta=1.0, c=self._products, lower=1, overwrite_c=1)
        self.n += len(rows)
        return self

    def merge(self, other: Moments) -> Moments:
        """The moments of both samples together; neither is changed. Raises `UserError` for unequal d."""
        if self.n == 0 or other.n == 0:
            return Moments.from_arrays((self if other.n == 0 else other).arrays())
        check_widths(self._shift, other._shift)
        merged = Moments.from_arrays(self.arrays())
        step = other._shift - self._shift
        crossed = np.outer(other._sum, step)
        merged.n += other.n
        merged._sum += other._sum + other.n * step
        merged._products += np.tril(other._products + crossed + crossed.T + other.n * np.outer(step, step))
        return merged

    @property
    def dim(self) -> int:
        """Features per sample; 0 before the first batch."""
        return len(self._shift)

    @property
    def mean(self) -> np.ndarray:
        """(d,)."""
        self._need(1)
        mean: np.ndarray = self._shift + self._sum / self.n
        return mean

    @property
    def covariance(self) -> np.ndarray:
        """(d, d), divided by n − 1."""
        half = self.lower_covariance
        whole: np.ndarray = half + np.tril(half, -1).T
        return whole

    @property
    def lower_covariance(self) -> np.ndarray:
        """Its lower triangle in Fortran's order, as LAPACK takes it."""
        self._need(2)
        half = self._products.copy(order="F")
        half = blas.dsyr(-1.0 / self.n, self._sum, a=half, lower=1, overwrite_a=1)
        half /= self.n - 1
        return np.asarray(half)

    def arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays from which `from_arrays` makes the same moments; of the products the lower triangle."""
        return {
            "n": np.array(self.n),
            "shift": self._shift.copy(),
            "sum": self._sum.copy(),
            "products": self._products.copy(order="F"),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Moments:
        """The inverse of `arrays`; keeps the given arrays, and later updates write to them."""
        moments = cls()
        moments.n = int(arrays["n"])
        moments._shift, moments._sum = arrays["shift"], arrays["sum"]
        moments._products = np.asfortranarray(arrays["products"])
        return moments

    def _need(self, n: int) -> None:
        if self.n < n:
            raise UserError(f"the moments hold {self.n} samples and at least {n} are needed: give more samples")

"""Exact nearest neighbours, tile by tile: most of the work in float32, whatever that leaves open in float64.

Squared distances come from |x|² + |y|² − 2x·y of rows centred at the real mean (far from the origin the
norms would swallow the distances), in one product: the norms ride along as two more features. A float32
one of d features is off by at most `SAFETY`·√d·ε·(|x|² + |y|²) with near certainty (Higham & Mary 2019,
"A New Approach to Probabilistic Rounding Error Analysis"); whatever lies within that of a decision is
computed again, as Σ(x−y)² in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from metrics.arrays import blocks

TILE = 2048
"""Rows of either side of a tile; 16 MB in float32."""
NARROW = 128
"""Below so many features float32 would save nothing worth a second look at the close calls."""
HUGE = 1e30
"""Squared norms beyond this could overflow float32."""
SAFETY = 4.0
SPARE = 1
"""Candidates kept beyond the k wanted, so that the k nearest are seldom in doubt."""
CHUNK = 2**17
"""Differences that are held at a time: 1 MB, which a core keeps in its cache (at 2**21 it took half as long again)."""
RECHECK = 2**16
"""Close calls of a tile above which the whole tile is cheaper in float64."""


class Cloud:
    """Rows (n, d), float32 or float64 and not copied, seen from `centre` (d,)."""

    def __init__(self, rows: np.ndarray, centre: np.ndarray, tile: int = TILE) -> None:
        self.rows = rows
        # as a float32 number, so that rows of either precision are moved by exactly the same
        self.centre = centre.clip(-HUGE, HUGE).astype(np.float32).astype(np.float64)
        self.tile = tile
        self.norms = np.empty(len(rows))
        for part in blocks(len(rows), max(1, CHUNK // rows.shape[1])):
            moved = rows[part] - self.centre
            self.norms[part] = np.einsum("ij,ij->i", moved, moved)

    def __len__(self) -> int:
        return len(self.rows)

    def parts(self) -> list[slice]:
        """The row ranges of the tiles."""
        return list(blocks(len(self.rows), self.tile))

    def left(self, rows: slice, dtype: type[np.floating]) -> np.ndarray:
        """(−2x, |x|², 1) of centred rows x: times another's `right`, transposed, their squared distances."""
        block = self._centred(rows, dtype)
        block[:, :-2] *= -2
        block[:, -2], block[:, -1] = self.norms[rows], 1
        return block

    def right(self, rows: slice, dtype: type[np.floating]) -> np.ndarray:
        """(y, 1, |y|²) of centred rows y."""
        block = self._centred(rows, dtype)
        block[:, -2], block[:, -1] = 1, self.norms[rows]
        return block

    def _centred(self, rows: slice, dtype: type[np.floating]) -> np.ndarray:
        """Centred rows and two empty columns."""
        block = np.empty((rows.stop - rows.start, self.rows.shape[1] + 2), dtype)
        working = np.promote_types(self.rows.dtype, dtype)
        np.subtract(self.rows[rows], self.centre.astype(working), out=block[:, :-2], casting="same_kind")
        return block

    def subset(self, index: np.ndarray) -> Cloud:
        """A copy of some rows, seen from the same centre."""
        return Cloud(self.rows[index], self.centre, self.tile)


def working_type(x: Cloud, y: Cloud) -> type[np.floating]:
    """What distances between the rows are first computed in."""
    if x.rows.shape[1] < NARROW or max(x.norms.max(), y.norms.max()) > HUGE:
        return np.float64
    return np.float32


def rounding(norms: np.ndarray, dim: int, dtype: type[np.floating]) -> np.ndarray:
    """How far squared distances between rows may be off, whose squared norms add up to `norms`."""
    bound: np.ndarray = SAFETY * dim**0.5 * float(np.finfo(dtype).eps) / 2 * norms
    return bound


def squared(x: np.ndarray, y: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Σ(x_i − y_j)² in float64 for pairs of rows."""
    found = np.empty(len(i))
    for part in blocks(len(i), max(1, CHUNK // x.shape[1])):
        difference = np.subtract(x[i[part]], y[j[part]], dtype=np.float64)
        found[part] = np.einsum("ij,ij->i", difference, difference)
    return found


class Nearest:
    """The candidates seen so far for each of n rows: the `k` + `SPARE` smallest squared distances, unordered."""

    def __init__(self, n: int, k: int, dtype: type[np.floating]) -> None:
        self.k = k
        self.dtype = dtype
        self.width = k + SPARE
        self.values = np.full((n, self.width), np.inf, dtype)
        self.index = np.zeros((n, self.width), np.int64)

    def offer(self, rows: slice, tile: np.ndarray, first: int) -> None:
        """Distances of `rows` to the others from number `first` on."""
        values, index = torch.topk(
            torch.from_numpy(tile), min(self.width, tile.shape[1]), dim=1, largest=False, sorted=False
        )
        merged = np.concatenate([self.values[rows], values.numpy()], axis=1)
        origin = np.concatenate([self.index[rows], index.numpy() + first], axis=1)
        kept = np.argpartition(merged, self.width - 1, axis=1)[:, : self.width]
        self.values[rows] = np.take_along_axis(merged, kept, axis=1)
        self.index[rows] = np.take_along_axis(origin, kept, axis=1)

    def settle(self, x: Cloud, y: Cloud, own: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Exact squared distances float64 (n, k), ascending, and whose they are; doubtful rows are searched again.

        `own` gives each row's own number within y, which is not its neighbour.
        """
        n, dim = x.rows.shape
        seen = np.isfinite(self.values)
        exact = squared(x.rows, y.rows, np.arange(n).repeat(self.width), self.index.ravel()).reshape(n, self.width)
        exact[~seen] = np.inf
        order = np.lexsort((self.index, exact), axis=1)[:, : self.k]
        exact, index = np.take_along_axis(exact, order, axis=1), np.take_along_axis(self.index, order, axis=1)
        if self.dtype is np.float32:
            unseen = self.values.max(axis=1) - rounding(x.norms + y.norms.max(), dim, np.float32)
            doubtful = np.flatnonzero(unseen <= exact[:, -1])
            if len(doubtful):
                ours = None if own is None else own[doubtful]
                exact[doubtful], index[doubtful] = search(x.subset(doubtful), y, self.k, own=ours, dtype=np.float64)
        return exact, index


def search(
    x: Cloud, y: Cloud, k: int, *, own: np.ndarray | None = None, dtype: type[np.floating] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of y to each row of x: squared distances float64 (n, k), ascending, and their numbers."""
    dtype = dtype or working_type(x, y)
    nearest = Nearest(len(x), k, dtype)
    for rows in x.parts():
        left = x.left(rows, dtype)
        for others in y.parts():
            tile = left @ y.right(others, dtype).T
            if own is not None:
                mine = np.flatnonzero((own[rows] >= others.start) & (own[rows] < others.stop))
                tile[mine, own[rows][mine] - others.start] = np.inf
            nearest.offer(rows, tile, others.start)
    return nearest.settle(x, y, own)


def search_own(x: Cloud, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other rows of the same cloud, a row itself excluded by number; each tile serves both its sides."""
    dtype = working_type(x, x)
    nearest = Nearest(len(x), k, dtype)
    for rows in x.parts():
        left = x.left(rows, dtype)
        for others in x.parts():
            if others.start < rows.start:
                continue
            tile = left @ x.right(others, dtype).T
            if others == rows:
                np.fill_diagonal(tile, np.inf)
            else:
                nearest.offer(others, torch.from_numpy(tile).t().contiguous().numpy(), rows.start)
            nearest.offer(rows, tile, others.start)
    return nearest.settle(x, x, np.arange(len(x)))


def members(
    tile: np.ndarray,
    radii: np.ndarray,
    doubt: np.ndarray | None,
    exactly: Callable[[np.ndarray, np.ndarray], np.ndarray],
    again: Callable[[], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (i, j) of a tile whose squared distance is at most the squared radius, border included.

    `radii` is (p, 1) or (1, q), `doubt` alike (None: none); close calls are settled by `exactly`, which gives the
    distances of pairs, or where they are many by `again`, which gives the whole tile in float64.
    """
    limits = radii if doubt is None else (radii + doubt).astype(tile.dtype)
    i, j = np.divmod(np.flatnonzero(tile <= limits), tile.shape[1])
    if doubt is None:
        return i, j
    owner = i if radii.shape[1] == 1 else j
    close = np.flatnonzero(tile[i, j] > (radii - doubt).ravel()[owner])
    if len(close) > RECHECK:
        i, j = np.divmod(np.flatnonzero(again() <= radii), tile.shape[1])
        return i, j
    kept = np.ones(len(i), dtype=bool)
    kept[close] = exactly(i[close], j[close]) <= radii.ravel()[owner[close]]
    return i[kept], j[kept]

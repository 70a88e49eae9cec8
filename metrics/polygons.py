"""Scores of drawn polygons against the truth: the family of shapes is known, so no network has to guess.

After Lucic et al. 2018, "Are GANs Created Equal?" (arXiv:1711.10337), who measure the distance of generated
triangles to their known manifold. Here each image is fitted by every kind of polygon of the family.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_numpy
from metrics.score import PolygonScores

TOLERANCE = 0.05
"""Root mean square error of a pixel, in 0…1, up to which an image counts as drawable."""
ROTATIONS = 8
STEPS = 8
BINS = 2
COVERED_SHARE = 0.1
BATCH = 256


@dataclass(frozen=True)
class PolygonFamily:
    """Filled regular polygons, white on black, uniformly drawn: their vertices, and the circumscribed circle's radius.

    Lengths are shares of the image's side, the centre keeps the circle inside the image, the rotation goes over one
    period. A pixel's level is the share of it that the polygon covers, averaged over at least `samples` points a side.
    """

    vertices: tuple[int, ...] = (3, 4, 5)
    radius: tuple[float, float] = (0.2, 0.4)
    samples: int = 32

    def draw(self, parameters: np.ndarray, vertices: int, size: int) -> np.ndarray:
        """Levels in 0…1, float32 (n, size, size), of polygons (n, 4): radius, x, y, rotation."""
        return self.fill(self.beyond(parameters, vertices, size), parameters[:, 0], vertices, size)

    def beyond(self, parameters: np.ndarray, vertices: int, size: int) -> np.ndarray:
        """How far points lie from the centre along the edge normal that they are furthest out by, whatever the radius.

        Float32 (points, points, n), rows first, in shares of the side; images last make every loop long.
        """
        side = size * max(1, self.samples // size)
        at = ((np.arange(side) + 0.5) / side).astype(np.float32)[:, None]
        _, x, y, rotation = parameters.astype(np.float32).T
        furthest, edge = np.empty((2, side, side, len(parameters)), np.float32)
        for number in range(vertices):
            normal = rotation + np.float32(np.pi * (2 * number + 1) / vertices)
            across, down = np.cos(normal) * (at - x), np.sin(normal) * (at - y)
            np.add(down[:, None], across[None], out=edge if number else furthest)
            if number:
                np.maximum(furthest, edge, out=furthest)
        return furthest

    def fill(self, beyond: np.ndarray, radius: np.ndarray, vertices: int, size: int) -> np.ndarray:
        """Levels in 0…1, float32 (n, size, size), of polygons of these radii (n,)."""
        side = len(beyond)
        fine = beyond - radius.astype(np.float32) * np.float32(np.cos(np.pi / vertices))
        fine *= -side
        fine += 0.5
        np.clip(fine, 0, 1, out=fine)
        per_pixel = side // size
        # the bits of numpy's mean over two short axes, which takes ten times as long
        rows = reduce(np.add, [fine[:, part::per_pixel] for part in range(per_pixel)])
        sums = reduce(np.add, [rows[part::per_pixel] for part in range(per_pixel)])
        return np.ascontiguousarray(sums.transpose(2, 0, 1)) / np.float32(per_pixel**2)

    def clip(self, parameters: np.ndarray) -> np.ndarray:
        """The nearest parameters that the family draws."""
        radius = parameters[:, :1].clip(*self.radius)
        return np.concatenate([radius, parameters[:, 1:3].clip(radius, 1 - radius), parameters[:, 3:]], axis=1)

    def shares(self, parameters: np.ndarray, vertices: int) -> np.ndarray:
        """Where in 0…1 each parameter (n, 4) lies within its range: independent and uniform for drawn polygons."""
        low, high = self.radius
        radius, centre = parameters[:, :1], parameters[:, 1:3]
        rotation = parameters[:, 3:] * vertices / (2 * np.pi) % 1
        return np.concatenate([(radius - low) / (high - low), (centre - radius) / (1 - 2 * radius), rotation], axis=1)


def polygon_scores(fake: Array, *, family: PolygonFamily | None = None, tolerance: float = TOLERANCE) -> PolygonScores:
    """True precision and recall of images uint8 (n, 1, s, s) as members of `family` (ours by default).

    Each image is fitted by every kind of polygon: a start from its area, centre of mass and the best of 8
    rotations, then Gauss–Newton steps on radius, centre and rotation within the family's ranges. Its distance
    is the root mean square error of the best fit, per pixel in 0…1. Precision is the share of images within
    `tolerance`. For recall, each kind's four parameters are halved into 16 equally likely cells: a cell is
    covered when its fitted polygons are at least a tenth of its fair share, and recall is the share of
    covered cells. Of those n perfect samples miss about exp(−n/cells): 1.5 % at n = 200 and the family's 48 cells.

    Raises `UserError` for other dtypes or shapes.
    """
    family = family or PolygonFamily()
    images = as_numpy(fake)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3]:
        raise UserError(
            f"polygons are square grey images, uint8 (n, 1, s, s), and these are {images.dtype} {images.shape}"
        )
    fits = [_fit_all(images[start : start + BATCH, 0], family) for start in range(0, len(images), BATCH)]
    distances, kinds, parameters = (np.concatenate(parts) for parts in zip(*fits, strict=True))
    valid = distances <= tolerance
    cells = np.zeros((len(family.vertices), BINS**4), dtype=np.int64)
    for number, vertices in enumerate(family.vertices):
        shares = family.shares(parameters[valid & (kinds == number)], vertices)
        index = (shares * BINS).astype(int).clip(0, BINS - 1) @ (BINS ** np.arange(4))
        cells[number] = np.bincount(index, minlength=BINS**4)
    fair = len(images) / cells.size
    return PolygonScores(
        precision=float(valid.mean()),
        recall=float((cells >= max(1.0, COVERED_SHARE * fair)).mean()),
        distances=distances,
        vertices=np.array(family.vertices)[kinds],
        parameters=parameters,
    )


def _fit_all(images: np.ndarray, family: PolygonFamily) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best fit of images uint8 (n, s, s): distance (n,), which of the family's kinds (n,), parameters (n, 4)."""
    target = images.astype(np.float32) / 255
    fits = [_fit(target, vertices, family) for vertices in family.vertices]
    errors = np.stack([error for error, _ in fits])
    kinds = errors.argmin(axis=0)
    return np.sqrt(errors.min(axis=0)), kinds, np.stack([found for _, found in fits])[kinds, np.arange(len(images))]


def _fit(target: np.ndarray, vertices: int, family: PolygonFamily) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error (n,) and parameters (n, 4) of the best polygon of one kind."""
    size = target.shape[1]

    def error_of(drawn: np.ndarray) -> np.ndarray:
        errors: np.ndarray = ((drawn - target) ** 2).mean(axis=(1, 2))
        return errors

    starts = [_start(target, vertices, family, share / ROTATIONS) for share in range(ROTATIONS)]
    tried = np.stack([error_of(family.draw(start, vertices, size)) for start in starts])
    best = np.stack(starts)[tried.argmin(axis=0), np.arange(len(target))]
    error, damping = tried.min(axis=0), np.full(len(target), 1e-3)
    beyond = family.beyond(best, vertices, size)
    drawn = family.fill(beyond, best[:, 0], vertices, size)
    step = np.array([0.01, 0.01, 0.01, 0.05])
    for _ in range(STEPS):
        larger = family.fill(beyond, best[:, 0] + step[0], vertices, size)
        moved = [larger, *(family.draw(best + step * one, vertices, size) for one in np.eye(4)[1:])]
        slopes = np.stack([(image - drawn).reshape(len(best), -1) for image in moved], axis=2) / step
        residuals = (target - drawn).reshape(len(best), -1)
        normal = np.einsum("npi,npj->nij", slopes, slopes, optimize=True)
        normal += damping[:, None, None] * (normal * np.eye(4)) + 1e-9 * np.eye(4)
        change = np.linalg.solve(normal, np.einsum("npi,np->ni", slopes, residuals)[..., None])[..., 0]
        candidate = family.clip(best + change.clip(-0.3, 0.3))
        candidate_beyond = family.beyond(candidate, vertices, size)
        candidate_drawn = family.fill(candidate_beyond, candidate[:, 0], vertices, size)
        reached = error_of(candidate_drawn)
        better = reached < error
        best[better], error[better], drawn[better] = candidate[better], reached[better], candidate_drawn[better]
        np.copyto(beyond, candidate_beyond, where=better)
        damping = np.where(better, damping / 4, damping * 8)
    return error, best


def _start(target: np.ndarray, vertices: int, family: PolygonFamily, turn: float) -> np.ndarray:
    """The polygon (n, 4) of the image's area and centre of mass, turned by this share of a period."""
    size = target.shape[1]
    at = (np.arange(size) + 0.5) / size
    mass = target.mean(axis=(1, 2), dtype=np.float64)
    safe = np.maximum(mass, 1e-6)
    x, y = (target.mean(axis=axis) @ at / (size * safe) for axis in (1, 2))
    radius = np.sqrt(mass / (vertices / 2 * np.sin(2 * np.pi / vertices)))
    rotation = np.full(len(target), turn * 2 * np.pi / vertices)
    return family.clip(np.stack([radius, x, y, rotation], axis=1))

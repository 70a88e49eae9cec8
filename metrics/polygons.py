"""Scores of drawn polygons against the truth: the family of shapes is known, so no network has to guess.

After Lucic et al. 2018, "Are GANs Created Equal?" (arXiv:1711.10337), who measure the distance of generated
triangles to their known manifold. Here each image is fitted by every kind of polygon of the family.
"""

from __future__ import annotations

from dataclasses import dataclass

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
BATCH = 500


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
        per_pixel = max(1, self.samples // size)
        side = size * per_pixel
        at = ((np.arange(side) + 0.5) / side).astype(np.float32)
        radius, x, y, rotation = parameters.astype(np.float32).T[..., None]
        outside = np.full((len(parameters), side, side), -np.inf, np.float32)
        for edge in range(vertices):
            normal = rotation + np.float32(np.pi * (2 * edge + 1) / vertices)
            across, down = np.cos(normal) * (at - x), np.sin(normal) * (at - y)
            np.maximum(outside, down[:, :, None] + across[:, None, :], out=outside)
        outside -= (radius * np.float32(np.cos(np.pi / vertices)))[..., None]
        outside *= -side
        outside += 0.5
        np.clip(outside, 0, 1, out=outside)
        levels: np.ndarray = outside.reshape(-1, size, per_pixel, size, per_pixel).mean(axis=(2, 4))
        return levels

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

    def error_of(parameters: np.ndarray) -> np.ndarray:
        errors: np.ndarray = ((family.draw(parameters, vertices, size) - target) ** 2).mean(axis=(1, 2))
        return errors

    starts = [_start(target, vertices, family, share / ROTATIONS) for share in range(ROTATIONS)]
    tried = np.stack([error_of(start) for start in starts])
    best = np.stack(starts)[tried.argmin(axis=0), np.arange(len(target))]
    error, damping = tried.min(axis=0), np.full(len(target), 1e-3)
    step = np.array([0.01, 0.01, 0.01, 0.05])
    for _ in range(STEPS):
        drawn = family.draw(best, vertices, size)
        moved = [(family.draw(best + step * one, vertices, size) - drawn).reshape(len(best), -1) for one in np.eye(4)]
        slopes = np.stack(moved, axis=2) / step
        residuals = (target - drawn).reshape(len(best), -1)
        normal = np.einsum("npi,npj->nij", slopes, slopes, optimize=True)
        normal += damping[:, None, None] * (normal * np.eye(4)) + 1e-9 * np.eye(4)
        change = np.linalg.solve(normal, np.einsum("npi,np->ni", slopes, residuals)[..., None])[..., 0]
        candidate = family.clip(best + change.clip(-0.3, 0.3))
        reached = error_of(candidate)
        better = reached < error
        best[better], error[better] = candidate[better], reached[better]
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

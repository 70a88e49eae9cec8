"""Drawn polygons: images whose manifold is known exactly (after Lucic et al., "Are GANs Created Equal?", 2018).

Lucic et al. draw triangles to measure precision and recall by the distance to the manifold. Here a polygon is
regular and has five parameters, drawn independently and uniformly:

- vertices: 3, 4 or 5, which is also its label;
- radius of its circumscribed circle: 0.2…0.4 of the image's side;
- centre (x, y): anywhere that keeps this circle inside the image;
- rotation: over one period, 0…2π/vertices.

White (255) on black (0), one channel; a pixel's level is the share of it that the polygon covers.
"""

from __future__ import annotations

from math import cos, pi
from typing import NamedTuple

import numpy as np

from ganbench.errors import UserError
from ganbench.seeds import derive
from harness.data.dataset import SPLITS, Dataset
from metrics.polygons import PolygonFamily

VERTICES = (3, 4, 5)
RADIUS = (0.2, 0.4)
SAMPLES_PER_SIDE = 32
"""Of the image, at least; smaller images take several samples a pixel."""
COUNTS = {"train": 10_000, "selection": 2_000, "test": 2_000}


class Polygon(NamedTuple):
    """A regular polygon; lengths are shares of the image's side, y grows downwards."""

    vertices: int
    radius: float
    x: float
    y: float
    rotation: float


def polygon(*, seed: int, split: str, index: int) -> Polygon:
    """The parameters of image `index` of `split`: a function of these three alone, whatever the dataset's size."""
    u = np.random.default_rng(derive(seed, f"polygons/{split}", index)).random(5).tolist()
    vertices = VERTICES[int(u[0] * len(VERTICES))]
    radius = RADIUS[0] + u[1] * (RADIUS[1] - RADIUS[0])
    x, y = (radius + share * (1 - 2 * radius) for share in u[2:4])
    return Polygon(vertices, radius, x, y, u[4] * 2 * pi / vertices)


def draw(shape: Polygon, size: int) -> np.ndarray:
    """The polygon as uint8 (size, size); its area is right within 1 %, which Pillow's polygons are not."""
    samples = max(1, SAMPLES_PER_SIDE // size)
    side = size * samples
    at = (np.arange(side) + 0.5) / side
    normals = shape.rotation + pi * (2 * np.arange(shape.vertices) + 1) / shape.vertices
    x = np.outer(np.cos(normals), at - shape.x)
    y = np.outer(np.sin(normals), at - shape.y)
    apothem = shape.radius * cos(pi / shape.vertices)
    outside = (y[:, :, None] + x[:, None, :]).max(axis=0) - apothem  # signed distance to the nearest edge
    coverage = np.clip(0.5 - side * outside, 0, 1).reshape(size, samples, size, samples).mean(axis=(1, 3))
    levels: np.ndarray = np.round(255 * coverage).astype(np.uint8)
    return levels


def load(*, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """`n` (10,000) polygons for training, 2,000 for selection and 2,000 for the test; `size` (16) of at least 8."""
    size = 16 if size is None else size
    if size < 8:
        raise UserError(f"polygons cannot be drawn with data.size={size}: choose at least 8")
    counts = COUNTS if n is None else {**COUNTS, "train": n}
    shapes = {
        split: [polygon(seed=seed, split=split, index=index) for index in range(count)]
        for split, count in counts.items()
    }
    return Dataset(
        "polygons",
        *(np.stack([draw(shape, size) for shape in shapes[split]])[:, None] for split in SPLITS),
        polygons=PolygonFamily(VERTICES, RADIUS, SAMPLES_PER_SIDE),
        labels={split: np.array([shape.vertices for shape in drawn], np.int64) for split, drawn in shapes.items()},
        summary=f"regular polygons of 3 to 5 vertices, grey, {size}×{size}",
    )

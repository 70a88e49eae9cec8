"""The one border between a network's floats and images: conversion, grids, pictures of points."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from ganbench.files import write_atomic

PADDING = 2
"""Pixels between a grid's images and around them."""
LIMIT = 1.5
"""A scatter picture shows [−LIMIT, LIMIT] in both coordinates, so that pictures can be compared."""


class NonFiniteImages(ValueError):  # noqa: N818 (a state of the images, caught as a reason for a failed trial)
    """Some of a network's samples hold NaN or infinity; `count` of `total` do."""

    def __init__(self, count: int, total: int) -> None:
        super().__init__(f"{count} of {total} samples hold NaN or infinite values")
        self.count = count
        self.total = total


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Floats (N, C, H, W) in [−1, 1] as uint8: round(clamp((x+1)·127.5, 0, 255)), C-contiguous, on the CPU.

    Values outside are clamped. Raises `NonFiniteImages` for NaN or infinity, which would else pass as black or white.
    """
    _check_finite(images)
    levels = images.detach().to(torch.float32).add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.cpu().contiguous().numpy()


def to_points(points: torch.Tensor) -> np.ndarray:
    """Float samples (N, D) as float32, unchanged; raises `NonFiniteImages` for NaN or infinity."""
    _check_finite(points)
    return points.detach().to("cpu", torch.float32).contiguous().numpy()


def to_float(
    images: np.ndarray | torch.Tensor, *, memory_format: torch.memory_format = torch.contiguous_format
) -> torch.Tensor:
    """uint8 images (N, C, H, W) as float32 x/127.5 − 1 in [−1, 1], on their device; `to_uint8` gives them back."""
    if isinstance(images, np.ndarray):  # torch has no read-only tensors
        images = torch.from_numpy(images if images.flags.writeable else images.copy())
    return images.to(torch.float32, memory_format=memory_format).div_(127.5).sub_(1)


def _check_finite(samples: torch.Tensor) -> None:
    bad = int((~torch.isfinite(samples)).flatten(1).any(dim=1).sum())
    if bad:
        raise NonFiniteImages(bad, len(samples))


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """uint8 images (N, C, H, W) row by row on white, as one picture (height, width, C)."""
    count, channels, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    picture = np.full(
        (rows * (height + PADDING) + PADDING, columns * (width + PADDING) + PADDING, channels), 255, np.uint8
    )
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        top, left = PADDING + row * (height + PADDING), PADDING + column * (width + PADDING)
        picture[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return picture


def class_rows(images: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """uint8 images (N, C, H, W) as a picture like `grid`'s, where each label, by rising value, begins a new row."""
    order = np.argsort(labels, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(np.asarray(labels)[order])) + 1)
    columns = max(len(run) for run in runs)
    white = np.full((len(runs) * columns, *images.shape[1:]), 255, np.uint8)
    for row, run in enumerate(runs):
        white[row * columns : row * columns + len(run)] = images[run]
    return grid(white, columns)


def scatter(
    points: np.ndarray,
    centres: np.ndarray | None = None,
    size: int = 256,
    *,
    labels: Sequence[int] | None = None,
) -> np.ndarray:
    """Points (N, 2) as translucent dots over rings at the `centres` (M, 2), as uint8 (size, size, 3), y upwards.

    Points beyond ±1.5 are not shown. Labels (N,) give each class a hue.
    """
    enlarged = 4  # drawn larger and averaged down: Pillow's own dots have jagged edges
    side = size * enlarged
    canvas = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(canvas, "RGBA")

    def circles(at: np.ndarray, radius: float) -> list[tuple[float, float, float, float]]:
        x, y = (at * np.array([1, -1]) / LIMIT + 1).T * side / 2
        return list(zip(x - radius, y - radius, x + radius, y + radius, strict=True))

    if centres is not None:
        for box in circles(centres, side / 24):
            pen.ellipse(box, outline=(200, 90, 30, 255), width=enlarged)
    inside = (np.abs(points) <= LIMIT).all(axis=1)
    for box, fill in zip(circles(points[inside], side / 170), _fills(labels, inside), strict=True):
        pen.ellipse(box, fill=fill)
    return np.asarray(canvas.reduce(enlarged))


def _fills(labels: Sequence[int] | None, shown: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Translucent colours of the points that are shown."""
    if labels is None:
        return [(30, 90, 160, 110)] * int(shown.sum())
    found, places = np.unique(np.asarray(labels), return_inverse=True)
    hues = [colorsys.hls_to_rgb(place / len(found), 0.42, 0.7) for place in range(len(found))]
    wheel = [(round(255 * red), round(255 * green), round(255 * blue), 130) for red, green, blue in hues]
    return [wheel[place] for place in places[shown]]


def save_picture(picture: np.ndarray, path: Path) -> None:
    """A picture uint8 (height, width, C), C of 1 or 3, as a PNG file, atomically."""
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    write_atomic(path, lambda file: image.save(file, format="PNG"))

"""Bringing images to a square of a given side: the centre is cropped, then resampled with Pillow.

Pillow widens its filters when it shrinks (antialiasing) and computes in integers, so every machine gets the
same bits; `torch.nn.functional.interpolate` and OpenCV do neither by default.
"""

from __future__ import annotations

import numpy as np
from PIL import Image


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """The largest centred square of `image`, resampled to `size` × `size` with Lanczos' filter."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return resample(image.crop((left, top, left + side, top + side)), size, Image.Resampling.LANCZOS)


def resample(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    """`image` stretched to `size` × `size`; itself if it has that size."""
    return image if image.size == (size, size) else image.resize((size, size), resampling)


def centre_squares(images: np.ndarray, size: int) -> np.ndarray:
    """`centre_square` of each of the uint8 images (N, C, H, W), with C of 1 or 3."""
    if images.shape[2:] == (size, size):
        return images
    result = np.empty((*images.shape[:2], size, size), np.uint8)
    for place, image in zip(result, images, strict=True):
        for channel, plane in zip(place, image, strict=True):
            channel[:] = np.asarray(centre_square(Image.fromarray(plane), size))
    return result


def describe(size: int | None) -> dict[str, str]:
    """What `centre_square` does, for `Dataset.preprocessing`."""
    return {} if size is None else {"crop": "centre square", "resize": f"{size}×{size} Pillow Lanczos (antialiased)"}

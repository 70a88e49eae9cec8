"""Bringing images to a square of a given side: the centre is cropped, then resampled with Pillow, then padded.

Pillow widens its filters when it shrinks (antialiasing) and computes in integers, so every machine gets the
same bits; `torch.nn.functional.interpolate` and OpenCV do neither by default.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ganbench.errors import UserError
from harness.image_options import AS_IS, ImageOptions

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


class DoesNotFitError(ValueError):
    """An image is too small for its crop or too large for its padding: what it has, and the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def fit(image: Image.Image, size: int | None, options: ImageOptions = AS_IS) -> Image.Image:
    """`image` cropped, resampled to `size` × `size` (None: left at its own size) and padded.

    Raises `DoesNotFitError` where the crop is larger than the image or the padding smaller.
    """
    if isinstance(options.crop, int):
        image = _centre(image, options.crop)
    elif options.crop == "centre" and size is not None:
        image = _centre(image, min(image.size))
    if size is not None:
        image = resample(image, size, FILTERS[options.resize])
    return image if options.pad is None else _padded(image, options.pad)


def _centre(image: Image.Image, side: int) -> Image.Image:
    if image.size == (side, side):
        return image
    if side > min(image.size):
        raise DoesNotFitError(
            f"has {image.width}×{image.height} pixels, too few for data.crop={side}", "lower data.crop"
        )
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _padded(image: Image.Image, side: int) -> Image.Image:
    if image.size == (side, side):
        return image
    if side < max(image.size):
        raise DoesNotFitError(
            f"has {image.width}×{image.height} pixels, too many for data.pad={side}", "raise data.pad or give data.size"
        )
    padded = Image.new(image.mode, (side, side), 0)
    padded.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return padded


def resample(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    """`image` stretched to `size` × `size`; itself if it has that size."""
    return image if image.size == (size, size) else image.resize((size, size), resampling)


def fit_planes(image: np.ndarray, size: int | None, options: ImageOptions = AS_IS) -> np.ndarray:
    """`fit` of one uint8 image (C, H, W), plane by plane."""
    if _fits_already(image.shape[1:], size, options):
        return image
    return np.stack([np.asarray(fit(Image.fromarray(plane), size, options)) for plane in image])


def _fits_already(shape: tuple[int, ...], size: int | None, options: ImageOptions) -> bool:
    height, width = shape
    return (
        height == width
        and size in (None, height)
        and options.pad in (None, height)
        and (options.crop in ("centre", "none", height))
    )


def fit_all(images: np.ndarray, size: int | None, options: ImageOptions = AS_IS, *, where: str) -> np.ndarray:
    """`fit` of each of the uint8 images (N, C, H, W); `where` names them in the `UserError` if they do not fit."""
    if _fits_already(images.shape[2:], size, options):
        return images
    try:
        result = np.empty((len(images), *fit_planes(images[0], size, options).shape), np.uint8)
        for place, image in zip(result, images, strict=True):
            place[:] = fit_planes(image, size, options)
    except DoesNotFitError as error:
        raise UserError(f"each of the images of {where} {error.what}: {error.remedy}") from None
    return result


def describe(size: int | None, options: ImageOptions = AS_IS) -> dict[str, str]:
    """What `fit` does, and what training does on top, for `Dataset.preprocessing`."""
    said = {}
    if isinstance(options.crop, int):
        said["crop"] = f"centre square of {options.crop}"
    elif size is not None:
        said["crop"] = "centre square" if options.crop == "centre" else "none"
    if size is not None:
        kernel = options.resize.capitalize() if options.resize == "lanczos" else options.resize
        said["resize"] = f"{size}×{size} Pillow {kernel} (antialiased)"
    return said | describe_late(options)


def describe_late(options: ImageOptions) -> dict[str, str]:
    """The part of `describe` that any loader's images can be given afterwards."""
    said = {}
    if options.pad is not None:
        said["pad"] = f"to {options.pad}×{options.pad} with 0"
    if options.flip:
        said["flip"] = "training images mirrored left to right with probability 1/2"
    return said

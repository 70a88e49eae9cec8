"""What is done to images on their way into a dataset, besides their size. Free of torch and numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kernel = Literal["lanczos", "bicubic", "bilinear", "box"]
Crop = Literal["centre", "none"] | int


@dataclass(frozen=True)
class ImageOptions:
    """The options of `DataConfig` that loaders of images take; the defaults leave every dataset as it always was."""

    resize: Kernel = "lanczos"
    """Pillow's filter, which it widens when it shrinks (antialiasing)."""
    crop: Crop = "centre"
    """Before resizing: the largest centred square, nothing, or a centred square of so many pixels a side."""
    pad: int | None = None
    """Side to which images are filled up with zeros all around, after resizing."""
    flip: bool = False
    """Whether training shows every second image mirrored, by chance."""
    skip_broken: bool = False
    """Leave files out that cannot be read, and count them, rather than refuse the dataset."""


AS_IS = ImageOptions()

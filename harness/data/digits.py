"""scikit-learn's handwritten digits: real images that need no download."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ganbench import digits
from ganbench.errors import UserError
from harness.data.dataset import SPLITS, Dataset
from harness.data.resizing import resample
from harness.data.splitting import subset

NATIVE = 8
SIZES = (8, 16, 32, 64)


def load(*, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """1,197 digits for training (or `n` of them), 240 for selection, 360 for the test; always the same split.

    Grey images of the native 8×8 pixels or enlarged bilinearly to 16, 32 or 64; labels 0…9.
    """
    size = NATIVE if size is None else size
    if size not in SIZES:
        raise UserError(f"digits cannot be had with data.size={size}: choose {', '.join(map(str, SIZES[:-1]))} or 64")
    images, labels = digits.load()
    indices = digits.split()
    indices["train"] = subset(indices["train"], n, seed=seed, where="digits")
    return Dataset(
        "digits",
        *(_enlarge(images[indices[split]], size) for split in SPLITS),
        labels={split: labels[index] for split, index in indices.items()},
        preprocessing={} if size == NATIVE else {"resize": f"{NATIVE}×{NATIVE} → {size}×{size} Pillow bilinear"},
        summary=f"handwritten digits, grey, {size}×{size}",
    )


def _enlarge(images: np.ndarray, size: int) -> np.ndarray:
    if size == NATIVE:
        return images
    enlarged = (resample(Image.fromarray(image), size, Image.Resampling.BILINEAR) for image in images[:, 0])
    return np.stack([np.asarray(image) for image in enlarged])[:, None]

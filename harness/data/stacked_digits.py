"""Three handwritten digits in one image, one per colour channel: a thousand equally likely modes.

After the stacked MNIST of Metz et al. 2017, "Unrolled GANs" (arXiv:1611.02163), from digits that need no download.
"""

from __future__ import annotations

import numpy as np

from ganbench import digits as source
from ganbench.seeds import derive
from harness.data import digits
from harness.data.dataset import SPLITS, Dataset

CHANNELS = 3
CLASSES = 10
NUMBERS = {"train": 20_000, "selection": 2_000, "test": 5_000}


def load(*, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """`n` (20,000) training images, 2,000 for selection and 5,000 for the test, uint8 (N, 3, size, size).

    Each channel's class is drawn first, then a digit of it, from the same part of `digits`: no pixel of a held-out part
    is trained on. Labels are 100·red + 10·green + blue. Sizes as of `digits`.
    """
    single = digits.load(size=size)
    numbers = NUMBERS if n is None else {**NUMBERS, "train": n}
    assert single.labels is not None, "digits have classes"
    parts, labels = {}, {}
    for split, images in single.splits().items():
        parts[split], labels[split] = _stack(
            images, single.labels[split], numbers[split], derive(seed, f"stacked-digits/{split}")
        )
    return Dataset(
        "stacked-digits",
        *(parts[split] for split in SPLITS),
        labels=labels,
        preprocessing=single.preprocessing,
        summary=f"three handwritten digits as colour channels, {single.shape[-1]}×{single.shape[-1]}, "
        f"{CLASSES**CHANNELS:,} modes of {len(source.load()[1]):,} digits",
    )


def _stack(images: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` stacks and their labels; the first m of them are those of a count of m."""
    generator = np.random.default_rng(seed)
    of_class = [np.flatnonzero(labels == digit) for digit in range(CLASSES)]
    drawn = generator.random((count, CHANNELS, 2))  # row by row, so that fewer are a part of more
    classes = (drawn[..., 0] * CLASSES).astype(np.int64)
    sizes = np.array([len(indices) for indices in of_class])
    within = (drawn[..., 1] * sizes[classes]).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    chosen = np.concatenate(of_class)[starts[classes] + within]
    return np.ascontiguousarray(images[chosen, 0]), classes @ np.array([100, 10, 1])

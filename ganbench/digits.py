"""scikit-learn's handwritten digits and the one split of them that datasets and metrics share.

The `digits` feature network is trained on the train part alone; were this split written twice, the
network could one day have seen the images that it is asked to judge.
"""

from __future__ import annotations

from functools import cache

import numpy as np

SIZES = {"train": 1197, "selection": 240, "test": 360}


@cache
def _read() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # slow to import, and nobody needs it for a help text

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    images.flags.writeable = labels.flags.writeable = False  # shared between all callers
    return images, labels


def load() -> tuple[np.ndarray, np.ndarray]:
    """All digits in scikit-learn's order: images uint8 (1797, 1, 8, 8) in 0…255, labels int64 (1797,).

    The levels 0…16 of the original become round(level·255/16). The arrays are read-only.
    """
    return _read()


def split() -> dict[str, np.ndarray]:
    """Indices into `load()` of the parts "train" (1197), "selection" (240) and "test" (360), ascending.

    Stratified: sorted by class (at random within a class), evenly spaced places go to the test part, and
    evenly spaced places of what remains to the selection part. Always the same split: its seed is fixed.
    """
    _, labels = load()
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    test, rest = _evenly(order, SIZES["test"])
    selection, train = _evenly(rest, SIZES["selection"])
    return {"train": np.sort(train), "selection": np.sort(selection), "test": np.sort(test)}


def _evenly(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` evenly spaced values, and the others."""
    steps = np.arange(len(values) + 1) * count // len(values)
    taken = np.diff(steps) > 0
    return values[taken], values[~taken]

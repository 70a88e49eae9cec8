"""STL-10: RGB, 96×96; 5,000 labelled and 100,000 unlabelled images for training, 8,000 for the test, in raw bytes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from harness.data.dataset import Dataset
from harness.data.official import Part, damaged, official
from harness.data.published import find
from harness.image_options import AS_IS, ImageOptions

SHAPE = (3, 96, 96)
CLASSES = 10


def load(*, size: int | None = None, n: int | None = None, seed: int = 0, options: ImageOptions = AS_IS) -> Dataset:
    """The labelled images in their official split, a tenth of train held out for selection; labels 0…9."""
    train, train_labels, test, test_labels = files = find("stl10")
    parts = [_labelled(train, train_labels), _labelled(test, test_labels)]
    return official("stl10", *parts, files=files, size=size, n=n, seed=seed, options=options)


def load_unlabelled(
    *, size: int | None = None, n: int | None = None, seed: int = 0, options: ImageOptions = AS_IS
) -> Dataset:
    """The unlabelled images, which papers train GANs on, a tenth held out for selection; the official test part."""
    test, test_labels, train = files = find("stl10-unlabelled")
    parts = [Part(_count(train), partial(_images, train)), _labelled(test, test_labels)]
    return official("stl10-unlabelled", *parts, files=files, size=size, n=n, seed=seed, options=options)


def _labelled(path: Path, labels_path: Path) -> Part:
    labels = np.fromfile(labels_path, np.uint8).astype(np.int64) - 1  # the files count from one
    if len(labels) != _count(path):
        raise damaged(labels_path, f"the labels of {path.name}", f"{len(labels)} labels for {_count(path)} images")
    if not np.isin(labels, np.arange(CLASSES)).all():
        raise damaged(labels_path, f"the labels of {path.name}", f"a class above {CLASSES} or below 1")
    return Part(len(labels), partial(_images, path), labels)


def _count(path: Path) -> int:
    count, rest = divmod(path.stat().st_size, int(np.prod(SHAPE)))
    if rest:
        raise damaged(path, "one of STL-10's files", f"it ends within image {count + 1}")
    return count


def _images(path: Path) -> np.ndarray:
    """uint8 (N, 3, 96, 96), mapped: the unlabelled part alone has 2.8 GB. The files have columns before rows."""
    return np.memmap(path, np.uint8, "r").reshape(-1, *SHAPE).transpose(0, 1, 3, 2)

"""Street View House Numbers: 73,257 training and 26,032 test images of digits, RGB, 32×32, in MATLAB's files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from harness.data.dataset import Dataset
from harness.data.official import Part, damaged, official
from harness.data.published import find
from harness.image_options import AS_IS, ImageOptions


def load(*, size: int | None = None, n: int | None = None, seed: int = 0, options: ImageOptions = AS_IS) -> Dataset:
    """SVHN in its official split without the extra part, a tenth of train held out for selection; labels 0…9."""
    files = find("svhn")
    parts = [Part(len(labels := read_labels(path)), partial(read_images, path, len(labels)), labels) for path in files]
    return official("svhn", *parts, files=files, size=size, n=n, seed=seed, options=options)


def read_labels(path: Path) -> np.ndarray:
    """int64 (N,): the digit shown. The files say 10 for a zero, as MATLAB counts from one."""
    labels = _variable(path, "y")
    if labels.ndim != 2 or labels.shape[1] != 1 or labels.dtype.kind not in "iuf":
        raise damaged(path, "one of SVHN's files", f"its labels have shape {labels.shape}")
    digits: np.ndarray = labels[:, 0].astype(np.int64) % 10
    return digits


def read_images(path: Path, count: int) -> np.ndarray:
    """uint8 (count, 3, H, W); raises `UserError` where the file holds anything else."""
    images = _variable(path, "X")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2:] != (3, count):
        raise damaged(path, "one of SVHN's files", f"its images are {images.dtype} of shape {images.shape}")
    return images.transpose(3, 2, 0, 1)


def _variable(path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=[name])[name]
    except Exception as error:  # a damaged file makes the reader raise nearly anything
        raise damaged(path, "one of SVHN's files", error) from None
    return np.asarray(found)

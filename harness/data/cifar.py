"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images, RGB, 32×32, in pickles of Python 2.

A pickle can call anything. These are read by an unpickler that knows arrays of numbers, and nothing else.
"""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.dataset import Dataset
from harness.data.official import Part, damaged, official
from harness.data.published import find
from harness.image_options import AS_IS, ImageOptions

SHAPE = (3, 32, 32)


def load(
    name: str, *, size: int | None = None, n: int | None = None, seed: int = 0, options: ImageOptions = AS_IS
) -> Dataset:
    """The set `name` in its official split, a tenth of the training part held out for selection; fine labels."""
    *train, test = files = find(name)
    parts = [_part(train), _part([test])]
    return official(name, *parts, files=files, size=size, n=n, seed=seed, options=options)


load_cifar10, load_cifar100 = (partial(load, name) for name in ("cifar10", "cifar100"))


def _part(paths: list[Path]) -> Part:
    labels = np.concatenate([read(path)[1] for path in paths])
    return Part(len(labels), lambda: np.concatenate([read(path)[0] for path in paths]), labels)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,) of one of CIFAR's files.

    Raises:
        UserError: it is no such file, a damaged one, or one that would run code.
    """
    try:
        with path.open("rb") as file:
            batch = _Arrays(file, encoding="bytes").load()
        by_name = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        pixels, labels = by_name["data"], by_name["fine_labels" if "fine_labels" in by_name else "labels"]
        if pixels.dtype != np.uint8:
            raise ValueError(f"its pixels are {pixels.dtype}")
        images = pixels.reshape(-1, *SHAPE)
        classes = np.asarray(labels, np.int64)
        if classes.shape != (len(images),):
            raise ValueError(f"{len(images)} images beside labels of shape {classes.shape}")
    except Exception as error:  # a damaged pickle makes the unpickler raise nearly anything
        raise damaged(path, "one of CIFAR's files", error) from None
    return images, classes


class _Array:
    """Stands in for `numpy.ndarray`, which could be called."""


def _empty(*arguments: object) -> np.ndarray:
    """What an array is before it gets its shape, type and bytes; as numpy's own, but for nothing else than arrays."""
    if arguments[0] is not _Array:
        raise pickle.UnpicklingError("it holds something other than arrays")
    return np.empty(0, np.uint8)


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 pickles bytes for Python 2."""
    if encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"it holds text encoded as {encoding}")
    return text.encode("latin-1")


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy._core.multiarray", "_reconstruct"): _empty,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _Arrays(pickle.Unpickler):
    """Reads arrays and plain containers; refuses a pickle that names anything else, before it is called."""

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which could run code when read") from None

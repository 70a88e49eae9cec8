"""MNIST and its relatives: 60,000 training and 10,000 test images of ten classes, grey, 28×28, in IDX files."""

from __future__ import annotations

import gzip
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harness.data.dataset import Dataset
from harness.data.official import Part, damaged, official
from harness.data.published import find
from harness.image_options import AS_IS, ImageOptions

_UNSIGNED_BYTES = 8
_MAX_BYTES = 2**31
"""Ten times the largest set of this kind: a damaged header shall not ask for all memory."""


def load(
    name: str, *, size: int | None = None, n: int | None = None, seed: int = 0, options: ImageOptions = AS_IS
) -> Dataset:
    """The set `name` in its official split, a tenth of the training part held out for selection; labels 0…9."""
    files = find(name)
    parts = []
    for images, labels in (files[:2], files[2:]):
        classes = read(labels, ndim=1).astype(np.int64)
        parts.append(Part(len(classes), partial(_images, images, len(classes)), classes))
    return official(name, *parts, files=files, size=size, n=n, seed=seed, options=options)


def read(path: Path, *, ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` axes in the IDX file `path`, packed with gzip (`.gz`) or not.

    Raises:
        UserError: it is no such file, or a damaged one.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return _parse(stream, ndim)  # type: ignore[arg-type]  # a GzipFile reads as any other
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise damaged(path, "an IDX file", error) from None


def _parse(stream: BinaryIO, ndim: int) -> np.ndarray:
    zeros, kind, axes = struct.unpack(">HBB", stream.read(4))
    if (zeros, kind, axes) != (0, _UNSIGNED_BYTES, ndim):
        raise ValueError(f"its first four bytes do not announce {ndim} axes of bytes")
    shape = struct.unpack(f">{ndim}I", stream.read(4 * ndim))
    wanted = int(np.prod(shape, dtype=object))
    if wanted > _MAX_BYTES:
        raise ValueError(f"it announces {wanted} bytes")
    content = stream.read(wanted + 1)
    if len(content) != wanted:
        raise ValueError(f"it announces {wanted} bytes and holds {'more' if len(content) > wanted else len(content)}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _images(path: Path, count: int) -> np.ndarray:
    images = read(path, ndim=3)
    if len(images) != count:
        raise damaged(path, "these labels' images", f"{len(images)} images beside {count} labels")
    return images[:, None]


load_mnist, load_fashion_mnist, load_kmnist = (partial(load, name) for name in ("mnist", "fashion-mnist", "kmnist"))

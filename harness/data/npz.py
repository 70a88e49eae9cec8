"""One's own samples from an .npz file.

Images are `images` (or `arr_0`), uint8 as NHW, NHWC or NCHW; points of the plane are `points`, floats (n, 2), as
`ganbench sample` writes them; `labels` are optional.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ganbench.errors import UserError
from harness.data.dataset import SPLITS, Dataset
from harness.data.resizing import centre_squares, describe
from harness.data.splitting import subset, three_ways


def load(path: Path, *, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """The images or points of `path`, split 80/10/10 by `seed`; nothing pickled is ever read.

    Raises `UserError` for a damaged file, a missing key, and arrays of another type, shape or length.
    """
    arrays = _read(path)
    kind = "points" if "points" in arrays else "images"
    samples = _points(path, arrays[kind], size) if kind == "points" else _channels_first(path, arrays[kind])
    labels = arrays.get("labels")
    if labels is not None and (labels.shape != (len(samples),) or labels.dtype.kind not in "iu"):
        raise UserError(
            f"labels in {path} are {labels.dtype} of shape {labels.shape}: "
            f"they must be integers of shape ({len(samples)},)"
        )
    indices = three_ways(len(samples), seed=seed, where=str(path))
    indices["train"] = subset(indices["train"], n, seed=seed, where=str(path))
    parts = {split: samples[index] for split, index in indices.items()}
    if size is not None:
        parts = {split: centre_squares(part, size) for split, part in parts.items()}
    return Dataset(
        path.stem,
        *(parts[split] for split in SPLITS),
        labels=None if labels is None else {split: labels[index].astype(np.int64) for split, index in indices.items()},
        preprocessing=describe(size),
        summary=f"{len(samples)} {kind} of {path.name}",
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """The array "images" or "points" and, if there, "labels"."""
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise UserError(f"{path} is a bare array, not an npz file: write it with numpy.savez(path, images=…)")
            key = next((name for name in ("images", "arr_0", "points") if name in file), None)
            if key is None:
                found = ", ".join(file.files) or "nothing"
                raise UserError(
                    f"{path} has no array called images, arr_0 or points (it has {found}): rename the one you mean"
                )
            named = {"points" if key == "points" else "images": key, "labels": "labels"}
            return {name: _array(path, file, stored) for name, stored in named.items() if stored in file}
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: give fewer or smaller images") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"{path} is damaged or not an npz file: write it again with numpy.savez") from None


def _array(path: Path, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        array: np.ndarray = file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise UserError(
            f"{name} in {path} is an array of Python objects, which could run code when read: "
            "save one array of numbers of equal shape"
        ) from None
    return array


def _points(path: Path, points: np.ndarray, size: int | None) -> np.ndarray:
    """`points` as float32 (n, 2)."""
    if size is not None:
        raise UserError(f"{path} holds points, which have no size: leave size={size} out")
    if points.dtype.kind != "f" or points.ndim != 2 or points.shape[1] != 2:
        raise UserError(f"the points in {path} are {points.dtype} of shape {points.shape}: give floats (n, 2)")
    with np.errstate(over="ignore"):
        narrow = points.astype(np.float32)
    broken = int((~np.isfinite(narrow).all(axis=1)).sum())
    if broken:
        raise UserError(f"{broken} of {len(points)} points in {path} are NaN or infinite in float32: leave them out")
    return narrow


def _channels_first(path: Path, images: np.ndarray) -> np.ndarray:
    """`images` as (N, C, H, W), C of 1 or 3."""
    if images.dtype != np.uint8:
        remedy = "save whole numbers 0…255 as uint8"
        if images.dtype.kind == "f":
            remedy = "scale them to 0…255, round, and save them as uint8"
        raise UserError(f"the images in {path} are {images.dtype}, not uint8: {remedy}")
    if images.ndim not in {3, 4}:
        raise UserError(
            f"the images in {path} have shape {images.shape}: "
            "give (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1 or 3"
        )
    if images.size == 0:
        raise UserError(f"{path} holds no images (shape {images.shape}): give at least 20")
    if images.ndim == 3:
        return images[:, None]
    last, first = images.shape[3] in {1, 3}, images.shape[1] in {1, 3}
    if last and first:
        raise UserError(
            f"the images in {path} have shape {images.shape}, where the channels could be the second or the last axis: "
            "give images of more than 3 pixels a side"
        )
    if not last and not first:
        raise UserError(
            f"the images in {path} have shape {images.shape}, where no axis holds 1 or 3 channels: "
            "give grey or RGB images, without alpha"
        )
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if last else images

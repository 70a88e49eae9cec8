"""One's own samples from an .npz file.

Images are `images` (or `arr_0`), uint8 as NHW, NHWC or NCHW; points of the plane are `points`, floats (n, 2), as
`ganbench sample` writes them; `labels` are optional.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ganbench.errors import UserError
from harness.data import pixel_store
from harness.data.dataset import SPLITS, Dataset
from harness.data.official import once
from harness.data.resizing import DoesNotFitError, describe, fit_planes
from harness.data.splitting import subset, three_ways
from harness.image_options import AS_IS, ImageOptions

KEEP_FROM_BYTES = 64 * 2**20
"""Of images; fewer are unpacked and resized in no time, and not stored so."""


@dataclass(frozen=True)
class _Images:
    """An array of images that need not be read to know what it is."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    content: tuple[int, int]
    """Size and CRC-32."""
    read: Callable[[], np.ndarray]


def load(
    path: Path, *, size: int | None = None, n: int | None = None, seed: int = 0, options: ImageOptions = AS_IS
) -> Dataset:
    """The images or points of `path`, split 80/10/10 by `seed`; nothing pickled is ever read.

    Raises `UserError` for a damaged file, a missing key, and arrays of another type, shape or length.
    """
    samples, labels = _read(path)
    if isinstance(samples, _Images):
        axes = _channels_first(path, samples.shape, samples.dtype)
    else:
        samples = _points(path, samples, size)
    count = samples.shape[0]
    if labels is not None and (labels.shape != (count,) or labels.dtype.kind not in "iu"):
        raise UserError(
            f"labels in {path} are {labels.dtype} of shape {labels.shape}: they must be integers of shape ({count},)"
        )
    indices = three_ways(count, seed=seed, where=str(path))
    indices["train"] = subset(indices["train"], n, seed=seed, where=str(path))
    known = None
    if isinstance(samples, _Images):
        pixels = _arranged(path, samples, axes, indices, size, options)
        parts, known = pixels.parts, pixels.fingerprint
    else:
        parts = {split: samples[index] for split, index in indices.items()}
    return Dataset(
        path.stem,
        *(parts[split] for split in SPLITS),
        labels=None if labels is None else {split: labels[index].astype(np.int64) for split, index in indices.items()},
        preprocessing=describe(size, options) if isinstance(samples, _Images) else {},
        summary=f"{count} {'images' if isinstance(samples, _Images) else 'points'} of {path.name}",
        known_fingerprint=known,
    )


def _arranged(
    path: Path,
    images: _Images,
    axes: tuple[int, ...],
    indices: dict[str, np.ndarray],
    size: int | None,
    options: ImageOptions,
) -> pixel_store.Pixels:
    order = np.concatenate(list(indices.values()))
    whole = once(lambda: images.read().reshape(*images.shape, *(1,) * (4 - len(images.shape))).transpose(axes))

    def decode(row: int) -> np.ndarray:
        try:
            return fit_planes(whole()[order[row]], size, options)
        except DoesNotFitError as error:
            raise UserError(f"each of the images of {path} {error.what}: {error.remedy}") from None

    done = {"size": size, "resize": options.resize, "crop": options.crop, "pad": options.pad}
    return pixel_store.build(
        {"npz": images.content, "rows": hashlib.sha256(order.tobytes()).hexdigest(), **done},
        {split: len(index) for split, index in indices.items()},
        decode,
        title=path.name,
        threads=1 if size is None else None,
        keep=images.content[0] >= KEEP_FROM_BYTES,
    )


def _read(path: Path) -> tuple[np.ndarray | _Images, np.ndarray | None]:
    """The points or the images, and the labels if there are any."""
    with _readable(path), path.open("rb") as stream:
        file = np.load(stream, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise UserError(f"{path} is a bare array, not an npz file: write it with numpy.savez(path, images=…)")
        name = next((name for name in ("images", "arr_0", "points") if name in file), None)
        if name is None:
            found = ", ".join(file.files) or "nothing"
            raise UserError(
                f"{path} has no array called images, arr_0 or points (it has {found}): rename the one you mean"
            )
        samples = _array(path, file, name) if name == "points" else _images(path, file, name)
        return samples, _array(path, file, "labels") if "labels" in file else None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: give fewer or smaller images") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"{path} is damaged or not an npz file: write it again with numpy.savez") from None


def _images(path: Path, file: np.lib.npyio.NpzFile, name: str) -> _Images:
    """Only the header of an array that is large is read."""
    assert file.zip is not None  # as long as the file is open
    member = next(info for info in file.zip.infolist() if info.filename in (name, f"{name}.npy"))
    content = (member.file_size, member.CRC)
    if member.file_size < KEEP_FROM_BYTES:
        array = _array(path, file, name)
        return _Images(array.shape, array.dtype, content, lambda: array)
    with file.zip.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
    if dtype.hasobject:
        raise _objects(path, name)
    return _Images(shape, dtype, content, partial(_reopened, path, name))


def _reopened(path: Path, name: str) -> np.ndarray:
    with _readable(path), path.open("rb") as stream:
        return _array(path, np.load(stream, allow_pickle=False), name)


def _array(path: Path, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        array: np.ndarray = file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise _objects(path, name) from None
    return array


def _objects(path: Path, name: str) -> UserError:
    return UserError(
        f"{name} in {path} is an array of Python objects, which could run code when read: "
        "save one array of numbers of equal shape"
    )


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


def _channels_first(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> tuple[int, ...]:
    """The axes of images of that shape, lengthened to four, in the order (N, C, H, W), C of 1 or 3."""
    if dtype != np.uint8:
        remedy = "save whole numbers 0…255 as uint8"
        if dtype.kind == "f":
            remedy = "scale them to 0…255, round, and save them as uint8"
        raise UserError(f"the images in {path} are {dtype}, not uint8: {remedy}")
    if len(shape) not in {3, 4}:
        raise UserError(
            f"the images in {path} have shape {shape}: give (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1 or 3"
        )
    if 0 in shape:
        raise UserError(f"{path} holds no images (shape {shape}): give at least 20")
    if len(shape) == 3:
        return 0, 3, 1, 2
    last, first = shape[3] in {1, 3}, shape[1] in {1, 3}
    if last and first:
        raise UserError(
            f"the images in {path} have shape {shape}, where the channels could be the second or the last axis: "
            "give images of more than 3 pixels a side"
        )
    if not last and not first:
        raise UserError(
            f"the images in {path} have shape {shape}, where no axis holds 1 or 3 channels: "
            "give grey or RGB images, without alpha"
        )
    return (0, 3, 1, 2) if last else (0, 1, 2, 3)

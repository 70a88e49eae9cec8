"""One's own images from a folder or a zip archive of image files.

Both may be flat, or hold the classes as sub-folders; sub-folders `train` and `test` (and, if there,
`selection`, `val` or `validation`), each flat or of classes, are taken as the splits. Without a test part the
images are split 80/10/10 by the seed; without a selection part a tenth of train becomes it.
Files are taken in natural order (2.png before 10.png), so that a folder and a zip of it are the same dataset.
An archive is read member by member and never unpacked to disk.
"""

from __future__ import annotations

import io
import os
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ganbench.errors import UserError
from harness.data.dataset import SPLITS, Dataset
from harness.data.resizing import centre_square, describe
from harness.data.splitting import hold_out, subset, three_ways

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
SPLIT_FOLDERS = {split: split for split in SPLITS} | {"val": "selection", "validation": "selection"}
MAX_FILE_BYTES = 256 * 2**20
"""An archive's member that claims to unpack to more is refused before anything is unpacked."""
PROGRESS_FROM = 2_000
"""Files; fewer are read in no time."""
CHUNK = 128
"""Files a thread takes at once."""
THREADS_FROM_BYTES = 2_500
"""Per file. Pillow's decoders let go of the GIL, but on files as small as CIFAR-10's threads made it twice as slow."""


@dataclass(frozen=True)
class _Source:
    """Where image files come from: their names (relative, with `/`, in natural order) and how to read one."""

    path: Path
    names: list[str]
    read: Callable[[str], bytes]
    typical_bytes: int


@dataclass(frozen=True)
class _Fault:
    """Why a file cannot be used, to follow its name, and the remedy."""

    what: str
    remedy: str


def load_folder(path: Path, *, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """The images in the folder `path`; raises `UserError` naming the first file at fault."""
    files = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    names = _image_names(path, files)
    source = _Source(path, names, lambda name: (path / name).read_bytes(), (path / names[0]).stat().st_size)
    return _load(source, size=size, n=n, seed=seed)


def load_zip(path: Path, *, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """The images in the zip archive `path`; raises `UserError` naming the first file at fault."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} is damaged or not a zip archive ({error}): make it again") from None
    with archive:
        members = {member.filename: member for member in archive.infolist() if not member.is_dir()}
        names = _image_names(path, members)
        for name in names:
            if members[name].file_size > MAX_FILE_BYTES:
                raise UserError(
                    f"{name} in {path} would unpack to {members[name].file_size / 2**20:.0f} MiB, "
                    f"more than the {MAX_FILE_BYTES >> 20} MiB allowed: take it out of the archive"
                )
        source = _Source(path, names, archive.read, members[names[0]].file_size)
        return _load(source, size=size, n=n, seed=seed)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts numbers inside names by value: 2.png before 10.png."""
    pieces = re.split(r"(\d+)", name)
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], name


def _is_litter(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part not in {".", ".."})


def _image_names(path: Path, files: Iterable[str]) -> list[str]:
    """The image files among `files`, in natural order, without what operating systems leave behind."""
    visible = [name for name in files if not any(map(_is_litter, name.split("/")))]
    names = sorted((name for name in visible if PurePosixPath(name).suffix.lower() in SUFFIXES), key=natural_key)
    if not names:
        held = f"{len(visible)} files, none of them an image" if visible else "nothing"
        raise UserError(f"{path} holds {held}: put files ending in {', '.join(SUFFIXES)} there")
    return names


def _load(source: _Source, *, size: int | None, n: int | None, seed: int) -> Dataset:
    where = str(source.path)
    folders = [name.split("/")[:-1] for name in source.names]
    while all(folders) and len({parts[0] for parts in folders}) == 1:  # a folder around everything says nothing
        folders = [parts[1:] for parts in folders]
    splits = _split_of_each(where, source.names, folders)
    if splits is None:
        indices = three_ways(len(source.names), seed=seed, where=where)
    else:
        folders = [parts[1:] for parts in folders]
        indices = {split: np.flatnonzero(np.equal(splits, split)) for split in SPLITS}
        if not len(indices["selection"]):
            kept, held_out = hold_out(len(indices["train"]), seed=seed, where=where)
            indices |= {"train": indices["train"][kept], "selection": indices["train"][held_out]}
    indices["train"] = subset(indices["train"], n, seed=seed, where=where)

    names = [source.names[i] for i in chain(*indices.values())]
    images = _stack(where, names, _decode_all(source, names, size))
    train, selection, test = np.split(images, np.cumsum([len(index) for index in indices.values()])[:-1])
    labels = _labels(folders)
    return Dataset(
        source.path.resolve().stem,
        train,
        selection,
        test,
        labels=None if labels is None else {split: labels[index] for split, index in indices.items()},
        preprocessing=describe(size),
        summary=f"{len(names)} images of {source.path.name}",
    )


def _split_of_each(where: str, names: Sequence[str], folders: Sequence[Sequence[str]]) -> list[str] | None:
    """The split of each file by its first folder; None when the folders are not splits."""
    tops = {parts[0] for parts in folders if parts}
    if not tops & {"train", "test"}:
        return None
    if missing := {"train", "test"} - tops:
        present = ", ".join(sorted(tops))
        raise UserError(
            f"{where} has the folders {present} but no {missing.pop()}: name the splits train, selection and test"
        )
    for name, parts in zip(names, folders, strict=True):
        if not parts or parts[0] not in SPLIT_FOLDERS:
            raise UserError(f"{name} in {where} lies beside the splits train and test: move it into one of them")
    return [SPLIT_FOLDERS[parts[0]] for parts in folders]


def _labels(folders: Sequence[Sequence[str]]) -> np.ndarray | None:
    """The class of each file: the number of its first folder among all; None unless there are two or more."""
    classes = sorted({parts[0] for parts in folders if parts}, key=natural_key)
    if len(classes) < 2 or not all(folders):
        return None
    number = {name: place for place, name in enumerate(classes)}
    return np.array([number[parts[0]] for parts in folders], np.int64)


def _decode_all(source: _Source, names: Sequence[str], size: int | None) -> list[np.ndarray | _Fault]:
    def decode(chunk: Sequence[str]) -> list[np.ndarray | _Fault]:
        return [_decode(source, name, size) for name in chunk]

    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    threads = min(8, os.cpu_count() or 1) if source.typical_bytes >= THREADS_FROM_BYTES else 1
    with ThreadPoolExecutor(threads) as pool:
        decoded: Iterable[list[np.ndarray | _Fault]] = pool.map(decode, chunks)
        if len(names) > PROGRESS_FROM and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import track

            bar = f"reading {source.path.name}"
            decoded = track(decoded, bar, total=len(chunks), console=Console(stderr=True), transient=True)
        return list(chain.from_iterable(decoded))


def _decode(source: _Source, name: str, size: int | None) -> np.ndarray | _Fault:
    """uint8 (H, W, C), C of 1 or 3, or why not."""
    try:
        image = Image.open(io.BytesIO(source.read(name)), formats=FORMATS)
        if (fault := _unsuitable(image)) is not None:
            return fault
        upright = ImageOps.exif_transpose(image)
        flat = upright.convert({"1": "L", "P": "RGB"}.get(upright.mode, upright.mode))
        pixels = np.asarray(flat if size is None else centre_square(flat, size))
        return pixels[:, :, None] if pixels.ndim == 2 else pixels
    except UnidentifiedImageError:
        return _Fault("is not an image, or a damaged one", "remove or replace it")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return _too_large()
    except Exception as error:  # a damaged file makes the decoders raise nearly anything
        return _Fault(f"is damaged or cannot be read ({error})", "remove or replace it")


def _unsuitable(image: ImageFile.ImageFile) -> _Fault | None:
    """What the header tells against an image, before its pixels are decoded."""
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or sys.maxsize):
        return _too_large()
    if image.has_transparency_data:
        return _Fault(
            "has transparency, which GANs here do not model", "flatten it onto a background and save it as RGB"
        )
    # Pillow cuts 16-bit colour to 8 bits without a word; only the raw mode shows it.
    raw_modes = (tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in image.tile if tile[3])
    if image.mode.startswith("I") or any(";16" in str(raw) for raw in raw_modes):
        return _Fault("has 16 bits a channel", "convert it to 8 bits")
    if image.mode not in {"L", "RGB", "P", "1"}:
        return _Fault(f"has colour mode {image.mode}", "convert it to grey or RGB")
    return None


def _too_large() -> _Fault:
    return _Fault(f"has more than {Image.MAX_IMAGE_PIXELS} pixels", "shrink or remove it")


def _stack(where: str, names: Sequence[str], decoded: Sequence[np.ndarray | _Fault]) -> np.ndarray:
    """All images as (N, C, H, W); raises `UserError` for the first file at fault, counting the others."""
    images = [item for item in decoded if not isinstance(item, _Fault)]
    _raise_first(where, [(name, item) for name, item in zip(names, decoded, strict=True) if isinstance(item, _Fault)])
    usual = Counter(image.shape[2] for image in images).most_common(1)[0][0]
    kinds = {1: "grey", 3: "in colour"}
    _raise_first(
        where,
        [
            (name, _Fault(f"is {kinds[image.shape[2]]} while most are {kinds[usual]}", "convert all to one kind"))
            for name, image in zip(names, images, strict=True)
            if image.shape[2] != usual
        ],
    )
    height, width = Counter(image.shape[:2] for image in images).most_common(1)[0][0]
    _raise_first(
        where,
        [
            (
                name,
                _Fault(
                    f"has {image.shape[1]}×{image.shape[0]} pixels while most have {width}×{height}",
                    f"give them one size or set data.size={_sensible_size(min(height, width))}",
                ),
            )
            for name, image in zip(names, images, strict=True)
            if image.shape[:2] != (height, width)
        ],
    )
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))


def _raise_first(where: str, faults: Sequence[tuple[str, _Fault]]) -> None:
    if faults:
        name, fault = min(faults, key=lambda pair: natural_key(pair[0]))
        more = len(faults) - 1
        others = f" (so it is with {more} more)" if more else ""
        raise UserError(f"{name} in {where} {fault.what}{others}: {fault.remedy}")


def _sensible_size(side: int) -> int:
    """The largest of 8, 16, 32 and 64 that needs no enlarging, for a message."""
    return max((size for size in (8, 16, 32, 64) if size <= side), default=8)

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
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ganbench.errors import UserError
from harness.data import pixel_store
from harness.data.content import Content, content_of, size_of
from harness.data.dataset import SPLITS, Dataset
from harness.data.decoding import Fault, Flaw, OddShape, Shape
from harness.data.file_names import image_names, labels_of, natural_key, split_of_each
from harness.data.resizing import DoesNotFitError, describe, fit
from harness.data.splitting import hold_out, subset, three_ways
from harness.image_options import AS_IS, ImageOptions

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
MAX_FILE_BYTES = 256 * 2**20
"""An archive's member that claims to unpack to more is refused before anything is unpacked."""
THREADS_FROM_BYTES = 2_500
"""Per file. Pillow's decoders let go of the GIL, but on files as small as CIFAR-10's (11,000 a second by one thread)
a second thread made it slower by a third: they wait for each other more than they work."""
KEEP_FROM_BYTES = 4 * 2**20
"""Of all files together; fewer are read in no time, and not stored decoded."""
REMOVE = "remove or replace it, or leave broken files out with --skip-broken"
NAMED = 3
"""Broken files that a message names."""


@dataclass(frozen=True)
class Source:
    """Where image files come from: a path for messages, how to read one by name, and what they hold, in short."""

    path: Path
    read: Callable[[str], bytes]
    content: Callable[[Sequence[str]], list[Content]]
    typical_bytes: int


def load_folder(
    path: Path, *, size: int | None = None, n: int | None = None, seed: int = 0, options: ImageOptions = AS_IS
) -> Dataset:
    """The images in the folder `path`; raises `UserError` naming the first file at fault."""
    names = image_names(path, _files_below(path))
    source = Source(
        path,
        lambda name: (path / name).read_bytes(),
        lambda names: content_of([f"{path}/{name}" for name in names], path),
        size_of(path / names[0]),
    )
    return _load(source, names, size=size, n=n, seed=seed, options=options)


def _files_below(path: Path) -> Iterator[str]:
    """Relative names with `/`; a million of them is not made into paths."""
    for folder, _, files in os.walk(path):
        inner = os.path.relpath(folder, path)
        yield from files if inner == "." else (f"{inner}/{file}" for file in files)


def load_zip(
    path: Path, *, size: int | None = None, n: int | None = None, seed: int = 0, options: ImageOptions = AS_IS
) -> Dataset:
    """The images in the zip archive `path`; raises `UserError` naming the first file at fault."""
    with open_zip(path) as archive:
        members = {member.filename: member for member in archive.infolist() if not member.is_dir()}
        names = image_names(path, members)
        return _load(zip_source(path, archive, names), names, size=size, n=n, seed=seed, options=options)


def open_zip(path: Path) -> zipfile.ZipFile:
    """The archive; raises `UserError` if it is none."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} is damaged or not a zip archive ({error}): make it again") from None


def zip_source(path: Path, archive: zipfile.ZipFile, names: Sequence[str]) -> Source:
    """The members `names` of an open archive; raises `UserError` for one that would unpack to too much."""
    for name in names:
        if (claimed := archive.getinfo(name).file_size) > MAX_FILE_BYTES:
            raise UserError(
                f"{name} in {path} would unpack to {claimed / 2**20:.0f} MiB, "
                f"more than the {MAX_FILE_BYTES >> 20} MiB allowed: take it out of the archive"
            )

    def content(names: Sequence[str]) -> list[Content]:
        return [(member.file_size, member.CRC) for member in map(archive.getinfo, names)]

    return Source(path, archive.read, content, archive.getinfo(names[0]).file_size)


def _load(
    source: Source, all_names: Sequence[str], *, size: int | None, n: int | None, seed: int, options: ImageOptions
) -> Dataset:
    where = str(source.path)
    folders = [name.split("/")[:-1] for name in all_names]
    while all(folders) and len({parts[0] for parts in folders}) == 1:  # a folder around everything says nothing
        folders = [parts[1:] for parts in folders]
    splits = split_of_each(where, all_names, folders)
    if splits is None:
        indices = three_ways(len(all_names), seed=seed, where=where)
    else:
        folders = [parts[1:] for parts in folders]
        indices = {split: np.flatnonzero(np.equal(splits, split)) for split in SPLITS}
        if not len(indices["selection"]):
            kept, held_out = hold_out(len(indices["train"]), seed=seed, where=where)
            indices |= {"train": indices["train"][kept], "selection": indices["train"][held_out]}
    indices["train"] = subset(indices["train"], n, seed=seed, where=where)

    parts = {split: [all_names[place] for place in index.tolist()] for split, index in indices.items()}
    pixels = decode_files(source, parts, size=size, options=options)
    labels = labels_of(folders)
    return Dataset(
        source.path.resolve().stem,
        *(pixels.parts[split] for split in SPLITS),
        labels=None if labels is None else pixels.keep({split: labels[index] for split, index in indices.items()}),
        preprocessing=describe(size, options) | left_out(pixels),
        summary=f"{sum(map(len, pixels.parts.values()))} images of {source.path.name}",
        known_fingerprint=pixels.fingerprint,
    )


def decode_files(
    source: Source, parts: Mapping[str, Sequence[str]], *, size: int | None, options: ImageOptions
) -> pixel_store.Pixels:
    """The images called so in each part, from the pixel store where they are many.

    Their names are no part of the store's key: a folder and a zip of it share an entry.

    Raises `UserError` for files that cannot be used, and for images of differing sizes or kinds.
    """
    names = list(chain(*parts.values()))
    content = source.content(names) if source.typical_bytes * len(names) >= KEEP_FROM_BYTES else []

    def judge(flaws: Mapping[int, Flaw], shape: Shape) -> None:
        _judge(source.path, names, flaws, shape, skip_broken=options.skip_broken)

    return pixel_store.build(
        {"files": content, "size": size, "resize": options.resize, "crop": options.crop, "pad": options.pad},
        {split: len(part) for split, part in parts.items()},
        lambda row: _decode(source, names[row], size, options),
        title=source.path.name,
        judge=judge,
        threads=None if source.typical_bytes >= THREADS_FROM_BYTES else 1,
        keep=bool(content),
    )


def left_out(pixels: pixel_store.Pixels) -> dict[str, str]:
    """How many files were skipped, for `Dataset.preprocessing`."""
    count = pixels.count_left_out
    return {"left out": f"{count} broken file{'' if count == 1 else 's'}"} if count else {}


def _decode(source: Source, name: str, size: int | None, options: ImageOptions) -> np.ndarray | Fault:
    try:
        content = source.read(name)
    except Exception as error:  # zipfile and zlib raise nearly anything, too
        return _damaged(error)
    return decode_bytes(content, size, options)


def decode_bytes(content: bytes, size: int | None, options: ImageOptions = AS_IS) -> np.ndarray | Fault:
    """An image file's content as uint8 (C, H, W), C of 1 or 3, or why not."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if (fault := _unsuitable(image)) is not None:
            return fault
        upright = ImageOps.exif_transpose(image)
        flat = upright.convert({"1": "L", "P": "RGB"}.get(upright.mode, upright.mode))
        pixels = np.asarray(fit(flat, size, options))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    except DoesNotFitError as error:
        return Fault(error.what, error.remedy)
    except UnidentifiedImageError:
        return Fault("is not an image, or a damaged one", REMOVE, broken=True)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return _too_large()
    except Exception as error:  # a damaged file makes the decoders raise nearly anything
        return _damaged(error)


def _damaged(error: Exception) -> Fault:
    return Fault(f"is damaged or cannot be read ({error})", REMOVE, broken=True)


def _unsuitable(image: ImageFile.ImageFile) -> Fault | None:
    """What the header tells against an image, before its pixels are decoded."""
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or sys.maxsize):
        return _too_large()
    if image.has_transparency_data:
        return Fault(
            "has transparency, which GANs here do not model", "flatten it onto a background and save it as RGB"
        )
    # Pillow cuts 16-bit colour to 8 bits without a word; only the raw mode shows it.
    raw_modes = (tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in image.tile if tile[3])
    if image.mode.startswith("I") or any(";16" in str(raw) for raw in raw_modes):
        return Fault("has 16 bits a channel", "convert it to 8 bits")
    if image.mode not in {"L", "RGB", "P", "1"}:
        return Fault(f"has colour mode {image.mode}", "convert it to grey or RGB")
    return None


def _too_large() -> Fault:
    return Fault(f"has more than {Image.MAX_IMAGE_PIXELS} pixels", "shrink or remove it")


def _judge(path: Path, names: Sequence[str], flaws: Mapping[int, Flaw], shape: Shape, *, skip_broken: bool) -> None:
    """Raise `UserError` for the first file at fault, counting the others; note the broken ones that are skipped."""
    faults = [(names[row], flaw) for row, flaw in flaws.items() if isinstance(flaw, Fault)]
    broken = [(name, fault) for name, fault in faults if fault.broken]
    _raise_first(path, [(name, fault) for name, fault in faults if not fault.broken] if skip_broken else faults)
    odd = {row: flaw.shape for row, flaw in flaws.items() if isinstance(flaw, OddShape)}
    shapes = Counter({shape: len(names) - len(flaws)}) + Counter(odd.values())
    usual = _most(shapes, lambda shape: shape[0])
    height, width = _most(shapes, lambda shape: shape[1:])
    kinds = {1: "grey", 3: "in colour"}
    each = [(name, odd.get(row, shape)) for row, name in enumerate(names) if not isinstance(flaws.get(row), Fault)]
    _raise_first(
        path,
        [
            (name, Fault(f"is {kinds[own[0]]} while most are {kinds[usual]}", "convert all to one kind"))
            for name, own in each
            if own[0] != usual
        ],
    )
    _raise_first(
        path,
        [
            (
                name,
                Fault(
                    f"has {own[2]}×{own[1]} pixels while most have {width}×{height}",
                    f"give them one size or set data.size={_sensible_size(min(height, width))}",
                ),
            )
            for name, own in each
            if own[1:] != (height, width)
        ],
    )
    if broken:
        shown = _some(sorted((name for name, _ in broken), key=natural_key))
        print(f"note: left out of {path}: {len(broken)} broken files ({shown})", file=sys.stderr)


def _most(shapes: Mapping[tuple[int, ...], int], what: Callable[[tuple[int, ...]], Any]) -> Any:
    """What most of the images have."""
    counts = Counter[Any]()
    for shape, count in shapes.items():
        counts[what(shape)] += count
    return counts.most_common(1)[0][0]


def _raise_first(path: Path, faults: Sequence[tuple[str, Fault]]) -> None:
    if faults:
        (name, fault), *others = sorted(faults, key=lambda pair: natural_key(pair[0]))
        more = f" (so it is with {len(others)} more: {_some([name for name, _ in others])})" if others else ""
        raise UserError(f"{name} in {path} {fault.what}{more}: {fault.remedy}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _sensible_size(side: int) -> int:
    """The largest power of two up to 256 that needs no enlarging, for a message."""
    return max((size for size in (8, 16, 32, 64, 128, 256) if size <= side), default=8)

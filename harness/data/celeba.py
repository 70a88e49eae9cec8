"""CelebA: 202,599 faces, aligned and cropped to 178×218, in its official parts, which share no person."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ganbench.errors import UserError
from harness.data.content import content_of
from harness.data.dataset import SPLITS, Dataset
from harness.data.image_files import Source, decode_files, left_out, open_zip, zip_source
from harness.data.official import damaged
from harness.data.published import find
from harness.data.resizing import describe
from harness.data.splitting import subset
from harness.image_options import AS_IS, ImageOptions

SIZE = 64


def load(*, size: int | None = None, n: int | None = None, seed: int = 0, options: ImageOptions = AS_IS) -> Dataset:
    """The official train, validation (as selection) and test parts, `size` (64) pixels a side.

    Papers crop differently: the largest centred square (178) by default here, 108 with `data.crop=108` as DCGAN's.
    Labels are the persons' numbers where `identity_CelebA.txt` lies beside the partition; else there are none.

    Raises `UserError` for files that are missing, damaged or do not belong together.
    """
    size = size or SIZE
    images, partition = find("celeba")
    part_of = _table(partition)
    names = list(part_of)
    parts = np.fromiter(part_of.values(), np.int64, len(names))
    indices = {split: np.flatnonzero(parts == number) for number, split in enumerate(SPLITS)}
    if empty := [split for split, index in indices.items() if len(index) < 2]:
        raise damaged(partition, "CelebA's partition", f"it puts nothing into part {SPLITS.index(empty[0])}")
    indices["train"] = subset(indices["train"], n, seed=seed, where="celeba")
    labels = _identities(partition.with_name("identity_CelebA.txt"), names)
    with _source(images, names) as (source, stored):
        chosen = {split: [stored[names[place]] for place in index.tolist()] for split, index in indices.items()}
        pixels = decode_files(source, chosen, size=size, options=options)
    return Dataset(
        "celeba",
        *(pixels.parts[split] for split in SPLITS),
        labels=None if labels is None else pixels.keep({split: labels[index] for split, index in indices.items()}),
        preprocessing=describe(size, options) | left_out(pixels),
        summary=f"{sum(map(len, pixels.parts.values()))} images of celeba",
        known_fingerprint=pixels.fingerprint,
    )


def _table(path: Path) -> dict[str, int]:
    """A file of lines `000001.jpg 0`."""
    try:
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        return {name: int(value) for name, value in rows}
    except (OSError, ValueError) as error:
        raise damaged(path, "one of CelebA's lists", error) from None


def _identities(path: Path, names: Sequence[str]) -> np.ndarray | None:
    if not path.is_file():
        return None
    identity_of = _table(path)
    if lacking := [name for name in names if name not in identity_of]:
        raise damaged(path, "one of CelebA's lists", f"it lacks {lacking[0]}")
    return np.array([identity_of[name] for name in names], np.int64)


@contextlib.contextmanager
def _source(images: Path, names: Sequence[str]) -> Iterator[tuple[Source, dict[str, str]]]:
    """Where the images `names` are read from, and what each is called there."""
    if images.is_dir():
        stored = {path.name: path.name for path in images.iterdir()}
        _check(images, names, stored)
        first = (images / names[0]).stat().st_size
        yield (
            Source(
                images,
                lambda name: (images / name).read_bytes(),
                lambda chosen: content_of([images / name for name in chosen], images),
                first,
            ),
            stored,
        )
        return
    with open_zip(images) as archive:
        stored = {member.rpartition("/")[2]: member for member in archive.namelist()}
        _check(images, names, stored)
        yield zip_source(images, archive, [stored[name] for name in names]), stored


def _check(images: Path, names: Sequence[str], stored: dict[str, str]) -> None:
    if lacking := [name for name in names if name not in stored]:
        raise UserError(
            f"{images} lacks {len(lacking)} of the {len(names)} images that list_eval_partition.txt names, such as "
            f"{lacking[0]}: fetch or unpack it again"
        )

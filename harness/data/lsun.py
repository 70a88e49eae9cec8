"""LSUN's scene categories: photos of at least 256 pixels a side, in one LMDB environment for each category.

The official validation parts have 300 photos each, too few to score by: selection and test are held out of the
training part.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganbench.errors import UserError
from harness.data.dataset import SPLITS, Dataset
from harness.data.image_files import Source, decode_files, left_out
from harness.data.official import damaged, once
from harness.data.published import LSUN_CATEGORIES, find
from harness.data.resizing import describe
from harness.data.splitting import subset, three_ways
from harness.image_options import AS_IS, ImageOptions

if TYPE_CHECKING:
    from lmdb import Environment

SIZE = 64
HELD_OUT = 10_000
"""Photos of the selection and of the test part, at most; else a tenth each."""
PROBES = 256
"""Photos that are read to tell one environment from another."""


def load(
    category: str,
    *,
    size: int | None = None,
    n: int | None = None,
    seed: int = 0,
    options: ImageOptions = AS_IS,
) -> Dataset:
    """The photos of a category, `size` (64) pixels a side, without labels; `n` spares decoding up to 3 million.

    Raises `UserError` where the package lmdb or the files are missing, or the files damaged.
    """
    name, size = f"lsun-{category.replace('_', '-')}", size or SIZE
    (path,) = find(name)
    with _open(path.parent, name) as environment:
        count = environment.stat()["entries"]
        indices = three_ways(count, seed=seed, where=name)
        for split in ("selection", "test"):
            held_out = subset(indices[split], min(len(indices[split]), HELD_OUT), seed=seed, where=name)
            indices["train"] = np.union1d(indices["train"], np.setdiff1d(indices[split], held_out))
            indices[split] = held_out
        indices["train"] = subset(indices["train"], n, seed=seed, where=name)
        parts = {split: [f"photo {place}" for place in index.tolist()] for split, index in indices.items()}
        pixels = decode_files(_source(environment, path), parts, size=size, options=options)
    return Dataset(
        name,
        *(pixels.parts[split] for split in SPLITS),
        preprocessing=describe(size, options) | left_out(pixels),
        summary=f"{sum(map(len, pixels.parts.values()))} images of {name}",
        known_fingerprint=pixels.fingerprint,
    )


@contextlib.contextmanager
def _open(folder: Path, name: str) -> Iterator[Environment]:
    try:
        import lmdb
    except ImportError:
        raise UserError(f"{name} is read by the package lmdb: install it with pip install 'ganbench[lsun]'") from None
    try:
        environment = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False)
    except lmdb.Error as error:
        raise damaged(folder, "an LMDB environment", error) from None
    with environment:
        yield environment


def _source(environment: Environment, path: Path) -> Source:
    """Photo i is the i-th by its key. The keys are read when the first photo is: there are up to 3 million."""

    def read_keys() -> np.ndarray:
        with environment.begin() as transaction, transaction.cursor() as cursor:
            return np.array(list(cursor.iternext(keys=True, values=False)), object)

    keys = once(read_keys)

    def read(name: str) -> bytes:
        with environment.begin() as transaction:
            return bytes(transaction.get(keys()[int(name.split()[1])], b""))

    crc, typical_bytes = _probe(environment)

    def content(names: Sequence[str]) -> list[tuple[int, int]]:
        return [(path.stat().st_size, crc), (len(names), zlib.crc32("\n".join(names).encode()))]

    return Source(path.parent, read, content, typical_bytes)


def _probe(environment: Environment) -> tuple[int, int]:
    """CRC-32 of a few hundred photos and their keys, and their mean size: reading all would take minutes each time.

    LSUN's keys are hexadecimal digests, so that these are spread evenly.
    """
    crc = total = found = 0
    with environment.begin() as transaction, transaction.cursor() as cursor:
        for place in range(PROBES):
            if cursor.set_range(f"{place:02x}".encode()):
                key, value = cursor.item()
                crc, total, found = zlib.crc32(value, zlib.crc32(key, crc)), total + len(value), found + 1
    return crc, total // max(1, found)


(
    load_bedroom,
    load_bridge,
    load_church_outdoor,
    load_classroom,
    load_conference_room,
    load_dining_room,
    load_kitchen,
    load_living_room,
    load_restaurant,
    load_tower,
) = (partial(load, category) for category in LSUN_CATEGORIES)

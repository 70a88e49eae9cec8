"""Conformance of a dataset: `load(*, size, n, seed) -> harness.data.Dataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from ganbench.errors import UserError
from harness import data
from harness.conformance.finding import Broken, Check, Finding, generators_at, walk
from harness.conformance.target import Target
from harness.data import Dataset

FEW = 20
"""Training samples that are asked for."""
SIDE = 16
"""Pixels that are asked for."""
SHARED = 0.01
"""Share of held-out samples that may equal a training sample: published sets have their duplicates."""


class Source:
    """A dataset under its name, loaded when first looked at."""

    def __init__(self, target: Target) -> None:
        self.name = target.name
        self.registered = target.registered

    @cached_property
    def whole(self) -> Dataset:
        """As it is by default."""
        return self.load()

    def load(self, *, size: int | None = None, n: int | None = None, draws: int = 0) -> Dataset:
        """Loaded where the global random generators stand at `draws`, which are put back."""
        with generators_at(draws):
            return data.load(self.name, size=size, n=n, seed=0)


def _loaded(subject: Source) -> str:
    found = subject.whole
    if not isinstance(found, Dataset):
        raise Broken(
            f"it gives a {type(found).__name__}", where="load()", remedy="return a harness.data.Dataset of three parts"
        )
    if subject.registered and found.name != subject.name:
        raise Broken(
            f"it calls itself {found.name!r}", where="Dataset.name", remedy=f"give the registered name {subject.name!r}"
        )
    sizes = ", ".join(f"{len(array)} {split}" for split, array in found.splits().items())
    return f"{found.kind} of shape {found.shape}, {found.train.dtype}: {sizes}"


def _ranges(subject: Source) -> str:
    found = subject.whole
    if found.kind == "points":
        broken = sum(int((~np.isfinite(array)).sum()) for array in found.splits().values())
        if broken:
            raise Broken(
                f"{broken} coordinates are NaN or infinite", where="its three parts", remedy="leave such points out"
            )
        return f"points from {found.train.min():.3g} … {found.train.max():.3g}"
    lowest, highest = int(found.train.min()), int(found.train.max())
    if highest <= 1 or lowest == highest:
        raise Broken(
            f"the pixels reach from {lowest} to {highest} only",
            where="the train part",
            remedy="give images in 0…255: a scale of 0…1 is cut off by uint8",
        )
    return f"pixels from {lowest} to {highest}"


def _splits(subject: Source) -> str:
    parts = {split: list(map(_digest, array)) for split, array in subject.whole.splits().items()}
    said = []
    for held_out, seen in (("selection", "train"), ("test", "train"), ("test", "selection")):
        known = set(parts[seen])
        count = sum(row in known for row in parts[held_out])
        if count > SHARED * len(parts[held_out]):
            raise Broken(
                f"{count} of {len(parts[held_out])} {held_out} samples are in {seen} too",
                where=f"{held_out} and {seen}",
                remedy="give each sample to one part",
            )
        said.append(f"{count} of {held_out} in {seen}")
    return f"samples in two parts: {', '.join(said)}"


def _digest(row: np.ndarray) -> bytes:
    """Sixteen bytes that stand for a sample: published sets do not fit into memory a second time."""
    return hashlib.blake2b(row.tobytes(), digest_size=16).digest()


def _labels(subject: Source) -> str:
    labels = subject.whole.labels
    if labels is None:
        return "it has no classes"
    known = set(np.unique(labels["train"]).tolist())
    for split, values in labels.items():
        if values.dtype != np.int64:
            raise Broken(f"labels are {values.dtype}", where=f"the {split} part", remedy="give int64 (N,)")
        strange = sorted(set(np.unique(values).tolist()) - known)
        if strange or values.min() < 0:
            raise Broken(
                f"classes {strange or [int(values.min())]} are unknown to the train part",
                where=f"the {split} part",
                remedy="number classes from 0, and let every part hold those of the train part",
            )
    return f"{len(known)} classes"


def _determinism(subject: Source) -> str:
    again = subject.load(draws=1)
    if again.fingerprint != subject.whole.fingerprint:
        raise Broken(
            "one seed gives two sets of data",
            where="load(seed=0), twice",
            remedy="draw from numpy.random.default_rng(derive(seed, purpose)) of ganbench.seeds, from nothing global",
        )
    return f"fingerprint {again.fingerprint[:12]} each time"


def _number(subject: Source) -> str:
    where = f"load(n={FEW})"
    try:
        few = subject.load(n=FEW)
    except UserError as error:
        return f"data.n is refused: {error}"
    if len(few.train) != FEW:
        raise Broken(f"there are {len(few.train)} training samples", where=where, remedy="take or draw n of them")
    for split in ("selection", "test"):
        if not np.array_equal(getattr(few, split), getattr(subject.whole, split)):
            raise Broken(
                f"the {split} part is another one",
                where=where,
                remedy="let n choose training samples alone: scores are comparable only against the same held-out ones",
            )
    return f"n={FEW} gives {FEW} training samples and the same held-out ones"


def _size(subject: Source) -> str:
    try:
        sized = subject.load(size=SIDE)
    except UserError as error:
        return f"data.size={SIDE} is refused: {error}"
    if sized.shape[1:] != (SIDE, SIDE):
        raise Broken(
            f"samples have shape {sized.shape}",
            where=f"load(size={SIDE})",
            remedy="resize images to size × size, or refuse a size with a ganbench.errors.UserError",
        )
    return f"size={SIDE} gives images of shape {sized.shape}"


CHECKS: tuple[Check[Source], ...] = (
    ("loaded", _loaded),
    ("ranges", _ranges),
    ("splits", _splits),
    ("labels", _labels),
    ("determinism", _determinism),
    ("number", _number),
    ("size", _size),
)


def findings(target: Target) -> Iterator[Finding]:
    """Each check's finding on a dataset."""
    return walk(target.kind, target.name, Source(target), CHECKS)

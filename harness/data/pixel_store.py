"""Decoded images, kept on disk under what they were made of, and mapped into memory.

    <cache>/images/<key>/   pixels       uint8 (n, C, H, W), row after row, and nothing else
                            facts.json   shape, parts, fingerprint, rows left out
                            part, journal, lock   while it is made, or after a kill

The key is a hash of the source's content and of everything that was done to it, so nothing stale is ever found. One
process makes an entry; others that want it wait. A killed one is continued from its journal. What is finished appears
in one step, is never changed, and is mapped read-only: processes share one copy in the machine's memory, which the
system gives up when memory is short and reads again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ganbench.errors import UserError
from ganbench.files import write_json
from harness.data.dataset import fingerprint
from harness.data.decoding import Decode, Fault, Flaw, Judge, OddShape, Shape, Work, find_shape, work_off
from harness.places import LEFTOVER_SECONDS, Entry, cache_folder

VERSION = 1
"""Of the layout, and of what our code makes of the same bytes under the same key."""
FOLDER = "images"
SYNC_SECONDS = 1.0
"""Of decoding, which a kill costs at most, besides what is being decoded."""
IN_MEMORY_BYTES = 2 * 2**30
"""Of decoded images, which are done without a file if the disk refuses one; more would end in swapping."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Decoded images in parts."""

    parts: dict[str, np.ndarray]
    """uint8 (n, C, H, W), read-only."""
    fingerprint: str | None
    """What `Dataset.fingerprint` is of these parts; None: not known yet."""
    left_out: dict[str, np.ndarray]
    """For each part, the places in it (int64, ascending) of the images that were left out."""

    def keep(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What else is known of each image of each part (such as labels), without those that were left out."""
        return {part: np.delete(array, self.left_out[part], axis=0) for part, array in values.items()}

    @property
    def count_left_out(self) -> int:
        """In all parts."""
        return sum(map(len, self.left_out.values()))


def build(
    key: Mapping[str, object],
    parts: Mapping[str, int],
    decode: Decode,
    *,
    title: str,
    judge: Judge | None = None,
    threads: int | None = None,
    keep: bool = True,
) -> Pixels:
    """The images of a source, from the store; decoded and stored first if it lacks them.

    Args:
        key: JSON-able; everything that the pixels depend on: the content of the source (`harness.data.content`), which
            of it makes which row, size, crop, kernel, padding.
        parts: number of images by part. Rows 0, 1, … run through the parts in this order.
        decode: (row) → uint8 (C, H, W), or the `Fault` for which that row cannot be used. Called from several threads,
            and not at all when the images are in the store, so it should open its source on first use.
        title: the source's name, for people.
        judge: decides about rows that cannot be used or differ in shape; None: they are refused.
        threads: that decode at once; None: as many as there are cores.
        keep: False for what is read faster than stored.

    Raises:
        UserError: from `judge`; or the disk is full and the images are too many for memory.
    """
    work = Work(dict(parts), decode, title, threads or os.cpu_count() or 1)
    judge = judge or _refuse(title)
    if not keep:
        return _in_memory(work, judge)
    material = {**key, "version": VERSION, "parts": list(parts.items())}
    home = entry_folder(material)
    try:
        with _refusals():
            facts = _read_facts(home)
        if facts is None:
            with _locked(home, title):
                with _refusals():
                    facts = _read_facts(home)  # whoever held the lock may have finished
                if facts is None:
                    return _map(home, _make(home, work, judge))
        if facts["flaws"]:
            judge({int(row): flaw_of(flaw) for row, flaw in facts["flaws"].items()}, _shape(facts["shape"]))
        return _map(home, facts)
    except _DiskRefusesError as refusal:
        shape = find_shape(work, judge)
        size = work.count * int(np.prod(shape))
        if size > IN_MEMORY_BYTES:
            raise UserError(
                f"{cache_folder()} cannot take the {size / 2**30:.1f} GiB of {title} ({refusal}): "
                "make room there, or set GANBENCH_CACHE to a folder that can"
            ) from None
        _note(f"{title} is decoded anew each time, as {cache_folder()} cannot take it ({refusal}): set GANBENCH_CACHE")
        return _in_memory(work, judge)


def entry_folder(material: Mapping[str, object]) -> Path:
    """Where the entry of that key is, whether it is there or not."""
    canonical = json.dumps(material, sort_keys=True)
    return cache_folder() / FOLDER / hashlib.sha256(canonical.encode()).hexdigest()[:32]


class _DiskRefusesError(Exception):
    """The store's folder cannot be read or written; its text is the system's reason."""


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _DiskRefusesError(error.strerror or str(error)) from None


# --- making an entry


def _make(home: Path, work: Work, judge: Judge) -> dict[str, Any]:
    """Decode all rows into `home`, from where a killed process stood; returns the facts."""
    journal = _Journal(home)
    shape = journal.shape or find_shape(work, judge)
    row_bytes = int(np.prod(shape))
    with _refusals():
        descriptor = os.open(journal.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with _refusals():
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(descriptor, 0, work.count * row_bytes)  # a full disk is found now, not in the end
            journal.begin(shape, descriptor)

        def write(start: int, pixels: np.ndarray, flaws: Mapping[int, Flaw]) -> None:
            with _refusals():
                _write_at(descriptor, pixels, start * row_bytes)
                journal.note(start, start + len(pixels), flaws)

        try:
            work_off(work, shape, done=journal.done, write=write)
        finally:
            with _refusals():
                journal.sync()
    except _DiskRefusesError:
        journal.drop()  # what lies there only takes room
        raise
    finally:
        os.close(descriptor)
        journal.close()
    if journal.flaws:
        judge(journal.flaws, shape)  # where it refuses, what is decoded stays, for another judge
    with _refusals():
        return _finish(home, journal, work, shape)


def _finish(home: Path, journal: _Journal, work: Work, shape: Shape) -> dict[str, Any]:
    left_out = _by_part(work.parts, sorted(journal.flaws))
    counts = {part: count - len(left_out[part]) for part, count in work.parts.items()}
    if journal.flaws:  # a copy: until the facts are written, the journal tells of all rows
        _copy_without(journal.part, home / "pixels", work.count, shape, sorted(journal.flaws))
    else:
        journal.part.replace(home / "pixels")
    arrays = _split(_open(home, sum(counts.values()), shape), counts)
    facts = {
        "version": VERSION,
        "title": work.title,
        "shape": list(shape),
        "parts": counts,
        "fingerprint": fingerprint(arrays),
        "modified": (home / "pixels").stat().st_mtime_ns,
        "flaws": {row: flaw.as_json() for row, flaw in sorted(journal.flaws.items())},
        "left_out": {part: places.tolist() for part, places in left_out.items()},
    }
    write_json(home / "facts.json", facts)
    journal.drop()
    return facts


def _copy_without(path: Path, target: Path, rows: int, shape: Shape, out: list[int]) -> None:
    row_bytes, edges = int(np.prod(shape)), [-1, *out, rows]
    target.unlink(missing_ok=True)  # a damaged one may still be mapped
    with path.open("rb") as source, target.open("wb") as sink:
        for before, after in pairwise(edges):
            source.seek((before + 1) * row_bytes)
            remaining = (after - before - 1) * row_bytes
            while remaining:
                remaining -= sink.write(source.read(min(remaining, 2**24)))
        sink.flush()
        os.fsync(sink.fileno())


def _by_part(parts: Mapping[str, int], rows: list[int]) -> dict[str, np.ndarray]:
    """Rows over all parts as places within each."""
    placed, start, chosen = {}, 0, np.array(rows, np.int64)
    for part, count in parts.items():
        placed[part] = chosen[(chosen >= start) & (chosen < start + count)] - start
        start += count
    return placed


def _write_at(descriptor: int, pixels: np.ndarray, offset: int) -> None:
    view = memoryview(pixels.data).cast("B")
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


class _Journal:
    """Which rows of the half-made file are written: one JSON line for the shape, then one for each piece of work."""

    def __init__(self, home: Path) -> None:
        self.path, self.part = home / "journal", home / "part"
        self.shape: Shape | None = None
        self.done: set[tuple[int, int]] = set()
        self.flaws: dict[int, Flaw] = {}
        self._file: Any = None
        self._descriptor = -1
        self._unsaid = b""
        self._synced = 0.0
        if self.part.is_file() and self.path.is_file():
            self._read()

    def _read(self) -> None:
        lines = self.path.read_bytes().split(b"\n")[:-1]  # the last may be torn
        try:
            for line in lines:
                said = json.loads(line)
                if "shape" in said:
                    self.shape = _shape(said["shape"])
                else:
                    self.done.add((said["rows"][0], said["rows"][1]))
                    self.flaws |= {int(row): flaw_of(flaw) for row, flaw in said["flaws"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            self.shape = None
        if self.shape is None:
            self.done, self.flaws = set(), {}

    def begin(self, shape: Shape, descriptor: int) -> None:
        """Open for appending, beside the half-made file; a new journal starts with the shape."""
        if self.shape is None:
            self.path.write_bytes(json.dumps({"shape": shape}).encode() + b"\n")
        else:  # a torn line must not swallow the next
            content = self.path.read_bytes()
            self.path.write_bytes(content[: content.rfind(b"\n") + 1])
        self._file = self.path.open("ab", buffering=0)
        self._descriptor, self._synced = descriptor, time.monotonic()

    def note(self, start: int, stop: int, flaws: Mapping[int, Flaw]) -> None:
        """The rows from `start` to before `stop` are written, but for those at fault."""
        self.flaws |= flaws
        line = {"rows": [start, stop], "flaws": {row: flaw.as_json() for row, flaw in flaws.items()}}
        self._unsaid += json.dumps(line).encode() + b"\n"
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Say what was noted, once it is safe on the disk: a machine may lose its power."""
        os.fsync(self._descriptor)
        self._file.write(self._unsaid)
        self._unsaid, self._synced = b"", time.monotonic()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def drop(self) -> None:
        """Remove both, of which neither is of use any more."""
        for path in (self.path, self.part):
            path.unlink(missing_ok=True)


def _shape(said: Any) -> Shape:
    channels, height, width = said
    return int(channels), int(height), int(width)


def flaw_of(said: Mapping[str, Any]) -> Flaw:
    """The inverse of `Flaw.as_json`."""
    return OddShape(tuple(said["shape"])) if "shape" in said else Fault(**said)


@contextmanager
def _locked(home: Path, title: str) -> Iterator[None]:
    """Alone at an entry. The kernel frees the lock when its holder ends, however it ends."""
    path = home / "lock"
    while True:
        with _refusals():
            home.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _note(f"another process is decoding {title}: waiting for it")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                raise _DiskRefusesError(error.strerror or str(error)) from None
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):  # `cache prune` may come between
                yield
                return
        finally:
            os.close(descriptor)


# --- opening an entry


def _read_facts(home: Path) -> dict[str, Any] | None:
    """What is known of a finished entry; None where there is none, or it is not what it was."""
    try:
        facts: dict[str, Any] = json.loads((home / "facts.json").read_text())
        rows, shape = sum(facts["parts"].values()), facts["shape"]
        status = (home / "pixels").stat()
        if status.st_size != rows * int(np.prod(shape)):
            return None
        if status.st_mtime_ns != facts["modified"]:  # copied, or tampered with: it is looked at again, once
            if fingerprint(_split(_open(home, rows, shape), facts["parts"])) != facts["fingerprint"]:
                return None
            write_json(home / "facts.json", {**facts, "modified": status.st_mtime_ns})
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return facts


def _map(home: Path, facts: Mapping[str, Any]) -> Pixels:
    with _refusals():
        rows = _open(home, sum(facts["parts"].values()), facts["shape"])
    with suppress(OSError):
        os.utime(home / "facts.json")  # `cache prune --older-than` goes by the last use
    left_out = {part: np.array(places, np.int64) for part, places in facts["left_out"].items()}
    return Pixels(_split(rows, facts["parts"]), facts["fingerprint"], left_out)


def _open(home: Path, rows: int, shape: Any) -> np.ndarray:
    """All rows, mapped; those that fit into memory are asked for now, others are drawn from at random."""
    if not rows:
        return np.empty((0, *shape), np.uint8)
    with (home / "pixels").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    fits = len(mapped) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    mapped.madvise(mmap.MADV_WILLNEED if fits else mmap.MADV_RANDOM)
    return np.frombuffer(mapped, np.uint8).reshape(rows, *shape)


def _split(rows: np.ndarray, parts: Mapping[str, int]) -> dict[str, np.ndarray]:
    edges = np.cumsum([0, *parts.values()]).tolist()
    return {part: rows[edges[place] : edges[place + 1]] for place, part in enumerate(parts)}


# --- what is there


def entries(folder: Path) -> list[Entry]:
    """The entries below a cache folder; half-made ones too, which count as usable for an hour."""
    found = []
    for home in (folder / FOLDER).glob("*/"):
        with suppress(OSError):
            facts, files = _read_facts(home), [path.stat() for path in home.iterdir()]
            used = max((status.st_mtime for status in files), default=home.stat().st_mtime)
            unused = max(0.0, time.time() - used)
            content = "half decoded" if facts is None else _told(facts)
            usable = unused < LEFTOVER_SECONDS if facts is None else facts["version"] == VERSION
            found.append(Entry(home, content, sum(status.st_size for status in files), unused, usable))
    return found


def _told(facts: Mapping[str, Any]) -> str:
    shape = " × ".join(map(str, (sum(facts["parts"].values()), *facts["shape"])))
    return f"images of {facts['title']}, {shape}"


# --- without a file


def _in_memory(work: Work, judge: Judge) -> Pixels:
    shape = find_shape(work, judge)
    images = np.empty((work.count, *shape), np.uint8)
    flaws: dict[int, Flaw] = {}

    def write(start: int, pixels: np.ndarray, found: Mapping[int, Flaw]) -> None:
        images[start : start + len(pixels)] = pixels
        flaws.update(found)

    work_off(work, shape, done=set(), write=write)
    left_out = _by_part(work.parts, sorted(flaws))
    if flaws:
        judge(flaws, shape)
        images = np.delete(images, sorted(flaws), axis=0)
    images.flags.writeable = False
    counts = {part: count - len(left_out[part]) for part, count in work.parts.items()}
    return Pixels(_split(images, counts), None, left_out)


def _refuse(title: str) -> Judge:
    def judge(flaws: Mapping[int, Flaw], shape: Shape) -> None:
        if flaws:
            row, flaw = min(flaws.items())
            more = f" (so it is with {len(flaws) - 1} more)" if len(flaws) > 1 else ""
            what = flaw.what if isinstance(flaw, Fault) else f"has the shape {flaw.shape} while others have {shape}"
            remedy = flaw.remedy if isinstance(flaw, Fault) else "give all one shape"
            raise UserError(f"image {row} of {title} {what}{more}: {remedy}")

    return judge


def _note(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr)

"""Decoding many images on all cores, in pieces that are worked off in any order."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from ganbench.errors import UserError

Shape = tuple[int, int, int]
"""(C, H, W)."""
PIECE = 256
"""Images a thread takes at once, at most …"""
PIECE_BYTES = 8 * 2**20
"""… and so many bytes of pixels."""
PROGRESS_FROM = 2_000
"""Images; fewer are read in no time."""


@dataclass(frozen=True)
class Fault:
    """Why an image cannot be used, to follow its name, and the remedy."""

    what: str
    remedy: str
    broken: bool = False
    """Whether it is damaged, so that it may be left out on request; else it is a good image of another kind."""

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)


@dataclass(frozen=True)
class OddShape:
    """An image of another shape than the first."""

    shape: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return {"shape": list(self.shape)}


Flaw = Fault | OddShape
Decode = Callable[[int], np.ndarray | Fault]
Judge = Callable[[Mapping[int, Flaw], Shape], None]
"""Told the rows that cannot be used and the others' shape; raises `UserError`, or returns to leave them out."""
Write = Callable[[int, np.ndarray, Mapping[int, Flaw]], None]
"""(first row, uint8 (n, C, H, W), rows at fault): called for one piece at a time."""


@dataclass(frozen=True)
class Work:
    """What is to be decoded: the parts' sizes, how a row is decoded, the source's name, and by how many threads."""

    parts: dict[str, int]
    decode: Decode
    title: str
    threads: int

    @property
    def count(self) -> int:
        """Rows in all parts."""
        return sum(self.parts.values())


def find_shape(work: Work, judge: Judge) -> Shape:
    """The shape of the first image that can be decoded; raises `UserError`, if possible `judge`'s, if there is none."""
    faults: dict[int, Flaw] = {}
    for row in range(work.count):
        image = work.decode(row)
        if not isinstance(image, Fault):
            channels, height, width = image.shape
            return channels, height, width
        faults[row] = image
    judge(faults, (0, 0, 0))
    raise UserError(f"none of the {work.count} images of {work.title} can be read: give at least some that can")


def work_off(work: Work, shape: Shape, *, done: Set[tuple[int, int]], write: Write) -> None:
    """Decode every piece that is not in `done` (its first row, and that after its last); `write` is called here."""
    step = max(1, min(PIECE, PIECE_BYTES // max(1, int(np.prod(shape)))))
    pieces = [(start, min(start + step, work.count)) for start in range(0, work.count, step)]
    waiting = (piece for piece in pieces if piece not in done)

    def decode(piece: tuple[int, int]) -> tuple[int, np.ndarray, dict[int, Flaw]]:
        rows, flaws = range(*piece), dict[int, Flaw]()
        pixels = np.zeros((len(rows), *shape), np.uint8)
        for place, row in zip(pixels, rows, strict=True):
            image = work.decode(row)
            if isinstance(image, Fault):
                flaws[row] = image
            elif image.shape != shape:
                flaws[row] = OddShape(image.shape)
            else:
                place[:] = image
        return rows.start, pixels, flaws

    pool = ThreadPoolExecutor(work.threads)
    try:
        with _progress(work, total=len(pieces), done=len(done)) as advance:
            # a few at a time: finished pieces that nobody has written yet are memory
            running = deque(pool.submit(decode, piece) for piece in islice(waiting, 2 * work.threads))
            while running:
                finished = running.popleft().result()
                running.extend(pool.submit(decode, piece) for piece in islice(waiting, 1))
                write(*finished)
                advance()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # Ctrl-C waits for the pieces that are being decoded only


@contextmanager
def _progress(work: Work, *, total: int, done: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, where there is much to do."""
    if work.count <= PROGRESS_FROM or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"reading {work.title}", total=total, completed=done)
        yield lambda: bar.advance(task)

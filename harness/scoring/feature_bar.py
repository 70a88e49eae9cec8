"""Progress of slow feature networks on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PATIENCE = 1.0
"""Seconds that pass without a bar: a fast network is done before one could be read."""


class FeatureBar:
    """A bar for each set of samples whose features take longer than `PATIENCE`; none where stderr is no terminal.

    Call it with (samples done, of all).
    """

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._done = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __call__(self, done: int, total: int) -> None:
        """Told after every few samples; not more done than before means another set of samples."""
        if done <= self._done:
            self._close()
            self._started = time.monotonic()
        self._done = done
        if self._bar is None and done < total and time.monotonic() - self._started > PATIENCE and sys.stderr.isatty():
            self._bar = Progress(*_columns(), console=Console(stderr=True), transient=True)
            self._bar.add_task("features", total=total)
            self._bar.start()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)
            if done == total:
                self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("features"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()

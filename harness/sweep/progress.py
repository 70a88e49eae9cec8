"""The sweep's progress on stderr: bars on a terminal, one plain line per finished trial anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn

HEADLINE = ("fid", "modes")
"""Metrics shown beside a finished trial: the whole table is the report's business."""


class PlainView:
    """One line per finished trial.

    Args:
        trials: images of the budget by trial id, for every trial of the sweep that is to be run.
        before: how many of the sweep's trials had ended before this run.
        stream: where to write.
    """

    def __init__(self, trials: Mapping[str, int], *, before: int, stream: TextIO) -> None:
        self.stream = stream
        self.ended = before
        self.total = before + len(trials)
        self.labels: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def started(self, key: str, label: str) -> None:
        """A trial's process begins."""
        self.labels[key] = label

    def advanced(self, key: str, facts: Mapping[str, Any]) -> None:
        """A trial reports {"images", "total", "scores"?}."""

    def finished(self, key: str, outcome: str) -> None:
        """A trial has ended, well or not; `outcome` says which."""
        self.ended += 1
        self.note(f"[{self.ended}/{self.total}] {self.labels[key]}: {outcome}")

    def note(self, text: str) -> None:
        """A line that stays."""
        print(text, file=self.stream, flush=True)


class RichView(PlainView):
    """A bar over the whole sweep's images, and one per running trial."""

    def __init__(self, trials: Mapping[str, int], *, before: int, stream: TextIO) -> None:
        super().__init__(trials, before=before, stream=stream)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(file=stream),
            refresh_per_second=4,
        )
        self.images = dict(trials)
        self.tasks: dict[str, TaskID] = {}
        self.first: dict[str, tuple[float, int]] = {}
        """Time and images of a trial's first report: a resumed one does not begin at zero."""
        self.overall = self.bars.add_task("sweep", total=sum(trials.values()), detail=self._count())

    def _count(self) -> str:
        return f"{self.ended}/{self.total} trials"

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def started(self, key: str, label: str) -> None:
        """Its bar appears."""
        super().started(key, label)
        self.tasks[key] = self.bars.add_task(label, total=self.images[key], detail="starting", scores="")

    def advanced(self, key: str, facts: Mapping[str, Any]) -> None:
        """Its bar moves, and the whole sweep's by as much."""
        images, now = facts["images"], time.monotonic()
        since, began = self.first.setdefault(key, (now, images))
        bar = self._bar(key)
        rate = f" · {(images - began) / (now - since):,.0f} img/s" if images > began else ""
        values = [f"{name} {value:.3g}" for name, value in facts.get("scores", {}).items() if value is not None]
        scores = f" · {' '.join(values)}" if values else bar.fields["scores"]
        detail = f"{images:,}/{facts['total']:,}{rate}{scores}"
        self.bars.advance(self.overall, images - bar.completed)
        self.bars.update(bar.id, completed=images, detail=detail, scores=scores)

    def finished(self, key: str, outcome: str) -> None:
        """Its bar makes room for a line; the images that it did not need or reach count as passed."""
        super().finished(key, outcome)
        bar = self._bar(key)
        self.bars.update(self.overall, advance=self.images[key] - bar.completed, detail=self._count())
        self.bars.remove_task(bar.id)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _bar(self, key: str) -> Task:
        return next(bar for bar in self.bars.tasks if bar.id == self.tasks[key])


def open_view(trials: Mapping[str, int], *, before: int, stream: TextIO | None = None) -> PlainView:
    """The view that fits the stream (stderr): bars where it is a terminal."""
    stream = stream or sys.stderr
    return (RichView if stream.isatty() else PlainView)(trials, before=before, stream=stream)


def headline(scores: Mapping[str, Any] | None) -> str:
    """The main scores of a trial's `scores.json`, such as "FID (digits) 8.1"; "" where it has none."""
    from metrics.catalogue import label_for

    results = (scores or {}).get("results", [])
    for result in results:
        if result["checkpoint"] == "last" and result["weights"] == "ema":
            shown = {name: result["scores"][name]["value"] for name in HEADLINE if name in result["scores"]}
            features = result["protocol"]["features"]
            return " · ".join(
                f"{label_for(name, features)} {value:.3g}" for name, value in shown.items() if value is not None
            )
    return ""

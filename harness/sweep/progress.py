"""The sweep's progress on stderr: bars on a terminal, one plain line per finished trial anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

HEADLINE = ("fid", "modes")
"""Metrics shown beside a finished trial: the whole table is the report's business."""


class Label:
    """A trial's name in one line, cut in its middle: its variant and its seed stay in sight.

    In a column that may wrap (rich narrows those first) it gives way before any number does.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(12, len(self.text)), len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(cut(self.text, options.max_width), no_wrap=True, overflow="crop")


def cut(text: str, width: int) -> str:
    """At most `width` characters of it, from both ends.

    >>> cut("wgan gan.n_critic=5 seed 0", 16)
    'wgan ga…5 seed 0'
    """
    if len(text) <= width:
        return text
    return f"{text[: (width - 1) // 2]}…{text[len(text) - width // 2 :]}"


class _Name(ProgressColumn):
    def render(self, task: Task) -> Label:
        return Label(task.description)


class PlainView:
    """One line per finished trial.

    Args:
        trials: images of the budget by trial id, for every trial of the sweep that is to be run.
        before: how many of the sweep's trials had ended before this run.
        planned: how many there are in the end at most, where a search is to propose more.
        stream: where to write.
    """

    def __init__(self, trials: Mapping[str, int], *, before: int, planned: int = 0, stream: TextIO) -> None:
        self.stream = stream
        self.ended = before
        self.known = before + len(trials)
        self.planned = planned
        self.labels: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def total(self) -> int:
        """Trials of the sweep, those that a search is still to propose included."""
        return max(self.known, self.planned)

    def added(self, trials: Mapping[str, int]) -> None:
        """Trials that the sweep has got since it began: images by id."""
        self.known += len(trials)

    def started(self, key: str, label: str) -> None:
        """A trial's process begins."""
        self.labels[key] = label

    def left(self, key: str, why: str) -> None:
        """A trial's process has gone and the trial has not ended."""
        self.note(f"{self.labels[key]}: {why}")

    def advanced(self, key: str, facts: Mapping[str, Any]) -> None:
        """A trial reports {"images", "total", "scores"?}."""

    def finished(self, key: str, outcome: str) -> None:
        """A trial has ended, well or not; `outcome` says which."""
        self.ended += 1
        self.note(f"[{self.ended}/{self.total}] {self.labels[key]}: {outcome}")

    def ended_elsewhere(self, key: str, label: str, state: str) -> None:
        """A trial that another run was at has ended."""
        self.labels[key] = label
        self.finished(key, f"{state} elsewhere")

    def note(self, text: str) -> None:
        """A line that stays."""
        print(text, file=self.stream, flush=True)


class RichView(PlainView):
    """A bar over the whole sweep's images, and one per running trial."""

    def __init__(self, trials: Mapping[str, int], *, before: int, planned: int = 0, stream: TextIO) -> None:
        super().__init__(trials, before=before, planned=planned, stream=stream)
        self.bars = Progress(
            _Name(table_column=Column()),
            BarColumn(bar_width=12, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(file=stream),
            refresh_per_second=4,
        )
        self.images = dict(trials)
        self.tasks: dict[str, TaskID] = {}
        self.first: dict[str, tuple[float, int]] = {}
        """Time and images of a trial's first report: a resumed one does not begin at zero."""
        self.overall = self.bars.add_task("sweep", total=self._images_to_come(), detail=self._count())

    def _count(self) -> str:
        return f"{self.ended}/{self.total} trials"

    def _images_to_come(self) -> int:
        """Of this run's trials; those that are not known yet are taken to be as long as the others."""
        known = sum(self.images.values())
        return known + (self.total - self.known) * known // max(1, len(self.images))

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def added(self, trials: Mapping[str, int]) -> None:
        """More to come."""
        super().added(trials)
        self.images.update(trials)
        self.bars.update(self.overall, total=self._images_to_come(), detail=self._count())

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
        found = {name: value for name, value in facts.get("scores", {}).items() if value is not None}
        values = [f"{name} {found[name]:.3g}" for name in HEADLINE if name in found]
        scores = f" · {' '.join(values)}" if values else bar.fields["scores"]
        detail = f"{100 * images // facts['total']:>3} %{rate}{scores}"
        self.bars.advance(self.overall, images - bar.completed)
        self.bars.update(bar.id, completed=images, detail=detail, scores=scores)

    def left(self, key: str, why: str) -> None:
        """Its bar goes; what it has done so far will be reported again by whoever continues it."""
        super().left(key, why)
        self.bars.update(self.overall, advance=-self._remove_bar(key))

    def finished(self, key: str, outcome: str) -> None:
        """Its bar makes room for a line; the images that it did not need or reach count as passed."""
        super().finished(key, outcome)
        self.bars.update(self.overall, advance=self.images[key] - self._remove_bar(key), detail=self._count())

    def _remove_bar(self, key: str) -> float:
        """How far the trial's bar had come, which is taken away; 0 where it ran elsewhere and had none."""
        self.first.pop(key, None)
        if key not in self.tasks:
            return 0
        bar = self._bar(key)
        self.bars.remove_task(bar.id)
        del self.tasks[key]
        return bar.completed

    def note(self, text: str) -> None:
        """A line above the bars."""
        self.bars.console.print(text, markup=False, highlight=False)

    def _bar(self, key: str) -> Task:
        return next(bar for bar in self.bars.tasks if bar.id == self.tasks[key])


def open_view(trials: Mapping[str, int], *, before: int, planned: int = 0, stream: TextIO | None = None) -> PlainView:
    """The view that fits the stream (stderr): bars where it is a terminal."""
    stream = stream or sys.stderr
    return (RichView if stream.isatty() else PlainView)(trials, before=before, planned=planned, stream=stream)


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

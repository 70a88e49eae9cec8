"""`ganbench sweep status` in print: a table on a terminal, aligned text without colours anywhere else."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.store import TrialState
from harness.sweep.overview import Overview, Reader, TrialStatus
from harness.sweep.progress import Label, cut
from metrics.catalogue import METRICS

LISTED = 30
"""Trials up to which all are listed; of more, at most as many of those that were begun and have not ended."""

SAID = 6
"""Failures and problems that are told in words."""

WIDE = 130
"""Columns of a terminal from which images are shown in numbers, and ids."""

STALE = 30.0
"""Seconds without a sign of life after which a process is shown as one to look after."""

_COLOURS: dict[TrialState, str] = {
    "done": "green", "running": "cyan", "interrupted": "yellow", "failed": "red", "diverged": "red",
    "pruned": "magenta", "pending": "dim",
}  # fmt: skip
_LABELS = {metric.name: metric.label for metric in METRICS}
_PLAIN_WIDTH = 1000  # nothing is cut where a program or a file reads


def show(overview: Overview, *, everything: bool = False, stream: TextIO | None = None) -> None:
    """Print the sweep to `stream` (stdout)."""
    stream = stream or sys.stdout
    if stream.isatty():
        console = Console(file=stream)
        console.print(board(overview, everything=everything, width=console.width))
    else:
        stream.write(plain(overview, everything=everything))


def plain(overview: Overview, *, everything: bool = False) -> str:
    """The sweep as aligned text."""
    text = io.StringIO()
    console = Console(file=text, width=_PLAIN_WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    console.print(board(overview, everything=everything, width=None))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def watch(reader: Reader, *, everything: bool = False, stream: TextIO | None = None, interval: float = 1.0) -> None:
    """Show the sweep on a terminal, again every `interval` seconds, until it has ended or Ctrl-C; then print it."""
    console = Console(file=stream)
    overview = reader.read()
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not overview.ended:
                live.update(board(overview, everything=everything, width=console.width), refresh=True)
                time.sleep(interval)
                overview = reader.read()
    except KeyboardInterrupt:
        overview = reader.read()
    show(overview, everything=everything, stream=stream)


def board(overview: Overview, *, everything: bool, width: int | None) -> RenderableType:
    """The sweep for a terminal of `width` columns, or as text of any width for None."""
    return Group(*_sections(overview, everything, width))


def _sections(overview: Overview, everything: bool, width: int | None) -> Iterator[RenderableType]:
    yield from _headline(overview)
    yield from _progress(overview, width)
    shown = list(overview.trials)
    if not everything and len(shown) > LISTED:
        at_work = [trial for trial in shown if trial.state in ("running", "interrupted")]
        shown = at_work[:LISTED]
        hidden = len(at_work) - len(shown)
    else:
        hidden = 0
    if shown:
        yield Text()
        yield _trials(shown, overview, width)
        yield from _more(hidden, "begun")
    yield Text()
    yield _variants(overview)
    lost = [trial for trial in overview.trials if trial.state in ("failed", "diverged")]
    flagged = [trial for trial in overview.trials if _words(trial)]
    for title, trials, say in (("Failures", lost, _failure), ("Problems", flagged, _problem)):
        if trials:
            said = trials if everything else trials[:SAID]
            yield Text(f"\n{title}", style="bold")
            yield from (say(trial) for trial in said)
            yield from _more(len(trials) - len(said), title.lower())


def _headline(overview: Overview) -> Iterator[Text]:
    cap = f" of at most {overview.expected:,} ({overview.search.method} search)" if overview.search else ""
    yield Text.assemble((overview.name, "bold"), f"  {len(overview.trials):,} trials{cap}")
    counts = [
        Text(f"{overview.states[state]:,} {state}", style=colour)
        for state, colour in _COLOURS.items()
        if overview.states[state]
    ]
    yield Text(" · ").join(counts)
    if sizes := [trial.ensemble for trial in overview.trials if trial.ensemble]:
        yield Text(f"{len(sizes):,} trained as ensembles of up to {max(sizes)} seeds", style="dim")


def _progress(overview: Overview, width: int | None) -> Iterator[RenderableType]:
    behind, total = overview.images
    facts = [f"{_percent(behind, total)} of {total:,} images"]
    if overview.running:
        facts.append(f"{overview.rate:,.0f} images/s" if overview.rate else "rate not known yet")
    if (left := overview.remaining_seconds) is not None:
        facts.append(f"about {duration(left)} left")
    text = " · ".join(facts)
    if width is None:
        yield Text(text)
    else:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        grid.add_row(ProgressBar(total=total, completed=behind), text)
        yield grid


def _trials(trials: Sequence[TrialStatus], overview: Overview, width: int | None) -> Table:
    wide = width is None or width >= WIDE
    working = any(trial.process for trial in trials)
    scored = any(trial.score is not None for trial in trials)
    table = _table()
    if wide:
        table.add_column("id", no_wrap=True, style="dim")
    table.add_column("trial")
    table.add_column("state", no_wrap=True)
    table.add_column("images" if wide else "done", justify="right", no_wrap=True)
    numbers = (("img/s",) if working else ()) + ((_label(overview), "best") if scored else ())
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    if working:
        table.add_column("process", no_wrap=True)
        table.add_column("silent", justify="right", no_wrap=True)
    for trial in trials:
        # whole rounds only: a trial that is done may have left less than one round of its budget
        percent = "100 %" if trial.state == "done" else _percent(trial.images, trial.total_images)
        cells: list[RenderableType] = [
            Label(trial.label),
            Text(trial.state, style=_COLOURS[trial.state]),
            f"{trial.images:,} of {trial.total_images:,} {percent:>5}" if wide else percent,
        ]
        if working:
            cells.append("" if trial.rate is None else f"{trial.rate:,.0f}")
        if scored:
            cells += [_number(trial.score), _number(trial.best)]
        if working:
            cells += [_process(trial.process, wide), _silent(trial.heartbeat)]
        table.add_row(*([trial.id] if wide else []), *cells)
    return table


def _variants(overview: Overview) -> Table:
    rows = overview.variants
    apart: tuple[TrialState, ...] = ("failed", "diverged", "pruned")
    lost = [state for state in apart if overview.states[state]]
    scored = any(row.scored for row in rows)
    table = _table()
    table.add_column("variant", no_wrap=True)
    for name in ("trials", "done", *lost, *((f"best {_label(overview)}", "of") if scored else ())):
        table.add_column(name, justify="right", no_wrap=True)
    if scored:
        table.add_column("trial")
    for row in rows:
        counts = [Text(_some(row.states[state]), style=_COLOURS[state]) for state in lost]
        cells: list[RenderableType] = [row.name, f"{row.trials:,}", f"{row.states['done']:,}", *counts]
        if scored:
            cells += [_number(row.best), _some(row.scored), Label(row.label.removeprefix(f"{row.name} "))]
        table.add_row(*cells)
    return table


def _failure(trial: TrialStatus) -> RenderableType:
    reason = trial.reason or "no reason was recorded"
    lines: list[RenderableType] = [Text.assemble(trial.label, " ", (trial.state, _COLOURS[trial.state]), f": {reason}")]
    if trial.log:
        lines.append(Padding(Text(f"log: {trial.log}", style="dim", overflow="fold"), (0, 0, 0, 2)))
    return Padding(Group(*lines), (0, 0, 0, 2))


def _problem(trial: TrialStatus) -> RenderableType:
    return Padding(Text.assemble(trial.label, (f" ({trial.state}): ", "dim"), "; ".join(_words(trial))), (0, 0, 0, 2))


def _words(trial: TrialStatus) -> list[str]:
    """Its problems but for the one that ended it, which its reason tells."""
    return [
        f"{problem['kind']} at {problem['images']:,} images: {problem['detail']}"
        for problem in trial.problems
        if not (trial.state == "diverged" and problem["kind"] == "nan")
    ]


def _more(count: int, what: str) -> Iterator[Text]:
    if count:
        yield Text(f"  … and {count:,} more {what}: --all lists everything", style="dim")


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def _label(overview: Overview) -> str:
    return _LABELS.get(overview.metric.score, overview.metric.score)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _some(count: int) -> str:
    return f"{count:,}" if count else ""


def _percent(part: int, whole: int) -> str:
    """Rounded down: what is not finished never reads 100 %."""
    return f"{100 * part // whole if whole else 100} %"


def _process(process: str | None, wide: bool) -> str:
    """host:pid, with a long host's name cut so that the pid stays in sight."""
    host, _, pid = (process or "").rpartition(":")
    return f"{cut(host, 16 if wide else 9)}:{pid}" if process else ""


def _silent(heartbeat: float | None) -> Text:
    if heartbeat is None:
        return Text()
    return Text(duration(heartbeat, units=1), style="bold red" if heartbeat > STALE else "")


def duration(seconds: float, *, units: int = 2) -> str:
    """In the largest unit and the next smaller ones.

    >>> duration(42.4), duration(185), duration(7_500), duration(200_000, units=1)
    ('42 s', '3 min 5 s', '2 h 5 min', '2 d')
    """
    rest = round(seconds)
    sizes = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
    parts = {}
    for name, size in sizes.items():
        parts[name], rest = divmod(rest, size)
    names = list(sizes)
    first = next((place for place, name in enumerate(names) if parts[name]), len(names) - 1)
    shown = names[first : first + units]
    return " ".join(f"{parts[name]} {name}" for name in shown if parts[name] or name == shown[0])

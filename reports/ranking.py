"""The comparison behind every table: which rows there are, what each cell holds and who is best.

`comparison` is the only place that aggregates, ranks and explains; `tables` and `html` merely write it down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reports.results import Results, Search
from reports.statistics import FEWEST, Interval, Proportion, interval, proportion

if TYPE_CHECKING:
    from pandas import DataFrame

REFERENCES = {"untrained": "untrained generator", "floor": "real vs real (floor)"}


@dataclass(frozen=True)
class Metric:
    """A column: the metric's name, the label printed, and which way is better."""

    name: str
    label: str
    direction: Literal["higher", "lower"]

    @property
    def header(self) -> str:
        """The label with its arrow."""
        return f"{self.label} {'↑' if self.direction == 'higher' else '↓'}"


@dataclass(frozen=True)
class Cell:
    """One metric of one row; `interval` is None when no seed has the score. `best` prints bold."""

    interval: Interval | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One recipe (or reference) under one protocol; numbers but the counts of trials are means per finished trial."""

    recipe: str
    kind: Literal["recipe", "reference"]
    cells: dict[str, Cell]
    n: int
    """Trials (of a reference: draws) with scores."""
    trials: int = 0
    failed: int = 0
    diverged: int = 0
    flagged: int = 0
    """Trials with scores in which the health checks flagged a problem."""
    pruned: int = 0
    unfinished: int = 0
    variant: str = ""
    """What recipes are grouped by where their failures are counted."""
    images: float | None = None
    g_steps: float | None = None
    d_steps: float | None = None
    seconds: float | None = None

    @property
    def lost(self) -> int:
        """Trials that have no score because they failed or diverged."""
        return self.failed + self.diverged

    @property
    def given_up(self) -> bool:
        """Whether every trial was pruned: there is nothing to show but that."""
        return 0 < self.trials == self.pruned

    @property
    def failures(self) -> Proportion | None:
        """The share of ended trials that failed, diverged or were flagged; None before any has ended.

        A pruned trial is none of them, since nobody knows how it would have ended.
        """
        ended = self.n + self.lost
        return proportion(self.lost + self.flagged, ended) if ended else None


@dataclass(frozen=True)
class Block:
    """Rows that share a protocol, ranked among themselves only; the first block has the most trials."""

    protocol_id: str
    protocol: dict[str, Any]
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    references: tuple[Row, ...]
    trials: frozenset[str] = field(repr=False)

    @property
    def shown(self) -> tuple[Row, ...]:
        """The rows of a table of scores."""
        return tuple(row for row in self.rows if not row.given_up)

    @property
    def variants(self) -> list[Row]:
        """How the trials of each variant ended that has several recipes."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.variant, []).append(row)
        return [_together(variant, rows) for variant, rows in groups.items() if len(rows) > 1]


def _together(variant: str, rows: list[Row]) -> Row:
    """The counts of several recipes' trials."""
    counts = ("n", "trials", "failed", "diverged", "flagged", "pruned", "unfinished")
    total = {name: sum(getattr(row, name) for row in rows) for name in counts}
    return Row(f"{variant}, {len(rows)} recipes", "recipe", {}, variant=variant, **total)


@dataclass(frozen=True)
class Searched:
    """What was tried of a variant before the comparison."""

    row: Row
    """How the trials ended."""
    best: float | None
    """The value of the chosen configuration."""
    chosen: str | None
    """The settings of the chosen configuration."""


@dataclass(frozen=True)
class Failure:
    """A trial or one of its scores that failed, and why.

    `what` is how the trial ended ("failed", "diverged"), the kind of a problem ("collapse" …), or a metric's label.
    """

    recipe: str
    seed: int
    what: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """All a table says: blocks of rows, failures, and the notes that belong under it."""

    title: str
    blocks: tuple[Block, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    rule: str = ""
    """What the search chose by."""
    searched: tuple[Searched, ...] = ()
    """Empty where nothing was searched."""


def comparison(results: Results) -> Comparison:
    """Aggregate over training seeds and rank, per protocol.

    A recipe's scores are those of the last checkpoint's EMA weights of its finished trials. Rows of different
    protocol ids come in different blocks, the one with the most trials first. Rows are sorted by their block's
    first metric, missing ones last.
    """
    trials = results.trials
    finished = set(trials.loc[trials["status"] == "done", "trial"])
    last = results.scores[(results.scores["checkpoint"] == "last") & (results.scores["weights"] == "ema")]
    main = last[last["trial"].isin(finished)]
    members = _members(trials, main)
    blocks = tuple(
        _block(results, main[main["protocol_id"] == protocol_id], protocol_id, frozenset(inside), list(members))
        for protocol_id, inside in members.items()
    )
    searched = _searched(results.search) if results.search else ()
    return Comparison(
        results.title,
        blocks,
        (*_failures(trials, main), *(_search_failures(results.search.trials) if results.search else ())),
        _notes(blocks, searched),
        results.search.rule if results.search else "",
        searched,
    )


def apart(block: Block, metric: Metric) -> bool:
    """Whether the best recipe's interval is apart from that of every other recipe with a score."""
    order = ranked(block.rows, metric)
    return len(order) > 1 and all(order[0][1].apart(other) for _, other in order[1:])


def _members(trials: DataFrame, main: DataFrame) -> dict[str, set[str]]:
    """Trials of each protocol id, most trials first; a trial without a score goes where its recipe's others are."""
    scored = main[["recipe", "trial", "protocol_id"]].drop_duplicates()
    by_size = sorted(Counter(scored["protocol_id"]).items(), key=lambda item: -item[1])  # stable: first seen wins ties
    members: dict[str, set[str]] = {str(name): set() for name, _ in by_size} or {"": set()}
    for trial, name in zip(scored["trial"], scored["protocol_id"], strict=True):
        members[name].add(trial)
    homeless = trials[~trials["trial"].isin(set(scored["trial"]))]
    for recipe, trial in zip(homeless["recipe"], homeless["trial"], strict=True):
        ids = Counter(scored.loc[scored["recipe"] == recipe, "protocol_id"])
        members[max(members, key=ids.__getitem__)].add(trial)
    return members


def _block(results: Results, main: DataFrame, protocol_id: str, trials: frozenset[str], ids: list[str]) -> Block:
    reference = results.scores[results.scores["checkpoint"].isin(REFERENCES)]
    metrics = _metrics(main if not main.empty else reference)
    labels = {metric.label for metric in metrics}
    # references have ids of their own (no EMA, other n): they belong to the block of their trial
    here = reference["trial"].isin(trials) & ~reference["protocol_id"].isin(ids)
    if len(ids) == 1:
        here |= ~reference["trial"].isin(set(results.trials["trial"]))
    reference = reference[(here | (reference["protocol_id"] == protocol_id)) & reference["label"].isin(labels)]
    table = results.trials[results.trials["trial"].isin(trials)]
    rows = [
        _row(recipe, metrics, main[main["recipe"] == recipe], table[table["recipe"] == recipe])
        for recipe in dict.fromkeys(table["recipe"])
    ]
    if metrics:
        order = {row.recipe: place for place, (row, _) in enumerate(ranked(rows, metrics[0]))}
        rows = sorted(rows, key=lambda row: order.get(row.recipe, len(order)))
    block = Block(
        protocol_id=protocol_id,
        protocol=results.protocols.get(protocol_id, {}),
        metrics=metrics,
        rows=tuple(rows),
        references=tuple(
            _reference(label, metrics, reference[reference["checkpoint"] == checkpoint])
            for checkpoint, label in REFERENCES.items()
            if (reference["checkpoint"] == checkpoint).any()
        ),
        trials=trials,
    )
    return _crowned(block)


def _metrics(scores: DataFrame) -> tuple[Metric, ...]:
    first = scores.drop_duplicates("metric")
    return tuple(Metric(*row) for row in zip(first["metric"], first["label"], first["direction"], strict=True))


def _row(recipe: str, metrics: Iterable[Metric], scores: DataFrame, trials: DataFrame) -> Row:
    cells = {metric.name: _cell(scores.loc[scores["metric"] == metric.name, "value"]) for metric in metrics}
    done = trials[trials["trial"].isin(set(scores["trial"]))]
    return replace(
        _counted(recipe, trials, done),
        cells=cells,
        variant=str(trials["variant"].iloc[0]),
        images=_mean(done["images"]),
        g_steps=_mean(done["g_steps"]),
        d_steps=_mean(done["d_steps"]),
        seconds=_mean(done["seconds"]),
    )


def _counted(recipe: str, trials: DataFrame, done: DataFrame) -> Row:
    """How the trials ended, `done` being those that have scores."""
    states = Counter(trials["status"])
    ended = len(done) + sum(states[name] for name in ("failed", "diverged", "pruned"))
    return Row(
        recipe=recipe,
        kind="recipe",
        cells={},
        n=len(done),
        trials=len(trials),
        failed=states["failed"],
        diverged=states["diverged"],
        flagged=sum(map(bool, done["problems"])),
        pruned=states["pruned"],
        unfinished=len(trials) - ended,
    )


def _searched(search: Search) -> tuple[Searched, ...]:
    """A row per variant, in the order of the trials."""
    found = []
    for variant, trials in search.trials.groupby("variant", sort=False):
        done = trials[trials["status"] == "done"]
        chosen = done[done["chosen"].astype(bool)]
        best = _mean(chosen["value"])
        settings = None if chosen.empty else str(chosen.iloc[0]["settings"])
        found.append(Searched(_counted(str(variant), trials, done), best, settings))
    return tuple(found)


def _search_failures(trials: DataFrame) -> Iterator[Failure]:
    names = trials["variant"] + " " + trials["settings"]
    return _training_failures(trials.assign(recipe=names.str.strip()))


def _reference(label: str, metrics: Iterable[Metric], scores: DataFrame) -> Row:
    # recipes of one seed share what is random here, so a seed counts once
    by_seed = scores.groupby(["metric", "seed"], dropna=False)["value"].mean().dropna()
    drawn_once = by_seed.groupby("metric").nunique().le(1).all()  # the same draw in every trial is one sample of it
    cells = {}
    for metric in metrics:
        values = by_seed.loc[by_seed.index.get_level_values("metric") == metric.name]
        cells[metric.name] = _cell(values.head(1) if drawn_once else values)
    n = max((cell.interval.n for cell in cells.values() if cell.interval), default=0)
    return Row(label, "reference", cells, n)


def _cell(values: Any) -> Cell:
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return Cell(interval(finite) if len(finite) else None)


def _mean(values: Any) -> float | None:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else None


def ranked(rows: Iterable[Row], metric: Metric) -> list[tuple[Row, Interval]]:
    """Rows that have the metric, best mean first."""
    have = [(row, value) for row in rows if (value := row.cells[metric.name].interval) is not None]
    sign = -1 if metric.direction == "higher" else 1
    return sorted(have, key=lambda pair: sign * pair[1].point)


def _crowned(block: Block) -> Block:
    """The block with the best cell of each column marked, where its interval is apart from all others."""
    winners = {metric.name: ranked(block.rows, metric)[0][0] for metric in block.metrics if apart(block, metric)}
    rows = tuple(
        replace(row, cells={name: replace(cell, best=winners.get(name) is row) for name, cell in row.cells.items()})
        for row in block.rows
    )
    return replace(block, rows=rows)


def _failures(trials: DataFrame, main: DataFrame) -> tuple[Failure, ...]:
    missing = main[main["value"].isna()]
    scoring = (
        Failure(recipe, int(seed), label, _reason(reason))
        for recipe, seed, label, reason in zip(
            missing["recipe"], missing["seed"], missing["label"], missing["reason"], strict=True
        )
    )
    return (*_training_failures(trials), *scoring)


def _training_failures(trials: DataFrame) -> Iterator[Failure]:
    columns = (trials[name] for name in ("recipe", "seed", "status", "reason", "problems"))
    for recipe, seed, *ending in zip(*columns, strict=True):
        for what, text in _troubles(*ending):
            yield Failure(recipe, int(seed), what, text)


def _troubles(status: str, reason: object, problems: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """How a trial failed and what was flagged in it, but not twice what ended it."""
    lost = status in ("failed", "diverged")
    if lost:
        yield status, _reason(reason)
    for problem in problems:
        if not (lost and problem["detail"] in _reason(reason)):
            yield problem["kind"], f"{problem['detail']} at {problem['images']:,} images"


def _reason(reason: object) -> str:
    return reason if isinstance(reason, str) and reason else "no reason was recorded"


def _notes(blocks: tuple[Block, ...], searched: tuple[Searched, ...]) -> tuple[str, ...]:
    rows = [row for block in blocks for row in block.rows]
    notes = [
        "±: half-width of the 95 % t interval of the mean over training seeds; n: training seeds with scores "
        f"(last checkpoint, EMA weights). Below n = {FEWEST} there is no interval and no ±. "
        "(n = …) in a cell: fewer seeds have that score. —: no score.",
        "Bold: the best mean of its column, only where its interval is apart from every other recipe's. "
        "A column without bold has no clear winner; intervals that overlap do not prove recipes equal.",
        "images: real images shown to the discriminator. G / D steps: updates of generator and discriminator. "
        "device-s: seconds of training per trial. All are means over the n trials.",
    ]
    if any(row.n < row.trials for block in blocks for row in block.shown):
        notes.append(
            "n of m: of the recipe's m trials, n have scores; the others count in no mean. A mean without the seeds "
            "that went wrong flatters its recipe."
        )
    if searched:
        notes.append(
            "Compared are the trials of the last phase alone: of each variant the configuration that the search chose, "
            "trained anew with seeds that it was not chosen by. The scores of the search are lucky ones."
        )
    counted = [*rows, *(found.row for found in searched)]
    if any(row.failures and row.failures.k for row in counted):
        notes.append(
            "failure rate: of the trials that ended, those that failed, diverged or were flagged, with Wilson's 95 % "
            "interval. flagged: scored, but with a problem (vanished gradient, collapse, a critic that always wins). "
            "Pruned trials, stopped early for a better one's sake, are not counted in it."
        )
    if any(block.references for block in blocks):
        notes.append(
            "Reference rows are not ranked: an untrained generator, and real images scored against other real ones."
        )
    if len(blocks) > 1:
        notes.append("Rows with different protocol ids stand in different tables: their scores must not be compared.")
    budgets = [row.images for row in rows if row.images is not None]
    if budgets and max(budgets) > 1.01 * min(budgets):
        notes.append("The recipes were not shown the same number of images: this is not a comparison under one budget.")
    return tuple(notes)

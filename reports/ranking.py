"""The comparison behind every table: which rows there are, what each cell holds and who is best.

`comparison` is the only place that aggregates, ranks and explains; `tables` and `html` merely write it down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reports.results import Results
from reports.statistics import FEWEST, Interval, interval

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
    trials: int = 0
    failed: int = 0
    unfinished: int = 0
    images: float | None = None
    g_steps: float | None = None
    d_steps: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Block:
    """Rows that share a protocol, ranked among themselves only; the first block has the most trials."""

    protocol_id: str
    protocol: dict[str, Any]
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    references: tuple[Row, ...]
    trials: frozenset[str] = field(repr=False)


@dataclass(frozen=True)
class Failure:
    """A trial or one of its scores that failed, and why; `what` is "training" or the metric's label."""

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
    return Comparison(results.title, blocks, _failures(trials, main), _notes(blocks))


def apart(block: Block, metric: Metric) -> bool:
    """Whether the best recipe's interval is apart from that of every other recipe with a score."""
    ranked = _ranked(block.rows, metric)
    return len(ranked) > 1 and all(ranked[0][1].apart(other) for _, other in ranked[1:])


def verdict(result: Comparison) -> list[str]:
    """What the first block's first metric allows one to say, in one to three sentences."""
    block = result.blocks[0]
    ranked = _ranked(block.rows, block.metrics[0]) if block.metrics else []
    failed, trials = (sum(getattr(row, name) for b in result.blocks for row in b.rows) for name in ("failed", "trials"))
    if not ranked:
        sentences = ["No recipe has a score yet, so there is nothing to compare."]
    else:
        label = block.metrics[0].label
        (best, mean), others = ranked[0], ranked[1:]
        under = f" under protocol {block.protocol_id}" if len(result.blocks) > 1 else ""
        if not others:
            sentences = [f"Only {best.recipe} has a score of {label}{under}, so there is nothing to compare it with."]
        elif tied := [row.recipe for row, value in others if value.point == mean.point]:
            shared = _listed([best.recipe, *tied])
            sentences = [f"By {label}, {shared} share the best mean of {len(ranked)} recipes{under}."]
        else:
            sentences = [f"By {label}, {best.recipe} has the best mean of {len(ranked)} recipes{under}."]
            sentences.append(_separation(best, mean, others))
    if failed:
        sentences.append(f"{failed} of {trials} trials failed; failures count in no mean.")
    return sentences


def _separation(best: Row, mean: Interval, others: list[tuple[Row, Interval]]) -> str:
    """One sentence on whether the best stands apart from the others."""
    unknown = [row.recipe for row, value in ((best, mean), *others) if value.low is None]
    overlapping = [row.recipe for row, value in others if value.low is not None and not mean.apart(value)]
    if best.recipe in unknown:
        return f"It has fewer than {FEWEST} training seeds and so no interval: the order may be chance."
    if overlapping:
        sentence = f"Its 95 % interval (n = {mean.n} training seeds) overlaps that of {_listed(overlapping)}"
        return f"{sentence}: by their intervals they cannot be told apart."
    if unknown:
        return f"Whether it is better than {_listed(unknown)} cannot be told: fewer than {FEWEST} training seeds there."
    return f"Its 95 % interval (n = {mean.n} training seeds) is apart from every other recipe's."


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
        order = {row.recipe: place for place, (row, _) in enumerate(_ranked(rows, metrics[0]))}
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
    failed = int((trials["status"] == "failed").sum())
    return Row(
        recipe=recipe,
        kind="recipe",
        cells=cells,
        n=len(done),
        trials=len(trials),
        failed=failed,
        unfinished=len(trials) - failed - len(done),
        images=_mean(done["images"]),
        g_steps=_mean(done["g_steps"]),
        d_steps=_mean(done["d_steps"]),
        seconds=_mean(done["seconds"]),
    )


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


def _ranked(rows: Iterable[Row], metric: Metric) -> list[tuple[Row, Interval]]:
    """Rows that have the metric, best mean first."""
    have = [(row, value) for row in rows if (value := row.cells[metric.name].interval) is not None]
    sign = -1 if metric.direction == "higher" else 1
    return sorted(have, key=lambda pair: sign * pair[1].point)


def _crowned(block: Block) -> Block:
    """The block with the best cell of each column marked, where its interval is apart from all others."""
    winners = {metric.name: _ranked(block.rows, metric)[0][0] for metric in block.metrics if apart(block, metric)}
    rows = tuple(
        replace(row, cells={name: replace(cell, best=winners.get(name) is row) for name, cell in row.cells.items()})
        for row in block.rows
    )
    return replace(block, rows=rows)


def _failures(trials: DataFrame, main: DataFrame) -> tuple[Failure, ...]:
    failed = trials[trials["status"] == "failed"]
    missing = main[main["value"].isna()]
    training = (
        Failure(recipe, int(seed), "training", _reason(reason))
        for recipe, seed, reason in zip(failed["recipe"], failed["seed"], failed["reason"], strict=True)
    )
    scoring = (
        Failure(recipe, int(seed), label, _reason(reason))
        for recipe, seed, label, reason in zip(
            missing["recipe"], missing["seed"], missing["label"], missing["reason"], strict=True
        )
    )
    return (*training, *scoring)


def _reason(reason: object) -> str:
    return reason if isinstance(reason, str) and reason else "no reason was recorded"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _notes(blocks: tuple[Block, ...]) -> tuple[str, ...]:
    rows = [row for block in blocks for row in block.rows]
    notes = [
        "±: half-width of the 95 % t interval of the mean over training seeds; n: training seeds with scores "
        f"(last checkpoint, EMA weights). Below n = {FEWEST} there is no interval and no ±. "
        "(n = …) in a cell: fewer seeds have that score. —: no score.",
        "Bold: the best mean of its column, only where its interval is apart from every other recipe's. "
        "A column without bold has no clear winner; intervals that overlap do not prove recipes equal.",
        "failed: failed trials of all trials; they count in no mean. images: real images shown to the discriminator. "
        "G / D steps: updates of generator and discriminator. device-s: seconds of training per trial. All are means.",
    ]
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

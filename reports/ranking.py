"""The comparison behind every table: which rows there are, what each cell holds and who is best.

`comparison` is the only place that aggregates, ranks and explains; `tables` and `html` merely write it down.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ganbench.errors import unknown_name
from reports.effects import Effects, effects
from reports.ranks import outcome, rank_ranges, surely_better
from reports.results import Results, Search
from reports.rows import Block, Cell, Comparison, Failure, Metric, Row, Searched
from reports.sentences import notes
from reports.settings import settings
from reports.statistics import FEWEST, difference, interval

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Block", "Cell", "Comparison", "Failure", "Metric", "Row", "comparison", "final_scores"]

REFERENCES = {"untrained": "untrained generator", "floor": "real vs real (floor)"}


def comparison(results: Results, *, baseline: str | None = None) -> Comparison:
    """Aggregate over training seeds and rank, per protocol.

    Rows of different protocol ids come in different blocks, the one with the most trials first. Rows are sorted by
    their block's first metric, missing ones last.

    Args:
        results: the tidy frames.
        baseline: the recipe that the others of its block are compared with, each for itself.

    Raises:
        UserError: no recipe is called `baseline`.
    """
    if baseline is not None and baseline not in results.recipes:
        raise unknown_name("baseline", baseline, results.recipes)
    main = final_scores(results)
    members = _members(results.trials, main)
    blocks = tuple(
        _block(results, main[main["protocol_id"] == protocol_id], protocol_id, frozenset(inside), list(members))
        for protocol_id, inside in members.items()
    )
    judged = tuple(_judged(block, baseline) for block in blocks)
    if results.study == "effects":
        judged = tuple(replace(block, effects=_effects(results, block)) for block in judged)
    search = results.search
    searched = _searched(search) if search else ()
    return Comparison(
        results.title,
        judged,
        (*_failures(results.trials, main), *(_search_failures(search.trials) if search else ())),
        notes(judged, baseline, searched),
        baseline,
        search.rule if search else "",
        searched,
    )


def final_scores(results: Results) -> DataFrame:
    """The scores that count: of the finished trials' last checkpoint, with the EMA weights; NaN where one failed."""
    finished = results.trials.loc[results.trials["status"] == "done", "trial"]
    scores = results.scores
    return scores[(scores["checkpoint"] == "last") & (scores["weights"] == "ema") & scores["trial"].isin(set(finished))]


def _members(trials: DataFrame, main: DataFrame) -> dict[str, set[str]]:
    """Trials of each protocol id, most trials first; a trial without a score goes where its recipe's others are."""
    scored = main[["recipe", "trial", "protocol_id"]].drop_duplicates()
    by_size = sorted(Counter(scored["protocol_id"]).items(), key=lambda item: -item[1])  # stable: first seen wins ties
    members: dict[str, set[str]] = {str(name): set() for name, _ in by_size} or {"": set()}
    for trial, name in zip(scored["trial"], scored["protocol_id"], strict=True):
        members[name].add(trial)
    ids: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for recipe, name in zip(scored["recipe"], scored["protocol_id"], strict=True):
        ids[recipe][name] += 1
    homeless = trials[~trials["trial"].isin(set(scored["trial"]))]
    for recipe, trial in zip(homeless["recipe"], homeless["trial"], strict=True):
        members[max(members, key=ids[recipe].__getitem__)].add(trial)
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
    protocol = results.protocols.get(protocol_id, {})
    scores, none = dict(iter(main.groupby("recipe"))), main.head(0)
    none = main.head(0)
    rows = [
        _row(str(recipe), metrics, scores.get(recipe, none), of_recipe, protocol)
        for recipe, of_recipe in table.groupby("recipe", sort=False)
    ]
    if metrics:
        rows.sort(key=lambda row: _place(row, metrics[0]))
    return Block(
        protocol_id=protocol_id,
        protocol=protocol,
        metrics=metrics,
        rows=tuple(rows),
        references=tuple(
            _reference(label, metrics, reference[reference["checkpoint"] == checkpoint], results.protocols)
            for checkpoint, label in REFERENCES.items()
            if (reference["checkpoint"] == checkpoint).any()
        ),
        trials=trials,
    )


def _metrics(scores: DataFrame) -> tuple[Metric, ...]:
    first = scores.drop_duplicates("metric")
    return tuple(Metric(*row) for row in zip(first["metric"], first["label"], first["direction"], strict=True))


def _row(
    recipe: str, metrics: Iterable[Metric], scores: DataFrame, trials: DataFrame, protocol: Mapping[str, Any]
) -> Row:
    values: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for metric, seed, value in zip(scores["metric"], scores["seed"], scores["value"], strict=True):
        values[metric][int(seed)] = value
    cells = {metric.name: _cell(values[metric.name]) for metric in metrics}
    done = trials[trials["trial"].isin(set(scores["trial"]))]
    return replace(
        _counted(recipe, trials, done),
        cells=cells,
        variant=str(trials["variant"].iloc[0]),
        images=_mean(done["images"]),
        g_steps=_mean(done["g_steps"]),
        d_steps=_mean(done["d_steps"]),
        seconds=_mean(done["seconds"]),
        parameters=_mean(done["parameters"]),
        peak_memory_mb=_mean(done["peak_memory_mb"]),
        seeds=tuple(sorted(map(int, done["seed"]))),
        n_real=protocol.get("n_real"),
        n_fake=protocol.get("n_fake"),
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
        together=int(done["ensemble"].notna().sum()) if "ensemble" in done else 0,
    )


def _searched(search: Search) -> tuple[Searched, ...]:
    """A row per variant, in the order of the trials."""
    found = []
    for variant, trials in search.trials.groupby("variant", sort=False):
        done = trials[trials["status"] == "done"]
        chosen = done[done["chosen"].astype(bool)]
        words = None if chosen.empty else str(chosen.iloc[0]["settings"])
        found.append(Searched(_counted(str(variant), trials, done), _mean(chosen["value"]), words))
    return tuple(found)


def _search_failures(trials: DataFrame) -> Iterator[Failure]:
    names = trials["variant"] + " " + trials["settings"]
    return _training_failures(trials.assign(recipe=names.str.strip()))


def _reference(label: str, metrics: Iterable[Metric], scores: DataFrame, protocols: Mapping[str, Any]) -> Row:
    # recipes of one seed share what is random here, so a seed counts once
    by_seed = scores.groupby(["metric", "seed"], dropna=False)["value"].mean().dropna()
    drawn_once = by_seed.groupby("metric").nunique().le(1).all()  # the same draw in every trial is one sample of it
    cells = {}
    for metric in metrics:
        values = by_seed.loc[by_seed.index.get_level_values("metric") == metric.name].to_numpy(np.float64)
        values = values[np.isfinite(values)][: 1 if drawn_once else None]
        cells[metric.name] = Cell(interval(values) if len(values) else None)
    n = max((cell.interval.n for cell in cells.values() if cell.interval), default=0)
    sizes = {name: _shared(scores, protocols, name) for name in ("n_real", "n_fake")}
    return Row(label, "reference", cells, n, **sizes)


def _shared(scores: DataFrame, protocols: Mapping[str, Any], entry: str) -> Any:
    """What the protocols of these scores agree on; None where they do not, or do not say."""
    values = {protocols.get(protocol_id, {}).get(entry) for protocol_id in set(scores["protocol_id"])}
    return values.pop() if len(values) == 1 else None


def _cell(scores: Mapping[int, float]) -> Cell:
    finite = {seed: float(value) for seed, value in scores.items() if np.isfinite(value)}
    return Cell(interval(list(finite.values())) if finite else None, finite)


def _mean(values: Any) -> float | None:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else None


def _place(row: Row, metric: Metric) -> float:
    """Sorts rows by their mean, the best first and those without a score last."""
    value = row.cells[metric.name].interval
    return np.inf if value is None else value.point if metric.lower_is_better else -value.point


def _judged(block: Block, baseline: str | None) -> Block:
    """The block with what may be said of each cell beside the others of its column."""
    cells = {row.recipe: dict(row.cells) for row in block.rows}
    for metric in block.metrics:
        column = {recipe: of[metric.name] for recipe, of in cells.items() if of[metric.name].interval is not None}
        for recipe, cell in _judged_column(column, metric, baseline).items():
            cells[recipe][metric.name] = cell
    main = block.metrics[0].name if block.metrics else None
    return replace(
        block,
        rows=tuple(
            replace(row, cells=cells[row.recipe], ranks=cells[row.recipe][main].ranks if main else None)
            for row in block.rows
        ),
    )


def _judged_column(column: Mapping[str, Cell], metric: Metric, baseline: str | None) -> dict[str, Cell]:
    """The cells of recipes that have a score, each with its ranks and its difference to the baseline."""
    if not column:
        return {}
    recipes, groups = list(column), [list(cell.scores.values()) for cell in column.values()]
    sure = surely_better(groups, lower_is_better=metric.lower_is_better)
    ranks = rank_ranges(sure)
    pick = np.argmin if metric.lower_is_better else np.argmax
    best = int(pick([np.mean(values) for values in groups]))
    judged = {
        recipe: replace(
            column[recipe],
            ranks=ranks[i],
            best=ranks[i] == (1, 1) and len(recipes) > 1,
            tied=i == best or (min(len(groups[i]), len(groups[best])) >= FEWEST and not sure[best, i]),
        )
        for i, recipe in enumerate(recipes)
    }
    if baseline is None or baseline not in column:
        return judged
    base = recipes.index(baseline)
    sure = surely_better(groups, lower_is_better=metric.lower_is_better, against=base)
    for i, recipe in enumerate(recipes):
        if i != base:
            change = difference(groups[base], groups[i])
            told = outcome(change, lower_is_better=metric.lower_is_better, sure=bool(sure[i, base] or sure[base, i]))
            judged[recipe] = replace(judged[recipe], difference=change, against=told)
    return judged


def _effects(results: Results, block: Block) -> Effects:
    trials = results.trials[results.trials["trial"].isin(block.trials)]
    planned = {str(recipe): set(map(int, seeds)) for recipe, seeds in trials.groupby("recipe")["seed"]}
    recipes = [recipe for recipe in results.recipes if recipe in planned]
    chosen = settings(results, recipes)
    scores = {
        metric.name: ({row.recipe: row.cells[metric.name].scores for row in block.rows}, metric.lower_is_better)
        for metric in block.metrics
    }
    return effects(recipes, chosen.varied if chosen else {}, scores, planned)


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

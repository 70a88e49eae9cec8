"""Two recipes, or two versions of the same results, side by side: every score's difference and what it says.

Both sides are results of their own, so that an older folder can be held against a newer one. Only scores of one
protocol are compared. The p-values of all differences are corrected together (Holm), so that the chance of calling
even one score changed that is not is at most 5 %, however many are looked at.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ganbench.errors import UserError, unknown_name
from reports.digits import number
from reports.markdown import escaped, table_markdown
from reports.ranking import final_scores
from reports.ranks import Outcome, outcome
from reports.results import Results
from reports.rows import Metric
from reports.sentences import some
from reports.statistics import FEWEST, Interval, difference, difference_p, holm, interval
from reports.tables import MISSING, Table, Text, protocol_words

CONFIDENCE = 0.95

Left = dict[str, list[str]]
"""Why something is left out → the recipes of which it is."""


@dataclass(frozen=True)
class Side:
    """One side: its results, what it is called, and the recipe meant, if not all."""

    results: Results
    name: str
    recipe: str | None = None


@dataclass(frozen=True)
class Change:
    """One score of a recipe on side A and of its counterpart on side B."""

    recipes: tuple[str, str]
    metric: Metric
    a: Interval | None
    b: Interval | None
    difference: Interval | None
    """B − A; None where a side has no such score."""
    p: float | None
    """Two-sided, corrected for all scores compared (Holm); None where nothing could be tested."""
    outcome: Outcome | None
    """What B is, surely: after the correction; None where nothing could be tested."""
    alone: Outcome | None
    """The same by the 95 % interval of this difference by itself."""

    @property
    def lost(self) -> bool:
        """Whether A has the score and no trial of B has."""
        return self.a is not None and self.b is None

    @property
    def recipe(self) -> str:
        """Both recipes, or the one that both sides mean."""
        first, second = self.recipes
        return first if first == second else f"{first} → {second}"


@dataclass(frozen=True)
class Versus:
    """All differences of B to A, what could not be compared, and how the trials ended."""

    a: str
    b: str
    changes: tuple[Change, ...]
    left_out: tuple[str, ...]
    paired: bool

    def worse(self, *, each: bool = False) -> list[Change]:
        """The scores that B has lost or that are surely worse; with `each`, by every interval for itself."""
        return [
            change for change in self.changes if change.lost or (change.alone if each else change.outcome) == "worse"
        ]


def versus(a: Side, b: Side, *, metrics: Sequence[str] | None = None, paired: bool = False) -> Versus:
    """Compare B with A, recipe by recipe and score by score.

    Args:
        a: what is compared with: the baseline, or the older results.
        b: what is judged.
        metrics: names of the scores that count; None: all that both sides have.
        paired: take differences of equal seeds, which narrows the interval where a seed makes both runs alike.

    Raises:
        UserError: an unknown recipe or metric, no recipe in common, or nothing that may be compared.
    """
    told: Left = defaultdict(list)
    changes: list[Change] = []
    for first, second in _counterparts(a, b, told):
        changes += _changes(replace(a, recipe=first), replace(b, recipe=second), paired, told)
    known = {change.metric.name for change in changes}
    for name in metrics or ():
        if name not in known and changes:
            raise unknown_name("metric of both sides", name, known)
    changes = [change for change in changes if metrics is None or change.metric.name in metrics]
    if not changes:
        raise UserError(f"nothing of {_called(a)} and {_called(b)} can be compared: {'; '.join(_sentences(told))}")
    return Versus(_called(a), _called(b), tuple(_corrected(changes)), tuple(_sentences(told)), paired)


def _sentences(told: Left) -> Iterator[str]:
    return (f"{reason}: {some(recipes)}" for reason, recipes in told.items())


def _called(side: Side) -> str:
    return side.name if side.recipe is None else f"{side.name}, {side.recipe}"


def _counterparts(a: Side, b: Side, told: Left) -> list[tuple[str, str]]:
    """Which recipe of A is held against which of B."""
    for side in (a, b):
        if side.recipe is not None and side.recipe not in side.results.recipes:
            raise unknown_name(f"recipe of {side.name}", side.recipe, side.results.recipes)
    firsts = [a.recipe] if a.recipe is not None else a.results.recipes
    seconds = [b.recipe] if b.recipe is not None else b.results.recipes
    if len(firsts) == len(seconds) == 1:
        return [(firsts[0], seconds[0])]
    common = [recipe for recipe in firsts if recipe in seconds]
    if not common:
        raise UserError(
            f"{a.name} and {b.name} have no recipe in common: name one of each, as FOLDER:RECIPE "
            f"({some(firsts)}; {some(seconds)})"
        )
    if a.recipe is None and b.recipe is None:
        for name, recipes in ((a.name, firsts), (b.name, seconds)):
            if lone := [recipe for recipe in recipes if recipe not in common]:
                told[f"only in {name}"] += lone
    return [(recipe, recipe) for recipe in common]


def _changes(a: Side, b: Side, paired: bool, told: Left) -> Iterator[Change]:
    """The differences of one recipe of each side, not yet corrected for their number."""
    (before, metrics), (after, others) = (_scores(side) for side in (a, b))
    recipe = str(a.recipe if a.recipe == b.recipe else f"{a.recipe} → {b.recipe}")
    if not before:
        told[f"without any score in {a.name}"].append(recipe)
        return
    shared = [name for name in before if name in after]
    if after and not shared:
        unlike = _unlike(a, b, next(iter(before)), next(iter(after)))
        told[f"scored under different protocols ({unlike})"].append(recipe)
        return
    # of several protocols the one that most trials share; the first of B's where it has lost all scores
    best = max(shared or before, key=lambda name: len(_seeds(before[name])))
    if len({*before, *after}) > 1:
        told[f"scores of another protocol than {best}"].append(recipe)
    first, second = before[best], after.get(best, {})
    for name, metric in metrics.items():
        if name not in first:
            continue
        if after and name not in second:
            told[f"{metric.label}, not asked for in {b.name}"].append(recipe)
            continue
        yield _change((str(a.recipe), str(b.recipe)), metric, first[name], second.get(name, {}), paired)
    for name, metric in others.items():
        if name in second and name not in first:
            told[f"{metric.label}, not asked for in {a.name}"].append(recipe)


def _scores(side: Side) -> tuple[dict[str, dict[str, dict[int, float]]], dict[str, Metric]]:
    """Protocol id → metric → training seed → score (NaN where scoring failed) of the side's recipe, and its metrics."""
    frame = final_scores(side.results)
    frame = frame[frame["recipe"] == side.recipe]
    scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    metrics: dict[str, Metric] = {}
    columns = ("protocol_id", "metric", "label", "direction", "seed", "value")
    for protocol, name, label, direction, seed, value in zip(*(frame[column] for column in columns), strict=True):
        metrics.setdefault(name, Metric(name, label, direction))
        scores[protocol][name][int(seed)] = float(value)
    return scores, metrics


def _seeds(scores: dict[str, dict[int, float]]) -> set[int]:
    return {seed for of_metric in scores.values() for seed in of_metric}


def _unlike(a: Side, b: Side, first: str, second: str) -> str:
    """In which entries two protocols differ."""
    one, other = (
        dict(protocol_words(side.results.protocols.get(name, {}))) for side, name in ((a, first), (b, second))
    )
    differing = [
        f"{name}: {one.get(name, 'not said')} and {other.get(name, 'not said')}"
        for name in {**one, **other}
        if one.get(name) != other.get(name)
    ]
    return "; ".join(differing[:4]) or f"{first} and {second}"


def _change(
    recipes: tuple[str, str], metric: Metric, first: dict[int, float], second: dict[int, float], paired: bool
) -> Change:
    one, other = ({seed: value for seed, value in side.items() if math.isfinite(value)} for side in (first, second))
    a, b = (interval(list(side.values())) if side else None for side in (one, other))
    seeds = sorted(one.keys() & other.keys()) if paired else []
    x, y = ([side[seed] for seed in seeds] if paired else list(side.values()) for side in (one, other))
    if not x or not y:
        return Change(recipes, metric, a, b, None, None, None, None)
    change, p = difference(x, y, paired=paired), difference_p(x, y, paired=paired)
    alone = outcome(change, lower_is_better=metric.lower_is_better)
    return Change(recipes, metric, a, b, change, None if math.isnan(p) else p, alone, alone)


def _corrected(changes: Sequence[Change]) -> Iterator[Change]:
    corrected = iter(holm([change.p for change in changes if change.p is not None]))
    for change in changes:
        if change.p is None or change.difference is None:
            yield change
            continue
        p = next(corrected)
        better = change.metric.lower_is_better
        said = outcome(change.difference, lower_is_better=better, sure=p < 1 - CONFIDENCE)
        yield replace(change, p=p, outcome=said)


# --- as text and for machines

_P_NOTE = (
    "p: corrected (Holm) for the {} differences tested. better, worse: surely so, p < 0.05. perhaps: the interval by "
    "itself leaves 0 out, the corrected p does not bear it out. tied: the difference may be 0."
)


def versus_markdown(result: Versus) -> str:
    """The verdict, the table of all differences and the notes, as Markdown; names stay text."""
    table = Table(
        name="differences",
        heading="",
        head=("recipe", "score", "A", "B", "B − A", "n", "p", "B is"),
        rows=tuple(_line(change, result.paired) for change in result.changes),
    )
    tested = sum(change.p is not None for change in result.changes)
    notes = [
        f"A: {result.a}. B: {result.b}.",
        "±: half-width of the 95 % t interval over training seeds; of B − A, that of the difference of the means "
        f"({'equal seeds paired' if result.paired else 'Welch'}). "
        f"n: {'pairs' if result.paired else 'seeds of A, of B'}. Below {FEWEST} there is no interval and no judgement.",
        *([_P_NOTE.format(tested)] if tested else []),
        *(f"Not compared: {sentence}." for sentence in result.left_out),
    ]
    return (
        "\n\n".join(
            [
                "## B compared with A",
                escaped(" ".join(versus_verdict(result))),
                table_markdown(table),
                "\n".join(f"- {escaped(note)}" for note in notes),
            ]
        )
        + "\n"
    )


def versus_verdict(result: Versus) -> list[str]:
    """What B is, in one to three sentences."""
    tested = [change for change in result.changes if change.outcome is not None]
    several = len({change.recipes for change in result.changes}) > 1

    def named(changes: Sequence[Change]) -> str:
        of = [f"{change.metric.label}{f' of {change.recipe}' if several else ''}" for change in changes]
        return some(of, "score")

    sentences = []
    if lost := [change for change in result.changes if change.lost]:
        sentences.append(f"B has no {named(lost)}, which A has.")
    if not tested:
        return [*sentences, f"Nothing could be tested: no score has {FEWEST} training seeds on both sides."]
    judged = {said: [change for change in tested if change.outcome == said] for said in ("worse", "better", "tied")}
    parts = [f"surely {said} in {named(judged[said])}" for said in ("worse", "better") if judged[said]]
    if judged["tied"]:
        parts.append(f"tied with A in {len(judged['tied'])} of {len(tested)} scores")
    sentences.append(f"B is {'; '.join(parts)}.")
    untested = len(result.changes) - len(tested) - len(lost)
    return [*sentences, *([f"{untested} have too few seeds to be tested."] if untested else [])]


def versus_records(result: Versus) -> list[dict[str, Any]]:
    """One flat dict per difference; None where there is none."""
    rows = []
    for change in result.changes:
        row: dict[str, Any] = {
            "a_recipe": change.recipes[0],
            "b_recipe": change.recipes[1],
            "metric": change.metric.name,
            "direction": change.metric.direction,
        }
        for name, value in (("a", change.a), ("b", change.b), ("difference", change.difference)):
            parts = asdict(value) if value else dict.fromkeys(("low", "point", "high", "n"))
            row |= {f"{name}_{part}": parts[part] for part in ("point", "low", "high", "n")}
        rows.append(row | {"p": change.p, "outcome": change.outcome, "alone": change.alone, "lost": change.lost})
    return rows


def _line(change: Change, paired: bool) -> tuple[Text, ...]:
    shown = [MISSING if value is None else number(value) for value in (change.a, change.b, change.difference)]
    if change.difference is not None and change.difference.point > 0:
        shown[2] = f"+{shown[2]}"
    return (
        Text(change.recipe),
        Text(change.metric.header),
        *map(Text, shown),
        Text(_counts(change, paired)),
        Text(MISSING if change.p is None else f"{change.p:.2g}" if change.p >= 0.001 else "< 0.001"),
        Text(_said(change), bold=change.outcome in ("better", "worse") or change.lost),
    )


def _counts(change: Change, paired: bool) -> str:
    if paired:
        return str(change.difference.n if change.difference else 0)
    a, b = (value.n if value else 0 for value in (change.a, change.b))
    return str(a) if a == b else f"{a}, {b}"


def _said(change: Change) -> str:
    if change.lost:
        return "without this score"
    if change.outcome is None:
        return "not tested"
    return f"perhaps {change.alone}" if change.outcome != change.alone else change.outcome

"""What a sweep was made to show, beyond its comparison: one more section of the page, where the sweep names a study.

mode-dropping: the modes that each recipe covers. critic-loss: whether the critic's loss follows the samples' quality
(WGAN's claim; deck 001). sensitivity: how far a variant's scores lie apart over the configurations of a random search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.figures.canvas import seeds_words
from reports.figures.scene import Scene, scenes
from reports.parts import (
    Group,
    Part,
    correlation_words,
    count_cells,
    ends,
    flat,
    mean_cell,
    of_recipe,
    range_cell,
    score_words,
    within,
)  # fmt: skip
from reports.ranking import REFERENCES
from reports.results import Results
from reports.rows import Block, Comparison, Metric
from reports.statistics import RESAMPLES, Interval, interval, proportion
from reports.tables import MISSING, Table, Text, share, tables

if TYPE_CHECKING:
    from pandas import DataFrame

MODES = ("modes", "class_modes")
FEWEST_LOOKS = 4
"""Looks below which no correlation over them is taken."""
UNSCORED = "without score"
"""Head of the column that counts what has no score."""
CLASSES = {"digits": 10, "stacked-digits": 1000, "inception": 1008}
"""Feature networks that classify → their classes, which a score's protocol does not say."""


@dataclass(frozen=True)
class Study:
    """A section of the page."""

    heading: str
    lead: str
    parts: tuple[Part, ...]

    def of(self, block: Block) -> Iterator[Part]:
        """The parts that belong to one protocol."""
        return (part for part in self.parts if part.scene.block.protocol_id == block.protocol_id)


def study(results: Results, comparison: Comparison) -> Study | None:
    """The section that the results name; None where they name none, or nothing for it was scored yet.

    Effects are a part of the comparison itself and have a section of their own.
    """
    if results.study not in _STUDIES:
        return None
    heading, lead, make = _STUDIES[results.study]
    parts = tuple(part for scene in scenes(results, comparison) for part in make(scene))
    return Study(heading, lead, parts) if parts else None


def all_tables(block: Block, comparison: Comparison, shown: Study | None) -> list[Table]:
    """What there is to say of one protocol, its part of the study included."""
    return [*tables(block, comparison), *([part.table for part in shown.of(block)] if shown else [])]


# --- modes


def _mode_dropping(scene: Scene) -> Iterator[Part]:
    protocol = scene.block.protocol
    data = protocol.get("dataset", "all data")
    for metric in scene.block.metrics:
        if metric.name not in MODES:
            continue
        floor = next((row.cells[metric.name].interval for row in scene.block.references
                      if row.recipe == REFERENCES["floor"]), None)  # fmt: skip
        known = _modes_there_are(metric.name, protocol)
        # what real samples do not reach, no generator can be said to have dropped
        fair = known is not None and (floor.point >= known if floor else metric.name == "modes")
        groups, lines, records = [], [], []
        for row in scene.block.rows:
            cell = row.cells[metric.name]
            values = tuple(cell.scores.values())
            dropped = interval([1 - value / known for value in values]) if known and values else None
            fewer = sum(value < known for value in values) if known else 0
            any_dropped = proportion(fewer, len(values)) if fair and values else None
            if cell.interval and row.recipe in scene.recipes:
                shown = within(cell.interval, 0.0, known) if known else cell.interval
                groups.append(of_recipe(row.recipe, values, shown))
            lines.append(
                (
                    Text(row.recipe),
                    mean_cell(cell.interval),
                    mean_cell(dropped),
                    Text(MISSING) if any_dropped is None else Text(share(any_dropped), any_dropped.share),
                    *count_cells(len(values), row.trials - len(values)),
                )
            )
            records.append(
                {
                    "recipe": row.recipe,
                    "metric": metric.name,
                    "known": known,
                    **flat(cell.interval),
                    **flat(dropped, "dropped", "dropped_"),
                    "seeds_dropped_any": any_dropped.k if any_dropped else None,
                    "n": len(values),
                    "without_score": row.trials - len(values),
                }
            )
        if any(record["n"] for record in records):
            of = f" of {known:,}" if known else ""
            yield Part(
                name=f"mode-dropping-{metric.name.replace('_', '-')}{scene.suffix}",
                title=f"{metric.label}{of}, {data}",
                axis=metric.header,
                groups=tuple(groups),
                caption=(
                    f"Small dots: one training seed each; large dots: their mean, with its 95 % t interval "
                    f"within what is possible. A recipe without a score has no dots; the table counts its trials."
                    f"{scene.note}"
                ),
                table=Table(
                    name="study",
                    heading=f"{metric.label}, {data}",
                    head=("recipe", f"{metric.label}{of}", "share dropped", "seeds that dropped any", "n", UNSCORED),
                    rows=tuple(lines),
                    note=_modes_note(metric.name, known, floor, fair=fair),
                ),
                records=tuple(records),
                scene=scene,
                reference=(REFERENCES["floor"], floor.point) if floor else None,
            )


def _modes_there_are(metric: str, protocol: Mapping[str, Any]) -> int | None:
    """As the protocol says or, of a classifier's classes, its network has; None where neither is known."""
    if metric == "class_modes":
        return CLASSES.get(str(protocol.get("features")))
    modes = protocol.get("mixture", {}).get("modes")
    return int(modes) if modes else None


def _modes_note(metric: str, known: int | None, floor: Interval | None, *, fair: bool) -> str:
    what = "modes" if metric == "modes" else "classes"
    counts = f"n: training seeds; {UNSCORED}: trials that have none."
    if known is None:
        return f"How many {what} there are is not known, so no share is given. {counts}"
    words = "share dropped: with the 95 % t interval of its mean"
    if fair:
        return f"{words}; seeds that dropped any: with Wilson's. {counts}"
    reached = (
        f"real samples themselves reach only {floor.point:,.4g} of {known:,} {what}"
        if floor
        else f"nothing says whether real samples reach all {known:,} {what}"
    )
    return f"{words}. Seeds that dropped any are not counted: {reached}. {counts}"


# --- the critic's loss


def _critic_loss(scene: Scene) -> Iterator[Part]:
    curves = scene.results.curves
    curves = curves[curves["trial"].isin(scene.block.trials)]
    scored = [metric for metric in scene.block.metrics if (curves["name"] == metric.name).any()]
    metric = next((metric for metric in scored if metric.name == "fid"), scored[0] if scored else None)
    if metric is None:
        return
    pairs = _pairs(curves, metric)
    trials = {row.recipe: row.trials for row in scene.block.rows}
    groups, lines, records = [], [], []
    for recipe in filter(trials.__contains__, scene.results.recipes):
        of_it = pairs[pairs["recipe"] == recipe]
        by_seed = {seed: _rank_correlation(part, metric) for seed, part in of_it.groupby("seed")}
        found = tuple(rho for rho in by_seed.values() if rho is not None)
        mean = within(interval(list(found)), -1.0, 1.0) if found else None
        low, high = (min(found), max(found)) if found else (None, None)
        looks = 0 if of_it.empty else int(of_it.groupby("seed").size().max())
        without = trials[recipe] - len(found)
        if mean and recipe in scene.recipes:
            groups.append(of_recipe(recipe, found, mean))
        lines.append(
            (
                Text(recipe),
                Text(correlation_words(mean.point), mean.point) if mean else Text(MISSING),
                range_cell(*ends(mean), correlation_words),
                range_cell(low, high, correlation_words),
                Text(str(looks), looks),
                *count_cells(len(found), without),
            )
        )
        records.append(
            {
                "recipe": recipe,
                "metric": metric.name,
                **flat(mean),
                "lowest": low,
                "highest": high,
                "looks": looks,
                "n": len(found),
                "without_correlation": without,
            }
        )
    if any(record["n"] for record in records):
        yield Part(
            name=f"critic-loss{scene.suffix}",
            title=f"Does the critic's loss follow {metric.label}?",
            axis="rank correlation over the looks",
            groups=tuple(groups),
            caption=(
                f"Spearman's rank correlation of −L_D, without penalties, with how bad the samples of the averaged "
                f"weights (EMA) are ({metric.label} on the selection split), over the looks of one trial: 1 where "
                "every fall of the critic's estimate comes with better samples. Small dots: one training seed each; "
                "large dots: their mean, with its 95 % t interval, cut at ±1. A seed without a correlation has no dot; "
                f"the table counts it.{scene.note}"
            ),
            table=Table(
                name="study",
                heading=f"Rank correlation of −L_D with {metric.label}",
                head=("recipe", "mean", "95 % interval", "seeds' range", "looks", "n", "without correlation"),
                rows=tuple(lines),
                note=(
                    "looks: at most, per trial; the one before training has no loss. n: training seeds. without "
                    f"correlation: those with fewer than {FEWEST_LOOKS} looks, or whose loss or score never changes."
                ),
            ),
            records=tuple(records),
            scene=scene,
            limits=(-1.05, 1.05),
            pairs=pairs[pairs["recipe"].isin(scene.recipes)],
            pair_axes=("−L_D (the critic's estimate)", metric.header),
        )


def _pairs(curves: DataFrame, metric: Metric) -> DataFrame:
    """The score at every look, with the critic's loss as it was last read before; the first look has none."""
    import pandas as pd

    sides: dict[str, DataFrame] = {}
    who = ["recipe", "trial", "seed"]
    for column, name in (("loss", "loss/discriminator"), ("score", metric.name)):
        chosen = curves[(curves["name"] == name) & np.isfinite(curves["value"].astype(float))]
        side: DataFrame = chosen.groupby([*who, "images"], as_index=False, sort=False).agg(
            **{column: ("value", "last")}
        )
        sides[column] = side.sort_values("images", kind="stable")
    pairs = pd.merge_asof(sides["score"], sides["loss"], on="images", by=who)
    return pairs.dropna(subset=["loss"])[["recipe", "seed", "images", "loss", "score"]]


def _rank_correlation(part: DataFrame, metric: Metric) -> float | None:
    """None with fewer than `FEWEST_LOOKS` looks, or where one side never changes."""
    bad = part["score"] if metric.lower_is_better else -part["score"]
    if len(part) < FEWEST_LOOKS or part["loss"].nunique() < 2 or bad.nunique() < 2:
        return None
    return float((-part["loss"]).rank().corr(bad.rank()))


# --- sensitivity


def _sensitivity(scene: Scene) -> Iterator[Part]:
    if not scene.block.metrics:
        return
    metric = scene.block.metrics[0]
    rows_of: dict[str, list[float]] = {}
    tried: dict[str, int] = {}
    for row in scene.block.rows:
        tried[row.variant] = tried.get(row.variant, 0) + 1
        if (mean := row.cells[metric.name].interval) is not None:
            rows_of.setdefault(row.variant, []).append(mean.point)
    variants = list(dict.fromkeys(scene.trials["variant"]))
    groups, lines, records = [], [], []
    for variant in variants:
        values = np.array(rows_of.get(variant, []))
        without = tried[variant] - len(values)
        best = middle = worst = spread = None
        if len(values):
            low, middle, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
            groups.append(Group(variant, None, tuple(map(float, values)), middle, low, high))
            spread = _spread(values)
            best, worst = float(values.min()), float(values.max())
            if not metric.lower_is_better:
                best, worst = worst, best
        lines.append(
            (
                Text(variant),
                *count_cells(len(values), without),
                *(Text(MISSING if value is None else score_words(value), value) for value in (best, middle, worst)),
                Text(score_words(spread.point), spread.point) if spread else Text(MISSING),
                range_cell(*ends(spread), score_words),
            )
        )
        records.append(
            {
                "variant": variant,
                "metric": metric.name,
                "scored": len(values),
                "without_score": without,
                "best": best,
                "median": middle,
                "worst": worst,
                **flat(spread, "iqr", "iqr_"),
            }
        )
    if groups:
        each = seeds_words(row.n for row in scene.block.rows if row.n)
        everything = [value for group in groups for value in group.values]
        yield Part(
            name=f"sensitivity{scene.suffix}",
            title=f"{metric.label} over the configurations of each variant",
            axis=metric.header,
            groups=tuple(groups),
            caption=(
                f"Small dots: one configuration each, the mean of {each}; large dots: the median, bars: from the first "
                "to the third quartile. A configuration without a score has no dot; the table counts it."
            ),
            table=Table(
                name="study",
                heading=f"Spread of {metric.label} over configurations",
                head=("variant", "scored", UNSCORED, "best", "median", "worst", "IQR", "95 % interval"),
                rows=tuple(lines),
                note=(
                    "scored: configurations with a score. IQR: third less first quartile, a variant's sensitivity; its "
                    "interval: percentiles of "
                    f"{RESAMPLES:,} resamples of the configurations."
                ),
            ),
            records=tuple(records),
            scene=scene,
            logarithmic=metric.lower_is_better and min(everything) > 0 and max(everything) > 10 * min(everything),
        )


def _spread(values: np.ndarray) -> Interval:
    """The interquartile range with its percentile bootstrap interval; none below 5 configurations."""
    n = len(values)
    low, high = np.quantile(values, [0.25, 0.75])
    if n < 5:
        return Interval(None, float(high - low), None, n)
    drawn = values[np.random.default_rng(0).integers(n, size=(RESAMPLES, n))]
    ends = np.quantile(drawn, [0.25, 0.75], axis=1)
    edges = np.quantile(ends[1] - ends[0], [0.025, 0.975])
    return Interval(float(edges[0]), float(high - low), float(edges[1]), n)


_STUDIES: dict[str | None, tuple[str, str, Callable[[Scene], Iterator[Part]]]] = {
    "mode-dropping": (
        "Modes dropped",
        "How many of the data's modes each recipe's generator still draws.",
        _mode_dropping,
    ),
    "critic-loss": (
        "The critic's loss and the samples",
        "WGAN's claim is that the critic's loss tells how good the samples are; here it is asked of every variant.",
        _critic_loss,
    ),
    "sensitivity": (
        "Sensitivity to settings",
        "How far a variant's scores lie apart when its settings are drawn at random from the same ranges.",
        _sensitivity,
    ),
}

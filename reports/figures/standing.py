"""Where the recipes stand in the end: precision against recall, and what the choice of checkpoint and weights does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.figures.canvas import (
    INK,
    PALE,
    Drawing,
    canvas,
    finish,
    legend,
    seeds_words,
    shortened,
)  # fmt: skip
from reports.figures.scene import Scene
from reports.ranking import REFERENCES
from reports.statistics import FEWEST, Interval, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHECKPOINTS = (
    ("last", "ema", "last, EMA", "o"),
    ("last", "raw", "last, raw weights", "s"),
    ("best", "ema", "best, EMA", "^"),
)


def plane(scene: Scene) -> Drawing | None:
    """Recall along x, precision along y: every seed, each recipe's mean and intervals, and the references."""
    import pandas as pd

    metrics = {metric.name: metric for metric in scene.block.metrics}
    if not {"precision", "recall"} <= set(metrics):
        return None
    scores = scene.final
    rows: list[dict[str, Any]] = []
    for recipe in scene.recipes:
        of_it = scores[scores["recipe"] == recipe]
        wide = of_it.pivot_table(index="seed", columns="metric", values="value", aggfunc="first")
        if {"precision", "recall"} <= set(wide.columns):
            wide = wide[["precision", "recall"]].dropna()
            rows += [{"recipe": recipe, "seed": seed, **row} for seed, row in wide.iterrows()]
    if not rows:
        return None
    table = pd.DataFrame(rows)
    with canvas(6.2, 4.8) as figure:
        axes = figure.add_subplot()
        entries: list[tuple[str, str, Any, str]] = []
        names = shortened(scene.recipes)
        for recipe in scene.recipes:
            part = table[table["recipe"] == recipe]
            if part.empty:
                continue
            colour, tag = scene.styles[recipe].colour, scene.tag(recipe)
            axes.plot(part["recall"], part["precision"], ".", color=colour, alpha=0.55, markersize=5, gid=tag)
            _cross(axes, interval(part["recall"].to_numpy()), interval(part["precision"].to_numpy()), colour, tag)
            entries.append((names[recipe], colour, "none", "o"))
        edges = (*axes.get_xlim(), *axes.get_ylim())
        for row in scene.block.references:
            x, y = row.cells["recall"].interval, row.cells["precision"].interval
            if row.recipe == REFERENCES["floor"] and x and y:
                axes.plot(x.point, y.point, "*", color=PALE, markersize=10, linestyle="none")
                entries.append((f"{row.recipe}: {x.point:.2f}, {y.point:.2f}", PALE, "none", "*"))
        axes.set_xlim(*edges[:2])  # where the recipes are, or nobody could tell them apart
        axes.set_ylim(*edges[2:])
        axes.set_xlabel(f"{metrics['recall'].header}: how much of the data is covered")
        axes.set_ylabel(f"{metrics['precision'].header}: how real samples look")
        legend(figure, entries)
        caption = (
            "Precision against recall, the upper right is better. Small dots: one training seed each; large dots: mean "
            f"over {seeds_words(table.groupby('recipe').size())}, with 95 % t intervals of both means where there are "
            f"{FEWEST} seeds or more.{scene.note}"
        )
        name = f"precision-recall{scene.suffix}"
        return finish(figure, name, title="Precision and recall", caption=caption, data=table)


def checkpoints(scene: Scene) -> Drawing | None:
    """The first metric of each recipe's last and best checkpoint, and of its raw weights, side by side."""
    import pandas as pd

    if not scene.block.metrics:
        return None
    metric = scene.block.metrics[0]
    scores = scene.results.scores
    done = scene.trials.loc[scene.trials["status"] == "done", "trial"]
    scores = scores[scores["trial"].isin(set(done)) & (scores["metric"] == metric.name)]
    rows: list[dict[str, Any]] = []
    for place, recipe in enumerate(row.recipe for row in scene.block.rows if row.recipe in set(scene.recipes)):
        for checkpoint, weights, words, _ in CHECKPOINTS:
            chosen = (
                (scores["recipe"] == recipe) & (scores["checkpoint"] == checkpoint) & (scores["weights"] == weights)
            )
            values = scores.loc[chosen, "value"].dropna().to_numpy()
            if len(values):
                found = interval(values)
                rows.append(
                    {"recipe": recipe, "place": place, "weights": words, "n": found.n, "mean": found.point}
                    | {"low": found.low, "high": found.high}
                )
    table = pd.DataFrame(rows)
    if table.empty or table["weights"].nunique() < 2:
        return None
    recipes = list(dict.fromkeys(table["recipe"]))
    names = shortened(recipes)
    with canvas(6.2, 1.4 + 0.42 * len(recipes)) as figure:
        axes = figure.add_subplot()
        for (_, _, words, marker), shift in zip(CHECKPOINTS, (-0.24, 0.0, 0.24), strict=True):
            for row in (row for row in rows if row["weights"] == words):
                colour, tag = scene.styles[row["recipe"]].colour, scene.tag(row["recipe"])
                y = row["place"] + shift
                if row["low"] is not None:
                    axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.2, alpha=0.8, gid=tag)
                filled = colour if marker == "o" else "none"
                axes.plot(row["mean"], y, marker, color=colour, markerfacecolor=filled, markersize=5, gid=tag)
        axes.set_yticks(sorted(set(table["place"])), [names[recipe] for recipe in recipes])
        axes.set_ylim(table["place"].max() + 0.6, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(metric.header)
        legend(figure, [(words, INK, "none", marker) for _, _, words, marker in CHECKPOINTS], columns=3)
        caption = (
            f"{metric.label}, {metric.direction} is better, on the test split: the last checkpoint's averaged (EMA) "
            "and raw weights, and the checkpoint that was best on the selection split. Mean over "
            f"{seeds_words(table['n'])} with 95 % t intervals where there are {FEWEST} seeds or more. The table above "
            f"ranks the last checkpoint's EMA weights.{scene.note}"
        )
        title = "Last, best, and averaged weights"
        return finish(
            figure, f"checkpoints{scene.suffix}", title=title, caption=caption, data=table.drop(columns="place")
        )


def _cross(axes: Axes, x: Interval, y: Interval, colour: str, tag: str) -> None:
    """A mean in the plane with both its intervals, as far as they exist."""
    if x.low is not None and x.high is not None:
        axes.plot([x.low, x.high], [y.point, y.point], color=colour, linewidth=1.2, gid=tag)
    if y.low is not None and y.high is not None:
        axes.plot([x.point, x.point], [y.low, y.high], color=colour, linewidth=1.2, gid=tag)
    axes.plot(x.point, y.point, "o", color=colour, markersize=6, gid=tag)

"""What happened over the budget: scores while training, losses, gradients and the discriminator's accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reports.figures.canvas import (
    DASHES,
    INK,
    Drawing,
    Style,
    band,
    canvas,
    decades,
    finish,
    images_axis,
    in_columns,
    legend,
    line,
    panels,
    recipe_legend,
    score_axis,
    seeds_words,
    shortened,
    slug,
)  # fmt: skip
from reports.figures.scene import Scene
from reports.rows import Metric
from reports.statistics import FEWEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

POINTS = 200  # more along the budget would not be seen and make the page heavy


@dataclass(frozen=True)
class Health:
    """One figure of training health: file stem, title, how its curves' names begin, axis, and what to look for."""

    name: str
    title: str
    prefix: str
    axis: str
    logarithmic: bool
    meaning: str


HEALTH = (
    Health(
        "losses", "Losses", "loss/", "loss", False,
        "Each panel has its own axis: losses of different objectives are not comparable.",
    ),
    Health(
        "gradients", "Gradient norms", "health/gradient_", "gradient norm (L2)", True,
        "A generator's norm that falls to nothing has stopped learning; one that grows without end will diverge.",
    ),
    Health(
        "accuracy", "Discriminator accuracy", "health/accuracy_", "share called right", False,
        "Share of real (logit > 0) and generated (logit < 0) samples that the discriminator calls right: 0.5 on both "
        "is a draw, 1 on both means that it has won. The logits of Wasserstein critics and of least squares have no "
        "such zero: read their losses.",
    ),
)  # fmt: skip


def score_curves(scene: Scene) -> Iterator[Drawing]:
    """A figure for each metric that was scored while training."""
    for metric in scene.block.metrics:
        chosen = scene.curves[scene.curves["name"] == metric.name]
        if np.isfinite(chosen["value"].astype(float)).any():
            yield _scores(scene, metric, chosen)


def health(scene: Scene) -> Iterator[Drawing]:
    """A figure of small panels, one per recipe, for each kind of reading that the curves hold."""
    for kind in HEALTH:
        curves = scene.curves[scene.curves["name"].str.startswith(kind.prefix)]
        table = bands(curves, geometric=kind.logarithmic)
        if not table.empty:
            yield _small_multiples(scene, kind, table)


def bands(curves: DataFrame, *, geometric: bool = False) -> DataFrame:
    """Mean over seeds with its 95 % t interval (NaN below 3 seeds), and n, per recipe, name and point of the budget.

    Columns recipe, name, images, mean, low, high, n. Values that are not finite are left out. Curves of more than
    `POINTS` points are averaged in equal parts of the budget first, each seed for itself. `geometric` takes mean and
    interval of the logarithms, for what is positive and spans decades; values that are not positive are left out.
    """
    from scipy.stats import t

    finite = curves[np.isfinite(curves["value"].astype(float))]
    if finite["images"].nunique() > POINTS:
        width = float(finite["images"].max()) / POINTS
        part = np.ceil(finite["images"] / width).clip(lower=1)
        finite = finite.assign(images=(part * width).round().astype(int))
    by_seed = finite.groupby(["recipe", "name", "images", "seed"], sort=True, as_index=False)["value"].mean()
    if geometric:
        by_seed = by_seed[by_seed["value"] > 0].assign(value=lambda frame: np.log(frame["value"]))
    grouped = by_seed.groupby(["recipe", "name", "images"], as_index=False)["value"]
    table: DataFrame = grouped.agg(mean="mean", std="std", n="count")
    n = table["n"].where(table["n"] >= FEWEST)  # `statistics.interval`, for all points at once
    half = t.ppf(0.975, n - 1) * table["std"] / np.sqrt(n)
    table = table.assign(low=table["mean"] - half, high=table["mean"] + half)
    if geometric:
        table[["mean", "low", "high"]] = np.exp(table[["mean", "low", "high"]])
    return table[["recipe", "name", "images", "mean", "low", "high", "n"]]


def _scores(scene: Scene, metric: Metric, curves: DataFrame) -> Drawing:
    name = f"scores-{slug(metric.name)}{scene.suffix}"
    table = bands(curves)
    recipes = [recipe for recipe in scene.recipes if recipe in set(table["recipe"])]
    with canvas(4.6, 3.6) as figure:
        axes = figure.add_subplot()
        for recipe in recipes:
            part = table[table["recipe"] == recipe]
            tag = scene.tag(recipe)
            band(axes, part["images"], part["low"], part["high"], scene.styles[recipe].colour, tag=tag)
            line(axes, part["images"], part["mean"], scene.styles[recipe], tag=tag)
        _mark_failures(axes, curves, scene)
        score_axis(axes, metric, curves["value"])
        images_axis(axes)
        recipe_legend(figure, recipes, scene.styles)
        caption = (
            f"{metric.label}, {metric.direction} is better, on the selection split while training. "
            f"Line: mean over {seeds_words(table.n)}; {_band_words(table)}. ×: a trial failed or diverged after this "
            f"point and is missing from what follows.{scene.note}"
        )
        return finish(figure, name, title=f"{metric.label} over images", caption=caption, data=table)


def _small_multiples(scene: Scene, kind: Health, table: DataFrame) -> Drawing:
    recipes = [recipe for recipe in scene.recipes if recipe in set(table["recipe"])]
    names = list(dict.fromkeys(table["name"]))
    dashes = {name: DASHES[i % len(DASHES)] for i, name in enumerate(names)}
    titles = shortened(recipes)
    columns = in_columns(len(recipes))
    lines = -(-len(recipes) // columns)
    with canvas(3.1 * columns + 0.4, 2.2 * lines + 0.8) as figure:
        placed = panels(figure, len(recipes), columns=columns)
        for place, (recipe, axes) in enumerate(zip(recipes, placed, strict=True)):
            colour, tag = scene.styles[recipe].colour, scene.tag(recipe)
            for name, dash in dashes.items():
                part = table[(table["recipe"] == recipe) & (table["name"] == name)]
                band(axes, part["images"], part["low"], part["high"], colour, tag=tag)
                line(axes, part["images"], part["mean"], Style(colour, dash), tag=tag)
            axes.set_title(titles[recipe])
            if kind.logarithmic:
                means = table.loc[table["recipe"] == recipe, "mean"]
                decades(axes, float(means.min()), float(means.max()))
            elif kind.name == "accuracy":
                axes.set_ylim(-0.02, 1.02)
            if place % columns == 0:
                axes.set_ylabel(kind.axis)
            images_axis(axes, label=False)
            axes.set_xlim(right=table["images"].max())
            if place + columns >= len(recipes):
                axes.set_xlabel("real images shown")
        legend(figure, [(name.removeprefix(kind.prefix), INK, dash, "") for name, dash in dashes.items()])
        mean = "geometric mean" if kind.logarithmic else "mean"
        caption = f"{kind.title}: {mean} over {seeds_words(table.n)}; {_band_words(table)}. {kind.meaning}{scene.note}"
        name = f"{kind.name}{scene.suffix}"
        return finish(figure, name, title=kind.title, caption=caption, data=table, wide=True)


def _band_words(table: DataFrame) -> str:
    if table["low"].notna().all():
        return "band: 95 % t interval of that mean, point by point"
    if table["low"].notna().any():
        return f"band: 95 % t interval of that mean, point by point, where there are {FEWEST} seeds or more"
    return f"no band: fewer than {FEWEST} seeds allow no interval"


def _mark_failures(axes: Axes, curves: DataFrame, scene: Scene) -> None:
    """A cross at the last point of every trial that failed or diverged."""
    failed = set(scene.trials.loc[scene.trials["status"].isin(["failed", "diverged"]), "trial"])
    lost = curves[curves["trial"].isin(failed) & np.isfinite(curves["value"].astype(float))]
    ends = lost.sort_values("images").groupby("trial").last()
    for recipe, images, value in zip(ends["recipe"], ends["images"], ends["value"], strict=True):
        colour = scene.styles[recipe].colour
        axes.plot(images, value, "x", color=colour, markersize=7, markeredgewidth=2, gid=scene.tag(recipe))

"""Curves over the budget: scores per metric and losses per recipe, as SVG and PNG with their data beside.

Drawn through matplotlib's object interface (no pyplot, no display); the same input gives the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from ganbench.files import write_atomic
from reports.ranking import Comparison, Metric
from reports.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

INK = "#1c1d20"  # of text and axes; the page replaces it by its own text colour
# Okabe & Ito (2008), told apart by colour-blind readers; a grey for their yellow, which is hard to see on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK, "#8F8F8F")
Dash = Literal["-", "--", ":", "-."]
DASHES: tuple[Dash, ...] = ("-", "--", ":", "-.")
POINTS = 200  # more along the budget would not be seen and make the page heavy

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.color": "#888888",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",  # text stays text: selectable, searchable, and the file small
    "text.color": INK,
    "text.parse_math": False,  # a recipe's name may hold a dollar sign
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Style:
    """How a recipe is drawn everywhere: "#rrggbb" and matplotlib's line style."""

    colour: str
    dash: Dash


@dataclass(frozen=True, eq=False)
class Drawing:
    """A finished figure: file stem, caption in plain text, both pictures, and what was drawn."""

    name: str
    caption: str
    svg: bytes
    png: bytes
    data: DataFrame


def styles(results: Results) -> dict[str, Style]:
    """A style for every recipe: eight colours, then the same dashed."""
    return {
        recipe: Style(PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)])
        for i, recipe in enumerate(results.recipes)
    }


def draw(results: Results, comparison: Comparison) -> list[Drawing]:
    """Every figure the curves allow: one per metric and protocol, then one of the losses."""
    drawings: list[Drawing] = []
    for place, block in enumerate(comparison.blocks):
        curves = results.curves[results.curves["trial"].isin(block.trials)]
        for metric in block.metrics:
            chosen = curves[curves["name"] == metric.name]
            if np.isfinite(chosen["value"].astype(float)).any():
                name = f"scores-{_slug(metric.name)}" + (f"-{_slug(block.protocol_id)}" if place else "")
                where = f" Protocol {block.protocol_id}." if len(comparison.blocks) > 1 else ""
                drawings.append(_scores(name, metric, chosen, results, where))
    losses = bands(results.curves[results.curves["name"].str.startswith("loss/")])
    if not losses.empty:
        drawings.append(_losses(losses, results))
    return drawings


def save(drawings: list[Drawing], folder: Path) -> None:
    """Write each drawing to `folder` as .svg, .png and .csv (recipe, name, images, mean, low, high, n)."""
    for drawing in drawings:
        data = drawing.data.to_csv(index=False, lineterminator="\n").encode()
        for ending, content in (("svg", drawing.svg), ("png", drawing.png), ("csv", data)):
            write_atomic(folder / f"{drawing.name}.{ending}", partial(_put, content))


def bands(curves: DataFrame) -> DataFrame:
    """Mean, lowest and highest seed and their number n at each point of the budget, per recipe and name.

    Values that are not finite are left out. Curves of more than `POINTS` points are averaged in equal parts of the
    budget first, each seed for itself.
    """
    finite = curves[np.isfinite(curves["value"].astype(float))]
    if finite["images"].nunique() > POINTS:
        width = float(finite["images"].max()) / POINTS
        part = np.ceil(finite["images"] / width).clip(lower=1)
        finite = finite.assign(images=(part * width).round().astype(int))
    by_seed = finite.groupby(["recipe", "name", "images", "seed"], sort=True, as_index=False)["value"].mean()
    grouped = by_seed.groupby(["recipe", "name", "images"], as_index=False)["value"]
    band: DataFrame = grouped.agg(mean="mean", low="min", high="max", n="count")
    return band


def _scores(name: str, metric: Metric, curves: DataFrame, results: Results, where: str) -> Drawing:
    style = styles(results)
    band = bands(curves)
    shown = [recipe for recipe in results.recipes if recipe in set(band["recipe"])]
    with _figure(4.4, 3.4) as figure:
        axes = figure.add_subplot()
        for recipe in shown:
            _line(axes, band[band["recipe"] == recipe], style[recipe].colour, style[recipe].dash)
        _mark_failures(axes, curves, results)
        axes.set_ylabel(metric.header)
        _images_axis(axes)
        _legend(figure, [(recipe, style[recipe].colour, style[recipe].dash) for recipe in shown])
        caption = (
            f"{metric.label}, {metric.direction} is better, on the selection split while training. "
            "Line: mean over seeds; band: lowest to highest seed; ×: a trial failed or diverged after this point and "
            f"is missing from what follows.{where}"
        )
        return Drawing(name, caption, _svg(figure, name), _png(figure), band)


def _losses(band: DataFrame, results: Results) -> Drawing:
    style = styles(results)
    shown = [recipe for recipe in results.recipes if recipe in set(band["recipe"])]
    dashes = {name: DASHES[i % len(DASHES)] for i, name in enumerate(dict.fromkeys(band["name"]))}
    columns = min(len(shown), 4)
    lines = -(-len(shown) // columns)
    with _figure(2.6 * columns + 0.4, 2.0 * lines + 0.8) as figure:
        for place, recipe in enumerate(shown):
            axes = figure.add_subplot(lines, columns, place + 1)
            for name, dash in dashes.items():
                chosen = band[(band["recipe"] == recipe) & (band["name"] == name)]
                _line(axes, chosen, style[recipe].colour, dash)
            axes.set_title(recipe)
            _images_axis(axes)
            axes.set_xlim(right=band["images"].max())
            axes.set_xlabel("real images shown" if place + columns >= len(shown) else "")
        _legend(figure, [(name.removeprefix("loss/"), INK, dash) for name, dash in dashes.items()])
        caption = (
            "Training losses: mean over seeds, band from the lowest to the highest seed. Each panel has its own axis: "
            "losses of different objectives are not comparable."
        )
        return Drawing("losses", caption, _svg(figure, "losses"), _png(figure), band)


def _line(axes: Axes, band: DataFrame, colour: str, dash: Dash) -> None:
    axes.plot(band["images"], band["mean"], color=colour, linestyle=dash, linewidth=1.6)
    if (band["n"] > 1).any():
        axes.fill_between(band["images"], band["low"], band["high"], color=colour, alpha=0.15, linewidth=0)


def _mark_failures(axes: Axes, curves: DataFrame, results: Results) -> None:
    """A cross at the last point of every trial that failed or diverged."""
    failed = set(results.trials.loc[results.trials["status"].isin(["failed", "diverged"]), "trial"])
    lost = curves[curves["trial"].isin(failed) & np.isfinite(curves["value"].astype(float))]
    ends = lost.sort_values("images").groupby("trial").last()
    style = styles(results)
    for recipe, images, value in zip(ends["recipe"], ends["images"], ends["value"], strict=True):
        axes.plot(images, value, "x", color=style[recipe].colour, markersize=7, markeredgewidth=2)


def _images_axis(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x else "0"))
    axes.set_xlim(left=0)
    axes.set_xlabel("real images shown to the discriminator")


def _legend(figure: Figure, entries: Sequence[tuple[str, str, Dash]]) -> None:
    """Entries of (label, colour, dash) below the axes."""
    from matplotlib.lines import Line2D

    figure.legend(
        handles=[
            Line2D([], [], color=colour, linestyle=dash, linewidth=1.6, label=label) for label, colour, dash in entries
        ],
        loc="outside lower center",
        ncols=min(len(entries), 4),
        columnspacing=1.0,
        handlelength=1.4,
    )


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of that many inches; drawn and saved inside the block, it has our style."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the PNG lacks it; SVG keeps the text
        yield Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure, name: str) -> bytes:
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # fixed, and different per figure: one page holds several
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _slug(name: str) -> str:
    """`name` as part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "unnamed"

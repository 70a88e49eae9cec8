"""The figures of a page of theory: what was measured over what is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from reports.bench import Bench, Plot
from reports.figures.canvas import (
    INK,
    Drawing,
    Style,
    band,
    canvas,
    decades,
    finish,
    legend,
    line,
    seeds_words,
    styles,
)  # fmt: skip
from reports.statistics import FEWEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

KNOWN = Style(INK, "--")


def draw(bench: Bench) -> list[Drawing]:
    """One figure for each plot that has curves."""
    return [
        _path(plot, part) if plot.path else _curves(plot, part)
        for plot in bench.plots
        if not (part := bench.curves[bench.curves["plot"] == plot.name]).empty
    ]


def _curves(plot: Plot, curves: DataFrame) -> Drawing:
    table = bands(curves)
    look = styles(list(dict.fromkeys(table["curve"])))
    known = table["closed"].notna().any()
    with canvas(5.2, 3.8) as figure:
        axes = figure.add_subplot()
        for curve, style in look.items():
            part = table[table["curve"] == curve]
            band(axes, part["x"], part["low"], part["high"], style.colour)
            line(axes, part["x"], part["mean"], style)
            line(axes, part["x"], part["closed"], KNOWN)
        _scales(axes, plot, table)
        axes.set_xlabel(plot.x)
        axes.set_ylabel(plot.y)
        word = "bound" if plot.error == "bound" else "closed form"
        entries = [(curve, style.colour, style.dash, "") for curve, style in look.items()]
        legend(figure, [*entries, *([(word, KNOWN.colour, KNOWN.dash, "")] if known else [])], columns=3)
        how = f"Coloured: mean over {_seeds(table['n'])}; {_band_words(table)}."
        caption = " ".join(filter(None, [plot.caption, how, f"Dashed: the {word}." if known else ""]))
        return finish(figure, plot.name, title=plot.title, caption=caption, data=table)


def _path(plot: Plot, curves: DataFrame) -> Drawing:
    seed = curves["seed"].iloc[0]
    shown = curves[curves["seed"] == seed]
    look = styles(list(dict.fromkeys(shown["curve"])))
    reach = 1.8 * float(np.hypot(shown["x"], shown["measured"]).iloc[0])
    with canvas(5.2, 3.8) as figure:
        axes = figure.add_subplot()
        for curve, style in look.items():
            part = shown[shown["curve"] == curve]
            axes.plot(part["x"], part["measured"], color=style.colour, linewidth=1.1)
        axes.plot(0, 0, "+", color=INK, markersize=9, markeredgewidth=1.5)
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-reach, reach)
        axes.set_aspect("equal")
        axes.set_xlabel(plot.x)
        axes.set_ylabel(plot.y)
        legend(figure, [(curve, style.colour, style.dash, "") for curve, style in look.items()], columns=2)
        caption = f"{plot.caption} Drawn: seed {seed} alone; +: the saddle."
        return finish(figure, plot.name, title=plot.title, caption=caption, data=shown)


def bands(curves: DataFrame) -> DataFrame:
    """Mean over seeds with its 95 % t interval (NaN below 3 seeds), the closed form's mean, and n, at each x.

    A seed counts once: where it was measured twice at the same x, the mean of both stands for it.
    """
    from scipy.stats import t

    by_seed = curves.groupby(["curve", "x", "seed"], sort=False, as_index=False)[["measured", "closed"]].mean()
    grouped = by_seed.groupby(["curve", "x"], sort=False, as_index=False)
    table: DataFrame = grouped.agg(
        mean=("measured", "mean"), std=("measured", "std"), closed=("closed", "mean"), n=("measured", "count")
    )
    n = table["n"].where(table["n"] >= FEWEST)
    half = t.ppf(0.975, n - 1) * table["std"] / np.sqrt(n)
    table = table.assign(low=table["mean"] - half, high=table["mean"] + half)
    return table[["curve", "x", "mean", "low", "high", "closed", "n"]]


def _scales(axes: Axes, plot: Plot, table: DataFrame) -> None:
    if plot.log_x:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if plot.log_y:
        values = table[["mean", "closed"]].to_numpy(float)
        values = values[np.isfinite(values) & (values > 0)]
        if not len(values):  # a logarithmic axis has no place for any of them
            return
        decades(axes, float(values.min()), float(values.max()))
        axes.set_ylim(values.min() / 1.5, values.max() * 1.5)


def _seeds(numbers: Iterable[int]) -> str:
    return seeds_words(numbers).replace("training ", "")  # not everything here is trained


def _band_words(table: DataFrame) -> str:
    if table["low"].notna().all():
        return "band: 95 % t interval of that mean, point by point"
    return f"no band: fewer than {FEWEST} seeds allow no interval"

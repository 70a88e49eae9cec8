"""The figures of a sweep's study: columns of dots, and for the critic's loss what its correlations are taken over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from reports.figures.canvas import INK, PALE, PALETTE, Drawing, canvas, decades, finish, in_columns, panels, shortened
from reports.parts import Part
from reports.studies import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(study: Study) -> list[Drawing]:
    """The figures of every part that has columns to draw."""
    return [drawing for part in study.parts if part.groups for drawing in _part(part)]


def _part(part: Part) -> Iterator[Drawing]:
    yield _columns(part)
    if part.pairs is not None and not part.pairs.empty:
        yield _pairs(part)


def _columns(part: Part) -> Drawing:
    import pandas as pd

    names = shortened([group.label for group in part.groups])
    rows = []
    with canvas(max(4.6, 0.75 * len(part.groups) + 1.4), 3.8) as figure:
        axes = figure.add_subplot()
        for place, group in enumerate(part.groups):
            colour = PALETTE[place % len(PALETTE)] if group.recipe is None else part.scene.styles[group.recipe].colour
            tag = None if group.recipe is None else part.scene.tag(group.recipe)
            spread = np.linspace(0.16, 0.36, len(group.values))  # beside the mean, which would hide some
            axes.plot(place + spread, sorted(group.values), ".", color=colour, alpha=0.55, markersize=5, gid=tag)
            if group.low is not None and group.high is not None:
                axes.plot([place, place], [group.low, group.high], color=colour, linewidth=1.8, gid=tag)
            axes.plot(place, group.middle, "o", color=colour, markersize=7, gid=tag)
            rows += [{"group": group.label, "value": value, "middle": group.middle, "low": group.low,
                      "high": group.high} for value in group.values]  # fmt: skip
        if part.reference:
            axes.axhline(part.reference[1], color=PALE, linestyle="--", linewidth=1.2)
            axes.annotate(
                part.reference[0], (1.0, part.reference[1]), xycoords=("axes fraction", "data"), ha="right",
                va="bottom", color=INK, fontsize=8,
            )  # fmt: skip
        _scale(axes, part)
        axes.set_xticks(range(len(part.groups)), [names[group.label] for group in part.groups], rotation=30, ha="right")
        axes.set_xlim(-0.6, len(part.groups) - 0.4)
        axes.set_ylabel(part.axis)
        return finish(figure, part.name, title=part.title, caption=part.caption, data=pd.DataFrame(rows))


def _scale(axes: Axes, part: Part) -> None:
    if part.limits:
        axes.set_ylim(*part.limits)
        axes.axhline(0, color=PALE, linewidth=0.8)
    elif part.logarithmic:
        values = [value for group in part.groups for value in group.values]
        decades(axes, min(values), max(values))


def _pairs(part: Part) -> Drawing:
    assert part.pairs is not None
    labels = [group.label for group in part.groups]
    titles = shortened(labels)
    columns = in_columns(len(labels))
    lines = -(-len(labels) // columns)
    with canvas(3.1 * columns + 0.4, 2.3 * lines + 0.5) as figure:
        placed = panels(figure, len(labels), columns=columns)
        for place, (label, axes) in enumerate(zip(labels, placed, strict=True)):
            colour, tag = part.scene.styles[label].colour, part.scene.tag(label)
            for _, one in part.pairs[part.pairs["recipe"] == label].groupby("seed"):
                axes.plot(-one["loss"], one["score"], ".-", color=colour, alpha=0.6, linewidth=0.8, gid=tag)
            if (part.pairs["score"] > 0).all():
                scores = part.pairs["score"]
                decades(axes, float(scores.min()), float(scores.max()))
            axes.set_title(titles[label])
            if place % columns == 0:
                axes.set_ylabel(part.pair_axes[1])
            if place + columns >= len(labels):
                axes.set_xlabel(part.pair_axes[0])
        caption = (
            "Every look of every trial, joined in the order of the budget: a line that rises from the lower left says "
            f"that the critic's estimate falls with the samples' badness.{part.scene.note}"
        )
        return finish(
            figure, f"{part.name}-looks", title="The critic's estimate and the score, look by look", caption=caption,
            data=part.pairs, wide=True,
        )  # fmt: skip

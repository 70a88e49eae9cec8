"""The effects of a factorial sweep: a forest of intervals about zero, a panel per score."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.effects import Contrast, Effect
from reports.figures.canvas import (
    INK,
    PALE,
    PALETTE,
    Dash,
    Drawing,
    canvas,
    finish,
    in_columns,
    legend,
    panels,
    seeds_words,
)  # fmt: skip
from reports.figures.scene import Scene
from reports.ranks import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 16
"""Effects in one figure; mains first, so that it is the highest interactions that are left to the table."""
LINE = 24
"""Characters of an effect's label in one line."""
MARKS: Mapping[Outcome | None, tuple[str, str, str]] = {
    "better": ("surely better", PALETTE[2], "o"),
    "worse": ("surely worse", PALETTE[1], "s"),
    "tied": ("may be 0", PALETTE[7], "D"),
    None: ("not tested", PALETTE[7], "D"),
}


def forest(scene: Scene) -> Drawing | None:
    """Every effect on every score with its interval and its value in each seed; None where there are no effects."""
    import pandas as pd

    shown = scene.block.effects
    scored = [metric for metric in scene.block.metrics if shown and metric.name in shown.found]
    if shown is None or not scored:
        return None
    contrasts = shown.contrasts[:MOST]
    columns = in_columns(len(scored))
    lines = -(-len(scored) // columns)
    labels = [textwrap.fill(contrast.label, LINE, break_long_words=False) for contrast in contrasts]
    height = 0.22 * sum(label.count("\n") + 1.4 for label in labels) + 0.7
    rows: list[dict[str, Any]] = []
    told: dict[Outcome | None, None] = {}
    with canvas(min(1.9 + 2.5 * columns, 11.5), height * lines + 0.4) as figure:
        for place, (metric, axes) in enumerate(zip(scored, panels(figure, len(scored), columns=columns), strict=True)):
            found = shown.found[metric.name][:MOST]
            _panel(axes, found)
            told |= dict.fromkeys(effect.outcome for effect in found)
            rows += _rows(metric.name, contrasts, found)
            axes.set_title(f"{metric.header} (n = {found[0].interval.n})")
            axes.set_yticks(range(len(contrasts)), labels if place % columns == 0 else [""] * len(contrasts))
            axes.set_ylim(len(contrasts) - 0.4, -0.6)
            if place + columns >= len(scored):
                axes.set_xlabel("effect on the score")
        entries: list[tuple[str, str, Dash, str]] = [
            (MARKS[outcome][0], MARKS[outcome][1], "-", MARKS[outcome][2]) for outcome in MARKS if outcome in told
        ]
        legend(figure, entries)
        more = len(shown.contrasts) - len(contrasts)
        seeds = seeds_words(len(shown.found[metric.name][0].by_seed) for metric in scored)
        caption = (
            f"What each factor does to a score, over {seeds}: large marks are the means, bars their 95 % t intervals, "
            "each by itself; small dots are one training seed each. Colours say what is sure after Holm's correction "
            "for all effects on the score. Right of 0 the score rises; the arrow at its name says which way is better."
            f"{f' The table has {more} more.' if more > 0 else ''}{scene.protocol_note}"
        )
        return finish(
            figure, f"effects{scene.suffix}", title="Effects of the factors and their interactions", caption=caption,
            data=pd.DataFrame(rows), wide=True,
        )  # fmt: skip


def _panel(axes: Axes, found: Sequence[Effect]) -> None:
    axes.axvline(0, color=INK, linewidth=0.9)
    for place, effect in enumerate(found):
        _, colour, marker = MARKS[effect.outcome]
        mean = effect.interval
        axes.plot(list(effect.by_seed.values()), np.full(len(effect.by_seed), place + 0.24), ".", color=PALE,
                  alpha=0.8, markersize=3.5)  # fmt: skip
        if mean.low is not None and mean.high is not None:
            axes.plot([mean.low, mean.high], [place, place], color=colour, linewidth=1.8)
        axes.plot(mean.point, place, marker, color=colour, markersize=6)
    axes.margins(x=0.08)


def _rows(metric: str, contrasts: Sequence[Contrast], found: Sequence[Effect]) -> list[dict[str, Any]]:
    return [
        {"metric": metric, "effect": contrast.label, "seed": seed, "value": value, "mean": effect.interval.point,
         "low": effect.interval.low, "high": effect.interval.high, "n": effect.interval.n}
        for contrast, effect in zip(contrasts, found, strict=True)
        for seed, value in effect.by_seed.items()
    ]  # fmt: skip

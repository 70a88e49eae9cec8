"""How the recipes get there: what more tries buy, and the share of runs that reach a score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.figures.canvas import (
    DRAWN,
    PALE,
    Drawing,
    Step,
    Style,
    band,
    canvas,
    finish,
    in_columns,
    line,
    panels,
    shortened,
    styles,
)
from reports.figures.scene import Scene
from reports.results import Search
from reports.rows import Metric
from reports.statistics import FEWEST, budget_curve, performance_profile, proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True)
class Group:
    """What one panel draws: a name, its colour and mark, and one score per run or configuration (NaN: failed)."""

    name: str
    style: Style
    tag: str | None
    scores: list[float]


@dataclass(frozen=True)
class Tried:
    """What was tried: groups of scores, what one of them is, and what it was scored by."""

    groups: list[Group]
    unit: str
    header: str
    lower_is_better: bool


def budget(scene: Scene) -> Drawing | None:
    """Expected best score after k configurations of a variant, or after k runs where each has only one."""
    import pandas as pd

    tried = _tried(scene)
    groups = [group for group in tried.groups if np.isfinite(group.scores).any() and len(group.scores) > 1]
    if not groups:
        return None
    frames = []
    for group in groups:
        curve = budget_curve(group.scores, lower_is_better=tried.lower_is_better)
        columns = {name: np.asarray(getattr(curve, name), dtype=float) for name in ("low", "point", "high")}
        frames.append(pd.DataFrame({"group": group.name, "k": curve.k, **columns, "n": len(group.scores)}))
    table = pd.concat(frames, ignore_index=True)
    caption = (
        f"Expected best {tried.header} of k {tried.unit}, drawn from the n that were tried; one that failed is the "
        "best of none. Band or bar: 95 % interval from the bootstrap's standard error, cut at the panel's edge; it "
        f"ends at k = n/{FEWEST}, beyond which the few best scores decide. Grey: the others. What needs many "
        f"{tried.unit} needs tuning or luck.{scene.note}"
    )
    best, worst = (table["point"].min(), table["point"].max())[:: 1 if tried.lower_is_better else -1]
    room = (worst - best) or max(abs(best), 1.0) * 0.1  # a little beyond the best, more beyond the worst
    return _panels(
        table, groups, x="k", y="point", step=None, name=f"budget{scene.suffix}", title="What more tries buy",
        caption=caption, labels=(f"k: {tried.unit}", f"expected best of k\n{tried.header}"),
        limits=(best - 0.15 * room, worst + 0.6 * room),
    )  # fmt: skip


def profile(scene: Scene) -> Drawing | None:
    """The share of a recipe's runs that reach a score, for every score."""
    import pandas as pd

    if not scene.block.metrics:
        return None
    metric = scene.block.metrics[0]
    groups = [group for group in _runs(scene, metric) if group.scores]
    reached = np.array([score for group in groups for score in group.scores if np.isfinite(score)])
    if len(reached) < 2:
        return None
    margin = 0.03 * float(np.ptp(reached)) or 1.0
    taus = np.unique([reached.min() - margin, *reached, reached.max() + margin])
    frames = []
    for group in groups:
        shares = performance_profile(group.scores, taus, lower_is_better=metric.lower_is_better)
        n = len(group.scores)
        ends = [proportion(round(share * n), n) for share in shares]
        frames.append(
            pd.DataFrame(
                {"group": group.name, "tau": taus, "share": shares}
                | {"low": [end.low for end in ends], "high": [end.high for end in ends], "n": n}
            )
        )
    table = pd.concat(frames, ignore_index=True)
    step: Step = "post" if metric.lower_is_better else "pre"
    sign, shape = ("≤", "rises early") if metric.lower_is_better else ("≥", "falls late")
    caption = (
        f"Performance profile: the share of a recipe's runs whose {metric.label} is {sign} τ; a run that failed or "
        "diverged reaches no τ. Band: 95 % Wilson interval of that share, point by point. Grey: the others. Higher is "
        f"better: the curve of a reliable recipe {shape} and steeply.{scene.note}"
    )
    return _panels(
        table, groups, x="tau", y="share", step=step, name=f"profile{scene.suffix}", title="How many runs get there",
        caption=caption, labels=(f"τ: {metric.header}", f"share of runs {sign} τ"), limits=(-0.03, 1.03),
    )  # fmt: skip


def _panels(
    table: DataFrame, groups: Sequence[Group], *, x: str, y: str, step: Step, name: str, title: str, caption: str,
    labels: tuple[str, str], limits: tuple[float, float],
) -> Drawing:  # fmt: skip
    """A panel per group, with the others in grey behind it; all share their axes."""
    columns = in_columns(len(groups))
    lines = -(-len(groups) // columns)
    titles = shortened([group.name for group in groups])
    with canvas(3.1 * columns + 0.4, 2.2 * lines + 0.4) as figure:
        placed = panels(figure, len(groups), columns=columns, shared=True)
        for place, (group, axes) in enumerate(zip(groups, placed, strict=True)):
            for other in groups:
                part = table[table["group"] == other.name]
                if other is group:
                    _spread(axes, part, x, group, step=step)
                    line(axes, part[x], part[y], Style(group.style.colour, "-"), tag=group.tag, step=step)
                else:
                    how: Any = f"steps-{step}" if step else "default"
                    axes.plot(part[x], part[y], color=PALE, linewidth=0.7, alpha=0.6, zorder=1, drawstyle=how)
            axes.set_title(f"{titles[group.name]} (n = {len(group.scores)})")
            axes.set_ylim(min(limits), max(limits))
            if place % columns == 0:
                axes.set_ylabel(labels[1])
            if place + columns >= len(groups):
                axes.set_xlabel(labels[0])
        if not step:
            _whole_numbers(figure.axes[0], int(table[x].max()))
        return finish(figure, name, title=title, caption=caption, data=table, wide=True)


def _spread(axes: Axes, part: DataFrame, x: str, group: Group, *, step: Step) -> None:
    """The interval as a band, or as bars where a band would have no length."""
    known = part[part["low"].notna()]
    if len(known) > 2:
        band(axes, part[x], part["low"], part["high"], group.style.colour, tag=group.tag, step=step)
    else:
        axes.vlines(known[x], known["low"], known["high"], color=group.style.colour, linewidth=1.2, gid=group.tag)


def _whole_numbers(axes: Axes, largest: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if largest > 20:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _runs(scene: Scene, metric: Metric) -> Iterator[Group]:
    """Each recipe that is drawn, with a score per run that ended; a pruned one did not come to its end."""
    scores = scene.final
    scored = scores[scores["metric"] == metric.name].set_index("trial")["value"]
    lost = scene.trials[scene.trials["status"].isin(["failed", "diverged"])]
    for recipe in scene.recipes:
        of_it = scene.trials.loc[scene.trials["recipe"] == recipe, "trial"]
        values = [float(scored[trial]) for trial in of_it if trial in scored.index]
        values += [float("nan")] * int((lost["recipe"] == recipe).sum())
        yield Group(recipe, scene.styles[recipe], scene.tag(recipe), values)


def _tried(scene: Scene) -> Tried:
    """The configurations of a search or of the comparison by variant; runs where each variant has one configuration."""
    search = scene.results.search
    if search is not None and not scene.suffix:
        arrow = "↓" if search.direction == "lower" else "↑"
        return Tried(_by_search(search), "configurations", f"{search.rule} {arrow}", search.direction == "lower")
    if not scene.block.metrics:
        return Tried([], "runs", "", True)
    metric = scene.block.metrics[0]
    families = list(dict.fromkeys(row.variant for row in scene.block.rows))
    if "" in families or len(families) == len(scene.block.rows):
        return Tried(list(_runs(scene, metric)), "runs", metric.header, metric.lower_is_better)
    groups = []
    for name, style in styles(families[:DRAWN]).items():
        rows = [row for row in scene.block.rows if row.variant == name and (row.n or row.lost)]
        means = [row.cells[metric.name].interval for row in rows]
        groups.append(Group(name, style, None, [mean.point if mean else float("nan") for mean in means]))
    return Tried(groups, "configurations", metric.header, metric.lower_is_better)


def _by_search(search: Search) -> list[Group]:
    """A group per variant, with the mean over each configuration's trials; the pruned do not count, as in the table."""
    ended = search.trials[search.trials["status"].isin(["done", "failed", "diverged"])]
    means = ended.groupby(["variant", "settings"], sort=False)["value"].mean().reset_index()
    names = list(dict.fromkeys(means["variant"]))[:DRAWN]
    return [
        Group(name, style, None, means.loc[means["variant"] == name, "value"].astype(float).tolist())
        for name, style in styles(names).items()
    ]

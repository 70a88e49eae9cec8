"""What a page of theory is made from: measured curves beside their closed forms, seed by seed, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ganbench.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

    from reports.statistics import Interval
    from reports.tables import Table

CURVES = ("plot", "curve", "seed", "x", "measured", "closed")

Error = Literal["absolute", "relative", "bound", "none"]


@dataclass(frozen=True)
class Plot:
    """One figure of the page, and how its curves are judged.

    Attributes:
        name: file stem, and what `CURVES`' column `plot` names.
        title: heading, also of the table's rows.
        x, y: labels of the axes.
        caption: what is to be seen; how many seeds and which band are added.
        error: "absolute" |measured − closed|, "relative" the same over |closed|, "bound" measured/closed, which may
            not exceed 1; "none" where there is nothing to compare with.
        log_x, log_y: logarithmic axes.
        path: x and measured are the two coordinates of a way through a plane, drawn for the first seed alone.
    """

    name: str
    title: str
    x: str
    y: str
    caption: str
    error: Error = "absolute"
    log_x: bool = False
    log_y: bool = False
    path: bool = False


@dataclass(frozen=True, eq=False)
class Bench:
    """An experiment whose outcome is known in closed form, and what was measured.

    Attributes:
        title: heading of the page.
        claims: what theory says, in sentences.
        plots: the figures in their order.
        curves: one row per plot × curve × seed × x, in the order in which they are drawn: measured, and closed (NaN
            where there is no closed form). All curves of a plot have the same x in every seed, unless it is a path.
        seeds: how many there are to be in the end.
        parameters: what was chosen, by name.
        commands: shell lines that made this.
        environment: what it was measured on.

    Raises:
        UserError: the frame lacks columns, holds nothing, or has curves of a plot that there is not.
    """

    title: str
    claims: tuple[str, ...]
    plots: tuple[Plot, ...]
    curves: DataFrame
    seeds: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if missing := [column for column in CURVES if column not in self.curves.columns]:
            raise UserError(f"the frame of curves lacks the column(s) {', '.join(missing)}: add them")
        if self.curves.empty:
            raise UserError("there is nothing to report: no seed was measured")
        if strange := set(self.curves["plot"]) - {plot.name for plot in self.plots}:
            raise UserError(f"curves of {min(strange)!r} belong to no plot: name one of the plots")


@dataclass(frozen=True)
class Deviation:
    """How far one curve was from its closed form, or how much of its bound it used."""

    plot: Plot
    curve: str
    points: int
    """At which x it was looked at, per seed."""
    mean: Interval
    """Of the seeds' largest deviations."""
    largest: float
    """Of all seeds."""
    at: float
    """The x of the largest."""


def deviations(bench: Bench) -> list[Deviation]:
    """Each curve that has a closed form, in the order of the plots."""
    import numpy as np

    from reports.statistics import interval

    found = []
    for plot in bench.plots:
        if plot.error == "none":
            continue
        known = bench.curves[(bench.curves["plot"] == plot.name) & bench.curves["closed"].notna()]
        if plot.error == "relative":  # of a closed form of 0 there is no share, but one that is met is off by nothing
            known = known[(known["closed"] != 0) | (known["measured"] == 0)]
        for curve, rows in known.groupby("curve", sort=False):
            measured, closed = rows["measured"].to_numpy(float), rows["closed"].to_numpy(float)
            off = measured / closed if plot.error == "bound" else np.abs(measured - closed)
            if plot.error == "relative":
                off = np.divide(off, np.abs(closed), out=np.zeros_like(off), where=off != 0)
            by_seed = rows.assign(off=off).groupby("seed")["off"]
            worst = int(np.argmax(off))
            found.append(
                Deviation(
                    plot=plot,
                    curve=str(curve),
                    points=int(rows.groupby("seed")["x"].nunique().max()),
                    mean=interval([float(value) for value in by_seed.max()]),
                    largest=float(off[worst]),
                    at=float(rows["x"].iloc[worst]),
                )
            )
    return found


_SAID = {
    "absolute": "largest error",
    "relative": "largest relative error",
    "bound": "largest share of its bound",
}


_LARGEST = {
    "absolute": "off by at most {}",
    "relative": "off by at most {} of the closed form",
    "bound": "at most {} of the bound is used",
}


def verdict(found: Sequence[Deviation]) -> list[str]:
    """One sentence for each plot that has a closed form: its worst curve's largest deviation."""
    worst: dict[str, Deviation] = {}
    for one in found:
        so_far = worst.setdefault(one.plot.name, one)
        worst[one.plot.name] = one if one.largest > so_far.largest else so_far
    return [
        f"{one.plot.title}: {_LARGEST[one.plot.error].format(short(one.largest))} ({one.curve}; on average "
        f"{words(one.mean)}, n = {one.mean.n} seed{'s' * (one.mean.n != 1)})."
        for one in worst.values()
    ]


def table(found: Sequence[Deviation]) -> Table:
    """A row for each curve that has a closed form."""
    from reports.tables import Table, Text

    rows = [
        (
            Text(one.curve),
            Text(one.plot.title),
            Text(_SAID[one.plot.error]),
            Text(words(one.mean), one.mean.point),
            Text(short(one.largest), one.largest),
            Text(f"{one.at:,.6g}".replace("-", "−"), one.at),
            Text(f"{one.points:,}", one.points),
            Text(str(one.mean.n), one.mean.n),
        )
        for one in found
    ]
    return Table(
        name="errors",
        heading="Measured against the closed form",
        head=("curve", "figure", "what", "mean over seeds", "largest of all", "at", "points", "n"),
        rows=tuple(rows),
        note=(
            "mean over seeds: of each seed's largest deviation over the points, ± the half-width of its 95 % t "
            "interval, which needs 3 seeds. at: where the largest of all is, on the figure's lower axis. n: seeds."
        ),
    )


def words(value: Interval) -> str:
    """A mean and the half-width of its interval, which may be tiny.

    >>> from reports.statistics import Interval
    >>> words(Interval(0.9e-7, 1e-7, 1.1e-7, 5)), words(Interval(None, 0.25, None, 1))
    ('1e−07 ± 1e−08', '0.25')
    """
    half = value.half_width
    return short(value.point) if half is None else f"{short(value.point)} ± {short(half, 2)}"


def short(value: float, digits: int = 3) -> str:
    """So many significant digits.

    >>> short(0.000012345), short(1234.5), short(0.0)
    ('1.23e−05', '1.23e+03', '0')
    """
    return f"{value:.{digits}g}".replace("-", "−")

"""What a study's section is made of: columns of dots for its figures, a table, and the table's lines for machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reports.digits import number
from reports.figures.scene import Scene
from reports.statistics import Interval
from reports.tables import MISSING, Table, Text

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Group:
    """One column of dots, and what stands for them all."""

    label: str
    recipe: str | None
    """Whose style it is drawn in, and with whom it is hidden; None for a group of several recipes."""
    values: tuple[float, ...]
    middle: float
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class Part:
    """One figure of columns of dots and its table, of one protocol and one metric."""

    name: str
    """File stem."""
    title: str
    axis: str
    groups: tuple[Group, ...]
    caption: str
    table: Table
    records: tuple[dict[str, Any], ...]
    """The table's lines for machines; None where nothing is known."""
    scene: Scene
    reference: tuple[str, float] | None = None
    """A line to be reached, and its name."""
    limits: tuple[float, float] | None = None
    """Of the axis, where they are known."""
    logarithmic: bool = False
    pairs: DataFrame | None = field(default=None, repr=False)
    """Columns recipe, seed, images, loss, score: what each correlation is taken over."""
    pair_axes: tuple[str, str] = ("", "")


def mean_cell(value: Interval | None) -> Text:
    """A mean with the half-width of its interval, sorted by the mean."""
    return Text(MISSING) if value is None else Text(number(value), value.point)


def count_cells(*numbers: int) -> tuple[Text, ...]:
    """Whole numbers, a cell each."""
    return tuple(Text(f"{value:,}", value) for value in numbers)


def range_cell(low: float | None, high: float | None, words: Callable[[float], str]) -> Text:
    """From one to the other, sorted by the lower one; missing where either is.

    >>> range_cell(-0.5, 1.0, correlation_words).text
    '−0.50 … 1.00'
    """
    return Text(MISSING) if low is None or high is None else Text(f"{words(low)} … {words(high)}", low)


def correlation_words(value: float) -> str:
    """Two decimals, whatever the size."""
    return f"{value:.2f}".replace("-", "−")


def score_words(value: float) -> str:
    """Four digits of a number without an interval."""
    return number(Interval(None, float(value), None, 1))


def ends(value: Interval | None) -> tuple[float | None, float | None]:
    """Of an interval, where there is one."""
    return (None, None) if value is None else (value.low, value.high)


def flat(value: Interval | None, mean: str = "mean", prefix: str = "") -> dict[str, float | None]:
    """A mean and the ends of its interval by name, for machines.

    >>> flat(Interval(1.0, 2.0, 3.0, 5), "iqr", "iqr_")
    {'iqr': 2.0, 'iqr_low': 1.0, 'iqr_high': 3.0}
    """
    low, high = ends(value)
    return {mean: None if value is None else value.point, f"{prefix}low": low, f"{prefix}high": high}


def within(value: Interval, low: float, high: float) -> Interval:
    """The interval without what is impossible."""
    if value.low is None or value.high is None:
        return value
    return Interval(max(low, value.low), value.point, min(high, value.high), value.n)


def of_recipe(recipe: str, values: tuple[float, ...], mean: Interval) -> Group:
    """The dots of one recipe's seeds under its own name."""
    return Group(recipe, recipe, values, mean.point, mean.low, mean.high)

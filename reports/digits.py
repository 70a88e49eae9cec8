"""Numbers as they are read: as many digits as their interval allows."""

from __future__ import annotations

import math

from reports.statistics import Interval


def number(value: Interval) -> str:
    """The mean with as many decimals as its interval's width allows, and half that width."""
    places = _places(value)
    text = f"{value.point:.{places}f}"
    if (half := value.half_width) is not None:
        text += f" ± {half:.{places}f}" if half else " ± 0"
    return text.replace("-", "−")


def between(value: Interval) -> str:
    """The mean and the ends of its interval, likewise.

    >>> between(Interval(0.4, 1.2, 2.0, 5)), between(Interval(None, 1.2, None, 2))
    ('1.20 [0.40, 2.00]', '1.200')
    """
    places = _places(value)
    ends = "" if value.low is None or value.high is None else f" [{value.low:.{places}f}, {value.high:.{places}f}]"
    return f"{value.point:.{places}f}{ends}".replace("-", "−")


def decimals(value: float, digits: int) -> int:
    """Decimals that show `digits` significant digits of `value`, at most 6."""
    return 0 if value == 0 else min(6, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def _places(value: Interval) -> int:
    half = value.half_width
    return decimals(half, 2) if half else decimals(value.point, 4)

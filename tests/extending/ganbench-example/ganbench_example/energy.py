"""The energy distance of two sets of features (Székely & Rizzo 2013): no Gaussian is fitted and no bandwidth chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metrics import Metric

if TYPE_CHECKING:
    import numpy as np

    from metrics.comparison import Comparison

BLOCK = 1024
"""Rows whose distances are in memory at a time."""

ENERGY = Metric(
    name="energy",
    label="Energy distance",
    direction="lower",
    summary="2 E‖x − y‖ − E‖x − x′‖ − E‖y − y′‖ without bias, so that it may be slightly below 0",
    paper="Székely & Rizzo 2013",
    domain="both",
    compute="ganbench_example.energy:energy",
    ideal=0.0,
    needs="features",
)


def energy(comparison: Comparison) -> float:
    """Of real features (n, d) and generated ones (m, d); NaN, and so a reason, below two samples a side."""
    real, fake = comparison.real.features, comparison.fake.features
    if min(len(real), len(fake)) < 2:
        return float("nan")
    return 2 * _total(real, fake) / (len(real) * len(fake)) - _within(real) - _within(fake)


def _within(rows: np.ndarray) -> float:
    """The mean distance of two different rows."""
    return _total(rows, rows) / (len(rows) * (len(rows) - 1))


def _total(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.spatial.distance import cdist  # slow to import, and nobody needs it to list the metrics

    return float(sum(cdist(one[i : i + BLOCK], other).sum() for i in range(0, len(one), BLOCK)))

"""How many samples a metric needs: known, without torch, before any is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ganbench.errors import UserError
from metrics.curve import CLUSTERS
from metrics.frechet import POINTS

BALLS = ("precision", "recall", "f1", "density", "coverage")
"""The metrics of k-nearest-neighbour balls."""

Whose = Literal["real", "generated", "training"]


def check_sizes(
    metrics: Iterable[str],
    n: int,
    whose: Whose,
    *,
    k: int,
    splits: int,
    kid_subset_size: int | None = None,
    remedy: str = "give more samples or leave it out",
) -> None:
    """Raise `UserError`, which ends in `remedy`, for the first metric that cannot be computed from `n` samples."""
    for name in metrics:
        least = _least(name, whose, k, splits, kid_subset_size)
        if n < least:
            raise UserError(
                f"metric {name!r} needs at least {least} {whose} samples under these settings "
                f"and there are {n}: {remedy}"
            )


def _least(name: str, whose: Whose, k: int, splits: int, kid_subset_size: int | None) -> int:
    if whose == "training":
        return 2 if name == "authpct" else 1
    if name in BALLS:
        return k + 1
    if name == "kid":
        return kid_subset_size or 4
    if whose == "generated" and name in ("is", "fid_inf"):
        return splits if name == "is" else 2 * POINTS
    return {"fid": 2, "fid_inf": 2, "kid_all": 3, "prd_f8": CLUSTERS, "prd_f1_8": CLUSTERS}.get(name, 1)

"""What a reader should know beside a score: sentences, not refusals, for what is legitimate and easily misread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from metrics.comparison import Settings

USUAL_K = {"precision": 3, "recall": 3, "f1": 3, "density": 5, "coverage": 5}
"""Of the papers: Kynkäänniemi et al. 2019 and Naeem et al. 2020."""
DISTANCES = ("fid", "fid_inf", "kid", "kid_all")
PER_SPLIT = 500
"""Samples of a split below which an Inception Score is visibly too low."""
WELL_ABOVE = 10
"""Real samples per feature from which on the reference's own noise adds little to a Fréchet distance."""


@dataclass(frozen=True)
class Situation:
    """Sizes and names that decide which cautions apply.

    `distinct` tells whether any two real features differ, `one_class` whether one class is given to all fakes.
    """

    settings: Settings
    features: str
    dim: int
    n_real: int
    n_fake: int
    kid_subset_size: int
    distinct: bool
    one_class: bool


def cautions(metric: str, at: Situation) -> tuple[str, ...]:
    """Sentences that belong beside a score of `metric`."""
    return tuple(_cautions(metric, at))


def _cautions(metric: str, at: Situation) -> Iterator[str]:
    if metric in ("fid", "fid_inf"):
        yield from _frechet(metric, at)
    if metric == "kid" and at.kid_subset_size in (at.n_real, at.n_fake):
        yield (
            f"kid: subsets of {at.kid_subset_size} are all there is of one side, so its deviation says nothing "
            "of the uncertainty; take smaller subsets or kid_all"
        )
    if metric == "is":
        yield from _inception(at)
    if metric in USUAL_K and at.settings.k != USUAL_K[metric]:
        yield f"{metric}: k={at.settings.k} where published values have k={USUAL_K[metric]}; compare equal k only"
    if metric in USUAL_K and at.n_real != at.n_fake:
        yield f"{metric}: n_real={at.n_real} and n_fake={at.n_fake} differ, which moves it; compare equal sizes only"
    if metric == "coverage":
        n, m, k = at.n_real, at.n_fake, at.settings.k
        ideal = 1 - prod((n - 1 - j) / (n + m - 1 - j) for j in range(k))
        yield f"coverage: a perfect generator has {ideal:.3f} at these sizes and k={k}, and copies have 1"
    if metric in ("prd_f8", "prd_f1_8") and at.n_real != at.n_fake:
        yield f"{metric}: n_real={at.n_real} and n_fake={at.n_fake} differ and are weighted; the paper has equal sizes"
    if metric in DISTANCES and not at.distinct:
        yield f"{metric}: all real samples have the same features, so it is a distance to a single point"


def _frechet(metric: str, at: Situation) -> Iterator[str]:
    small = {"n_real": at.n_real, "n_fake": at.n_fake}
    deficient = [f"{name}={n}" for name, n in small.items() if n <= at.dim]
    if deficient:
        yield (
            f"{metric}: {' and '.join(deficient)} at {at.dim} features: the covariance has no full rank and the value "
            "depends heavily on n; prefer kid or fewer features"
        )
    elif at.n_real < WELL_ABOVE * at.dim:
        yield (
            f"{metric}: n_real={at.n_real} is little for {at.dim} features, and a perfect generator is far from 0; "
            "read it beside the score of real against real"
        )


def _inception(at: Situation) -> Iterator[str]:
    if not at.features.startswith("inception"):
        yield f"is: the classes are those of {at.features!r}, not ImageNet's; no published value compares"
    per_split = at.n_fake // at.settings.splits
    if per_split < PER_SPLIT:
        yield f"is: {per_split} samples a split make it too low; compare equal n and splits only"
    if at.one_class:
        yield (
            "is: one class is given to every generated sample: they are all of a kind, or the network cannot tell "
            "such data apart"
        )

"""What each factor of a full factorial sweep does to a score, and what factors do to each other's effects.

The main effect of a factor is the mean score at a level less that at its first level, over all combinations of the
other factors. The interaction of two is by how much the effect of one changes from the first level of the other to the
level named (a difference of differences), again over all combinations of the rest; that of three is by how much the
interaction of two changes, and so on (Box, Hunter & Hunter 2005, chapter 5, who halve an interaction once for every
factor beyond the first). With F factors of two levels there are 2^F − 1 effects; each is a sum of the recipes' scores
with weights that add up to 0.

All recipes are trained with the same seeds, so that every seed gives each effect once, and a mean and Student's
interval over seeds are the estimate: whatever a seed does to all recipes alike cancels, and nothing is supposed of how
much recipes vary. A seed that one recipe lost therefore counts for none, and is told.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

from ganbench.errors import UserError
from reports.factors import Crossing, Factor, crossing
from reports.ranks import Outcome, outcome
from reports.statistics import FEWEST, Interval, holm, interval, moments, t_test

CONFIDENCE = 0.95

Scores = Mapping[str, Mapping[int, float]]
"""Recipe → training seed → finite score."""


@dataclass(frozen=True)
class Contrast:
    """One effect: of a factor's level, or of levels of several factors together, against their first levels."""

    label: str
    factors: tuple[str, ...]
    levels: tuple[str, ...]
    """The level of each of `factors`."""
    firsts: tuple[str, ...]
    """The level that each is compared with."""
    signs: Mapping[str, int] = field(repr=False)
    """Recipe → 1, −1 or 0."""
    over: int
    """Combinations of the other factors that the effect is a mean of."""

    @property
    def order(self) -> int:
        """1 for a main effect, 2 for an interaction of two factors …"""
        return len(self.factors)

    def of(self, scores: Mapping[str, float]) -> float:
        """The effect in these recipes' scores, to the last bit: scores that cancel leave 0."""
        return math.fsum(sign * scores[recipe] for recipe, sign in self.signs.items()) / self.over


@dataclass(frozen=True)
class Effect:
    """A contrast's estimate for one score."""

    by_seed: Mapping[int, float]
    """Training seed → effect, of the seeds of which every recipe has the score."""
    interval: Interval
    """Of the mean over seeds, at 95 %, by itself."""
    p: float | None
    """Two-sided, corrected (Holm) for all effects on the score; None where fewer than 3 seeds allow no test."""
    outcome: Outcome | None
    """Whether the score is surely better or worse for it, after the correction."""

    @property
    def sure(self) -> bool:
        """Whether it surely differs from 0."""
        return self.outcome in ("better", "worse")


@dataclass(frozen=True)
class Effects:
    """The effects on every score of the recipes of one protocol, or why there are none."""

    crossing: Crossing | None
    contrasts: tuple[Contrast, ...] = ()
    """Main effects first, in the order of the factors."""
    found: Mapping[str, tuple[Effect, ...]] = field(default_factory=dict)
    """Score → an effect per contrast; a score is missing where no seed has it of every recipe."""
    lost: Mapping[str, Mapping[int, tuple[str, ...]]] = field(default_factory=dict)
    """Score → training seed that counts in no effect → the recipes that have no such score of it."""
    refused: str | None = None
    """Why the recipes allow no effects."""


def effects(
    recipes: Sequence[str],
    varied: Mapping[str, Mapping[str, str]],
    scores: Mapping[str, tuple[Scores, bool]],
    planned: Mapping[str, Collection[int]],
) -> Effects:
    """Every main effect and interaction on every score; of recipes that are no full crossing, the reason.

    Args:
        recipes: in the order of the trials.
        varied: of each option that differs, recipe → value (`settings.Settings.varied`).
        scores: of each score, the recipes' values and whether lower ones are better.
        planned: recipe → training seeds of its trials, however those ended.
    """
    try:
        crossed = crossing(recipes, varied)
        seeds = _shared_seeds(recipes, planned)
    except UserError as error:
        return Effects(None, refused=str(error))
    of_all = tuple(contrasts(crossed))
    lost = {name: _lost(recipes, values, seeds) for name, (values, _) in scores.items()}
    found = {
        name: tuple(estimates(of_all, values, whole, lower_is_better=lower_is_better))
        for name, (values, lower_is_better) in scores.items()
        if (whole := [seed for seed in seeds if seed not in lost[name]])
    }
    if scores and not found:
        without = [recipe for recipe in recipes if not any(values.get(recipe) for values, _ in scores.values())]
        whose = f"{without[0]!r} has none at all" if without else "of each seed some recipe has none"
        return Effects(crossed, of_all, {}, lost, f"no training seed has scores of all {len(recipes)} recipes: {whose}")
    return Effects(crossed, of_all, found, lost)


def _shared_seeds(recipes: Sequence[str], planned: Mapping[str, Collection[int]]) -> list[int]:
    """The seeds of all recipes; a trial that was never asked for makes the design unbalanced, one that failed not."""
    everything = sorted({seed for recipe in recipes for seed in planned[recipe]})
    for recipe in recipes:
        if missing := [seed for seed in everything if seed not in planned[recipe]]:
            raise UserError(
                f"the design is unbalanced: {recipe!r} has no trial with seed {missing[0]}, which others have; give "
                "every recipe the same seeds"
            )
    return everything


def contrasts(crossed: Crossing) -> list[Contrast]:
    """Every effect of a full crossing: Π levels − 1 of them, by order.

    >>> two = Crossing((Factor("a", ("0", "1")), Factor("b", ("0", "1"))),
    ...                {"none": (0, 0), "a": (1, 0), "b": (0, 1), "both": (1, 1)})
    >>> [contrast.label for contrast in contrasts(two)]
    ['a: 0 → 1', 'b: 0 → 1', 'a × b']
    >>> contrasts(two)[2].of({"none": 5.0, "a": 4.0, "b": 3.0, "both": 1.0})
    -1.0
    """
    made = []
    factors = crossed.factors
    for order in range(1, len(factors) + 1):
        for chosen in combinations(range(len(factors)), order):
            rest = math.prod(len(factor.levels) for place, factor in enumerate(factors) if place not in chosen)
            for levels in product(*(range(1, len(factors[place].levels)) for place in chosen)):
                named = dict(zip(chosen, levels, strict=True))
                made.append(
                    Contrast(
                        _label(factors, named),
                        tuple(factors[place].name for place in chosen),
                        tuple(factors[place].levels[level] for place, level in named.items()),
                        tuple(factors[place].levels[0] for place in chosen),
                        {recipe: _sign(at, named) for recipe, at in crossed.places.items()},
                        rest,
                    )
                )
    return made


def _sign(at: Sequence[int], named: Mapping[int, int]) -> int:
    """Of a recipe's score in the difference of differences: each factor at its first level turns it."""
    return math.prod(1 if at[place] == level else -1 if at[place] == 0 else 0 for place, level in named.items())


def _label(factors: Sequence[Factor], named: Mapping[int, int]) -> str:
    if len(named) == 1:
        [(place, level)] = named.items()
        return f"{factors[place].name}: {factors[place].levels[0]} → {factors[place].levels[level]}"
    return " × ".join(
        factors[place].name + (f"={factors[place].levels[level]}" if len(factors[place].levels) > 2 else "")
        for place, level in named.items()
    )


def estimates(
    of_all: Sequence[Contrast], scores: Scores, seeds: Sequence[int], *, lower_is_better: bool
) -> list[Effect]:
    """Each contrast with its interval over `seeds` (n ≥ 1), of which every recipe has a score."""
    values = [{seed: one.of({recipe: scores[recipe][seed] for recipe in scores}) for seed in seeds} for one in of_all]
    means = [interval(list(by_seed.values()), confidence=CONFIDENCE) for by_seed in values]
    if len(seeds) < FEWEST:
        return [Effect(by_seed, mean, None, None) for by_seed, mean in zip(values, means, strict=True)]
    corrected = holm([_p(list(by_seed.values())) for by_seed in values])
    return [
        Effect(by_seed, mean, p, outcome(mean, lower_is_better=lower_is_better, sure=p < 1 - CONFIDENCE))
        for by_seed, mean, p in zip(values, means, corrected, strict=True)
    ]


def _p(values: Sequence[float]) -> float:
    import numpy as np

    mean, variance = moments(np.asarray(values))
    return float(t_test(mean, (variance / len(values)) ** 0.5, len(values) - 1))


def _lost(recipes: Sequence[str], scores: Scores, seeds: Sequence[int]) -> dict[int, tuple[str, ...]]:
    without = {seed: tuple(recipe for recipe in recipes if seed not in scores.get(recipe, {})) for seed in seeds}
    return {seed: found for seed, found in without.items() if found}

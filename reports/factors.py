"""Which options a factorial sweep crosses, told from its recipes' configurations alone.

A factor is an option, or several that always change together; its levels are their values. The recipes are a full
crossing where each combination of levels is exactly one recipe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from ganbench.errors import UserError

Codes = tuple[int, ...]
"""Of an option, the number of each recipe's value, counted as they are first met: equal where options split alike."""

_NAMES = {"gan.name": "variant", "data.name": "dataset"}


@dataclass(frozen=True)
class Factor:
    """What is varied, and its values in words: the first is the one that the others are compared with."""

    name: str
    levels: tuple[str, ...]
    along: tuple[str, ...] = ()
    """Other options whose value this factor's level decides."""


@dataclass(frozen=True)
class Crossing:
    """Factors in the config's order, and which combination of their levels each recipe is."""

    factors: tuple[Factor, ...]
    places: Mapping[str, Codes]
    """Recipe → the number of its level, factor by factor; every combination once."""
    mixed: tuple[str, ...] = ()
    """Options that no single factor decides, only a combination: no effect is free of them."""

    def levels(self, recipe: str) -> tuple[str, ...]:
        """A recipe's levels in words, such as ``prediction=both``."""
        return _words(self.factors, self.places[recipe])


def crossing(recipes: Sequence[str], varied: Mapping[str, Mapping[str, str]]) -> Crossing:
    """The factors that `recipes` cross.

    Of several choices one whose factors decide all other options, else part of what was changed would be in no factor;
    then the one with the most factors, then the config's first.

    Args:
        recipes: in the order of the trials, whose first has the first level of every factor.
        varied: of each option (dotted key) that differs, recipe → value (`settings.Settings.varied`).

    Raises:
        UserError: a configuration is not known, fewer than two factors, or no full crossing; it says what is missing.

    >>> values = {"gan.loss": dict(a="x", b="y", c="x", d="y"), "gan.sn": dict(a="no", b="no", c="yes", d="yes")}
    >>> [(factor.name, factor.levels) for factor in crossing("abcd", values).factors]
    [('loss', ('x', 'y')), ('sn', ('no', 'yes'))]
    """
    unknown = [recipe for recipe in recipes if any(recipe not in values for values in varied.values())]
    if unknown or not varied:
        raise UserError(f"the settings of {(unknown or list(recipes))[0]!r} are not known, so neither are the factors")
    groups: dict[Codes, list[str]] = {}
    for option, values in varied.items():
        groups.setdefault(_codes([values[recipe] for recipe in recipes]), []).append(option)
    chosen = _chosen(list(groups), len(recipes))
    if chosen is None:
        raise UserError(_why_not(recipes, groups, varied))
    factors = tuple(_factor(codes, groups, recipes, varied) for codes in chosen)
    told = [codes for codes in groups if any(_decides(factor, codes) for factor in chosen)]
    return Crossing(
        factors,
        dict(zip(recipes, zip(*chosen, strict=True), strict=True)),
        tuple(_short(option) for codes in groups if codes not in told for option in groups[codes]),
    )


def _codes(values: Sequence[str]) -> Codes:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return tuple(numbers[value] for value in values)


def _chosen(candidates: Sequence[Codes], recipes: int) -> tuple[Codes, ...] | None:
    """Options, two at least, that split the recipes into all their combinations, one recipe each; see `crossing`."""
    # what is different in every recipe is in no factor of any crossing
    told = [codes for codes in candidates if max(codes) + 1 < recipes]
    most = None
    even = [codes for codes in told if recipes % (max(codes) + 1) == 0]
    for number in range(int(math.log2(max(recipes, 1))), 1, -1):
        for some in combinations(even, number):
            if math.prod(max(codes) + 1 for codes in some) == recipes == len(set(zip(*some, strict=True))):
                if all(any(_decides(factor, codes) for factor in some) for codes in told):
                    return some
                most = most or some
    return most


def _decides(first: Codes, second: Codes) -> bool:
    """Whether the value of the first option says that of the second."""
    return len(set(zip(first, second, strict=True))) == max(first) + 1


def _factor(
    codes: Codes, groups: Mapping[Codes, Sequence[str]], recipes: Sequence[str], varied: Mapping[str, Mapping[str, str]]
) -> Factor:
    options = groups[codes]
    name = "gan.name" if "gan.name" in options else options[0]
    decided = [option for other, found in groups.items() if _decides(codes, other) for option in found]
    return Factor(
        _short(name),
        tuple(dict.fromkeys(varied[name][recipe] for recipe in recipes)),
        tuple(_short(option) for option in decided if option != name),
    )


def _why_not(
    recipes: Sequence[str], groups: Mapping[Codes, Sequence[str]], varied: Mapping[str, Mapping[str, str]]
) -> str:
    """What the recipes lack to be a full crossing of the options that others do not decide."""
    several = [codes for codes in groups if max(codes) + 1 < len(recipes)]
    free = [codes for codes in several if not any(_decides(other, codes) for other in several if other != codes)]
    if len(free) < 2:
        return f"{len(recipes)} recipes cross no two options: give two or more options values in a grid"
    factors = [_factor(codes, groups, recipes, varied) for codes in free]
    there = list(zip(*free, strict=True))
    names = " × ".join(factor.name for factor in factors)
    missing = [place for place in product(*(range(len(factor.levels)) for factor in factors)) if place not in there]
    if missing:
        one = ", ".join(_words(factors, missing[0]))
        more = f" and {len(missing) - 1:,} more are" if len(missing) > 1 else " is"
        total = len(missing) + len(set(there))
        return f"{len(recipes)} recipes are no full crossing of {names} ({total:,} combinations): {one}{more} missing"
    twice = next(place for place in there if there.count(place) > 1)
    same = [recipe for recipe, place in zip(recipes, there, strict=True) if place == twice]
    return f"the recipes are no crossing of {names} alone: {same[0]!r} and {same[1]!r} are the same combination"


def _words(factors: Sequence[Factor], place: Codes) -> tuple[str, ...]:
    return tuple(f"{factor.name}={factor.levels[level]}" for factor, level in zip(factors, place, strict=True))


def _short(option: str) -> str:
    """An option as labels say it."""
    return _NAMES.get(option, option.removeprefix("gan."))

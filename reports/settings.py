"""The configuration behind the results: what all trials share, and where recipes differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.results import Results

MISSING = "—"


@dataclass(frozen=True)
class Settings:
    """Flat settings in words: those of all trials, and for those that vary, each recipe's."""

    shared: dict[str, str]
    varied: dict[str, dict[str, str]]
    """Setting → recipe → value; several values within a recipe stand side by side."""


def settings(results: Results, recipes: Sequence[str]) -> Settings | None:
    """The settings of `recipes`, seeds apart; None where no configuration is known."""
    trials = results.trials[results.trials["recipe"].isin(recipes)]
    return settings_of(zip(trials["recipe"], trials["config"], strict=True), recipes)


def settings_of(trials: Iterable[tuple[str, object]], recipes: Sequence[str]) -> Settings | None:
    """The same from each trial's recipe and configuration, a nested mapping where it is known."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for recipe, config in trials:
        for name, value in _flat(config) if isinstance(config, Mapping) else ():
            if name != "seed":
                found.setdefault(name, {}).setdefault(recipe, {})[value] = None
    if not found:
        return None
    known = [recipe for recipe in recipes if any(recipe in values for values in found.values())]
    shared: dict[str, str] = {}
    varied: dict[str, dict[str, str]] = {}
    for name, values in found.items():
        words = {recipe: ", ".join(values.get(recipe, {MISSING: None})) for recipe in known}
        if len(set(words.values())) == 1:
            shared[name] = next(iter(words.values()))
        else:
            varied[name] = words
    return Settings(shared, varied)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _word(inner)


def _word(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "null"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_word, value)) if isinstance(value, (list, tuple)) else str(value)

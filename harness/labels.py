"""Display names of trials, told from their configurations alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from harness.config import TrialConfig


def recipe_labels(configs: Sequence[TrialConfig]) -> list[str]:
    """A display name for each trial: its variant, and the settings that vary among that variant's trials.

    The seed is never part of it: a recipe's row is taken over its seeds.
    """
    flat = [dict(_flatten(config.model_dump(mode="json", exclude={"seed"}))) for config in configs]
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for settings in flat:
        for key, value in settings.items():
            values[settings["gan.name"]][key].add(str(value))
    labels = []
    for settings in flat:
        varied = [key for key, seen in values[settings["gan.name"]].items() if len(seen) > 1]
        labels.append(" ".join([settings["gan.name"], *(f"{key}={settings[key]}" for key in varied)]))
    return labels


def _flatten(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flatten(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner

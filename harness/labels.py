"""Display names of trials, told from their configurations alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.config import TrialConfig

DIGITS = 3
"""Significant digits of a number in a name, unless two recipes would then be called the same."""


def recipe_labels(configs: Sequence[TrialConfig]) -> list[str]:
    """A display name for each trial: its variant, and the settings that vary among that variant's trials.

    The seed is never part of it: a recipe's row is taken over its seeds. Options of the game go by their last part,
    and those that the trial's recipe does not read are left out. Different recipes have different names.
    """
    dumps = [config.model_dump(mode="json", exclude={"seed"}) for config in configs]
    varied = _varied(dumps)
    short, full = [], []
    for config, dump in zip(configs, dumps, strict=True):
        told = {key: _value(dump, key) for key in varied[config.gan.name]}
        idle = {f"gan.{name}" for name in config.gan.idle()} if told else set()
        full.append(_label(config.gan.name, told, str))
        short.append(_label(config.gan.name, {key: told[key] for key in told if key not in idle}, _rounded))
    called: dict[str, set[str]] = defaultdict(set)
    for brief, long in zip(short, full, strict=True):
        called[brief].add(long)
    return [brief if len(called[brief]) == 1 else long for brief, long in zip(short, full, strict=True)]


def _varied(dumps: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The options that vary, as dotted keys, by variant and in the config's order.

    Section by section, since most are the same in all of a sweep's thousands of trials.
    """
    first: dict[str, Mapping[str, Any]] = {}
    different: dict[str, set[str]] = defaultdict(set)
    for dump in dumps:
        variant = dump["gan"]["name"]
        reference = first.setdefault(variant, dump)
        for section, values in dump.items():
            if values != reference[section]:
                keys = _keys(section, values)
                different[variant].update(key for key in keys if _value(dump, key) != _value(reference, key))
    return {
        variant: [key for section in dump for key in _keys(section, dump[section]) if key in different[variant]]
        for variant, dump in first.items()
    }


def _keys(section: str, values: Any) -> list[str]:
    return [f"{section}.{name}" for name in values] if isinstance(values, dict) else [section]


def _value(dump: Mapping[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return dump[section][name] if name else dump[section]


def _label(variant: str, told: Mapping[str, Any], said: Callable[[Any], str]) -> str:
    return " ".join([variant, *(f"{_name(key)}={said(value)}" for key, value in told.items())])


def _name(key: str) -> str:
    return "dataset" if key == "data.name" else key.removeprefix("gan.")


def _rounded(value: Any) -> str:
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)

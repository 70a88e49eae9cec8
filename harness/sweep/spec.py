"""A sweep's specification: W&B's sweep format, read into the trials of its grid."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganbench.errors import UserError, unknown_name
from harness.config import TrialConfig, merge, read_mapping, resolve, trial_id

MAX_TRIALS = 100_000
"""A grid beyond this is taken for a mistake before it fills the memory."""

_KEYS = ("name", "description", "method", "metric", "parameters", "program", "command")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_RANDOM_ONLY = frozenset({"min", "max", "mu", "sigma", "q", "probabilities"})


@dataclass(frozen=True)
class SweepSpec:
    """A sweep, ready to run: every trial of the grid once, seeds slowest, so that all recipes advance together."""

    name: str
    description: str
    source_text: str
    """The YAML as it was read."""
    parameters: Mapping[str, list[Any]]
    """Values by dotted key, as the file has them."""
    metric: Mapping[str, Any] | None
    """W&B's own `metric` block, handed on by `as_wandb_sweep`."""
    trials: list[TrialConfig]


def read_spec(path: Path, overrides: Mapping[str, Any] | None = None) -> SweepSpec:
    """Read a W&B sweep YAML and resolve every trial of its grid.

    Args:
        path: the file.
        overrides: options that hold for every trial, in place of what the file says of them.

    Raises:
        UserError: no such file; a key, option or value that is not known; a method other than grid; no trials.
    """
    text, raw = read_mapping(path)
    try:
        return _spec(text, raw, default_name=path.stem, overrides=merge(overrides or {}))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _spec(text: str, raw: Mapping[str, Any], *, default_name: str, overrides: Mapping[str, Any]) -> SweepSpec:
    for key in raw:
        if key not in _KEYS:
            raise unknown_name("key", key, _KEYS)
    method = raw.get("method", "grid")
    if method != "grid":
        raise UserError(f"method {method!r} is not known: this version runs grid, so list the values to try")
    name = raw.get("name", default_name)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"name {name!r} would be a folder: use letters, digits, '.', '_' and '-' only (key 'name')")
    description, metric = raw.get("description") or "", raw.get("metric")
    if not isinstance(description, str):
        raise UserError("description must be text")
    if metric is not None and not isinstance(metric, Mapping):
        raise UserError("metric must be as W&B has it: {name: ..., goal: minimize}")
    parameters = _parameters(raw.get("parameters"))
    size = math.prod(len(values) for values in parameters.values())
    if size > MAX_TRIALS:
        raise UserError(f"the grid has {size:,} points: at most {MAX_TRIALS:,} are run as one sweep")
    trials: dict[str, TrialConfig] = {}
    for point in _grid(parameters):
        config = resolve(merge(point, overrides))
        trials.setdefault(trial_id(config), config)
    return SweepSpec(
        name=name,
        description=description,
        source_text=text,
        parameters=parameters,
        metric=metric,
        trials=list(trials.values()),
    )


def _parameters(block: object, prefix: str = "") -> dict[str, list[Any]]:
    """Values by dotted key, from W&B's `parameters` with its nested blocks."""
    if not isinstance(block, Mapping) or not block:
        raise UserError(f"{prefix}parameters is missing or empty: write 'gan: {{values: [wgan, wgan-gp]}}' below it")
    found: dict[str, list[Any]] = {}
    for key, parameter in block.items():
        name = f"{prefix}{key}"
        new = _parameter(name, parameter)
        for twice in new.keys() & found.keys():
            raise UserError(f"parameter {twice} is given twice, nested and dotted: keep one")
        found.update(new)
    return found


def _parameter(name: str, parameter: object) -> dict[str, list[Any]]:
    if not isinstance(parameter, Mapping):
        raise UserError(f"parameter {name}: write '{name}: {{value: {parameter}}}' or '{name}: {{values: [...]}}'")
    forms = ("value", "values", "parameters")
    for key in parameter:
        if key in _RANDOM_ONLY:
            raise UserError(f"parameter {name}: {key!r} is for random search; list the values to try")
        if key not in (*forms, "distribution"):
            raise unknown_name(f"key of parameter {name}", key, forms)
    given = [form for form in forms if form in parameter]
    if len(given) != 1:
        raise UserError(f"parameter {name}: give exactly one of value, values and parameters")
    if parameter.get("distribution", "constant") not in ("constant", "categorical"):
        raise UserError(f"parameter {name}: a distribution is for random search; list the values to try")
    if given == ["parameters"]:
        return _parameters(parameter["parameters"], f"{name}.")
    values = [parameter["value"]] if given == ["value"] else parameter["values"]
    if not isinstance(values, list) or not values:
        raise UserError(f"parameter {name}: values must be a list of at least one, so there are no trials")
    for value in values:
        merge({name: value})  # refuses an unknown option before the grid is laid out
    return {name: values}


def _grid(parameters: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination in the order given, except that `seed` changes slowest."""
    names = sorted(parameters, key=lambda name: name != "seed")
    combinations = itertools.product(*(parameters[name] for name in names))
    return [dict(zip(names, values, strict=True)) for values in combinations]


def as_wandb_sweep(spec: SweepSpec) -> dict[str, Any]:
    """The file as W&B takes it: `wandb sweep` reads it, and each agent calls `ganbench train key=value …`.

    Nested blocks become dotted keys, which W&B leaves flat. Overrides are no part of it.
    """
    return {
        "name": spec.name,
        **({"description": spec.description} if spec.description else {}),
        "method": "grid",
        **({"metric": dict(spec.metric)} if spec.metric else {}),
        "parameters": {name: {"values": list(values)} for name, values in spec.parameters.items()},
        "program": "ganbench",
        "command": ["${env}", "ganbench", "train", "${args_no_hyphens}"],
    }

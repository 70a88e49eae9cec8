"""A theory file: `theory` names the experiment, `parameters` its options, `seeds` a count or a list of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ganbench.errors import UserError, unknown_name
from harness.config import validation_sentence
from harness.config_text import read_assignments, read_mapping
from harness.sweep.benchmark import read_seeds
from harness.sweep.spec import read_name
from harness.theory.experiments import EXPERIMENTS, Experiment, Parameters

_KEYS = ("name", "description", "theory", "seeds", "parameters")
SEEDS = 5
"""Of an experiment whose file names none."""


@dataclass(frozen=True)
class TheorySpec:
    """An experiment, ready to be measured."""

    name: str
    description: str
    theory: str
    """The experiment's name."""
    seeds: tuple[int, ...]
    parameters: Parameters

    @property
    def experiment(self) -> Experiment:
        """What is measured."""
        found: Experiment = EXPERIMENTS.load(self.theory)
        return found


def is_theory(path: Path) -> bool:
    """Whether the file at `path` names an experiment of the bench instead of trials."""
    return "theory" in read_mapping(path)[1]


def read_theory(path: Path, assignments: Sequence[str] = ()) -> TheorySpec:
    """Read a theory file; `assignments` are the command line's `seeds=…` and `<parameter>=…`.

    Raises:
        UserError: no such file; a key, experiment, parameter or value that is not known.
    """
    _, raw = read_mapping(path)
    given = read_assignments(assignments, example="seeds=3")
    try:
        return _spec(raw, given, default_name=path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_heading(path: Path) -> tuple[str, int, str]:
    """Its name, its number of seeds and its description; imports no experiment."""
    _, raw = read_mapping(path)
    try:
        return read_name(raw, path.stem), len(read_seeds(raw.get("seeds", SEEDS), "seeds")), _description(raw)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def choose(theory: str, parameters: Mapping[str, Any]) -> Parameters:
    """The parameters of that experiment, defaults filled in; raises `UserError` for a name or value that is wrong."""
    model = EXPERIMENTS.load(theory).parameters
    for name in parameters:
        if name not in model.model_fields:
            raise unknown_name(f"parameter of {theory}", name, model.model_fields)
    try:
        chosen: Parameters = model.model_validate(dict(parameters))
    except ValidationError as error:
        raise UserError(f"parameter {validation_sentence(error)}") from None
    return chosen


def _spec(raw: Mapping[str, Any], given: Mapping[str, Any], *, default_name: str) -> TheorySpec:
    for key in raw:
        if key not in _KEYS:
            raise unknown_name("key of a theory file", key, _KEYS)
    name, theory = read_name(raw, default_name), str(raw["theory"])
    block = raw.get("parameters") or {}
    if not isinstance(block, Mapping):
        raise UserError("parameters must be options of the experiment, such as 'steps: 1000'")
    seeds = given.get("seeds", raw.get("seeds", SEEDS))
    chosen = {key: value for key, value in given.items() if key != "seeds"}
    return TheorySpec(
        name=name,
        description=_description(raw),
        theory=theory,
        seeds=read_seeds(seeds, "seeds"),
        parameters=choose(theory, {**block, **chosen}),
    )


def _description(raw: Mapping[str, Any]) -> str:
    description = raw.get("description") or ""
    if not isinstance(description, str):
        raise UserError("description must be text")
    return description

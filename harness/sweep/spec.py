"""A sweep's specification: W&B's sweep format and the `benchmark` block, read into trials and a search."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from ganbench.errors import UserError, unknown_name
from harness.config import TrialConfig, merge, resolve, seedless, trial_id
from harness.config_text import read_mapping
from harness.labels import recipe_labels
from harness.sweep.benchmark import Benchmark, Metric, read_benchmark, read_metric
from harness.sweep.distributions import Distribution, parse
from harness.sweep.pruning import SCORE, Pruning, read_early_terminate
from harness.sweep.search import Search, initial
from reports.factors import crossing
from reports.results import STUDIES
from reports.settings import settings_of

MAX_TRIALS = 100_000
"""A sweep beyond this is taken for a mistake before it fills the memory."""

Method = Literal["grid", "random", "bayes"]

Ensemble = Literal["seeds"]

_WANDB_ONLY = ("program", "command", "entity", "project")
_KEYS = (
    *("name", "description", "study", "method", "metric", "parameters", "early_terminate", "run_cap", "benchmark"),
    "ensemble",
    *_WANDB_ONLY,
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class SweepSpec:
    """A sweep, ready to run. Seeds change slowest, so that all recipes advance together."""

    name: str
    description: str = ""
    source_text: str = ""
    """The YAML as it was read."""
    method: Method = "grid"
    parameters: Mapping[str, Distribution] = field(default_factory=dict)
    """By dotted key as the file has them, those of the `benchmark` block included; overrides are no part of them."""
    metric: Metric | None = None
    """What decides a search and early termination."""
    benchmark: Benchmark = field(default_factory=Benchmark)
    grid: Sequence[TrialConfig] = ()
    """The trials of a grid."""
    draws: Search | None = None
    """What the first trials of a random or Bayesian search are drawn by."""
    search: Search | None = None
    """Proposes further trials from those that have ended; None: there are no further ones."""
    pruning: Pruning | None = None
    early_terminate: Mapping[str, Any] | None = None
    """W&B's block as the file has it."""
    study: str | None = None
    """What the report shows beyond the comparison: one of `reports.results.STUDIES`."""
    ensemble: Ensemble | None = None
    """seeds: trials that differ by their seed alone are trained together; None: each alone."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """By dotted key, what was set for every trial in place of what the file says."""

    @cached_property
    def trials(self) -> list[TrialConfig]:
        """All that are known before anything runs: everything but what a search proposes from results."""
        return initial(self.draws) if self.draws else list(self.grid)

    @property
    def planned(self) -> int:
        """How many trials there are in the end, at most."""
        return self.draws.planned if self.draws else len(self.grid)


def read_spec(path: Path, overrides: Mapping[str, Any] | None = None) -> SweepSpec:
    """Read a W&B sweep YAML, resolve every trial that it determines and set up its search.

    Args:
        path: the file.
        overrides: options that hold for every trial, in place of what the file says of them.

    Raises:
        UserError: no such file; a key, option or value that is not known; no end to the trials, or none at all.
    """
    text, raw = read_mapping(path)
    try:
        spec = _spec(text, raw, default_name=path.stem, overrides=merge(overrides or {}))
        assert spec.trials, "neither a grid nor a search is empty"
        return spec
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_summary(path: Path) -> tuple[str, int, str]:
    """A sweep's name, its number of trials at most, and its description: nothing is drawn, nothing heavy imported."""
    text, raw = read_mapping(path)
    spec = _spec(text, raw, default_name=path.stem, overrides={})
    return spec.name, spec.planned, spec.description


def _spec(text: str, raw: Mapping[str, Any], *, default_name: str, overrides: Mapping[str, Any]) -> SweepSpec:
    for key in raw:
        if key not in _KEYS:
            raise unknown_name("key", key, _KEYS)
    method: Method = raw.get("method", "grid")
    if method not in get_args(Method):
        raise unknown_name("method", method, get_args(Method))
    name, description = read_name(raw, default_name), raw.get("description") or ""
    if not isinstance(description, str):
        raise UserError("description must be text")
    ensemble: Ensemble | None = raw.get("ensemble")
    if ensemble is not None and ensemble not in get_args(Ensemble):
        raise UserError(f"ensemble must be seeds: got {ensemble!r}")
    benchmark = read_benchmark(raw["benchmark"]) if "benchmark" in raw else Benchmark()
    metric = _metric(raw.get("metric"), benchmark)
    parameters = _parameters(raw.get("parameters"))
    _add(parameters, _from_benchmark(benchmark))
    cap = raw.get("run_cap")
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
        raise UserError(f"run_cap must be a whole number from 1, got {cap!r}")
    pruning = _pruning(raw, metric, benchmark) if "early_terminate" in raw else None
    draws = None if method == "grid" else _search(method, parameters, benchmark, metric, cap, overrides)
    grid = () if draws else _grid(parameters, benchmark, overrides)[:cap]
    if ensemble and grid and len({seedless(trial) for trial in grid}) == len(grid):
        raise UserError(
            "ensemble: seeds, but no two trials differ by their seed alone: give several seeds, or leave the key out"
        )
    study = _study(raw)
    if study == "effects":
        _check_factorial(initial(draws) if draws else grid)
    return SweepSpec(
        name=name,
        description=description,
        source_text=text,
        method=method,
        parameters=parameters,
        metric=metric,
        benchmark=benchmark,
        grid=grid,
        draws=draws,
        search=draws if method == "bayes" or benchmark.phases else None,
        pruning=pruning,
        early_terminate=raw.get("early_terminate"),
        study=study,
        overrides=overrides,
        ensemble=ensemble,
    )


def read_name(raw: Mapping[str, Any], default: str) -> str:
    """What a file calls itself; raises `UserError` for a name that is no folder's."""
    name = raw.get("name", default)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"name {name!r} would be a folder: use letters, digits, '.', '_' and '-' only (key 'name')")
    return name


def _study(raw: Mapping[str, Any]) -> str | None:
    """The study that the file names, if any."""
    if "study" not in raw:
        return None
    if raw["study"] not in STUDIES:
        raise unknown_name("study", raw["study"], STUDIES)
    return str(raw["study"])


def _check_factorial(trials: Sequence[TrialConfig]) -> None:
    """Refuse trials whose effects no report could tell, before they are trained."""
    labels = recipe_labels(trials)
    recipes = list(dict.fromkeys(labels))
    told = settings_of(zip(labels, (trial.model_dump(mode="json") for trial in trials), strict=True), recipes)
    try:
        crossing(recipes, told.varied if told else {})
    except UserError as error:
        raise UserError(f"study: effects needs every combination of two or more options: {error}") from None


def study_of(path: Path) -> str | None:
    """The study of the sweep whose file, as its folder keeps it, is at `path`; None where it names none."""
    return _study(read_mapping(path)[1]) if path.is_file() else None


def _metric(block: object, benchmark: Benchmark) -> Metric | None:
    """The one metric that `metric` and `benchmark.selection` name."""
    given = read_metric(block) if block is not None else None
    rule = benchmark.metric
    if given and rule and (given.score, given.name.startswith("best/")) != (rule.score, rule.name.startswith("best/")):
        raise UserError(f"metric is {given.name}, but benchmark's selection rule means {rule.name}: make them agree")
    return given or rule


def _pruning(raw: Mapping[str, Any], metric: Metric | None, benchmark: Benchmark) -> Pruning:
    if metric is None or metric.score != SCORE:
        raise UserError(f"early_terminate compares {SCORE}: write metric: {{name: best/{SCORE}, goal: minimize}}")
    return read_early_terminate(
        raw["early_terminate"],
        per_variant="benchmark" in raw,
        only_seed=benchmark.search_seed if benchmark.phases else None,
    )


# --- parameters


def _parameters(block: object, prefix: str = "") -> dict[str, Distribution]:
    """Distributions by dotted key, from W&B's `parameters` with its nested blocks."""
    if not isinstance(block, Mapping) or not block:
        raise UserError(f"{prefix}parameters is missing or empty: write 'gan: {{values: [wgan, wgan-gp]}}' below it")
    found: dict[str, Distribution] = {}
    for key, parameter in block.items():
        name = f"{prefix}{key}"
        if not isinstance(parameter, Mapping):
            raise UserError(f"parameter {name}: write '{name}: {{value: {parameter}}}' or '{name}: {{values: [...]}}'")
        nested = "parameters" in parameter
        if nested and len(parameter) > 1:
            raise UserError(f"parameter {name}: give exactly one of value, values, min and max, or parameters")
        new = _parameters(parameter["parameters"], f"{name}.") if nested else {name: parse(name, parameter)}
        for twice in new.keys() & found.keys():
            raise UserError(f"parameter {twice} is given twice, nested and dotted: keep one")
        found.update(new)
    for name, distribution in found.items():
        _options(name, distribution)  # refuses an unknown option before the trials are laid out
    return found


def _options(name: str, distribution: Distribution) -> set[str]:
    """The options, as dotted keys, that a parameter sets."""
    values = distribution.values or [None]
    return {option for value in values for option in merge({name: value})}


def _from_benchmark(benchmark: Benchmark) -> dict[str, Distribution]:
    """What the block fixes for all trials, as parameters."""
    protocol = merge({"evaluation": benchmark.protocol}) if benchmark.protocol else {}
    images = {"images": benchmark.images} if benchmark.images else {}
    return {name: Distribution("constant", {"value": value}) for name, value in {**images, **protocol}.items()}


def _add(parameters: dict[str, Distribution], more: Mapping[str, Distribution]) -> None:
    given = {option: name for name, found in parameters.items() for option in _options(name, found)}
    for name, distribution in more.items():
        for option in _options(name, distribution) & given.keys():
            raise UserError(f"option {option} is given twice, as parameter {given[option]} and in benchmark: keep one")
        parameters[name] = distribution


# --- the trials of a grid


def _grid(parameters: dict[str, Distribution], benchmark: Benchmark, overrides: Mapping[str, Any]) -> list[TrialConfig]:
    """Every combination once, in the order given, except that `seed` changes slowest."""
    if benchmark.configurations or benchmark.phases:
        raise UserError("benchmark: configurations and phases are those of a search: write method: random or bayes")
    if benchmark.seeds:
        _add(parameters, {"seed": Distribution("categorical", {"values": list(benchmark.seeds)})})
    axes: dict[str, list[Any]] = {}
    for name in sorted(parameters, key=lambda name: name != "seed"):
        values = parameters[name].grid()
        if values is None:
            raise UserError(
                f"parameter {name}: a grid cannot list {parameters[name].kind}: give values, int_uniform or q_uniform, "
                "or write method: random"
            )
        if not values:
            raise UserError(f"parameter {name}: q_uniform leaves max out in a grid, so there are no trials")
        axes[name] = values
    size = math.prod(map(len, axes.values()))
    if size > MAX_TRIALS:
        raise UserError(f"the grid has {size:,} points: at most {MAX_TRIALS:,} are run as one sweep")
    trials: dict[str, TrialConfig] = {}
    for point in itertools.product(*axes.values()):
        config = resolve(merge(dict(zip(axes, point, strict=True)), overrides))
        trials.setdefault(trial_id(config), config)
    return list(trials.values())


# --- the search of random and bayes


def _search(
    method: Literal["random", "bayes"],
    parameters: Mapping[str, Distribution],
    benchmark: Benchmark,
    metric: Metric | None,
    cap: int | None,
    overrides: Mapping[str, Any],
) -> Search:
    if metric is None and (method == "bayes" or benchmark.phases):
        raise UserError("the search needs to know what is better: write metric: {name: best/fid, goal: minimize}")
    if metric and metric.target is not None and method == "random":
        raise UserError("metric: target ends a Bayesian search only, since the trials of a random one are all planned")
    count = benchmark.configurations or cap
    if count is None:
        raise UserError(
            f"{method} search has no end of its own: give benchmark's configurations (per variant) or run_cap"
        )
    options = {name: _options(name, found) for name, found in parameters.items()}
    seeds = _search_seeds(method, benchmark, options, overrides)
    free = {name: found for name, found in parameters.items() if not options[name] <= overrides.keys()}
    variant = next((name for name in free if "gan.name" in options[name]), None) if benchmark.configurations else None
    space = {name: found for name, found in free.items() if found.kind != "constant" and name != variant}
    search = Search(
        method=method,
        space=space,
        fixed={name: found.options["value"] for name, found in parameters.items() if found.kind == "constant"},
        variants=_variants(variant, free[variant], overrides) if variant else ({},),
        configurations=count,
        seeds=seeds,
        search_seed=benchmark.search_seed,
        overrides=dict(overrides),
        metric=metric,
        phases=benchmark.phases,
    )
    if cap is not None and cap < search.planned:
        raise UserError(
            f"run_cap {cap} is below the {search.planned} trials that benchmark asks for: some variant would get fewer"
        )
    if search.planned > MAX_TRIALS:
        raise UserError(f"the search has {search.planned:,} trials: at most {MAX_TRIALS:,} are run as one sweep")
    return search


def _search_seeds(
    method: str, benchmark: Benchmark, options: Mapping[str, Iterable[str]], overrides: Mapping[str, Any]
) -> tuple[int, ...] | None:
    if benchmark.phases and (method == "bayes" or not benchmark.configurations or not benchmark.seeds):
        raise UserError("benchmark: phases need method: random, configurations and seeds")
    if benchmark.seeds is None:
        return None
    if not benchmark.configurations:
        raise UserError("benchmark: seeds are those of each configuration, so give configurations too")
    if any("seed" in names for names in options.values()):
        raise UserError("option seed is given twice, as a parameter and as benchmark's seeds: keep one")
    if "seed" in overrides and benchmark.phases:
        raise UserError(
            "option seed cannot be set: the phases have seeds of their own (benchmark: search_seed and seeds)"
        )
    return None if "seed" in overrides else benchmark.seeds


def _variants(name: str, distribution: Distribution, overrides: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    if distribution.kind not in ("constant", "categorical"):
        raise UserError(
            f"parameter {name}: every variant gets the same number of configurations, so give no probabilities"
        )
    found: list[Mapping[str, Any]] = []
    for value in distribution.values:
        variant = {name: value}
        if merge(variant, overrides) not in [merge(other, overrides) for other in found]:
            found.append(variant)
    return tuple(found)


# --- as W&B takes it


def as_wandb_sweep(spec: SweepSpec) -> dict[str, Any]:
    """The file as W&B takes it: `wandb sweep` reads it, and each agent calls `ganbench train key=value …`.

    Nested blocks become dotted keys, which W&B leaves flat, and the `benchmark` block becomes parameters. Overrides are
    no part of it. `wandb_gaps` says what is lost.
    """
    parameters = dict(spec.parameters)
    if spec.benchmark.seeds and spec.method != "grid" and not spec.benchmark.phases:
        parameters["seed"] = Distribution("categorical", {"values": list(spec.benchmark.seeds)})
    # an agent would hand on Python's None as a word; null is what these options are when they are not given
    given = {
        _full_name(name, found): found
        for name, found in parameters.items()
        if found.options.get("value", ...) is not None
    }
    metric = spec.metric.as_wandb() if spec.metric else None
    if metric and spec.metric and spec.early_terminate:
        metric["name"] = f"scores/{spec.metric.score}"  # hyperband reads what is logged on the way
    return {
        "name": spec.name,
        **({"description": spec.description} if spec.description else {}),
        "method": spec.method,
        **({"metric": metric} if metric else {}),
        "parameters": {name: found.as_json() for name, found in given.items()},
        **({"early_terminate": dict(spec.early_terminate)} if spec.early_terminate else {}),
        **({"run_cap": len(spec.trials) if spec.benchmark.phases else spec.planned} if spec.method != "grid" else {}),
        "program": "ganbench",
        "command": ["${env}", "ganbench", "train", "${args_no_hyphens}"],
    }


def _full_name(name: str, distribution: Distribution) -> str:
    """`gan.name` for `gan`: in an agent's run, W&B puts a parameter in the place of the config's block of that name."""
    options = _options(name, distribution)
    return options.pop() if len(options) == 1 else name


def wandb_gaps(spec: SweepSpec) -> list[str]:
    """What `ganbench sweep run` does for this sweep and W&B cannot, a sentence each."""
    gaps = []
    benchmark = spec.benchmark
    if spec.method != "grid":
        gaps.append("W&B draws its own values: its trials are not those of `ganbench sweep run`")
    if benchmark.configurations:
        gaps.append(
            f"W&B draws the variant like any parameter: it does not give each {benchmark.configurations} configurations"
        )
    if benchmark.seeds and spec.method != "grid" and not benchmark.phases:
        gaps.append("W&B draws the seed like any parameter: it does not train each configuration with every seed")
    if benchmark.phases:
        gaps.append(f"W&B has no phases: of {', '.join(benchmark.phases)} only the first is exported")
    if spec.metric and spec.early_terminate and spec.metric.name.startswith("best/"):
        gaps.append(
            f"W&B terminates early by what is logged on the way: metric is scores/{spec.metric.score}, the last look's"
        )
    if spec.ensemble:
        gaps.append("W&B hands out one trial at a time: each seed is trained alone")
    if spec.pruning and spec.pruning.per_variant:
        gaps.append("W&B compares all runs for early termination, not only those of one variant")
    return gaps

"""What a fair comparison needs beyond W&B's format: the `benchmark` block, and the metric that decides.

W&B's `metric: {name: best/fid, goal: minimize}` and `benchmark: {selection: {metric: fid, checkpoint: best}}` say the
same. Either is read from the selection split only: choosing by what is reported would tune on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast, get_args

from ganbench.errors import UserError, unknown_name
from metrics.catalogue import metric as metric_row

Goal = Literal["minimize", "maximize"]
Phase = Literal["wide", "narrow", "best"]

_PREFIXES = ("best", "final", "scores")
_METRIC_KEYS = ("name", "goal", "target")
_BENCHMARK_KEYS = ("seeds", "configurations", "images", "protocol", "selection", "search_seed", "phases")
_SELECTION_KEYS = ("metric", "split", "checkpoint")
_CHECKPOINTS = {"best": "best", "last": "final"}
"""W&B's prefix by the name that score tables use."""


@dataclass(frozen=True)
class Metric:
    """What a trial is judged by: a score on the selection split, `best` of all looks or at the last one."""

    name: str
    """As W&B's summary has it: best/fid, final/fid, or scores/fid, which is the last one too."""
    goal: Goal
    target: float | None = None
    """A value at which a Bayesian search proposes no further trials."""

    @property
    def score(self) -> str:
        """The metric's own name, such as fid."""
        return self.name.partition("/")[2]

    def read(self, history: Iterable[Mapping[str, Any]]) -> float | None:
        """The trial's value, from the rows of its `history.jsonl`; None where it never had that score."""
        values = [
            value
            for row in history
            if row["kind"] == "scores" and row.get("split") == "selection"
            if (value := row["scores"].get(self.score, {}).get("value")) is not None
        ]
        if not values:
            return None
        if not self.name.startswith("best/"):
            return float(values[-1])
        return float(min(values) if self.goal == "minimize" else max(values))

    def reached(self, value: float) -> bool:
        """Whether `value` is as good as the target."""
        if self.target is None:
            return False
        return value <= self.target if self.goal == "minimize" else value >= self.target

    def as_wandb(self) -> dict[str, Any]:
        """W&B's `metric` block, which `read_metric` reads."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def read_metric(block: object) -> Metric:
    """W&B's `metric` block; raises `UserError` for a metric that is not known or a goal that is against it."""
    if not isinstance(block, Mapping) or not isinstance(block.get("name"), str):
        raise UserError("metric must be as W&B has it: {name: best/fid, goal: minimize}")
    for key in block:
        if key not in _METRIC_KEYS:
            raise unknown_name("key of metric", key, _METRIC_KEYS)
    name: str = block["name"]
    prefix, _, score = name.partition("/")
    if prefix not in _PREFIXES or not score:
        raise UserError(f"metric {name!r} is none that trials log: write best/fid, or final/fid for the last score")
    goal, target = block.get("goal", "minimize"), block.get("target")
    if goal not in get_args(Goal):
        raise unknown_name("goal of metric", goal, get_args(Goal))
    right = "maximize" if metric_row(score).direction == "higher" else "minimize"
    if goal != right:
        raise UserError(f"metric {name}: {score} is better when {metric_row(score).direction}, so write goal: {right}")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | float)):
        raise UserError(f"metric {name}: target must be a number, got {target!r}")
    return Metric(name, goal, target)


@dataclass(frozen=True)
class Benchmark:
    """The `benchmark` block, checked."""

    seeds: tuple[int, ...] | None = None
    """Training seeds of each configuration; with phases, those of the best one."""
    configurations: int | None = None
    """Configurations per variant: equal for all."""
    images: int | None = None
    """The budget of a trial: real images shown to the discriminator."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """Options of `evaluation`, the same for all trials."""
    metric: Metric | None = None
    """The selection rule."""
    search_seed: int = 0
    """Root of every draw of the search, and with phases the training seed of all trials but the last phase's."""
    phases: tuple[Phase, ...] = ()
    """The study in phases of Lucic et al. 2018; empty: none."""


def read_benchmark(block: object) -> Benchmark:
    """The block of that name in a sweep file; raises `UserError` naming what is wrong in it."""
    if not isinstance(block, Mapping):
        raise UserError("benchmark must hold options, such as {seeds: 3, configurations: 20}")
    for key in block:
        if key not in _BENCHMARK_KEYS:
            raise unknown_name("key of benchmark", key, _BENCHMARK_KEYS)
    search_seed = _whole(block.get("search_seed", 0), "benchmark: search_seed", least=0)
    phases = _phases(block.get("phases", []))
    protocol = block.get("protocol", {})
    if not isinstance(protocol, Mapping):
        raise UserError("benchmark: protocol must hold options of evaluation, such as {n_fake: 1000}")
    numbers = {
        key: _whole(block[key], f"benchmark: {key}", least=1) for key in ("configurations", "images") if key in block
    }
    return Benchmark(
        seeds=read_seeds(block["seeds"], "benchmark: seeds", search_seed if phases else None)
        if "seeds" in block
        else None,
        protocol=dict(protocol),
        metric=_selection(block["selection"]) if "selection" in block else None,
        search_seed=search_seed,
        phases=phases,
        **numbers,
    )


def _whole(value: object, what: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{what} must be a whole number from {least}, got {value!r}")
    return value


def read_seeds(value: object, what: str, search_seed: int | None = None) -> tuple[int, ...]:
    """The seeds themselves, from a list or a count; none is `search_seed`, on which the best was chosen.

    `what` names them in the `UserError` for a value that is neither.
    """
    if not isinstance(value, list):
        count = _whole(value, what, least=1)
        return tuple(seed for seed in range(count + 1) if seed != search_seed)[:count]
    seeds = tuple(_whole(seed, f"each of {what}", least=0) for seed in value)
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"{what} must be a count or a list without repetition, got {value!r}")
    if search_seed in seeds:
        raise UserError(
            f"benchmark: seed {search_seed} is search_seed, on which the best configuration is chosen: its score would "
            "be a lucky one, so leave it out of seeds"
        )
    return seeds


def _phases(value: object) -> tuple[Phase, ...]:
    known = get_args(Phase)
    if not isinstance(value, list):
        raise UserError("benchmark: phases must be a list, such as [wide, narrow, best]")
    for name in value:
        if name not in known:
            raise unknown_name("phase of benchmark", name, known)
    if value and value not in (["wide", "narrow", "best"], ["wide", "best"]):
        raise UserError(f"benchmark: phases are [wide, narrow, best] or [wide, best], got {value}")
    return cast("tuple[Phase, ...]", tuple(value))


def _selection(block: object) -> Metric:
    if not isinstance(block, Mapping) or "metric" not in block:
        raise UserError("benchmark: selection must be a rule, such as {metric: fid, checkpoint: best}")
    for key in block:
        if key not in _SELECTION_KEYS:
            raise unknown_name("key of selection", key, _SELECTION_KEYS)
    if block.get("split", "selection") != "selection":
        raise UserError(
            f"benchmark: split {block['split']!r} is reported, so choosing by it would tune on it: selection"
        )
    checkpoint = block.get("checkpoint", "best")
    if checkpoint not in _CHECKPOINTS:
        raise unknown_name("checkpoint of selection", checkpoint, _CHECKPOINTS)
    score = str(block["metric"])
    goal = "maximize" if metric_row(score).direction == "higher" else "minimize"
    return read_metric({"name": f"{_CHECKPOINTS[checkpoint]}/{score}", "goal": goal})

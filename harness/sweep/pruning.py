"""Early termination: W&B's hyperband brackets, decided by Optuna's successive halving.

Li et al. 2018, arXiv:1603.06560; asynchronous as in Li et al. 2020, arXiv:1810.05934.

At each bracket, a number of looks at the selection score, a trial goes on only if it is among the best 1/eta of those
that have come so far (the first always does). Trials are compared with their siblings' files, so that it does not
matter which process, or which machine, trains them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from ganbench.errors import UserError, unknown_name

SCORE = "fid"
"""What is compared: the score that also chooses a trial's best checkpoint."""

_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
_MOST_LOOKS = 10_000


@dataclass(frozen=True)
class Pruning:
    """When a trial is compared with the others, and with which."""

    brackets: tuple[int, ...]
    """Numbers of looks after which it is, rising."""
    eta: int = 3
    """One of so many goes on."""
    strict: bool = False
    """Judge a trial by its score at the bracket; otherwise by its best so far."""
    per_variant: bool = False
    """Compare a trial with those of its own variant only, so that each keeps its equal number of chances."""
    only_seed: int | None = None
    """Spare the trials of all other training seeds; null: spare none."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        return {**asdict(self), "brackets": list(self.brackets)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Pruning:
        """What `as_json` made."""
        return cls(**{**raw, "brackets": tuple(raw["brackets"])})


def read_early_terminate(block: object, *, per_variant: bool = False, only_seed: int | None = None) -> Pruning:
    """W&B's `early_terminate`: brackets are min_iter·eta^k, or max_iter/eta^k for k = 1…s.

    Raises:
        UserError: another type than hyperband, an unknown or a missing key, or no bracket at all.
    """
    if not isinstance(block, Mapping) or "type" not in block:
        raise UserError("early_terminate must be as W&B has it: {type: hyperband, min_iter: 3}")
    if block["type"] != "hyperband":
        raise unknown_name("type of early_terminate", block["type"], ["hyperband"])
    for key in block:
        if key not in _KEYS:
            raise unknown_name("key of early_terminate", key, _KEYS)
    for key in ("min_iter", "max_iter", "s", "eta"):
        least = 2 if key == "eta" else 1
        if key in block and (isinstance(block[key], bool) or not isinstance(block[key], int) or block[key] < least):
            raise UserError(f"early_terminate: {key} must be a whole number from {least}, got {block[key]!r}")
    if not isinstance(block.get("strict", False), bool):
        raise UserError(f"early_terminate: strict must be true or false, got {block['strict']!r}")
    if ("min_iter" in block) == ("max_iter" in block) or ("max_iter" in block) != ("s" in block):
        raise UserError("early_terminate: give either min_iter, or max_iter and s")
    eta = block.get("eta", 3)
    brackets = _brackets(block, eta)
    if not brackets:
        raise UserError(f"early_terminate: max_iter {block['max_iter']} is below eta {eta}, so there is no bracket")
    return Pruning(brackets, eta, block.get("strict", False), per_variant, only_seed)


def _brackets(block: Mapping[str, Any], eta: int) -> tuple[int, ...]:
    if "min_iter" in block:
        steps = range(1 + int(math.log(max(1, _MOST_LOOKS // block["min_iter"]), eta)))
        return tuple(block["min_iter"] * eta**k for k in steps)
    found = (block["max_iter"] // eta**k for k in range(block["s"], 0, -1))
    return tuple(bracket for bracket in found if bracket)


# --- while a trial runs


def pruner(pruning: Pruning, sweep: Path, key: str) -> Callable[[int, float], str | None]:
    """A function that tells a running trial, at each look after the first, whether to stop and why.

    Args:
        pruning: the rule.
        sweep: the sweep's folder.
        key: the trial's id.

    Returns:
        a function of the images shown so far and the selection score there, lower being better.
    """
    siblings = _Siblings(sweep / "trials")

    def decide(images: int, score: float) -> str | None:
        own = [value for at, value in siblings.looks(key) if at < images] + [score]
        if len(own) not in pruning.brackets:
            return None
        variant, seed = siblings.facts(key)
        if pruning.only_seed not in (None, seed):
            return None
        rung = pruning.brackets.index(len(own))
        others = [
            looks
            for other in siblings.begun()
            if other != key
            and (looks := [value for _, value in siblings.looks(other)])
            and (not pruning.per_variant or siblings.facts(other)[0] == variant)
            and pruning.only_seed in (None, siblings.facts(other)[1])
        ]
        judged = own[-1] if pruning.strict else min(own)
        if not _stops(pruning, rung, judged, others):
            return None
        rivals = sum(len(looks) >= len(own) for looks in others)
        field = f"{rivals + 1} {variant} trials" if pruning.per_variant else f"{rivals + 1} trials"
        plural = "s" if len(own) > 1 else ""
        return f"{SCORE} {judged:.4g} after {len(own)} look{plural} is not among the best 1/{pruning.eta} of {field}"

    return decide


def _stops(pruning: Pruning, rung: int, judged: float, others: list[list[float]]) -> bool:
    """What Optuna's successive halving decides for a trial that has come to bracket number `rung`.

    Optuna's rungs are at eta^k steps, so the k-th bracket is reported as that step, wherever it lies. It keeps a
    trial's value at each rung in these attributes, which are set here from the siblings' files.
    """
    import optuna
    from optuna.pruners import SuccessiveHalvingPruner
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    halving = SuccessiveHalvingPruner(min_resource=1, reduction_factor=pruning.eta)
    study = optuna.create_study(direction="minimize")

    def attributes(values: list[float]) -> dict[str, float]:
        return {f"completed_rung_{number}": value for number, value in enumerate(values)}

    for looks in others:
        reached = [looks[bracket - 1] for bracket in pruning.brackets if len(looks) >= bracket]
        study.add_trial(create_trial(value=looks[-1], system_attrs=attributes(reached)))
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            intermediate_values={pruning.eta**rung: judged},
            system_attrs=attributes([judged] * rung),  # the brackets behind it are decided
        )
    )
    return bool(halving.prune(study, study.get_trials(deepcopy=False)[-1]))


class _Siblings:
    """The trials of a sweep by their files. A thousand are read once, and again only where a file has grown."""

    def __init__(self, trials: Path) -> None:
        self._trials = trials
        self._looks: dict[str, tuple[tuple[int, int], list[tuple[int, float]]]] = {}
        self._facts: dict[str, tuple[str, int]] = {}

    def begun(self) -> list[str]:
        """The ids of the trials that have begun."""
        return sorted(path.name for path in self._trials.iterdir() if path.is_dir())

    def looks(self, key: str) -> list[tuple[int, float]]:
        """(images, score) at each look after the untrained one; a score that could not be taken is infinite."""
        path = self._trials / key / "history.jsonl"
        try:
            stat = path.stat()
        except FileNotFoundError:
            return []
        stamp = (stat.st_mtime_ns, stat.st_size)
        if key not in self._looks or self._looks[key][0] != stamp:
            self._looks[key] = (stamp, _read_looks(path))
        return self._looks[key][1]

    def facts(self, key: str) -> tuple[str, int]:
        """Variant and training seed, from the trial's config."""
        if key not in self._facts:
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where libyaml is there
            config = yaml.load((self._trials / key / "config.yaml").read_text(encoding="utf-8"), Loader=loader)
            self._facts[key] = (config["gan"]["name"], config["seed"])
        return self._facts[key]


def _read_looks(path: Path) -> list[tuple[int, float]]:
    found: dict[int, float] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            if '"scores"' not in line or not line.endswith("\n"):  # most rows are losses; the last may be torn
                continue
            row = json.loads(line)
            if row.get("kind") == "scores" and row.get("split") == "selection" and row["images"] > 0:
                value = row["scores"].get(SCORE, {}).get("value")
                found[row["images"]] = math.inf if value is None or math.isnan(value) else value
    return sorted(found.items())

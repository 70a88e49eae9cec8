"""A sweep's folder: which trials belong to it, and what each one's files are called.

runs/<sweep>/sweep.yaml manifest.json trials/<id>/ logs/<id>.log claims/<id>
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

from pydantic import ValidationError

from ganbench.errors import UserError
from ganbench.files import write_json, write_text
from harness.config import TrialConfig, merge, resolve, trial_id
from harness.labels import recipe_labels
from harness.store import TrialFolder
from harness.sweep.claims import take
from harness.sweep.spec import SweepSpec

_MANIFEST = "manifest.json"
_LOCK = ".lock"
_OPTIONAL = ("search", "pruning", "ensemble", "overrides")
"""What a manifest may be without."""
CHANGES = 3
"""Differences that are told of a sweep that is refused."""
_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Manifest:
    """The trials of a sweep by id, in the order in which they are run."""

    name: str
    spec_sha256: str
    trials: dict[str, TrialConfig]
    search: Mapping[str, Any] | None = None
    """What proposes more trials once these have ended, as `Search.as_json` gives it."""
    pruning: Mapping[str, Any] | None = None
    """What stops trials early, as `Pruning.as_json` gives it."""
    ensemble: Literal["seeds"] | None = None
    """seeds: trials that differ by their seed alone are trained together."""
    overrides: Mapping[str, Any] | None = None
    """What the command line set for every trial, as `SweepSpec.overrides` has it; the spec's file does not say it."""
    stamp: object = field(default=None, compare=False)
    """Which writing of the file this is, for `manifest_stamp` to be compared with."""

    @property
    def planned(self) -> int:
        """Trials that there will be at most, those that the search is still to propose included."""
        if self.search is None:
            return len(self.trials)
        from harness.sweep.search import Search

        return max(Search.from_json(self.search).planned, len(self.trials))

    def labels(self) -> dict[str, str]:
        """A display name for each trial: its recipe and seed."""
        recipes = recipe_labels(list(self.trials.values()))
        return {
            key: f"{recipe} seed {config.seed}"
            for (key, config), recipe in zip(self.trials.items(), recipes, strict=True)
        }


def trial_folder(folder: Path, key: str) -> TrialFolder:
    """Where the trial with the id `key` lives in the sweep's folder."""
    return TrialFolder(folder / "trials" / key)


def log_file(folder: Path, key: str) -> Path:
    """What the trial's process printed: beside the trials, since a trial's folder holds its results only."""
    return folder / "logs" / f"{key}.log"


def prepare(folder: Path, spec: SweepSpec) -> Manifest:
    """Write the sweep's files, or take up those that are there; nothing is written when they do not agree.

    A folder may hold the same sweep (it is continued) or a part of it (the new trials are added at the end).

    Raises:
        UserError: the folder holds something else, or a sweep with trials that this one lacks.
    """
    if not (folder / _MANIFEST).exists() and folder.exists() and (not folder.is_dir() or _holds_something(folder)):
        raise UserError(f"{folder} is there already and holds no sweep: give another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        trials = {trial_id(config): config for config in spec.trials}
        manifest = Manifest(
            name=spec.name,
            spec_sha256=hashlib.sha256(spec.source_text.encode()).hexdigest(),
            trials=trials,
            search=spec.search.as_json() if spec.search else None,
            pruning=spec.pruning.as_json() if spec.pruning else None,
            ensemble=spec.ensemble,
            overrides=spec.overrides or None,
        )
        if (folder / _MANIFEST).exists():
            held = load_manifest(folder, known=trials)
            _check_same(folder, held, manifest)
            manifest = replace(manifest, trials={**held.trials, **manifest.trials})
            if manifest == held:
                return held
        write_text(folder / "sweep.yaml", spec.source_text)
        return _write(folder, manifest)


def _holds_something(folder: Path) -> bool:
    return any(path.name != _LOCK for path in folder.iterdir())  # it comes before the manifest


def extend(folder: Path, propose: Callable[[Manifest], TrialConfig | None]) -> Manifest:
    """Add the trial that `propose` makes of the manifest, if it makes one, and return what the manifest then holds.

    The manifest is locked from its reading to its writing: of two processes, the second sees the first one's trial.
    """
    with locked(folder):
        manifest = load_manifest(folder)
        config = propose(manifest)
        if config is not None and (key := trial_id(config)) not in manifest.trials:
            manifest = _write(folder, replace(manifest, trials={**manifest.trials, key: config}))
    return manifest


def _write(folder: Path, manifest: Manifest) -> Manifest:
    """Write it, locked, and return it with its new stamp.

    One trial a line: thousands are written and read in a fraction of the time that indented JSON takes.
    """
    head = {name: getattr(manifest, name) for name in ("name", "spec_sha256", *_OPTIONAL)}
    lines = (json.dumps({"id": key, "config": c.model_dump(mode="json")}) for key, c in manifest.trials.items())
    opening = json.dumps(head, indent=2, allow_nan=False).removesuffix("\n}")
    write_text(folder / _MANIFEST, f'{opening},\n  "trials": [\n' + ",\n".join(lines) + "\n  ]\n}\n")
    return replace(manifest, stamp=manifest_stamp(folder))


def load_manifest(folder: Path, *, known: Mapping[str, TrialConfig] | None = None) -> Manifest:
    """A sweep folder's manifest; raises `UserError` where there is none, or one that is damaged.

    Args:
        folder: the sweep's.
        known: resolved trials by id, which are not resolved again where the manifest holds the same.
    """
    path = folder / _MANIFEST
    try:
        with path.open("rb") as file:
            stamp = _stamp(os.fstat(file.fileno()))
            raw = json.load(file)
        trials = {str(trial["id"]): _load_trial(trial["id"], trial["config"], known or {}) for trial in raw["trials"]}
        rest = {name: raw.get(name) for name in _OPTIONAL}
        manifest = Manifest(str(raw["name"]), str(raw["spec_sha256"]), trials, **rest, stamp=stamp)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} holds no sweep: it has no {_MANIFEST}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}): run the sweep in another folder") from None
    for key in trials:
        if not _ID.fullmatch(key):  # an id is a folder's name, and none may lead out of the sweep's
            raise UserError(f"{path}: {key!r} is no trial's id")
    return manifest


def read_overrides(folder: Path) -> Mapping[str, Any]:
    """A sweep's `Manifest.overrides`; its trials are not looked at, so the manifest is one that has been loaded."""
    return json.loads((folder / _MANIFEST).read_bytes()).get("overrides") or {}


def manifest_stamp(folder: Path) -> object:
    """Another one when the manifest has been written anew: a renamed file is another file."""
    return _stamp((folder / _MANIFEST).stat())


def _stamp(facts: os.stat_result) -> object:
    return facts.st_mtime_ns, facts.st_ino


def _load_trial(key: str, raw: Mapping[str, Any], known: Mapping[str, TrialConfig]) -> TrialConfig:
    """The config, resolved anew unless its id proves that it is resolved: that takes an eighth of the time."""
    if key in known and raw == known[key].model_dump(mode="json"):
        return known[key]
    with suppress(ValidationError):
        config = TrialConfig.model_validate(raw, context={"stored": True})
        if trial_id(config) == key:
            return config
    return resolve(raw, stored=True)


def requeue(folder: Path, *, diverged: bool = False) -> list[str]:
    """Make the failed trials pending again, those that diverged too if asked for; returns their ids.

    Each continues from its last checkpoint. Its status counts the `attempts` made so far. A trial that a process is
    at is left alone.
    """
    states = {"failed", "diverged"} if diverged else {"failed"}
    ids = []
    for key in load_manifest(folder).trials:
        trial = trial_folder(folder, key)
        if trial.status().get("state") not in states:
            continue
        with take(folder, key) or nullcontext() as claim:
            status = trial.status()  # again: a process may have been at it until now
            if claim is None or status.get("state") not in states:
                continue
            rest = {name: value for name, value in status.items() if name not in {"state", "reason"}}
            write_json(trial.status_file, {**rest, "attempts": status.get("attempts", 1) + 1})
            ids.append(key)
    return ids


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the sweep's manifest for this process, after waiting for others; the lock goes with the process."""
    with (folder / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_same(folder: Path, held: Manifest, wanted: Manifest) -> None:
    """Refuse another sweep than the one that is held; more trials, or a longer search, are the same one."""
    if wanted.pruning != held.pruning:
        changes = _changes({"early_terminate": held.pruning}, {"early_terminate": wanted.pruning})
        raise UserError(_other_sweep(folder, changes))
    if wanted.ensemble != held.ensemble:
        raise UserError(_other_sweep(folder, _changes({"ensemble": held.ensemble}, {"ensemble": wanted.ensemble})))
    if held.search is not None and wanted.search is not None:
        from harness.sweep.search import Search, extends

        if not extends(Search.from_json(wanted.search), Search.from_json(held.search)):
            raise UserError(_other_sweep(folder, _changes(held.search, wanted.search)))
    elif held.search != wanted.search or held.trials.keys() - wanted.trials.keys():
        raise UserError(_other_sweep(folder, _difference(held, wanted)))


def _other_sweep(folder: Path, difference: str) -> str:
    return f"{folder} holds another sweep ({difference}): give another folder with --out"


def _changes(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What is not the same in two plain mappings, in a few words."""
    found = list(_places(held, wanted))
    return "; ".join([*found[:CHANGES], *([f"and {len(found) - CHANGES} more"] if len(found) > CHANGES else [])])


def _places(held: Mapping[str, Any], wanted: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Each difference at the innermost place that both have; `space` is what the file calls parameters."""
    for key in {**held, **wanted}:
        there, here = held.get(key), wanted.get(key)
        place = f"{above}.{key}" if above else "parameters" if key == "space" else key
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            yield from _places(there, here, place)
        elif there != here:
            yield f"{place}: there {_said(there)}, here {_said(here)}"


def _said(value: object) -> str:
    return "nothing" if value is None else shorten(json.dumps(value), 60, placeholder=" …")


def _difference(held: Manifest, wanted: Manifest) -> str:
    only_there = [config for key, config in held.trials.items() if key not in wanted.trials]
    only_here = [config for key, config in wanted.trials.items() if key not in held.trials]
    changes = [f"{len(only_there)} trials are only there, {len(only_here)} only in this specification"]
    if (held.search is None) != (wanted.search is None):
        changes.append(f"there {'no' if held.search is None else 'a'} search, here {'a' if wanted.search else 'none'}")
    both = only_there and only_here
    there = _values(only_there if both else list(held.trials.values()))
    here = _values(only_here if both else list(wanted.trials.values()))
    different = [key for key in here if there.get(key) != here[key]]
    changes += [f"{key}: there {there.get(key)}, here {here[key]}" for key in different[:CHANGES]]
    return "; ".join(changes)


def _values(configs: Sequence[TrialConfig]) -> dict[str, str]:
    """The values of each option over some trials, in words."""
    seen: dict[str, dict[str, None]] = {}
    for config in configs:
        for key, value in merge(config.model_dump()).items():
            seen.setdefault(key, {})[str(value)] = None
    return {
        key: ", ".join([*list(values)[:3], *(["…"] if len(values) > 3 else [])]) for key, values in sorted(seen.items())
    }

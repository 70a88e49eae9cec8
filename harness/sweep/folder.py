"""A sweep's folder: which trials belong to it, and how far each has come.

runs/<sweep>/sweep.yaml manifest.json trials/<id>/ logs/<id>.log
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ganbench.errors import UserError
from ganbench.files import write_json, write_text
from harness.config import TrialConfig, merge, resolve, trial_id
from harness.labels import recipe_labels
from harness.store import TrialFolder, TrialState, trial_state
from harness.sweep.spec import SweepSpec

_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Manifest:
    """The trials of a sweep by id, in the order in which they are run."""

    name: str
    spec_sha256: str
    trials: dict[str, TrialConfig]

    def labels(self) -> dict[str, str]:
        """A display name for each trial: its recipe and seed."""
        recipes = recipe_labels(list(self.trials.values()))
        return {
            key: f"{recipe} seed {config.seed}"
            for (key, config), recipe in zip(self.trials.items(), recipes, strict=True)
        }


@dataclass(frozen=True)
class TrialStatus:
    """One trial's row in `ganbench sweep status`."""

    id: str
    label: str
    state: TrialState
    """interrupted: begun, and no process is at it any more; the next run continues it."""
    reason: str | None
    images: int
    total_images: int
    seconds: float
    """Device seconds of training."""
    updated: str | None


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
    wanted = {trial_id(config): config for config in spec.trials}
    if (folder / "manifest.json").exists():
        held = load_manifest(folder)
        if held.trials.keys() - wanted.keys():
            raise UserError(_difference(folder, held.trials, wanted))
        wanted = {**held.trials, **wanted}
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already and holds no sweep: give another folder with --out")
    manifest = Manifest(spec.name, hashlib.sha256(spec.source_text.encode()).hexdigest(), wanted)
    write_text(folder / "sweep.yaml", spec.source_text)
    write_json(
        folder / "manifest.json",
        {
            "name": manifest.name,
            "spec_sha256": manifest.spec_sha256,
            "trials": [{"id": key, "config": config.model_dump(mode="json")} for key, config in wanted.items()],
        },
    )
    return manifest


def load_manifest(folder: Path) -> Manifest:
    """A sweep folder's manifest; raises `UserError` where there is none, or one that is damaged."""
    path = folder / "manifest.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        trials = {str(trial["id"]): resolve(trial["config"]) for trial in raw["trials"]}
        manifest = Manifest(str(raw["name"]), str(raw["spec_sha256"]), trials)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} holds no sweep: it has no manifest.json") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}): run the sweep in another folder") from None
    for key in trials:
        if not _ID.fullmatch(key):  # an id is a folder's name, and none may lead out of the sweep's
            raise UserError(f"{path}: {key!r} is no trial's id")
    return manifest


def _difference(folder: Path, held: Mapping[str, TrialConfig], wanted: Mapping[str, TrialConfig]) -> str:
    only_there = [config for key, config in held.items() if key not in wanted]
    only_here = [config for key, config in wanted.items() if key not in held]
    changes = []
    if only_here:
        there, here = _values(only_there), _values(only_here)
        changes = [f"{key}: there {there[key]}, here {here[key]}" for key in here if there[key] != here[key]]
    detail = f" ({'; '.join(changes[:3])})" if changes else ""
    return (
        f"{folder} holds another sweep: {len(only_there)} trials are only there, {len(only_here)} only in this "
        f"specification{detail}; give another folder with --out"
    )


def _values(configs: Sequence[TrialConfig]) -> dict[str, str]:
    """The values of each option over some trials, in words."""
    seen: dict[str, dict[str, None]] = {}
    for config in configs:
        for key, value in merge(config.model_dump()).items():
            seen.setdefault(key, {})[str(value)] = None
    return {
        key: ", ".join([*list(values)[:3], *(["…"] if len(values) > 3 else [])]) for key, values in sorted(seen.items())
    }


def status(folder: Path) -> list[TrialStatus]:
    """A row for each trial of the sweep, in the manifest's order; raises `UserError` where there is no sweep."""
    manifest = load_manifest(folder)
    labels = manifest.labels()
    rows = []
    for key, config in manifest.trials.items():
        facts = trial_folder(folder, key).status()
        rows.append(
            TrialStatus(
                id=key,
                label=labels[key],
                state=trial_state(facts),
                reason=facts.get("reason"),
                images=facts.get("images", 0),
                total_images=config.images,
                seconds=facts.get("seconds", 0.0),
                updated=facts.get("updated"),
            )
        )
    return rows


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the sweep for this process; a second one would train the same trials into the same files.

    The lock goes with the process, however it ends. Raises `UserError` when another process holds it.
    """
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is running the sweep in {folder}: wait for it, or stop it") from None
        yield

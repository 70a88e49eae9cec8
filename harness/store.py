"""The run folder: plain files, every write atomic, and the only place that knows their names.

<trial>/config.yaml status.json history.jsonl scores.json gallery.png checkpoints/{last,previous,best}.pt samples/*.png
        wandb/
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import yaml

from ganbench.errors import UserError
from ganbench.files import write_atomic, write_json, write_text
from harness.config import TrialConfig, resolve, trial_id
from harness.config_text import load_config_file

State = Literal["running", "interrupted", "done", "failed", "diverged", "pruned"]
"""What is written of a trial: interrupted means begun, and no process at it any more."""

TrialState = Literal["pending", "running", "interrupted", "done", "failed", "diverged", "pruned"]
"""What a reader makes of it: pending is a trial of which nothing has been written."""

ENDED = frozenset({"done", "failed", "diverged", "pruned"})
"""States that no run takes up again by itself."""


_TEMPORARY = re.compile(r"\.(config\.yaml|status\.json|scores\.json|error\.txt|\w+\.pt|\d+\.png|gallery\.png)\.\w+")
"""What `ganbench.files` and `harness.trial.checkpoints` call a file of ours that is not whole yet."""


@dataclass(frozen=True)
class TrialFolder:
    """One trial's files. Nothing is created before the first write."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def status_file(self) -> Path:
        """State, counters, times, environment: for people and schedulers, never for results."""
        return self.path / "status.json"

    @property
    def history_file(self) -> Path:
        """Losses and scores on the way, one JSON object a line."""
        return self.path / "history.jsonl"

    @property
    def scores_file(self) -> Path:
        """The results: no times in it, so the same seed gives the same bytes."""
        return self.path / "scores.json"

    @property
    def error_file(self) -> Path:
        """The traceback of a trial that failed."""
        return self.path / "error.txt"

    @property
    def samples(self) -> Path:
        """Pictures of the fixed latents, named by images shown."""
        return self.path / "samples"

    def sample_file(self, images: int) -> Path:
        """The picture of the look at so many images shown."""
        return self.samples / f"{images:010d}.png"

    @property
    def gallery_file(self) -> Path:
        """The samples that are nearest to the training set, each beside its nearest training images."""
        return self.path / "gallery.png"

    def checkpoint_file(self, name: str) -> Path:
        """`last` and `previous` (a resume's: `harness.trial.checkpoints`) or `best` (the lowest selection score's)."""
        return self.path / "checkpoints" / f"{name}.pt"

    # --- config

    def claim(self, config: TrialConfig) -> None:
        """Write the config; raises `UserError` as `check` does."""
        self.check(config)
        if not self.config_file.exists():
            write_text(self.config_file, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))

    def check(self, config: TrialConfig) -> None:
        """Refuse, as a `UserError`, a folder that holds another trial or something else."""
        if self.config_file.exists():
            other = self.config()
            if trial_id(other) != trial_id(config):
                raise UserError(
                    f"{self.path} holds another trial ({other.gan.name} on {other.data.name}, id {trial_id(other)}): "
                    "give another folder with --out, or remove this one"
                )
            return
        # a scheduler writes the status of a trial whose process died before it could claim its folder
        if self.path.exists() and (not self.path.is_dir() or any(map(self._is_strange, self.path.iterdir()))):
            raise UserError(f"{self.path} exists and is no trial's folder: give another one with --out")

    def _is_strange(self, file: Path) -> bool:
        """A trial killed at its very beginning leaves less than its config."""
        return file != self.status_file and not _TEMPORARY.fullmatch(file.name)

    def sweep_out(self) -> None:
        """Remove the half-written files that a killed process left. Only for the one process that owns the trial."""
        for folder in (self.path, self.checkpoint_file("last").parent, self.samples):
            for file in folder.glob(".*"):
                if _TEMPORARY.fullmatch(file.name):
                    file.unlink(missing_ok=True)

    def config(self) -> TrialConfig:
        """The resolved config; raises `UserError` where there is none."""
        if not self.config_file.is_file():
            raise UserError(f"{self.path} is no trial's folder: it has no config.yaml")
        return resolve(load_config_file(self.config_file), stored=True)

    # --- status

    def status(self) -> dict[str, Any]:
        """The last status written, or {} for a trial that never started."""
        return _read_json(self.status_file) or {}

    def write_status(self, state: State, **facts: Any) -> None:
        """Merge `facts` into the status; the folder's own process, host and time are always added."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        old = self.status()
        status = {
            "state": state,
            "reason": None,
            **{key: value for key, value in old.items() if key not in {"state", "reason"}},
            **facts,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": old.get("started", now),
            "updated": now,
        }
        write_json(self.status_file, status)

    # --- history

    def append_history(self, row: Mapping[str, Any]) -> None:
        """One more row; it must hold `kind` and `images`."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.history_file.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def history(self) -> Iterator[dict[str, Any]]:
        """Rows in order; a last line torn by a kill is left out."""
        if not self.history_file.exists():
            return
        with self.history_file.open() as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)

    def keep_history(self) -> int:
        """Bring what was appended to the disk itself; its bytes, from which `rewind_history` knows the place again.

        A checkpoint that outlived a power cut must not speak of rows that did not.
        """
        if not self.history_file.exists():
            return 0
        with self.history_file.open("rb") as file:
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)

    def holds_history(self, size: int) -> bool:
        """Whether the rows that were there when `keep_history` gave `size` still are."""
        if size == 0:
            return True
        if not self.history_file.exists() or self.history_file.stat().st_size < size:
            return False
        with self.history_file.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"

    def rewind_history(self, size: int) -> None:
        """Drop what was appended after `keep_history` gave `size`: a resume from there writes it again."""
        if self.history_file.exists():
            os.truncate(self.history_file, size)

    def drop_samples(self, after: int) -> None:
        """Remove the pictures of looks at more than `after` images, likewise."""
        for picture in self.samples.glob("*.png"):
            if int(picture.stem) > after:
                picture.unlink()

    # --- results

    def write_scores(self, scores: Mapping[str, Any]) -> None:
        """The trial's results, atomically."""
        write_json(self.scores_file, scores)

    def scores(self) -> dict[str, Any] | None:
        """What `write_scores` wrote, or None for a trial that has not ended well."""
        return _read_json(self.scores_file)

    def save_checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        """Tensors and plain values, atomically; `load_checkpoint` reads them."""
        write_checkpoint(self.checkpoint_file(name), state)


def write_checkpoint(path: Path, state: Mapping[str, Any], *, before_rename: Callable[[], None] = lambda: None) -> None:
    """Tensors and plain values, atomically; `before_rename` is called when the new file is complete."""
    import torch

    buffer = io.BytesIO()  # torch, writing to a full disk itself, would hide the disk's error behind its own
    torch.save(dict(state), buffer)

    def write(file: BinaryIO) -> None:
        file.write(buffer.getbuffer())
        file.flush()
        before_rename()

    write_atomic(path, write)


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file, None where there is no file; `UserError` for a damaged one."""
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove its folder and train again") from None
    return value


def trial_state(status: Mapping[str, Any]) -> TrialState:
    """What `status.json` says, with a process that is gone told from one that is at work on this host."""
    state: TrialState = status.get("state", "pending")
    if state == "running" and status.get("host") == socket.gethostname() and not _alive(status.get("pid")):
        return "interrupted"
    return state


def _alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as another user's
        return True
    try:  # a container without an init keeps ended processes in its table; their state is "Z"
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # no Linux
        return True


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, read without executing pickled code; `UserError` for a file that is none."""
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # torch itself checks no sums: a flipped bit would train on, unseen
                raise zipfile.BadZipFile(damaged)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}: train first, or name a trial's folder") from None
    except (PermissionError, MemoryError):  # they say nothing about the file
        raise
    except Exception as error:
        # torch raises RuntimeError, UnpicklingError or EOFError for a damaged file, zipfile its own
        raise UserError(f"{path} is no checkpoint of ganbench, or it is damaged ({type(error).__name__})") from error
    if not isinstance(state, dict) or not {"config", "shape", "model"} <= state.keys():
        raise UserError(f"{path} is no checkpoint of ganbench: it lacks config, shape or model")
    return state

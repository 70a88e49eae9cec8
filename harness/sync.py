"""Push offline W&B runs, and say which of them did not arrive."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ganbench.errors import UserError
from harness.store import TrialFolder
from harness.tracking import UNSENT


@dataclass(frozen=True)
class SyncResult:
    """What became of one run: where its page is, or why it did not arrive."""

    run_dir: Path
    arrived: bool
    message: str


def sync(folder: Path, *, timeout: float = 600.0) -> list[SyncResult]:
    """Push every run at or below `folder` that the W&B server does not have yet, oldest first.

    Args:
        folder: A trial, a sweep, or anything above them.
        timeout: Seconds for all of them together: W&B itself waits for ever for a server that is down.

    Returns:
        One result for each run that was waiting; a run of a trial that is still training is left alone, because
        W&B would hold it to be complete.

    Raises:
        UserError: if there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name a trial's or a sweep's folder")
    waiting = _waiting(folder.resolve())
    training = [run_dir for run_dir in waiting if _is_training(run_dir.parent.parent)]
    ready = [run_dir for run_dir in waiting if run_dir not in training]
    output = _push(ready, timeout) if ready else ""
    return [
        *(_result(run_dir, output) for run_dir in ready),
        *(
            SyncResult(run_dir, False, "its trial is still training: sync again when it has ended")
            for run_dir in training
        ),
    ]


def _waiting(folder: Path) -> list[Path]:
    candidates = [folder, *folder.rglob("*run-*-*")]
    return sorted(
        (path for path in candidates if path.is_dir() and _is_ours_to_send(path) and not _has_arrived(path)),
        key=lambda path: path.name.removeprefix("offline-"),  # then the names begin with the time
    )


def _is_ours_to_send(path: Path) -> bool:
    return path.name.startswith("offline-run-") or (path / UNSENT).exists()


def _marker(run_dir: Path) -> Path | None:
    return next(run_dir.glob("run-*.wandb.synced"), None)


def _has_arrived(run_dir: Path) -> bool:
    """Whether W&B marked the run as sent, and nothing was written to it since."""
    marker = _marker(run_dir)
    return marker is not None and marker.stat().st_mtime >= marker.with_suffix("").stat().st_mtime


def _is_training(trial: Path) -> bool:
    status = TrialFolder(trial).status()
    if status.get("state") != "running" or status.get("host") != socket.gethostname():
        return False
    try:
        os.kill(status["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as somebody else's
        return True
    return True


def _push(run_dirs: list[Path], timeout: float) -> str:
    """Run `wandb sync` once for all and return what it said; its exit code is 0 for failures too."""
    for run_dir in run_dirs:
        if marker := _marker(run_dir):  # a stale one, which would have the run skipped
            marker.unlink()
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", *map(str, run_dirs)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        said = (expired.stdout or b"").decode(errors="replace")
        return f"{said}\nthe W&B server did not take it within {timeout:g} s"
    return done.stdout.decode(errors="replace")


def _result(run_dir: Path, output: str) -> SyncResult:
    log = next(run_dir.glob("run-*.wandb"), None)
    if log is None:
        return SyncResult(run_dir, False, "the folder holds no .wandb file")
    tag = re.escape(f"/{log.stem.removeprefix('run-')}] ")
    if error := re.search(rf"ERROR .*{tag}(.+)", output):
        # W&B marks a run as sent even when the server refused its history
        if marker := _marker(run_dir):
            marker.unlink()
        return SyncResult(run_dir, False, error[1])
    if _has_arrived(run_dir):
        page = re.search(rf"{tag}View run .* at (\S+)", output)
        (run_dir / UNSENT).unlink(missing_ok=True)
        return SyncResult(run_dir, True, page[1] if page else "arrived")
    lines = output.strip().splitlines()
    return SyncResult(run_dir, False, lines[-1] if lines else "wandb sync said nothing")

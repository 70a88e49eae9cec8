"""Push what the W&B server does not have yet, and say what of it did not arrive.

An offline run of which the server has nothing goes by W&B's own sync, which keeps times and system metrics. Of the
others, the server is sent the rows that it lacks, from the trial's own files.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ganbench.errors import UserError
from harness.store import State, TrialFolder, trial_state
from harness.sweep.claims import held
from harness.tracking import server as wandb_server
from harness.tracking.journal import NAME, Journal, has_arrived, marker
from harness.tracking.tracker import Tracker

TOO_LATE = "the W&B server took too long for the others"

AT_ONCE = 1000
"""Run folders that are named to one `wandb sync`: a command line is of limited length."""


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
    folder = folder.resolve()
    deadline = time.monotonic() + timeout
    pieces = _in_pieces(folder)
    waiting = [run_dir for run_dir in _waiting(folder) if _trial(run_dir) not in pieces]
    training = {trial for trial in {*pieces, *map(_trial, waiting)} if _is_training(trial)}
    left_alone = [run_dir for run_dir in [*waiting, *pieces.values()] if _trial(run_dir) in training]
    whole = [run_dir for run_dir in waiting if _trial(run_dir) not in training]
    pieced = [run_dir for trial, run_dir in pieces.items() if trial not in training]
    results: list[SyncResult] = []
    if (whole or pieced) and (refusal := _refusal()):  # once for all: each would wait for as long as it may
        results = [SyncResult(run_dir, False, refusal) for run_dir in [*whole, *pieced]]
    else:
        for first in range(0, len(whole), AT_ONCE):
            some = whole[first : first + AT_ONCE]
            output = _push(some, deadline)
            results += [_result(run_dir, output) for run_dir in some]
        results += [_deliver(run_dir, deadline) for run_dir in pieced]
    still = "its trial is still training: sync again when it has ended"
    return [*results, *(SyncResult(run_dir, False, still) for run_dir in left_alone)]


def missing(folder: Path) -> list[Path]:
    """The trials at or below a sweep's folder of which the W&B server is not known to have everything."""
    return sorted({*map(_trial, _waiting(folder)), *_in_pieces(folder)})


def _refusal() -> str | None:
    """Why the server takes nothing now, or None; without a login, W&B itself says what to do."""
    if not wandb_server.logged_in():
        return None
    try:
        wandb_server.probe()
    except Exception as error:
        return f"the W&B server cannot be reached or refuses the login ({' '.join(str(error).split())})"
    return None


def _in_pieces(folder: Path) -> dict[Path, Path]:
    """The last run folder of each trial of which W&B's own sync would send rows twice, or not all."""
    pieces = {}
    for file in sorted(folder.rglob(f"wandb/{NAME}")):
        trial = file.parent.parent
        journal = Journal.read(trial)
        if journal is None:
            continue
        run_dir = file.with_name(journal.run_dir)
        if journal.is_unsent:
            pieces[trial] = run_dir
    return pieces


def _deliver(run_dir: Path, deadline: float) -> SyncResult:
    """Send the server what it lacks of a trial, from the trial's own files."""
    trial = TrialFolder(_trial(run_dir))
    status = trial.status()
    state: State = status.get("state", "running")
    ended: State = "interrupted" if state == "running" else state  # its process was killed
    seconds = deadline - time.monotonic()
    try:
        if seconds <= 0:
            raise TimeoutError(TOO_LATE)
        page = Tracker.deliver(trial.path, trial.history(), ended, status.get("reason"), seconds=seconds)
    except Exception as error:
        return SyncResult(run_dir, False, " ".join(str(error).split()) or type(error).__name__)
    if page is None:
        return SyncResult(run_dir, False, "the W&B server did not take everything")
    return SyncResult(run_dir, True, page)


def _waiting(folder: Path) -> list[Path]:
    places = [folder, *folder.rglob("offline-run-*")]
    return sorted(
        (path for path in places if path.is_dir() and path.name.startswith("offline-run-") and not has_arrived(path)),
        key=lambda path: path.name,  # the names begin with the time
    )


def _trial(run_dir: Path) -> Path:
    return run_dir.parent.parent


def _is_training(trial: Path) -> bool:
    status = TrialFolder(trial).status()
    here = status.get("host") == socket.gethostname()
    return trial_state(status) == "running" and (here or held(trial.parents[1], trial.name))


def _push(run_dirs: list[Path], deadline: float) -> str:
    """Run `wandb sync` once for all and return what it said; its exit code is 0 for failures too."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        return TOO_LATE
    for run_dir in run_dirs:
        if stale := marker(run_dir):  # it would have the run skipped
            stale.unlink()
    command = [sys.executable, "-m", "wandb", "sync", *map(str, run_dirs)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        said = (expired.stdout or b"").decode(errors="replace")
        return f"{said}\nthe W&B server did not take it within {seconds:.0f} s"
    return done.stdout.decode(errors="replace")


def _result(run_dir: Path, output: str) -> SyncResult:
    log = next(run_dir.glob("run-*.wandb"), None)
    if log is None:
        return SyncResult(run_dir, False, "the folder holds no .wandb file")
    tag = re.escape(f"/{log.stem.removeprefix('run-')}] ")
    if error := re.search(rf"ERROR .*{tag}(.+)", output):
        # W&B marks a run as sent even when the server refused its history
        if mark := marker(run_dir):
            mark.unlink()
        return SyncResult(run_dir, False, error[1])
    if has_arrived(run_dir):
        page = re.search(rf"{tag}View run .* at (\S+)", output)
        return SyncResult(run_dir, True, page[1] if page else "arrived")
    lines = output.strip().splitlines()
    return SyncResult(run_dir, False, lines[-1] if lines else "wandb sync said nothing")

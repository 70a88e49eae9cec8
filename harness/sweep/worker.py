"""What runs in a trial's own process. Imports nothing heavy: the fork server has done so already."""

from __future__ import annotations

import faulthandler
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ganbench.errors import UserError
from harness.config import TrackingConfig, TrialConfig
from harness.store import ENDED, TrialFolder
from harness.sweep.claims import Claim


@dataclass(frozen=True)
class Job:
    """One trial for one process."""

    key: str
    """The trial's id."""
    config: TrialConfig
    label: str
    sweep: Path
    """The sweep's folder."""
    folder: Path
    """The trial's folder."""
    log: Path
    """Where the process prints, so that the terminal keeps the progress view to itself."""
    tracking: TrackingConfig
    device: str
    threads: int
    target: str
    """`module:function`, called as `harness.experiment.run_trial` is."""
    pruning: Mapping[str, Any] | None = None
    """The sweep's pruning as `Pruning.as_json` gives it, or none."""
    gpu: str | None = None
    """What CUDA_VISIBLE_DEVICES is to be; None leaves it as it is."""


def run(job: Job, connection: Connection, claim: Claim | None = None) -> None:
    """Run one trial and report its progress; `claim` is this process's from now on, where nobody else holds it.

    Without a claim nobody could know that the process lives on after its parent, so it does not.
    A failure is sent as {"error": reason}, and ends the process with exit code 1, its traceback in the log.
    """
    # Ctrl-C reaches every process of the terminal: the scheduler alone decides, and it sends SIGTERM
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    try:
        if claim:
            claim.keep_alive()
        else:
            threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
        _print_to(job.log)
        faulthandler.enable()
        if job.gpu is not None:  # CUDA reads it when it is first used, which no parent of this process has done
            os.environ["CUDA_VISIBLE_DEVICES"] = job.gpu
        if torch := sys.modules.get("torch"):  # the environment counts only for a torch that is yet to be imported
            torch.set_num_threads(job.threads)
        _run(job, connection)
    finally:
        if claim:
            claim.release()


def _run(job: Job, connection: Connection) -> None:
    def report(facts: Mapping[str, Any]) -> None:
        try:
            connection.send(dict(facts))
        except OSError:  # the scheduler is gone: an orphan would train on unseen
            sys.exit("the sweep that started this trial has ended")

    module, _, name = job.target.partition(":")
    function = getattr(importlib.import_module(module), name)
    options: dict[str, Callable[[int, float], str | None]] = {}
    if job.pruning is not None:
        from harness.sweep.pruning import Pruning, pruner

        options["prune"] = pruner(Pruning.from_json(job.pruning), job.sweep, job.key)
    _note(job, "begins")
    try:
        function(
            job.config,
            job.folder,
            tracking=job.tracking,
            progress=report,
            device=job.device,
            label=job.label,
            **options,
        )
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        trial = TrialFolder(job.folder)
        with suppress(OSError):  # a full disk may be what failed
            if trial.status().get("state") not in ENDED:  # it failed before it came to say so
                trial.write_status("failed", reason=said)
        with suppress(OSError):
            connection.send({"error": said})
        raise
    finally:
        with suppress(OSError, UserError):
            _note(job, f"ends {TrialFolder(job.folder).status().get('state')}")


def _note(job: Job, what: str) -> None:
    """A line of the log, which is only ever appended to: each time that the trial was begun, and how it ended."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    print(f"ganbench: {moment} trial {job.key} {what} (process {os.getpid()})", file=sys.stderr, flush=True)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
        os._exit(1)


def _leave(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def _print_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):  # the descriptors, so that libraries written in C are caught too
        os.dup2(log, stream)
    os.close(log)

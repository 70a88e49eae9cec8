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
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ganbench.errors import UserError
from harness.config import TrackingConfig, TrialConfig
from harness.places import given_data_folder, use_data_folder
from harness.store import ENDED, TrialFolder
from harness.sweep.claims import Claim, Claims


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
    """`module:function`, called as `harness.trial.experiment.run_trial` is."""
    pruning: Mapping[str, Any] | None = None
    """The sweep's pruning as `Pruning.as_json` gives it, or none."""
    ensemble: tuple[Job, ...] = ()
    """The jobs of all trials that this process trains as one, its own first; none: its own trial alone."""
    gpu: str | None = None
    """What CUDA_VISIBLE_DEVICES is to be; None leaves it as it is."""
    data_folder: str | None = field(default_factory=given_data_folder)
    """Where datasets by name lie, if a place was given, which the process may have been prepared too early to know."""


def run(job: Job, connection: Connection, claim: Claim | Claims | None = None) -> None:
    """Run one trial, or an ensemble of them, and report the progress.

    `claim` is this process's from now on, where nobody else holds it.

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
        use_data_folder(job.data_folder)
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

    trials = job.ensemble or (job,)
    for trial in trials:
        _note(trial, "begins")
        if trial.log != job.log:
            _refer(trial.log, job)
    try:
        if job.ensemble:
            _run_together(job, report)
        else:
            _run_alone(job, report)
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        for trial in trials:
            folder = TrialFolder(trial.folder)
            with suppress(OSError):  # a full disk may be what failed
                if folder.status().get("state") not in ENDED:  # it failed before it came to say so
                    folder.write_status("failed", reason=said)
        with suppress(OSError):
            connection.send({"error": said})
        raise
    finally:
        for trial in trials:
            with suppress(OSError, UserError):
                _note(trial, f"ends {TrialFolder(trial.folder).status().get('state')}")


def _run_alone(job: Job, report: Callable[[Mapping[str, Any]], None]) -> None:
    options = {"prune": _prune(job)} if job.pruning is not None else {}
    _target(job)(
        job.config,
        job.folder,
        tracking=job.tracking,
        progress=report,
        device=job.device,
        label=job.label,
        **options,
    )


def _run_together(job: Job, report: Callable[[Mapping[str, Any]], None]) -> None:
    from harness.trial.ensemble import Member

    trials = job.ensemble
    _target(job)(
        [
            Member(trial.config, trial.folder, trial.label, _prune(trial) if trial.pruning is not None else None)
            for trial in trials
        ],
        tracking=job.tracking,
        progress=lambda place, facts: report({**facts, "trial": trials[place].key}),
        device=job.device,
    )


def _target(job: Job) -> Callable[..., Any]:
    module, _, name = job.target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _prune(job: Job) -> Callable[[int, float], str | None]:
    from harness.sweep.pruning import Pruning, pruner

    return pruner(Pruning.from_json(job.pruning or {}), job.sweep, job.key)


def _note(job: Job, what: str) -> None:
    """A line of the log, which is only ever appended to: each time that the trial was begun, and how it ended."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    print(f"ganbench: {moment} trial {job.key} {what} (process {os.getpid()})", file=sys.stderr, flush=True)


def _refer(log: Path, job: Job) -> None:
    """A trial that is trained with others prints where the first of them does."""
    with log.open("a") as file:
        print(f"ganbench: trained together with trial {job.key}, see {job.log.name}", file=file)


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

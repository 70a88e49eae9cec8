"""What runs in a trial's own process. Imports nothing heavy: the fork server has done so already."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ganbench.errors import UserError
from harness.config import TrackingConfig, TrialConfig


@dataclass(frozen=True)
class Job:
    """One trial for one process."""

    config: TrialConfig
    label: str
    folder: Path
    """The trial's folder."""
    log: Path
    """Where the process prints, so that the terminal keeps the progress view to itself."""
    tracking: TrackingConfig
    device: str
    threads: int
    target: str
    """`module:function`, called as `harness.experiment.run_trial` is."""


def run(job: Job, connection: Connection) -> None:
    """Run one trial and report its progress; a failure ends the process with exit code 1, its traceback in the log."""
    # Ctrl-C reaches every process of the terminal: the scheduler alone decides, and it sends SIGTERM
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    _print_to(job.log)
    faulthandler.enable()
    if torch := sys.modules.get("torch"):  # the environment counts only for a torch that is yet to be imported
        torch.set_num_threads(job.threads)

    def report(facts: Mapping[str, Any]) -> None:
        try:
            connection.send(dict(facts))
        except OSError:  # the scheduler is gone: an orphan would train on unseen, and twice after a restart
            sys.exit("the sweep that started this trial has ended")

    module, _, name = job.target.partition(":")
    function = getattr(importlib.import_module(module), name)
    try:
        function(job.config, job.folder, tracking=job.tracking, progress=report, device=job.device, label=job.label)
    except Exception as error:
        with suppress(OSError):
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            connection.send({"error": said})
        raise


def _leave(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def _print_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):  # the descriptors, so that libraries written in C are caught too
        os.dup2(log, stream)
    os.close(log)

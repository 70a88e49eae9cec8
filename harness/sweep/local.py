"""Trials in processes of this machine, each its own, from a fork server that has imported torch once.

`ProcessPoolExecutor` fails every task that remains when one worker dies; here a process that is killed is one trial's.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Any, Self

from harness.sweep import worker
from harness.sweep.claims import Claim, Claims, held
from harness.sweep.executor import GRACE, Ended, Report

FORK_SERVER_GONE = 255
"""The exit code that `multiprocessing` makes up where the fork server, which knows the true one, has died."""


def usable_cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    CUDA itself is not asked: a process that has initialised it cannot hand it on to the trials.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        end = next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
        return tuple(names[:end])  # CUDA too sees nothing behind a name that is none
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    query = [command, "--query-gpu=uuid", "--format=csv,noheader"]  # CUDA counts in another order than NVML
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in found.splitlines() if line.startswith("GPU-"))


def start_server(threads: int, preload: Sequence[str]) -> None:
    """Start the fork server, unless it runs already, with the environment that its children are to have.

    OpenMP reads it when torch is imported. Passive waiting: idle threads that spin cost a trial beside them most of
    its speed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    resource_tracker.ensure_running()  # it unblocks signals as it starts, so it comes first
    with _environment(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OMP_WAIT_POLICY="PASSIVE"):
        # Ctrl-C in the terminal is for this process alone: the server inherits the blocked signal, and so do trials
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    old = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass
class _Running:
    job: worker.Job
    process: ForkServerProcess
    connection: Connection
    claimed: bool
    """Whether the process holds a claim."""
    error: str | None = None
    """What the process said of its own end."""
    kill_at: float | None = None
    """When it is killed, having been asked to end."""


class LocalExecutor:
    """Runs `slots` trials at a time.

    Args:
        slots: trials at a time; with several GPUs they are spread over them evenly.
        threads: CPU threads of each.
        preload: modules that the fork server imports, once.
        gpus: what there is to share out, or nothing.
    """

    def __init__(self, *, slots: int, threads: int, preload: Sequence[str], gpus: Sequence[str] = ()) -> None:
        self.slots = slots
        self.threads = threads
        self.preload = preload
        self.gpus = gpus
        self.context = multiprocessing.get_context("forkserver")
        self.running: dict[str, _Running] = {}

    def __enter__(self) -> Self:
        start_server(self.threads, self.preload)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(lambda: True)

    def start(self, key: str, job: worker.Job, claim: Claim | Claims | None) -> None:
        """A process of its own, which the claim is handed to; without one it ends as soon as this process does."""
        start_server(self.threads, self.preload)  # it may have been killed since the last trial was started
        job = replace(job, gpu=self._free_gpus(job.config.trainer.devices))
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=worker.run, args=(job, sender, claim), name=job.label)
        try:
            process.start()
        except (OSError, EOFError) as error:  # the server died as it was asked
            receiver.close()
            raise ConnectionResetError("the fork server is gone") from error
        finally:
            sender.close()  # the child's copy is then the last one, and its end is seen
            if claim:
                claim.hand_over()
        self.running[key] = _Running(job, process, receiver, claimed=claim is not None)

    def _free_gpus(self, number: int) -> str | None:
        """As many GPUs as the trial trains on, the first among those with the fewest trials."""
        if not self.gpus:
            return None
        load = Counter(gpu for trial in self.running.values() for gpu in (trial.job.gpu or "").split(","))
        return ",".join(sorted(self.gpus, key=lambda gpu: load[gpu])[:number])

    def attend(self, timeout: float) -> Sequence[Report | Ended]:
        """Reports and ends, in the order in which each trial had them."""
        self._kill_the_overdue()
        trials = {trial.process.sentinel: key for key, trial in self.running.items()}
        reports = {trial.connection: key for key, trial in self.running.items() if not trial.connection.closed}
        ready = set(wait([*trials, *reports], timeout=timeout))
        news: list[Report | Ended] = []
        for connection, key in reports.items():
            if connection in ready:
                news += self._read(key)
        for sentinel, key in trials.items():
            if sentinel in ready:
                news += self._end(key)
        return news

    def _read(self, key: str) -> list[Report]:
        """Everything that the trial has sent and nobody has read."""
        trial, reports = self.running[key], []
        try:
            while trial.connection.poll():
                facts: dict[str, Any] = trial.connection.recv()
                if "error" in facts:
                    trial.error = facts["error"]
                else:
                    reports.append(Report(key, facts))
        except (EOFError, OSError):  # the process is gone, perhaps in the middle of a report
            trial.connection.close()
        return reports

    def _end(self, key: str) -> list[Report | Ended]:
        trial = self.running[key]
        news: list[Report | Ended] = list(self._read(key) if not trial.connection.closed else [])
        trial.process.join()
        trial.connection.close()
        del self.running[key]
        crash = _crash(trial)
        error = trial.error or f"ended with exit code {trial.process.exitcode} before it was done"
        trial.process.close()
        return [*news, Ended(key, error, crash)]

    def end(self, key: str) -> None:
        """SIGTERM, and SIGKILL after `GRACE`."""
        trial = self.running[key]
        if trial.kill_at is None:
            trial.process.terminate()
            trial.kill_at = time.monotonic() + GRACE

    def _kill_the_overdue(self) -> None:
        for trial in self.running.values():
            if trial.kill_at is not None and time.monotonic() > trial.kill_at:
                trial.process.kill()

    def stop(self, hurry: Callable[[], bool]) -> None:
        """End what still runs: asked first, killed after a grace or in a hurry."""
        for trial in self.running.values():
            trial.process.terminate()
        deadline = time.monotonic() + GRACE
        for trial in self.running.values():
            while trial.process.is_alive() and time.monotonic() < deadline and not hurry():
                trial.process.join(0.1)
            trial.process.kill()
            trial.process.join()
            _crash(trial)  # which ends an orphan
            trial.connection.close()
            trial.process.close()
        self.running.clear()


def _crash(trial: _Running) -> str | None:
    """How the process was ended from outside, if it was."""
    code = trial.process.exitcode
    if code is not None and code < 0:
        hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        return f"killed by signal {-code} ({signal.Signals(-code).name}{hint})"
    if code != FORK_SERVER_GONE:
        return None
    sweep, key, pid = trial.job.sweep, trial.job.key, trial.process.pid
    if pid is not None and (held(sweep, key) or not trial.claimed):
        with suppress(ProcessLookupError):  # an orphan that holds a claim has a process id that is nobody else's
            os.kill(pid, signal.SIGKILL)
        give_up = time.monotonic() + GRACE
        while trial.claimed and held(sweep, key) and time.monotonic() < give_up:
            time.sleep(0.02)
    return f"ended with exit code {code}, or the fork server was killed"

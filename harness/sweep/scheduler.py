"""Runs a sweep's trials side by side, one process each, from a fork server that has imported torch once.

`ProcessPoolExecutor` fails every task that remains when one worker dies; here a trial that is killed is one failed
trial. Trials are independent and write their own files, so the scheduler keeps nothing that those files do not say.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from ganbench.errors import UserError
from harness.config import TrackingConfig
from harness.store import trial_state
from harness.sweep import worker
from harness.sweep.folder import Manifest, load_manifest, locked, log_file, trial_folder
from harness.sweep.progress import PlainView, headline, open_view

TARGET = "harness.experiment:run_trial"
PRELOAD = ("torch", "pytorch_lightning", "harness.experiment", "harness.cli")
"""What every trial imports: paid once, 0.3 s a trial afterwards. Nothing here may start a thread or touch a GPU."""

GRACE = 5.0
"""Seconds between asking a trial to end and killing it."""


@dataclass(frozen=True)
class SweepOutcome:
    """What became of a sweep's trials."""

    done: tuple[str, ...]
    """Ids of the trials that were finished by this run."""
    skipped: tuple[str, ...]
    """Ids of those that had been finished before."""
    failed: Mapping[str, str]
    """Reason by id, those included that failed before and were not retried."""
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0: every trial is done; 1: some failed; 130: stopped by Ctrl-C."""
        if self.interrupted:
            return 128 + signal.SIGINT
        return 1 if self.failed else 0


def usable_cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_sweep(
    folder: Path,
    *,
    tracking: TrackingConfig,
    jobs: int | None = None,
    retry_failed: bool = False,
    device: str = "auto",
    target: str = TARGET,
    preload: Sequence[str] = PRELOAD,
) -> SweepOutcome:
    """Run the trials of a prepared folder that are not done, `jobs` at a time, and record how each ended.

    An interrupted trial is continued, a failed one is left unless `retry_failed`. A failure does not stop the others.
    Ctrl-C ends the running trials (a second one at once) and leaves a folder that the next call continues.

    Args:
        folder: laid out by `harness.sweep.folder.prepare`.
        tracking: where the trials are mirrored to; the group defaults to the sweep's name.
        jobs: trials at a time; the default is one per processor. Each gets processors // jobs threads, whatever number
            of trials is left, since bits depend on the number of threads.
        retry_failed: run the failed trials again.
        device: "auto", "cpu" or "cuda".
        target: `module:function`, called in the trial's process as `harness.experiment.run_trial` is.
        preload: modules that the fork server imports, once.

    Raises:
        UserError: no sweep in the folder, another process at it, or jobs below one.
        OSError: the folder cannot be written to; the running trials are ended first.
    """
    cpus = usable_cpus()
    jobs = cpus if jobs is None else jobs
    if jobs < 1:
        raise UserError(f"jobs must be at least 1: got {jobs}")
    manifest = load_manifest(folder)
    threads = max(1, cpus // jobs)
    with locked(folder):
        _start_server(threads, preload)
        tracking = tracking.model_copy(update={"group": tracking.group or manifest.name})
        job = partial(worker.Job, tracking=tracking, device=device, threads=threads, target=target)
        return _Run(folder, manifest, job, jobs=jobs, retry_failed=retry_failed).run()


def _start_server(threads: int, preload: Sequence[str]) -> None:
    """Start the fork server with the environment that its children are to have.

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
    key: str
    process: ForkServerProcess
    connection: Connection
    started: float
    error: str | None = None
    """What the process said of its own end."""


class _Run:
    def __init__(
        self, folder: Path, manifest: Manifest, job: Callable[..., worker.Job], *, jobs: int, retry_failed: bool
    ) -> None:
        self.folder = folder
        self.trials = manifest.trials
        self.labels = manifest.labels()
        self.job = job
        self.jobs = jobs
        self.context = multiprocessing.get_context("forkserver")
        self.signals = 0
        self.running: list[_Running] = []
        self.done: list[str] = []
        self.skipped: list[str] = []
        self.failed: dict[str, str] = {}
        self.queue: deque[str] = deque()
        for key in self.trials:
            status = trial_folder(folder, key).status()
            state = trial_state(status)
            if state == "done":
                self.skipped.append(key)
            elif state == "failed" and not retry_failed:
                self.failed[key] = str(status.get("reason"))
            else:
                self.queue.append(key)

    def run(self) -> SweepOutcome:
        budgets = {key: self.trials[key].images for key in self.queue}
        with self._signals_counted(), open_view(budgets, before=len(self.trials) - len(self.queue)) as view:
            if self.failed:
                view.note(f"{len(self.failed)} failed before and are left as they are: --retry-failed runs them again")
            try:
                while (self.queue or self.running) and not self.signals:
                    while self.queue and len(self.running) < self.jobs:
                        self._start(self.queue.popleft(), view)
                    self._attend(view)
                if self.signals and self.running:
                    view.note(f"stopping {len(self.running)} trials: the same command continues them later")
            finally:
                self._stop()
        interrupted = bool(self.signals) and len(self.done) + len(self.skipped) + len(self.failed) < len(self.trials)
        return SweepOutcome(tuple(self.done), tuple(self.skipped), self.failed, interrupted)

    @contextmanager
    def _signals_counted(self) -> Iterator[None]:
        """Count Ctrl-C and SIGTERM instead of raising somewhere in between; only a main thread can."""

        def count(*_: object) -> None:
            self.signals += 1

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        old = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _start(self, key: str, view: PlainView) -> None:
        view.started(key, self.labels[key])
        receiver, sender = self.context.Pipe(duplex=False)
        job = self.job(
            config=self.trials[key],
            label=self.labels[key],
            folder=trial_folder(self.folder, key).path,
            log=log_file(self.folder, key),
        )
        process = self.context.Process(target=worker.run, args=(job, sender), name=self.labels[key])
        process.start()
        sender.close()  # the child's copy is then the last one, and its end is seen
        self.running.append(_Running(key, process, receiver, time.monotonic()))

    def _attend(self, view: PlainView) -> None:
        """Wait for a report or an end, half a second at most so that a signal is noticed."""
        trials = {trial.process.sentinel: trial for trial in self.running}
        reports = {trial.connection: trial for trial in self.running if not trial.connection.closed}
        ready = set(wait([*trials, *reports], timeout=0.5))
        for connection, trial in reports.items():
            if connection in ready:
                self._read(trial, view)
        for sentinel, trial in trials.items():
            if sentinel in ready:
                while not trial.connection.closed and trial.connection.poll():
                    self._read(trial, view)
                self._end(trial, view)

    def _read(self, trial: _Running, view: PlainView) -> None:
        try:
            facts: dict[str, Any] = trial.connection.recv()
        except (EOFError, OSError):  # the process is gone, perhaps in the middle of a report
            trial.connection.close()
            return
        if "error" in facts:
            trial.error = facts["error"]
        else:
            view.advanced(trial.key, facts)

    def _end(self, trial: _Running, view: PlainView) -> None:
        trial.process.join()
        trial.connection.close()
        self.running.remove(trial)
        seconds = time.monotonic() - trial.started
        trial_files = trial_folder(self.folder, trial.key)
        status = trial_files.status()
        if trial.process.exitcode == 0 and status.get("state") == "done":
            self.done.append(trial.key)
            outcome = " · ".join(filter(None, [f"done in {seconds:.1f} s", headline(trial_files.scores())]))
        else:
            if status.get("state") != "failed" or status.get("pid") != trial.process.pid:
                # it had no chance to say so itself
                trial_files.write_status("failed", reason=_reason(trial))
            self.failed[trial.key] = str(trial_files.status()["reason"])
            log = log_file(self.folder, trial.key)
            outcome = f"failed after {seconds:.1f} s: {self.failed[trial.key]} (log: {log})"
        trial.process.close()
        view.finished(trial.key, outcome)

    def _stop(self) -> None:
        """End what still runs: asked first, killed after a grace, or at once at a second signal."""
        for trial in self.running:
            trial.process.terminate()
        deadline = time.monotonic() + GRACE
        for trial in self.running:
            while trial.process.is_alive() and time.monotonic() < deadline and self.signals < 2:
                trial.process.join(0.1)
            trial.process.kill()
            trial.process.join()
            trial.connection.close()
            with suppress(OSError):  # an unreadable disk may be why the sweep stops
                if trial_folder(self.folder, trial.key).status().get("state") == "done":
                    self.done.append(trial.key)
        self.running.clear()


def _reason(trial: _Running) -> str:
    if trial.error is not None:
        return trial.error
    code = trial.process.exitcode
    if code is not None and code < 0:
        hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        return f"killed by signal {-code} ({signal.Signals(-code).name}{hint})"
    return f"ended with exit code {code} before it was done"

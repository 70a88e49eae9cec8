"""Runs a sweep's trials side by side until each has ended, whatever becomes of processes on the way.

Trials are independent and write their own files, so the scheduler keeps nothing that those files do not say: killed at
any moment, it is simply started again. Several of them may work on one folder: a trial is claimed before it is started
(`claims`), and one that is claimed elsewhere is waited for, and taken up if its process dies.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from ganbench.errors import UserError
from harness.config import TrackingConfig, TrialConfig, seedless
from harness.store import ENDED
from harness.sweep import worker
from harness.sweep.claims import Claim, Claims, take, take_all
from harness.sweep.executor import Ended, Executor
from harness.sweep.folder import Manifest, extend, load_manifest, log_file, manifest_stamp, requeue, trial_folder
from harness.sweep.local import LocalExecutor, usable_cpus, usable_gpus
from harness.sweep.outcome import SweepOutcome
from harness.sweep.progress import PlainView, headline, open_view

TARGET = "harness.trial.experiment:run_trial"
TARGET_TOGETHER = "harness.trial.ensemble:run_ensemble"
"""The same where trials that differ by their seed alone are trained together."""
PRELOAD = (
    *("torch", "pytorch_lightning", "sklearn.cluster", "sklearn.datasets"),
    *("harness.trial.experiment", "harness.cli"),
)
"""What every trial imports: paid once, 0.3 s a trial afterwards. Nothing here may start a thread or touch a GPU."""

PRELOAD_TRACKED = (
    "wandb.sdk.launch",
    "requests",
    "pandas",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
)
"""The same for what `wandb.init` and `log` import, 2 to 5 s a trial; each trial has a service of its own nevertheless.
One that a version of W&B lacks is passed over."""

MAX_RESTARTS = 3
"""How often a trial whose process was killed is started again without getting further than ever before."""

GLANCE = 0.5
"""Seconds between two looks at what no process reports: signals, time limits, the manifest."""

LOOK_AGAIN = 1.0
"""Seconds between two tries to claim a trial that another process is at."""


def run_sweep(
    folder: Path,
    *,
    tracking: TrackingConfig,
    manifest: Manifest | None = None,
    jobs: int | None = None,
    retry_failed: bool = False,
    device: str = "auto",
    time_limit: float | None = None,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    gpus: Sequence[str] | None = None,
    target: str | None = None,
    preload: Sequence[str] = PRELOAD,
) -> SweepOutcome:
    """Run the trials of a prepared folder that have not ended, `jobs` at a time, and record how each ended.

    An interrupted trial is continued, a failed one is left unless `retry_failed`. A failure does not stop the others.
    A trial whose process is killed is started again, `MAX_RESTARTS` times where it gets no further. Ctrl-C ends the
    running trials (a second one at once) and leaves a folder that the next call continues.

    Args:
        folder: laid out by `harness.sweep.folder.prepare`.
        tracking: where the trials are mirrored to; the group defaults to the sweep's name.
        manifest: what `prepare` returned, which is read from the folder otherwise.
        jobs: trials at a time; the default is one per GPU (or as many as a trial asks for), or per processor where
            there is none (or per recipe, if those are fewer and trained as ensembles). Each gets processors // jobs
            threads, whatever number of trials is left, since bits depend on the number of threads. GPUs and processors
            are those that this process may use: another run on this machine is not reckoned with.
        retry_failed: run the failed trials again.
        device: "auto", "cpu" or "cuda".
        time_limit: seconds that a trial may run at a stretch before it is ended and counts as failed.
        executor: "local" for processes of this machine, "ray" for a cluster's.
        address: the Ray cluster's; without one, Ray is started here.
        gpus: the GPUs to share out, as CUDA_VISIBLE_DEVICES names them; None for those that this process may use.
        target: `module:function`, called in the trial's process as `harness.trial.experiment.run_trial` is, or as
            `harness.trial.ensemble.run_ensemble` where the sweep trains ensembles.
        preload: modules that the fork server imports, once.

    Raises:
        UserError: no sweep in the folder, jobs below one, or ensembles on Ray.
        OSError: the folder cannot be written to; the running trials are ended first.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"jobs must be at least 1: got {jobs}")
    if retry_failed:
        requeue(folder)
    manifest = manifest or load_manifest(folder)
    if manifest.ensemble and executor == "ray":
        raise UserError(
            "ensemble: seeds needs --executor local, since a Ray task holds one trial: leave one of them out"
        )
    if gpus is None:
        gpus = () if device == "cpu" or executor == "ray" else usable_gpus()
    if preload:
        tracked = PRELOAD_TRACKED if tracking.mode != "disabled" else ()
        together = ("harness.trial.ensemble",) if manifest.ensemble else ()
        preload = (*preload, *together, *tracked, *(("optuna",) if manifest.pruning is not None else ()))
    tracking = tracking.model_copy(update={"group": tracking.group or manifest.name})
    processes: Executor
    if executor == "ray":
        from harness.sweep.on_ray import RayExecutor

        processes = RayExecutor(sweep=folder, jobs=jobs, address=address, preload=preload, device=device)
    else:
        cpus = usable_cpus()
        most = max((config.trainer.devices for config in manifest.trials.values()), default=1)
        families = len({seedless(config) for config in manifest.trials.values()}) if manifest.ensemble else cpus
        slots = jobs or (max(1, len(gpus) // most) if gpus else max(1, min(cpus, families)))
        processes = LocalExecutor(slots=slots, threads=max(1, cpus // slots), preload=preload, gpus=gpus)
    job = partial(
        worker.Job,
        sweep=folder,
        tracking=tracking,
        device=device,
        threads=processes.threads,
        target=target or (TARGET_TOGETHER if manifest.ensemble else TARGET),
        pruning=manifest.pruning,
    )
    with processes:  # before signals are counted: Ray takes SIGTERM for itself as it starts
        return _Run(folder, manifest, processes, job, time_limit=time_limit).run()


@dataclass
class _Attempt:
    """A process that is at one trial, or at several together."""

    started: float
    keys: Sequence[str]
    over_limit: bool = False
    """It has been asked to end for its time limit."""


class _Run:
    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        executor: Executor,
        job: Callable[..., worker.Job],
        *,
        time_limit: float | None,
    ) -> None:
        self.folder = folder
        self.executor = executor
        self.job = job
        self.time_limit = time_limit
        self.signals = 0
        self.trials: dict[str, TrialConfig] = {}
        self.labels: dict[str, str] = {}
        self.queue: deque[str] = deque()
        self.elsewhere: dict[str, float] = {}
        """Trials that another process is at, with the time of the next try."""
        self.families: dict[str, str] = {}
        """What trials that are trained together have in common, by id; empty where each is trained alone."""
        self.running: dict[str, _Attempt] = {}
        """By the id of the first of their trials."""
        self.done: list[str] = []
        self.skipped: list[str] = []
        self.failed: dict[str, str] = {}
        self.diverged: dict[str, str] = {}
        self.pruned: dict[str, str] = {}
        self.restarts: Counter[str] = Counter()
        self.furthest: dict[str, int] = {}
        """Most images that a killed trial had been shown."""
        self.values: dict[str, float | None] = {}
        """What the search goes by, of trials that have ended."""
        self.asked = False
        """The search has nothing to propose before another trial ends."""
        self._take_up(manifest)
        self.view: PlainView = open_view(
            {key: self.trials[key].images for key in self.queue},
            before=len(self.trials) - len(self.queue),
            planned=manifest.planned,
        )

    # --- the walk

    def run(self) -> SweepOutcome:
        with self._signals_counted(), self.view as view:
            if self.failed:
                view.note(f"{len(self.failed)} failed before and are left as they are: --retry-failed runs them again")
            try:
                while not self.signals:
                    self._fill()
                    if not (self.running or self.elsewhere or self.queue):
                        break
                    self._attend()
                if self.signals and self.running:
                    number = sum(len(attempt.keys) for attempt in self.running.values())
                    view.note(f"stopping {number} trials: the same command continues them later")
            except OSError as error:
                error.filename = error.filename or str(self.folder)  # a write does not say where it failed
                raise
            finally:
                self._stop()
        ended = len(self.done) + len(self.skipped) + len(self.failed) + len(self.diverged) + len(self.pruned)
        return SweepOutcome(
            tuple(self.done),
            tuple(self.skipped),
            self.failed,
            interrupted=bool(self.signals) and ended < len(self.trials),
            diverged=self.diverged,
            pruned=self.pruned,
        )

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

    # --- what there is to do

    def _take_up(self, manifest: Manifest) -> list[str]:
        """Note the manifest's new trials; returns the ids of those that have not ended."""
        self.stamp, self.search = manifest.stamp, manifest.search
        new = [key for key in manifest.trials if key not in self.trials]
        self.trials = manifest.trials
        self.labels = manifest.labels()
        if manifest.ensemble:
            self.families.update({key: seedless(manifest.trials[key]) for key in new})
        pending = [key for key in new if not self._note_ended(key)]
        self.queue += pending
        return pending

    def _note_ended(self, key: str) -> str | None:
        """The state in which the trial has ended, which is noted, or None."""
        status = trial_folder(self.folder, key).status()
        state: str | None = status.get("state")
        if state not in ENDED:
            return None
        self.asked = False
        if state == "done":
            self.skipped.append(key)
        else:
            reasons = {"failed": self.failed, "diverged": self.diverged, "pruned": self.pruned}
            reasons[state][key] = str(status.get("reason"))
        return state

    def _fill(self) -> None:
        """Start trials until every slot is taken or none is left to start now."""
        while len(self.running) < self.executor.slots and not self.signals:
            if found := self._claim_next():
                self._start(found)
            elif not self._propose():
                return

    def _claim_next(self) -> dict[str, Claim] | None:
        """The next trial that has not ended and that no other process is at, with those that it is trained with."""
        now = time.monotonic()
        due = deque(key for key, at in self.elsewhere.items() if at <= now)
        while self.queue or due:
            waiting = self.queue or due
            keys = self._family(waiting[0], (*self.queue, *due))
            for key in keys:
                self.elsewhere.pop(key, None)
                with suppress(ValueError):
                    self.queue.remove(key)
                with suppress(ValueError):
                    due.remove(key)
            claims = take_all(self.folder, keys)
            if not claims:
                self.elsewhere.update(dict.fromkeys(keys, now + LOOK_AGAIN))
            elif claims := self._not_ended(claims):
                return claims
        return None

    def _family(self, key: str, waiting: Collection[str]) -> list[str]:
        """The trial and the waiting ones that it is trained with, in one order: so two runs do not halve them."""
        if not self.families:
            return [key]
        mates = {other for other in waiting if self.families[other] == self.families[key]}
        return [other for other in self.trials if other in mates]

    def _not_ended(self, claims: dict[str, Claim]) -> dict[str, Claim]:
        """Give up, and note, those of trials that another run has ended."""
        try:
            for key in list(claims):
                if (state := self._note_ended(key)) is not None:
                    claims.pop(key).release()
                    self.view.ended_elsewhere(key, self.labels[key], state)
        except BaseException:
            Claims(claims.values()).release()
            raise
        return claims

    def _propose(self) -> bool:
        """Ask the search, if there is one, for another trial; whether there is more to do now."""
        if self.search is None or self.asked:
            return False
        manifest = extend(self.folder, self._proposal)
        before = len(self.trials)
        self._announce(self._take_up(manifest))
        self.asked = len(self.trials) == before
        return not self.asked

    def _proposal(self, manifest: Manifest) -> TrialConfig | None:
        if manifest.trials.keys() - self.trials.keys():  # another run has asked since: what it got is to be done first
            return None
        from harness.sweep.search import Search, propose, value

        search = Search.from_json(manifest.search or {})
        finished, running = [], []
        for key, config in manifest.trials.items():
            trial = trial_folder(self.folder, key)
            if key not in self.values and (state := trial.status().get("state")) in ENDED:
                self.values[key] = value(search, trial) if state == "done" else None
            if key in self.values:
                finished.append((config, self.values[key]))
            else:
                running.append(config)
        return propose(search, finished, running)

    def _look_at_the_manifest(self) -> None:
        """Another run may have added trials."""
        if manifest_stamp(self.folder) != self.stamp:
            self._announce(self._take_up(load_manifest(self.folder)))

    def _announce(self, keys: Sequence[str]) -> None:
        self.view.added({key: self.trials[key].images for key in keys})

    # --- one trial

    def _start(self, claims: Mapping[str, Claim]) -> None:
        """Start a process at these trials: one, or all that are trained together."""
        jobs = []
        for key in claims:
            self.view.started(key, self.labels[key])
            job = self.job(
                key=key,
                config=self.trials[key],
                label=self.labels[key],
                folder=trial_folder(self.folder, key).path,
                log=log_file(self.folder, key),
            )
            jobs.append(job)
        first, claim = jobs[0], next(iter(claims.values()))
        self.running[first.key] = _Attempt(time.monotonic(), tuple(claims))
        try:
            if self.families:
                self.executor.start(first.key, replace(first, ensemble=tuple(jobs)), Claims(claims.values()))
            else:
                self.executor.start(first.key, first, claim)
        except OSError as error:
            self._end(Ended(first.key, crash=f"its process could not be started ({error})"))

    def _attend(self) -> None:
        for news in self.executor.attend(GLANCE):
            if isinstance(news, Ended):
                self._end(news)
            else:
                self.view.advanced(news.facts.get("trial", news.key), news.facts)
        now = time.monotonic()
        for key, attempt in self.running.items():
            if self.time_limit is not None and not attempt.over_limit and now - attempt.started > self.time_limit:
                attempt.over_limit = True
                self.executor.end(key)
        self._look_at_the_manifest()

    def _end(self, ended: Ended) -> None:
        attempt = self.running.pop(ended.key)
        for key in attempt.keys:
            self._settle(key, ended, attempt)

    def _settle(self, key: str, ended: Ended, attempt: _Attempt) -> None:
        """Find out what became of a trial whose process has gone."""
        seconds = time.monotonic() - attempt.started
        trial = trial_folder(self.folder, key)
        claim = take(self.folder, key)
        if claim is None:  # another run was faster: what becomes of the trial is its business now
            self.elsewhere[key] = time.monotonic() + LOOK_AGAIN
            self.view.left(key, "taken up elsewhere")
            return
        with claim:
            status = trial.status()
            state = status.get("state")
            if state not in ENDED:  # it had no chance to say so itself
                if attempt.over_limit:
                    trial.write_status("failed", reason=f"time limit of {self.time_limit:g} s")
                elif not (ended.crash or state == "interrupted"):
                    trial.write_status("failed", reason=ended.error or "ended before it was done")
                else:
                    crash = ended.crash or "asked to end"
                    if self._may_restart(key, status.get("images", 0)):
                        trial.write_status("interrupted", reason=crash)
                        self.queue.appendleft(key)
                        self.view.left(key, f"{crash} after {seconds:.1f} s, is started again")
                        return
                    trial.write_status("failed", reason=f"{crash}, {MAX_RESTARTS + 1} times without progress")
            state = self._note_ended(key)
        if state == "done":
            self.done.append(self.skipped.pop())
            outcome = " · ".join(filter(None, [f"done in {seconds:.1f} s", headline(trial.scores())]))
        else:
            outcome = f"{state} after {seconds:.1f} s: {trial.status().get('reason')}"
            if state == "failed":
                outcome += f" (log: {log_file(self.folder, key)})"
        self.view.finished(key, outcome)

    def _may_restart(self, key: str, images: int) -> bool:
        if images > self.furthest.get(key, 0):
            self.furthest[key] = images
            self.restarts[key] = 0
        self.restarts[key] += 1
        return self.restarts[key] <= MAX_RESTARTS

    def _stop(self) -> None:
        """End what still runs: asked first, killed after a grace, or at once at a second signal."""
        self.executor.stop(lambda: self.signals > 1)
        for key in [key for attempt in self.running.values() for key in attempt.keys]:
            with suppress(OSError):  # an unreadable disk may be why the sweep stops
                claim = take(self.folder, key)
                if claim is None:
                    continue
                with claim:
                    if self._note_ended(key) == "done":
                        self.done.append(self.skipped.pop())
                    elif trial_folder(self.folder, key).status().get("state") == "running":
                        trial_folder(self.folder, key).write_status("interrupted")
        self.running.clear()

"""What runs trials for the scheduler: processes of this machine (`local`), or of many (`on_ray`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from harness.sweep.claims import Claim, Claims
from harness.sweep.worker import Job

GRACE = 5.0
"""Seconds between asking a trial to end and killing it."""


@dataclass(frozen=True)
class Report:
    """A trial's progress, as `harness.trial.experiment.run_trial` reports it."""

    key: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """A trial's process is gone, and so is its claim. What became of the trial, its status says."""

    key: str
    error: str | None = None
    """What the process said of its own end, or what its exit code says."""
    crash: str | None = None
    """How it was ended from outside, such as "killed by signal 9 (SIGKILL)": a reason to try again."""


class Executor(Protocol):
    """Starts and ends the processes of trials; knows nothing of the queue. Used as a context manager."""

    @property
    def slots(self) -> int:
        """Trials at a time; may change while it runs."""

    @property
    def threads(self) -> int:
        """CPU threads of each."""

    def start(self, key: str, job: Job, claim: Claim | Claims) -> None:
        """Start a trial and take its claim over; raises `OSError` (the claim is given up) where that fails."""

    def attend(self, timeout: float) -> Sequence[Report | Ended]:
        """What has happened, after waiting up to `timeout` seconds for the first thing."""

    def end(self, key: str) -> None:
        """Ask one trial to end, and kill it after `GRACE`; returns at once, `attend` tells of its end."""

    def stop(self, hurry: Callable[[], bool]) -> None:
        """End every trial: asked first, killed after `GRACE` or as soon as `hurry`. Their claims are free then."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

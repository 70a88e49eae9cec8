"""What a run of a sweep comes to."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SweepOutcome:
    """What became of a sweep's trials."""

    done: tuple[str, ...]
    """Ids of the trials that were finished by this run."""
    skipped: tuple[str, ...]
    """Ids of those that had been finished before, or were by another run meanwhile."""
    failed: Mapping[str, str]
    """Reason by id, those included that failed before and were not retried."""
    interrupted: bool
    diverged: Mapping[str, str] = field(default_factory=dict)
    """Reason by id, whenever they did."""
    pruned: Mapping[str, str] = field(default_factory=dict)
    """Reason by id, whenever they were."""

    @property
    def exit_code(self) -> int:
        """0: every trial is done or was pruned; 1: some failed or diverged; 130: stopped by Ctrl-C."""
        if self.interrupted:
            return 128 + signal.SIGINT
        return 1 if self.failed or self.diverged else 0

"""What a trial told W&B besides its history, kept so that it can be told again: `<trial>/wandb/ganbench.json`."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from ganbench.files import write_json

NAME = "ganbench.json"


@dataclass(frozen=True)
class Identity:
    """Which W&B run a trial is, and what people read of it."""

    run_id: str
    project: str
    entity: str | None
    group: str | None
    private: bool
    name: str
    job_type: str
    tags: list[str]
    config: dict[str, Any]


@dataclass
class Alert:
    """One alert, and what became of it."""

    title: str
    text: str
    run_dir: str
    """The folder of the W&B run that it was given to last; "" once the server is known to have it."""
    lost: bool = False
    """Whether that run is known not to have reached the server."""


@dataclass
class Journal:
    """The state of a trial's mirror; `write` after each change."""

    path: Path
    """The trial's folder."""
    identity: Identity
    run_dir: str = ""
    """The folder of the W&B run that is written now, or was last."""
    arrived: bool = False
    """Whether the server has confirmed everything; only an online run knows."""
    whole: bool = False
    """Whether an offline run was ended in good order, so that W&B's log of it holds everything."""
    shared: bool = False
    """Whether the server may have rows of this trial from before, so that W&B's sync would send them twice."""
    summary: dict[str, Any] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)

    @classmethod
    def read(cls, trial: Path) -> Self | None:
        """The journal of an earlier attempt; None where there is none, or none that can be read."""
        try:
            facts = json.loads(file_of(trial).read_text())
            alerts = [Alert(**alert) for alert in facts.pop("alerts")]
            return cls(path=trial, identity=Identity(**facts.pop("identity")), alerts=alerts, **facts)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self) -> None:
        """Atomically; raises `OSError` as the disk gives it."""
        facts = asdict(self)
        del facts["path"]
        write_json(file_of(self.path), facts)

    @property
    def is_online(self) -> bool:
        """Whether the run that is written now, or was last, goes to the server by itself."""
        return self.run_dir.startswith("run-")

    @property
    def is_unsent(self) -> bool:
        """Whether the server lacks something that W&B's own sync would not bring, or would bring once more."""
        if self.is_online:
            return not self.arrived
        if not self.whole:
            return True
        return (self.shared or len(self.attempts()) > 1) and not has_arrived(self.path / "wandb" / self.run_dir)

    def may_have_arrived(self) -> bool:
        """Whether the server may have something of any attempt so far."""
        began = any(next(run_dir.glob("*.wandb.sync*"), None) for run_dir in self.attempts())
        return self.shared or self.is_online or began

    def has_reached(self, alert: Alert) -> bool:
        """Whether nothing is known against it: an offline run's alerts are sent as it is synced."""
        if alert.run_dir.startswith("offline-") and not has_arrived(self.path / "wandb" / alert.run_dir):
            return False
        return not alert.lost

    def attempts(self) -> list[Path]:
        """The folders that W&B made of this run, in this trial: one for each attempt."""
        ours = re.compile(rf"(offline-)?run-\d{{8}}_\d{{6}}-{re.escape(self.identity.run_id)}")
        return [path for path in (self.path / "wandb").glob("*run-*") if ours.fullmatch(path.name) and path.is_dir()]

    def drop_earlier_attempts(self) -> None:
        """Leave only the folder that is written now: a sync would send the rows of the others once more."""
        for path in self.attempts():
            if path.name != self.run_dir:
                shutil.rmtree(path, ignore_errors=True)

    def knows(self, title: str, text: str) -> bool:
        """Whether this alert has been given, by this attempt or an earlier one."""
        return any((alert.title, alert.text) == (title, text) for alert in self.alerts)


def file_of(trial: Path) -> Path:
    """Where a trial's journal is."""
    return trial / "wandb" / NAME


def marker(run_dir: Path) -> Path | None:
    """The file by which W&B marks an offline run as sent."""
    return next(run_dir.glob("run-*.wandb.synced"), None)


def has_arrived(run_dir: Path) -> bool:
    """Whether W&B marked the run as sent, and nothing was written to it since."""
    mark = marker(run_dir)
    return mark is not None and mark.stat().st_mtime >= mark.with_suffix("").stat().st_mtime

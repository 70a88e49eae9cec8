"""How far a sweep has come, read from its files alone: what `ganbench sweep status` shows."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.config import TrialConfig
from harness.config_text import read_mapping
from harness.store import ENDED, TrialState, trial_state
from harness.sweep.benchmark import Metric, read_benchmark, read_metric
from harness.sweep.claims import claim_file
from harness.sweep.folder import Manifest, load_manifest, log_file, trial_folder
from harness.sweep.search import Search

CHECKPOINT_METRIC = Metric("best/fid", "minimize")
"""What a best checkpoint is chosen by (`harness.scoring.evaluation.SELECTION_METRIC`): a sweep that says nothing is
judged by it too."""


@dataclass(frozen=True)
class TrialStatus:
    """One trial's row."""

    id: str
    label: str
    variant: str
    state: TrialState
    reason: str | None
    images: int
    """Real images shown so far."""
    total_images: int
    seconds: float
    """Device seconds of training."""
    rate: float | None
    """Images per second of wall-clock time since the trial's process began; None while none is at it."""
    metric: str
    """What the two scores are of, on the selection split."""
    score: float | None
    """The latest."""
    best: float | None
    """What the trial is judged by: of all looks, or the latest where the sweep says so."""
    process: str | None
    """host:pid of the process at it."""
    heartbeat: float | None
    """Seconds since that process last gave a sign of life."""
    problems: Sequence[Mapping[str, Any]]
    """What the health checks flagged, as `status.json` has it."""
    updated: str | None
    log: str | None
    """What its process printed."""
    ensemble: int | None = None
    """With how many seeds, its own included, it is or was trained as one; None: alone."""

    @property
    def ended(self) -> bool:
        """Whether no run takes it up again by itself."""
        return self.state in ENDED


@dataclass(frozen=True)
class Variant:
    """The trials of one variant together."""

    name: str
    trials: int
    states: Counter[TrialState]
    best: float | None
    """The best score of the `scored` trials that have one and have neither failed nor diverged."""
    scored: int
    label: str
    """The trial that has it; "" for none."""


@dataclass(frozen=True)
class Overview:
    """A sweep at one moment."""

    name: str
    trials: Sequence[TrialStatus]
    metric: Metric
    """What a trial is judged by."""
    search: Search | None = None
    """What proposes more trials; None where all are known."""

    @cached_property
    def states(self) -> Counter[TrialState]:
        """How many trials are in each state."""
        return Counter(trial.state for trial in self.trials)

    @property
    def expected(self) -> int:
        """Trials that there will be at most."""
        return max(self.search.planned if self.search else 0, len(self.trials))

    @cached_property
    def images(self) -> tuple[int, int]:
        """Images behind us and in all. A trial that has ended counts whole: what it did not need is not to come."""
        total = sum(trial.total_images for trial in self.trials)
        behind = sum(trial.total_images if trial.ended else trial.images for trial in self.trials)
        if self.trials:  # a search's trials to come are taken to be as long as those known
            total += (self.expected - len(self.trials)) * total // len(self.trials)
        return behind, total

    @property
    def running(self) -> list[TrialStatus]:
        """The trials that a process is at."""
        return [trial for trial in self.trials if trial.state == "running"]

    @property
    def rate(self) -> float:
        """Images per second of the running trials together."""
        return sum(trial.rate or 0.0 for trial in self.running)

    @property
    def remaining_seconds(self) -> float | None:
        """What is left at the present rate; None where nothing runs that a rate is known of."""
        behind, total = self.images
        return (total - behind) / self.rate if self.rate else None

    @property
    def ended(self) -> bool:
        """Whether every trial has ended and none is to come."""
        return len(self.trials) >= self.expected and all(trial.ended for trial in self.trials)

    @property
    def variants(self) -> list[Variant]:
        """In the order of the trials."""
        groups: dict[str, list[TrialStatus]] = defaultdict(list)
        for trial in self.trials:
            groups[trial.variant].append(trial)
        return [self._variant(name, trials) for name, trials in groups.items()]

    def _variant(self, name: str, trials: Sequence[TrialStatus]) -> Variant:
        sound = [trial for trial in trials if trial.state not in ("failed", "diverged")]
        scored = [(trial.best, trial.label) for trial in sound if trial.best is not None]
        choose = min if self.metric.goal == "minimize" else max
        best, label = choose(scored, default=(None, ""))
        return Variant(name, len(trials), Counter(trial.state for trial in trials), best, len(scored), label)


class Reader:
    """Reads a sweep's folder, again and again at little cost: a file that has not changed is not read twice.

    Raises `UserError`, on `read`, where the folder holds no sweep, or a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sweep: tuple[object, Manifest, dict[str, str], Metric] | None = None
        self._facts: dict[str, tuple[object, dict[str, Any]]] = {}

    def read(self) -> Overview:
        """The sweep as it is now."""
        manifest, labels, metric = self._load_sweep()
        now = time.time()
        search = Search.from_json(manifest.search) if manifest.search else None
        trials = [self._trial(key, config, labels[key], metric, now) for key, config in manifest.trials.items()]
        return Overview(manifest.name, trials, metric, search)

    def _load_sweep(self) -> tuple[Manifest, dict[str, str], Metric]:
        stamp = _stamp(self.folder / "manifest.json")
        if self._sweep is None or self._sweep[0] != stamp:
            manifest = load_manifest(self.folder)
            self._sweep = (stamp, manifest, manifest.labels(), _judged_by(self.folder / "sweep.yaml"))
        return self._sweep[1:]

    def _trial(self, key: str, config: TrialConfig, label: str, metric: Metric, now: float) -> TrialStatus:
        facts = self._read_status(key)
        state = trial_state(facts)
        at_work = state == "running"
        scores: Mapping[str, float] = facts.get("selection", {}).get(metric.score, {})
        log = log_file(self.folder, key)
        return TrialStatus(
            id=key,
            label=label,
            variant=config.gan.name,
            state=state,
            reason=facts.get("reason"),
            images=facts.get("images", 0),
            total_images=config.images,
            seconds=facts.get("seconds", 0.0),
            rate=_rate(facts, now) if at_work else None,
            metric=metric.score,
            score=scores.get("latest"),
            best=scores.get("best" if metric.name.startswith("best/") else "latest"),
            process=f"{facts.get('host')}:{facts.get('pid')}" if at_work else None,
            heartbeat=self._heartbeat(key, now) if at_work else None,
            problems=facts.get("problems", []),
            updated=facts.get("updated"),
            log=str(log) if facts and log.exists() else None,
            ensemble=facts.get("ensemble"),
        )

    def _read_status(self, key: str) -> dict[str, Any]:
        trial = trial_folder(self.folder, key)
        stamp = _stamp(trial.status_file)
        if stamp is None:
            return {}
        if key not in self._facts or self._facts[key][0] != stamp:
            self._facts[key] = (stamp, trial.status())
        return self._facts[key][1]

    def _heartbeat(self, key: str, now: float) -> float | None:
        """The age of its claim, or of its status where it was started without a sweep's scheduler."""
        for file in (claim_file(self.folder, key), trial_folder(self.folder, key).status_file):
            with suppress(FileNotFoundError):
                return max(0.0, now - file.stat().st_mtime)
        return None


def status(folder: Path) -> list[TrialStatus]:
    """A row for each trial of the sweep, in the manifest's order; raises `UserError` where there is no sweep."""
    return list(Reader(folder).read().trials)


def _judged_by(spec: Path) -> Metric:
    _, raw = read_mapping(spec)
    if "metric" in raw:
        return read_metric(raw["metric"])
    rule = read_benchmark(raw["benchmark"]).metric if "benchmark" in raw else None
    return rule or CHECKPOINT_METRIC


def _rate(facts: Mapping[str, Any], now: float) -> float | None:
    """By the wall clock, which scoring counts for too: what is left is to be waited for by it."""
    session = facts.get("session") or {"began": now, "images": 0}
    seconds, shown = now - session["began"], facts.get("images", 0) - session["images"]
    return shown / seconds if shown > 0 and seconds > 0 else None


def _stamp(path: Path) -> object:
    """Changes when the file does: it is renamed into place, so its inode is another; None where it is missing."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts.st_mtime_ns, facts.st_ino

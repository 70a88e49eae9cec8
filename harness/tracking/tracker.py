"""One Weights & Biases run for one trial. The trial's own files are the truth; W&B mirrors them.

A row of `history.jsonl` is one row of the W&B history, and its place there is the row's step. So a trial that was
killed can tell W&B everything again, and nothing comes twice: online, the rows that the server has are left out;
offline, there is always exactly one run folder, which holds the whole history.

W&B never stops a training, and never holds up its end: whatever it raises, and whatever it waits for too long, becomes
one sentence on stderr, and the data stay in the trial's folder, to be pushed by `ganbench sync`.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganbench.errors import UserError
from harness.config import TrackingConfig
from harness.store import State, TrialFolder
from harness.tracking import server as wandb_server
from harness.tracking.client import hush_threads, join_service, leave_service, settings, within
from harness.tracking.journal import Alert, Identity, Journal

if TYPE_CHECKING:
    import wandb

Mode = Literal["online", "offline", "disabled"]

INIT_SECONDS = 30.0
"""How long a run waits for the server to accept it before it goes offline."""

FINISH_SECONDS = 60.0
"""How long W&B may hold up the end of a trial; its own default is for ever."""

UPLOAD_SHARE = 0.8
"""Share of `FINISH_SECONDS` after which W&B itself stops uploading: cleaner than to be stopped."""

CONFIRM_SECONDS = 5.0
"""How long the server may take to count the rows that it was sent."""

INTERRUPT_SECONDS = 2.0
"""The same for a trial that was interrupted: it says the rest when it is continued."""

COUNTERS = ("d_steps", "g_steps", "seconds")
"""Columns of the history that W&B has as `spent/…`."""


def resolve_mode(tracking: TrackingConfig) -> Mode:
    """What `tracking.mode` means here and now.

    `auto` is online when there is a login and the server accepts it at once, else offline; an own
    choice made through `WANDB_MODE` or `wandb offline` is respected. Raises `UserError` when `online` is asked for
    without a login.
    """
    if tracking.mode in ("offline", "disabled"):
        return tracking.mode
    if tracking.mode == "online":
        if not wandb_server.logged_in():
            raise UserError(
                "tracking.mode is online but there is no W&B login: run `wandb login`, set WANDB_API_KEY, "
                "or choose auto or offline"
            )
        return "online"
    chosen = wandb_server.client_settings().mode
    if chosen == "disabled":
        return "disabled"
    if chosen in ("offline", "dryrun") or not wandb_server.logged_in():
        return "offline"
    try:
        wandb_server.probe()
    except Exception as error:
        _warn("the W&B server cannot be reached or refuses the login, so this goes offline", error)
        return "offline"
    return "online"


def wandb_row(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """One row of `history.jsonl` as W&B has it, without the picture; None for a row that is not mirrored."""
    if row["kind"] == "train":
        names = {name: f"spent/{name}" if name in COUNTERS else name for name in row if name != "kind"}
        return {new: row[old] for old, new in names.items()}
    if row["kind"] == "scores":
        scores = {f"scores/{name}": score["value"] for name, score in row["scores"].items()}
        return {"images": row["images"], **{name: value for name, value in scores.items() if value is not None}}
    return None


class Tracker:
    """The W&B run of one trial; every method does nothing when tracking is disabled."""

    def __init__(
        self, run: wandb.Run | None, mode: Mode, journal: Journal | None = None, *, owns_service: bool = False
    ) -> None:
        self._run = run
        self._mode = mode
        self._journal = journal
        self._owns_service = owns_service
        self._url = run.url if run and mode == "online" else None
        self._first_step = run.starting_step if run else 0
        self._rows = 0
        self._warned = False

    @classmethod
    def start(
        cls,
        tracking: TrackingConfig,
        *,
        folder: Path,
        run_id: str,
        name: str,
        config: Mapping[str, Any],
        tags: Sequence[str],
        job_type: str = "train",
    ) -> Tracker:
        """Open the run, or continue the one called `run_id`; `replay` then tells it what earlier attempts did.

        Args:
            tracking: Mode, project, entity, group and privacy.
            folder: The trial's folder; W&B writes to its `wandb/`.
            run_id: The same for the same trial, so that an interrupted one continues. A W&B agent's own id wins.
            name: What people read in the list of runs.
            config: The resolved config, nested.
            tags: For filtering, such as the variant and the dataset.
            job_type: What kind of work this is, e.g. "train".

        Raises:
            UserError: as `resolve_mode`.
        """
        mode = resolve_mode(tracking)
        if mode == "disabled":
            return cls(None, "disabled")
        identity = Identity(
            run_id=run_id,
            project=tracking.project,
            entity=tracking.entity,
            group=tracking.group,
            private=tracking.private,
            name=name,
            job_type=job_type,
            tags=list(tags),
            config=dict(config),
        )
        agents = bool(os.environ.get("WANDB_SWEEP_ID"))
        attempts: tuple[Mode, ...] = ("online", "offline") if mode == "online" else ("offline",)
        if mode == "online":
            try:
                wandb_server.probe()  # W&B itself would try for `INIT_SECONDS`, in each trial of a sweep
            except Exception as error:
                _warn(f"no online W&B run could be opened for {folder}", error)
                attempts = ("offline",)
        for attempt in attempts:
            tracker = cls._open(identity, folder, attempt, agents=agents, patience=FINISH_SECONDS)
            if tracker is not None:
                tracker.summarize({"status": "running", "reason": None})
                return tracker
        return cls(None, "disabled")

    @classmethod
    def deliver(
        cls, folder: Path, history: Iterable[Mapping[str, Any]], state: State, reason: str | None, *, seconds: float
    ) -> str | None:
        """Send what the server lacks of a trial, from the trial's files alone; its page, or None if it did not arrive.

        Raises:
            UserError: there is no login.
            Exception: the server does not take us.
        """
        journal = Journal.read(folder)
        if journal is None or resolve_mode(TrackingConfig(mode="online")) != "online":
            return None
        wandb_server.probe()
        tracker = cls._open(journal.identity, folder, "online", agents=False, patience=seconds)
        if tracker is None:
            return None
        tracker.replay(history)
        tracker.finish(state, reason, seconds=seconds)
        return None if tracker.sync_command else tracker.url

    @classmethod
    def _open(cls, identity: Identity, folder: Path, mode: Mode, *, agents: bool, patience: float) -> Tracker | None:
        import wandb

        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        before = Journal.read(folder)
        journal = Journal(folder, identity)
        if before:
            journal.summary, journal.alerts, journal.shared = before.summary, before.alerts, before.may_have_arrived()
        _await_a_new_name(journal)
        # an agent sets these, and W&B warns about each that is given again
        owned: dict[str, Any] = {"project": identity.project, "entity": identity.entity, "id": identity.run_id}
        if mode == "online":
            owned["resume"] = "allow"
        owns_service = join_service()
        hush_threads()
        try:
            run = wandb.init(
                dir=folder,
                name=identity.name,
                group=identity.group,
                job_type=identity.job_type,
                tags=identity.tags,
                config=identity.config,
                mode=mode,
                settings=settings(
                    private=identity.private,
                    init_seconds=INIT_SECONDS,
                    finish_seconds=patience * UPLOAD_SHARE,
                ),
                **({} if agents else owned),
            )
            run.define_metric("images")
            run.define_metric("*", step_metric="images", step_sync=True)
        except Exception as error:
            _warn(f"no {mode} W&B run could be opened for {folder}", error)
            if owns_service:
                leave_service()  # else this process goes on holding the run's id
            return None
        if agents:
            identity = replace(identity, run_id=run.id, project=run.project, entity=run.entity)
        if mode == "online":
            identity = replace(identity, entity=run.entity)
        journal.identity, journal.run_dir = identity, Path(run.sync_dir).name
        tracker = cls(run, mode, journal, owns_service=owns_service)
        tracker._keep()
        return tracker

    @property
    def mode(self) -> Mode:
        """Where the run goes; "disabled" also when W&B could not be started."""
        return self._mode

    @property
    def url(self) -> str | None:
        """The run's page, for an online run."""
        return self._url

    @property
    def sync_command(self) -> str | None:
        """What pushes this run's data, when they have not gone to the server by themselves."""
        if self._journal is None:
            return None
        if self._journal.is_unsent:
            return shlex.join(["ganbench", "sync", str(self._journal.path)])
        if self._mode == "offline":
            return shlex.join(["wandb", "sync", str(self._journal.path / "wandb" / self._journal.run_dir)])
        return None

    def replay(self, history: Iterable[Mapping[str, Any]]) -> None:
        """Tell the run what earlier attempts at the trial did, and drop their folders; before anything is logged.

        Args:
            history: The rows of `history.jsonl`, of which the server may have some, all, or more.
        """
        if self._journal is None:
            return
        for row in history:
            self.log(row)
        for alert in self._journal.alerts:
            if self._journal.has_reached(alert):
                alert.run_dir = ""  # the folder that shows it is dropped below
            else:
                alert.run_dir, alert.lost = self._journal.run_dir, False
                self._alert(alert.title, alert.text)
        summary = dict(self._journal.summary)
        self._try(lambda run: run.summary.update(summary))
        self._keep()
        self._journal.drop_earlier_attempts()

    def log(self, row: Mapping[str, Any]) -> None:
        """One row of `history.jsonl`, with the picture of its look, if it has one."""
        values = wandb_row(row)
        if values is None or self._journal is None:
            return
        step, self._rows = self._rows, self._rows + 1
        picture = TrialFolder(self._journal.path).sample_file(row["images"])
        if row["kind"] != "scores" or not picture.exists():
            if step >= self._first_step:
                self._try(lambda run: run.log(values, step=step, commit=True))
            return
        if step >= self._first_step:
            import wandb

            self._try(lambda run: run.log({**values, "samples": wandb.Image(str(picture))}, step=step, commit=True))
        else:
            self._try(lambda run: _upload_again(run, picture, step))

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Set what the table of runs shows, with flat names such as "best/fid".

        The best value is the caller's to keep: W&B's own running minimum starts anew with every resume.
        """
        if self._journal:
            self._journal.summary.update(values)
            self._keep()
        self._try(lambda run: run.summary.update(dict(values)))

    def alert(self, title: str, text: str) -> None:
        """Mail or message the run's owner, once in the trial's life; an offline run does it when it is synced."""
        if self._journal and not self._journal.knows(title, text):
            self._alert(title, text)  # before it is noted: killed in between, it was hardly sent
            self._journal.alerts.append(Alert(title, text, self._journal.run_dir))
            self._keep()

    def _alert(self, title: str, text: str) -> None:
        self._try(lambda run: run.alert(title=title, text=text, level="ERROR"))

    def finish(self, state: State, reason: str | None = None, *, seconds: float | None = None) -> None:
        """End the run, and wait for its upload; later calls of any method do nothing.

        Args:
            state: How the trial ended.
            reason: Why, where there is something to say.
            seconds: The most that is waited: `FINISH_SECONDS`, or `INTERRUPT_SECONDS` for an interrupted trial.

        What W&B's users see: done and pruned are Finished; failed and diverged are Failed, and the summary's `status`
        tells them apart; interrupted is Preempted, which means that it will be continued, and which has a W&B sweep
        hand it to an agent again.
        """
        if self._run is None:
            return
        self.summarize({"status": state, "reason": reason})
        interrupted = state == "interrupted"
        seconds = seconds or (INTERRUPT_SECONDS if interrupted else FINISH_SECONDS)
        deadline = time.monotonic() + seconds
        if interrupted:
            self._try(lambda run: run.mark_preempting())
        exit_code = 0 if state in ("done", "pruned") else 1
        finish = partial(self._run.finish, exit_code=exit_code)
        well = False
        try:
            within(deadline, finish)
            if self._mode == "online":
                self._confirm(deadline)
            elif self._journal and not self._warned:
                self._journal.whole = True
                self._keep()
            well = True
        except Exception as error:
            self._give_up(error)
        finally:
            self._run = None
            if self._owns_service:
                leave_service(by_force=not well)

    def _confirm(self, deadline: float) -> None:
        """Ask the server how much of the history it has: W&B ends well, too, after its upload was refused."""
        assert self._journal
        identity = self._journal.identity
        deadline = min(deadline, time.monotonic() + CONFIRM_SECONDS)
        received: int | None = 0
        while received is not None and received < self._rows:
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError(f"the server has {received} of {self._rows} rows")
            received = wandb_server.rows_received(
                entity=identity.entity, project=identity.project, run_id=identity.run_id, seconds=left
            )
            time.sleep(0 if received is None or received >= self._rows else CONFIRM_SECONDS / 20)
        self._journal.arrived = True
        self._keep()

    def _give_up(self, error: Exception) -> None:
        assert self._journal
        for alert in self._journal.alerts:
            alert.lost |= alert.run_dir == self._journal.run_dir
        self._keep()
        if self._mode == "offline":
            self._complain(error)
            return
        _warn(f"W&B did not take everything; push it later with `{self.sync_command}`", error)

    def _keep(self) -> None:
        try:
            if self._journal:
                self._journal.write()
        except OSError as error:
            self._complain(error)

    def _try(self, action: Callable[[wandb.Run], object]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _warn("W&B failed, the training goes on", error)


def _upload_again(run: wandb.Run, picture: Path, step: int) -> None:
    """Send the picture of a row that the server has: it travels apart from its row, and may not have arrived."""
    media = Path(run.dir) / "media" / "images"
    media.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256(picture.read_bytes()).hexdigest()[:20]
    copy = shutil.copy(picture, media / f"samples_{step}_{content}.png")
    run.save(copy, base_path=run.dir, policy="now")


def _await_a_new_name(journal: Journal) -> None:
    """W&B names a run's folder by the second: a second one in the same second would be written into the first."""
    names = {path.name.removeprefix("offline-") for path in journal.attempts()}
    while time.strftime(f"run-%Y%m%d_%H%M%S-{journal.identity.run_id}") in names:
        time.sleep(0.05)


def _warn(sentence: str, error: Exception) -> None:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    print(f"ganbench: {sentence} ({reason})", file=sys.stderr)

"""One trial, from its config to its scores."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ganbench.errors import UserError
from harness import data
from harness.config import TrackingConfig, TrialConfig, trial_id
from harness.scoring.evaluation import Evaluation
from harness.store import TrialFolder
from harness.tracking.tracker import Tracker
from harness.trial import checkpoints
from harness.trial.endings import record_end
from harness.trial.exhaustion import scoring_exhausted
from harness.trial.game import follow, new_sampler, train
from harness.trial.interruption import Interruption
from harness.trial.ranks import Ranks
from harness.trial.trainer import lean_trainer
from harness.trial.walk import Progress, Prune, Walk

CHECKPOINT_SECONDS = 60.0
"""Seconds of training, at most, that a killed trial loses: looks may be far apart."""


def run_trial(
    config: TrialConfig,
    path: Path,
    *,
    tracking: TrackingConfig,
    progress: Progress = lambda _: None,
    device: str = "auto",
    label: str | None = None,
    prune: Prune | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> dict[str, Any]:
    """Train and score one trial in `path`; returns what `scores.json` then holds, or {} in a process beside the first.

    A trial that is done is not trained again; any other continues from its last checkpoint that is whole. How it ends
    is recorded in `status.json` (and W&B) before the error is raised.

    The first Ctrl-C or SIGTERM ends the trial at the next place from which it can continue, with a checkpoint, and a
    second one at once; they raise `KeyboardInterrupt` and `SystemExit(143)`.

    Args:
        config: the trial.
        path: its folder; no other process may be at it.
        tracking: where it is mirrored to.
        progress: hears how far it is.
        device: "auto", "cpu" or "cuda".
        label: its name in W&B.
        prune: asked at each look between the first and the last.
        checkpoint_seconds: a checkpoint is written at the latest after so long; it changes no result.

    Raises:
        UserError: the folder holds another trial, or the data, the networks and the metrics do not fit each other;
            nothing has been written then.
        DivergedError: state "diverged".
        PrunedError: state "pruned".
    """
    folder = TrialFolder(path)
    folder.check(config)
    done = folder.scores()
    if folder.status().get("state") == "done" and done is not None:
        return done
    if config.trainer.processes > 1 and lean_trainer(config=config.trainer, device=device).global_rank > 0:
        follow(config, device)
        return {}
    with Interruption() as interruption:
        check_device(device)
        dataset = data.load_for(config.data)
        evaluation = Evaluation(dataset, config.evaluation, labelled=config.gan.condition != "none")
        evaluation.judge("selection")
        walk = Walk(
            config,
            folder,
            evaluation,
            progress=progress,
            interruption=interruption,
            prune=prune,
            checkpoint_seconds=checkpoint_seconds,
        )
        trial = _Trial(walk, device)
        tracker = begin(walk, tracking, label)
        try:
            walk.start(tracker)
            scores = trial.run()
        except BaseException as error:
            record_end(error, config, folder, tracker)
            raise
        tracker.finish("done")
        return scores


def check_device(device: str) -> None:
    """Raise `UserError` for a GPU that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device can be used on this machine: choose --device cpu or auto")


def begin(walk: Walk, tracking: TrackingConfig, label: str | None) -> Tracker:
    """Take a trial's folder for this attempt, and open or continue its mirror; raises `UserError` as `claim` does."""
    folder, config = walk.folder, walk.config
    folder.claim(config)
    folder.sweep_out()
    folder.error_file.unlink(missing_ok=True)
    return Tracker.start(
        tracking,
        folder=folder.path,
        run_id=hashlib.blake2b(f"{folder.path.resolve()}/{trial_id(config)}".encode(), digest_size=6).hexdigest(),
        name=label or f"{config.gan.name} seed {config.seed}",
        config=config.model_dump(mode="json"),
        tags=[config.gan.name, config.data.name],
    )


class _Trial(pl.Callback):
    """The trial as a Lightning callback: its walk goes on after each call of `training_step`."""

    def __init__(self, walk: Walk, device: str) -> None:
        self.walk = walk
        self.device = device
        self.interruption = walk.interruption
        self.trainer = lean_trainer(config=walk.config.trainer, callbacks=[self], device=device)
        self.sampler = new_sampler(walk.config, walk.dataset, self.trainer, walk.gan.schedule)

    def run(self) -> dict[str, Any]:
        """From wherever it stands to its scores."""
        walk = self.walk
        try:
            with self.interruption.deferred():
                walk.resume(checkpoints.newest(walk.folder))
                self.interruption.leave()
                train(self.trainer, walk.gan, self.sampler, walk.config, self.device, self.interruption)
            with self.interruption.immediate():
                return walk.finish()
        except torch.OutOfMemoryError:  # the training's own is a `UserError` by now
            raise scoring_exhausted(walk.config) from None

    # --- Lightning's calls

    def on_train_start(self, *_: object) -> None:
        """Lightning has put its own handlers before ours, and would end the training without a checkpoint."""
        self.interruption.listen()

    def on_train_batch_end(self, *_: object) -> None:
        """After each chunk of rounds: read the losses now and then, look at the samples at each mark."""
        if self.walk.flush_is_due:
            self.walk.flush()
        if self.walk.at_mark:
            self.walk.look()
            if isinstance(self.trainer.strategy, Ranks):
                self.trainer.strategy.meet()
        elif self.interruption.signal or self.walk.save_is_due:
            self.walk.save()
        self.interruption.leave()

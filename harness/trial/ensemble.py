"""Trials that differ by their seed alone, trained as one ensemble: one process, one batch of networks, K trials.

Each has its own folder, looks, checkpoints, scores and W&B run, as if it were trained alone. One that diverges, is
pruned or fails leaves the others to go on. All of them save at the same places, so that a killed ensemble continues
from the newest place that every member has reached, exactly as it would have gone on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from gans.conditions import parted
from gans.ensemble import Ensemble
from harness import data
from harness.config import TrackingConfig, TrialConfig, seedless
from harness.data.sampler import Batches
from harness.precheck import check_ensemble
from harness.scoring.evaluation import Evaluation
from harness.store import TrialFolder
from harness.tracking.tracker import Tracker
from harness.trial import checkpoints
from harness.trial.endings import record_end
from harness.trial.experiment import CHECKPOINT_SECONDS, begin, check_device
from harness.trial.game import new_sampler, train
from harness.trial.interruption import Interruption
from harness.trial.trainer import lean_trainer
from harness.trial.walk import Prune, Walk


@dataclass(frozen=True)
class Member:
    """One trial of an ensemble."""

    config: TrialConfig
    path: Path
    """Its folder; no other process may be at it."""
    label: str | None = None
    """Its name in W&B."""
    prune: Prune | None = None
    """Asked at each look between the first and the last."""


def run_ensemble(
    members: Sequence[Member],
    *,
    tracking: TrackingConfig,
    progress: Callable[[int, Mapping[str, Any]], None] = lambda *_: None,
    device: str = "auto",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Train and score trials that differ by their seed alone, together, as `run_trial` does one.

    How each ends is recorded in its `status.json` (and W&B); only what ends all of them is raised. Signals are
    answered as by `run_trial`.

    Args:
        members: those that are done already are left out.
        tracking: where they are mirrored to.
        progress: hears how far each is: its place in `members`, and what `run_trial` reports.
        device: "auto", "cpu" or "cuda".
        checkpoint_seconds: as `run_trial`'s.

    Raises:
        UserError: a folder that holds another trial; data, networks and metrics that do not fit each other; a game
            that cannot be played as an ensemble. Nothing has been written then.
        ValueError: trials that differ by more than their seed.
    """
    if len({seedless(member.config) for member in members}) != 1:
        raise ValueError("the trials of an ensemble differ by their seed alone")
    for member in members:
        TrialFolder(member.path).check(member.config)
    pending = [place for place, member in enumerate(members) if not _is_done(TrialFolder(member.path))]
    if not pending:
        return
    config = members[pending[0]].config
    check_ensemble(config)
    with Interruption() as interruption:
        check_device(device)
        dataset = data.load_for(config.data)
        evaluation = Evaluation(dataset, config.evaluation)
        evaluation.judge("selection")
        walks = [
            Walk(
                members[place].config,
                TrialFolder(members[place].path),
                evaluation,
                progress=partial(progress, place),
                interruption=interruption,
                prune=members[place].prune,
                checkpoint_seconds=checkpoint_seconds,
            )
            for place in pending
        ]
        Ensemble([walk.gan for walk in walks])  # refuses what cannot be one, before anything is written
        trackers = [begin(walk, tracking, members[place].label) for place, walk in zip(pending, walks, strict=True)]
        seats = [_Seat(walk, tracker) for walk, tracker in zip(walks, trackers, strict=True)]
        try:
            for seat in seats:
                seat.walk.start(seat.tracker)
            _Together(seats, device, interruption).run()
        except BaseException as error:
            for seat in seats:
                seat.end(error)
            raise


def _is_done(folder: TrialFolder) -> bool:
    return folder.status().get("state") == "done" and folder.scores() is not None


@dataclass
class _Seat:
    """A member at its place in the ensemble, until it ends."""

    walk: Walk
    tracker: Tracker
    ended: bool = False
    error: Exception | None = None
    """Why it leaves, as soon as the others' checkpoints stand where it does."""

    def end(self, error: BaseException | None) -> None:
        """Record how it ends, once; None: it is done."""
        if self.ended:
            return
        self.ended = True
        if error is None:
            self.tracker.finish("done")
        else:
            record_end(error, self.walk.config, self.walk.folder, self.tracker)


class _RegroupError(Exception):
    """Somebody has left: the others go on as a smaller ensemble."""


class _Together(pl.Callback):
    """The ensemble as a Lightning callback: the members' walks go on after each call of `training_step`."""

    ensemble: Ensemble

    def __init__(self, seats: Sequence[_Seat], device: str, interruption: Interruption) -> None:
        self.all = seats
        self.seats: list[_Seat] = []
        self.device = device
        self.interruption = interruption

    def run(self) -> None:
        """From wherever the members stand to their scores."""
        with self.interruption.deferred():
            for group in self._aligned():
                self.seats = [seat for seat, _ in group]
                for seat, state in group:
                    seat.walk.ensemble = len(group)
                    self._do(seat, partial(Walk.resume, state=state))
                self._dismiss()
                self.interruption.leave()
                while self.seats and not self.seats[0].walk.is_over:
                    self._play()
        with self.interruption.immediate():
            for seat in self.all:
                if not seat.ended:
                    self._do(seat, Walk.finish)
                    seat.end(seat.error)

    def _aligned(self) -> Iterator[list[tuple[_Seat, dict[str, Any] | None]]]:
        """Members that stand at one place of the game, with their checkpoints: all, unless one has lost its own."""
        states = checkpoints.newest_common([seat.walk.folder for seat in self.all])
        if states is None:
            states = [checkpoints.newest(seat.walk.folder) for seat in self.all]
        pairs = sorted(zip(self.all, states, strict=True), key=_rounds)
        for _, group in groupby(pairs, key=_rounds):
            yield list(group)

    def _play(self) -> None:
        walks = [seat.walk for seat in self.seats]
        config = walks[0].config
        self.ensemble = Ensemble([walk.gan for walk in walks])
        trainer = lean_trainer(config=config.trainer, callbacks=[self], device=self.device)
        batches = Stacked([new_sampler(walk.config, walk.dataset, trainer, walk.gan.schedule) for walk in walks])
        try:
            train(trainer, self.ensemble, batches, config, self.device, self.interruption)
        except _RegroupError:
            self._dismiss()

    # --- Lightning's calls

    def on_train_start(self, *_: object) -> None:
        """Lightning has put its own handlers before ours, and would end the training without a checkpoint."""
        self.interruption.listen()

    def on_train_batch_end(self, *_: object) -> None:
        """After each chunk of rounds: what each member's walk has due there. All of them save, or none does."""
        walk = self.seats[0].walk
        looks, flushes = walk.at_mark, walk.flush_is_due
        saves = bool(self.interruption.signal) or any(seat.walk.save_is_due for seat in self.seats)
        if not (flushes or saves):
            return
        self.ensemble.hand_out()
        self.ensemble.hand_out_state()
        with self._all_saved():
            if flushes:
                self._do_all(Walk.flush)
            if looks:
                self._do_all(Walk.look)
            elif saves or any(seat.error for seat in self.seats):
                self._do_all(Walk.save)
        self.interruption.leave()
        if any(seat.error for seat in self.seats):
            raise _RegroupError

    # --- the members

    def _do_all(self, action: Callable[[Walk], object]) -> None:
        for seat in self.seats:
            self._do(seat, action)

    def _do(self, seat: _Seat, action: Callable[[Walk], object]) -> None:
        """Nothing that befalls one member is the others' business."""
        if seat.error is None:
            try:
                action(seat.walk)
            except Exception as error:
                seat.error = error

    def _dismiss(self) -> None:
        """Record the end of those who leave: only now, as a kill before would have to find them at the same place."""
        for seat in self.seats:
            if seat.error is not None:
                seat.end(seat.error)
        self.seats = [seat for seat in self.seats if not seat.ended]

    @contextmanager
    def _all_saved(self) -> Iterator[None]:
        """An interruption in the middle of the members' turns leaves nobody a checkpoint behind."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            rounds = self.ensemble.counters.g_steps
            for seat in self.seats:
                if seat.walk.saved_rounds != rounds:
                    self._do(seat, Walk.save)
            raise


class Stacked:
    """Every member's own batches, as the ensemble takes them."""

    def __init__(self, samplers: Sequence[Batches]) -> None:
        self._samplers = samplers

    def batch(self, step: int) -> torch.Tensor:
        """(K, B, …) real samples of discriminator step `step`."""
        return torch.stack([parted(sampler.batch(step))[0] for sampler in self._samplers])


def _rounds(pair: tuple[_Seat, Mapping[str, Any] | None]) -> int:
    return checkpoints.rounds_played(pair[1])

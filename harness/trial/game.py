"""What every process of a trial needs to play it: the networks, the real batches, and the rounds of the looks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch

import gans
from ganbench.errors import UserError
from ganbench.seeds import derive
from gans.classes import Classes
from gans.growth import Schedule, full_after
from gans.shards import Shard
from gans.speed import Speed
from harness import data
from harness.config import TrialConfig
from harness.data import Dataset
from harness.data.sampler import Batches, RoundLoader, Sampler, StagedSampler, placed
from harness.precheck import check_classes
from harness.trial.exhaustion import exhausted, free
from harness.trial.interruption import Interruption
from harness.trial.ranks import Join, Ranks, gathered, ignore_signals
from harness.trial.rounds import chunks, rounds_per_call
from harness.trial.trainer import lean_trainer


def classes_of(config: TrialConfig, dataset: Dataset) -> Classes | None:
    """The classes of the training data, where the game has a condition; `UserError` where they are missing."""
    check_classes(config, dataset)
    if config.gan.condition == "none" or dataset.labels is None:
        return None
    return Classes.of(dataset.labels["train"])


def new_gan(config: TrialConfig, shape: tuple[int, ...], classes: Classes | None = None) -> gans.GAN:
    """The untrained game; raises `UserError` where no network fits, or where the budget ends before one is grown."""
    recipe = config.gan.recipe()
    gan = gans.from_recipe(
        config.gan.name,
        recipe,
        shape=shape,
        total_images=config.images,
        seed=derive(config.seed, "training"),
        classes=classes,
    )
    if gan.grows:
        full_after(recipe, total_images=config.images, final_size=shape[-1])
    if not gan.schedule.rounds(config.images):
        raise UserError(f"images={config.images} pays for no round of the game, as its first shows more: raise images")
    asked = config.trainer
    if gan.grows and asked.compile != "none":
        raise UserError(
            f"trainer.compile={asked.compile} does not fit networks that grow, as they would be compiled anew at each "
            "step of their fading: choose trainer.compile=none or another gan.network"
        )
    gan.speed = Speed(compile=asked.compile, fused=asked.fused, shared_pass=asked.shared_pass)
    if len(shape) == 3 and asked.channels_last:
        gan.to(memory_format=torch.channels_last)
    return gan


def new_sampler(config: TrialConfig, dataset: Dataset, trainer: pl.Trainer, schedule: Schedule) -> Batches:
    """The real images as they are shown: this process's rows of each batch."""
    device = trainer.strategy.root_device
    classes = classes_of(config, dataset)
    sampler = partial(
        Sampler,
        placed(dataset.train, device, config.trainer.data_on_device),
        channels_last=config.trainer.channels_last,
        shard=Shard(trainer.global_rank, trainer.world_size),
        flip=config.data.flip,
        device=device,
        labels=classes.places_of(dataset.labels["train"]) if classes and dataset.labels else None,
    )
    seed = derive(config.seed, "data")
    first, *later = schedule.batches(config.images)
    whole = sampler(batch_size=first[1], seed=seed)
    if not later:
        return whole
    own = [(step, sampler(batch_size=size, seed=derive(seed, "from step", step))) for step, size in later]
    return StagedSampler([(0, whole), *own])


def look_rounds(config: TrialConfig, schedule: Schedule) -> list[int]:
    """After how many rounds the samples are looked at, from 0 to the budget's end."""
    total = schedule.rounds(config.images)
    every = config.evaluation.every or config.images
    marks = (schedule.rounds(images - 1) + 1 for images in range(every, config.images, every))
    return sorted({0, *(mark for mark in marks if mark < total), total})


def train(
    trainer: pl.Trainer, gan: gans.GAN, sampler: Batches, config: TrialConfig, device: str, interruption: Interruption
) -> None:
    """Play from where the game stands to the last look, as rank 0 of as many processes as the config asks for."""
    ranks, loader = trainer.strategy, _remaining(gan, sampler, config)
    with ExitStack() as stack:
        if isinstance(ranks, Ranks) and (loader or ranks.awaited):
            with interruption.immediate():  # nothing has changed since the last checkpoint
                stack.enter_context(gathered(ranks, follow, config, device))
                ranks.share(gan.training_state())
        if loader:
            _fit(trainer, gan, loader, config, device)


def follow(config: TrialConfig, device: str, join: Join | None = None) -> None:
    """Play as another rank, from where rank 0 stands to the last look. Writes nothing.

    Args:
        config: the trial.
        device: "auto", "cpu" or "cuda".
        join: how the others are joined; None: as the environment says, with this machine's other ranks.
    """
    dataset = data.load_for(config.data)
    gan = new_gan(config, dataset.shape, classes_of(config, dataset))
    trainer = lean_trainer(
        config=config.trainer, callbacks=[_Follower(look_rounds(config, gan.schedule))], device=device
    )
    sampler = new_sampler(config, dataset, trainer, gan.schedule)
    ranks = trainer.strategy
    assert isinstance(ranks, Ranks)
    with ExitStack() as stack:
        if join:
            join(ranks)
        else:
            stack.enter_context(gathered(ranks, follow, config, device))
        gan.load_training_state(ranks.share(None))
        if loader := _remaining(gan, sampler, config):
            _fit(trainer, gan, loader, config, device)


class _Follower(pl.Callback):
    def __init__(self, marks: Sequence[int]) -> None:
        self.marks = set(marks)

    def on_train_start(self, *_: object) -> None:
        ignore_signals()  # Lightning's handlers would speak to the other ranks at any moment

    def on_train_batch_end(self, trainer: pl.Trainer, gan: pl.LightningModule, *_: Any) -> None:
        """Nobody here reads the losses; at a look, wait for rank 0."""
        assert isinstance(gan, gans.GAN)
        assert isinstance(trainer.strategy, Ranks)
        gan.drain()
        if gan.counters.g_steps in self.marks:
            trainer.strategy.meet()


def _remaining(gan: gans.GAN, sampler: Batches, config: TrialConfig) -> RoundLoader | None:
    plan = list(chunks(gan.counters.g_steps, look_rounds(config, gan.schedule), rounds_per_call(gan.recipe, gan.shape)))
    return RoundLoader(sampler, n_critic=gan.recipe.n_critic, plan=plan) if plan else None


def _fit(trainer: pl.Trainer, gan: gans.GAN, loader: RoundLoader, config: TrialConfig, device: str) -> None:
    fits = True
    with warnings.catch_warnings():
        # Lightning advises more workers and logging intervals: the data is in memory, the logging ours
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        try:
            trainer.fit(gan, loader)
        except SystemExit as leave:  # what Lightning makes of Ctrl-C
            if isinstance(leave.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        except torch.OutOfMemoryError:  # without its traceback, which holds on to the tensors
            fits = False
    if not fits:
        free()
        raise exhausted(config, gan.shape, partial(new_gan, classes=gan.condition.classes), device)

"""What every process of a trial needs to play it: the networks, the real batches, and the rounds of the looks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import torch

import gans
from ganbench.seeds import derive
from gans.shards import Shard
from harness import data
from harness.config import TrialConfig
from harness.data import Dataset
from harness.data.sampler import RoundLoader, Sampler
from harness.interruption import Interruption
from harness.ranks import Join, Ranks, gathered, ignore_signals
from harness.rounds import chunks, rounds_per_call
from harness.trainer import lean_trainer


def new_gan(config: TrialConfig, shape: tuple[int, ...]) -> gans.GAN:
    """The untrained game."""
    gan = gans.from_recipe(
        config.gan.name,
        config.gan.recipe(),
        shape=shape,
        total_images=config.images,
        seed=derive(config.seed, "training"),
    )
    if len(shape) == 3:
        gan.to(memory_format=torch.channels_last)
    return gan


def new_sampler(config: TrialConfig, dataset: Dataset, trainer: pl.Trainer) -> Sampler:
    """The real images as they are shown: this process's rows of each batch."""
    return Sampler(
        dataset.train,
        batch_size=config.gan.batch_size,
        seed=derive(config.seed, "data"),
        channels_last=True,
        shard=Shard(trainer.global_rank, trainer.world_size),
    )


def look_rounds(config: TrialConfig) -> list[int]:
    """After how many rounds the samples are looked at, from 0 to the budget's end."""
    per_round = config.gan.batch_size * config.gan.n_critic
    total = config.images // per_round
    every = config.evaluation.every or config.images
    marks = (-(-images // per_round) for images in range(every, config.images, every))
    return sorted({0, *(mark for mark in marks if mark < total), total})


def train(
    trainer: pl.Trainer, gan: gans.GAN, sampler: Sampler, config: TrialConfig, device: str, interruption: Interruption
) -> None:
    """Play from where the game stands to the last look, as rank 0 of as many processes as the config asks for."""
    ranks, loader = trainer.strategy, _remaining(gan, sampler, config)
    with ExitStack() as stack:
        if isinstance(ranks, Ranks) and (loader or ranks.awaited):
            with interruption.immediate():  # nothing has changed since the last checkpoint
                stack.enter_context(gathered(ranks, follow, config, device))
                ranks.share(gan.training_state())
        if loader:
            _fit(trainer, gan, loader)


def follow(config: TrialConfig, device: str, join: Join | None = None) -> None:
    """Play as another rank, from where rank 0 stands to the last look. Writes nothing.

    Args:
        config: the trial.
        device: "auto", "cpu" or "cuda".
        join: how the others are joined; None: as the environment says, with this machine's other ranks.
    """
    dataset = data.load(config.data.name, size=config.data.size, n=config.data.n, seed=config.data.seed)
    gan = new_gan(config, dataset.shape)
    trainer = lean_trainer(config=config.trainer, callbacks=[_Follower(look_rounds(config))], device=device)
    sampler = new_sampler(config, dataset, trainer)
    ranks = trainer.strategy
    assert isinstance(ranks, Ranks)
    with ExitStack() as stack:
        if join:
            join(ranks)
        else:
            stack.enter_context(gathered(ranks, follow, config, device))
        gan.load_training_state(ranks.share(None))
        if loader := _remaining(gan, sampler, config):
            _fit(trainer, gan, loader)


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


def _remaining(gan: gans.GAN, sampler: Sampler, config: TrialConfig) -> RoundLoader | None:
    plan = list(chunks(gan.counters.g_steps, look_rounds(config), rounds_per_call(gan.recipe, gan.shape)))
    return RoundLoader(sampler, n_critic=gan.recipe.n_critic, plan=plan) if plan else None


def _fit(trainer: pl.Trainer, gan: gans.GAN, loader: RoundLoader) -> None:
    with warnings.catch_warnings():
        # Lightning advises more workers and logging intervals: the data is in memory, the logging ours
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        trainer.fit(gan, loader)

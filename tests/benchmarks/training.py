"""Speed of a trial's training beside a bare PyTorch loop that does the same arithmetic.

    python tests/benchmarks/training.py [--rounds N] [--repeats N]

Ours is the path of a trial without its evaluation and files: `gans.build`, `RoundLoader` over `chunks`,
`lean_trainer`, and the losses read every `FLUSH_ROUNDS` rounds. The bare loop has no Lightning and keeps no records,
but the same initial weights, batches, latents, optimisers and moving average: all weights must agree to the bit,
else the exit status is 1.

What is timed: every round, from just before its batches are drawn to the end of the generator's average (between
Lightning's `on_train_start` and `on_train_end`). What is not: building networks, optimisers and the trainer, and
Lightning's set-up of `fit`, some 10 ms a trial.

Lightning's import sets an environment variable that slows every step of Adam on a machine without a GPU. The bare loop
runs without it, as it would where Lightning is not imported; ours begins with it.

Both run in one process on one thread, once each per repeat and in alternating order. Rates are per CPU second, which
other processes disturb less than the clock; a ratio is ours over bare, paired within each repeat, and the median is
reported. `wall_ratio` is the same by the clock. On a quiet machine the two agree.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import softplus

import gans
from ganbench.seeds import derive
from gans.module import GAN
from harness import data
from harness.data.sampler import RoundLoader, Sampler
from harness.rounds import FLUSH_ROUNDS, chunks, rounds_per_call
from harness.trainer import lean_trainer

SEED = 0
LIGHTNINGS_VARIABLE = "PYTORCH_NVML_BASED_CUDA_CHECK"


@dataclass(frozen=True)
class Network:
    """One setting to be timed: options of the `nonsaturating` variant's common preset, and the data's shape."""

    name: str
    shape: tuple[int, ...]
    rounds: int
    target: float
    """The ratio that we hold ourselves to on a quiet machine."""
    options: Mapping[str, Any]

    def build(self) -> GAN:
        """A fresh module; always the same weights."""
        where = {"image_shape": self.shape} if len(self.shape) == 3 else {"data_dim": self.shape[0]}
        options = {"seed": derive(SEED, "training"), **self.options}
        gan: GAN = gans.build(
            "nonsaturating", total_images=self.rounds * self.options["batch_size"], **where, **options
        )
        if len(self.shape) == 3:
            gan.to(memory_format=torch.channels_last)
        return gan

    def sampler(self) -> Sampler:
        """Batches of 2,000 random images, or of the ring's points."""
        if len(self.shape) == 3:
            random = np.random.default_rng(derive(SEED, "images"))
            samples = random.integers(256, size=(2_000, *self.shape), dtype=np.uint8)
        else:
            samples = data.load("ring8").train
        return Sampler(samples, batch_size=self.options["batch_size"], seed=derive(SEED, "data"), channels_last=True)


NETWORKS = (
    Network("dcgan 32×32", (3, 32, 32), 10, 0.97, {"batch_size": 64, "width": 32}),
    Network("mlp 2-D", (2,), 300, 0.92, {"batch_size": 256, "width": 128, "depth": 3, "latent_dim": 64}),
)


@dataclass(frozen=True)
class Run:
    """Seconds of all rounds, and a digest of the weights after them."""

    cpu: float
    wall: float
    digest: str


@dataclass
class _Watch:
    cpu: float = field(default_factory=time.process_time)
    wall: float = field(default_factory=time.perf_counter)

    def stop(self, *players: nn.Module) -> Run:
        cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
        return Run(cpu, wall, _digest(*players))


def _digest(*players: nn.Module) -> str:
    digest = hashlib.sha256()
    for player in players:
        for name, value in player.state_dict().items():
            digest.update(name.encode())
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Trial(pl.Callback):
    """Reads the losses as a trial does, and times the rounds."""

    run: Run
    _watch: _Watch
    _flushed_rounds = 0

    def on_train_start(self, trainer: pl.Trainer, gan: pl.LightningModule) -> None:
        self._watch = _Watch()

    def on_train_batch_end(self, trainer: pl.Trainer, gan: GAN, *_: object) -> None:  # type: ignore[override]
        rounds = gan.counters.g_steps
        if rounds - self._flushed_rounds >= FLUSH_ROUNDS or trainer.is_last_batch:
            self._flushed_rounds = rounds
            for record in gan.drain():
                assert all(math.isfinite(float(value)) for value in record.values.values())

    def on_train_end(self, trainer: pl.Trainer, gan: GAN) -> None:  # type: ignore[override]
        self.run = self._watch.stop(gan.generator, gan.discriminator, gan.ema_generator)


def ours(network: Network) -> Run:
    """A trial's training: Lightning, records and all."""
    os.environ[LIGHTNINGS_VARIABLE] = "1"
    gan, sampler, trial = network.build(), network.sampler(), _Trial()
    plan = list(chunks(0, [network.rounds], rounds_per_call(gan.recipe, gan.shape)))
    loader = RoundLoader(sampler, n_critic=gan.recipe.n_critic, plan=plan)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", module="pytorch_lightning"
        )  # advice on loaders and logging that we do not use
        lean_trainer(callbacks=[trial], device="cpu").fit(gan, loader)
    return trial.run


def bare(network: Network) -> Run:
    """The same training as one would write it by hand for this one game."""
    os.environ.pop(LIGHTNINGS_VARIABLE, None)
    gan, sampler = network.build(), network.sampler()
    recipe, seed = gan.recipe, gan.seed
    generator, discriminator, ema = gan.generator.train(), gan.discriminator.train(), gan.ema_generator
    betas = (recipe.beta1, recipe.beta2)
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=recipe.lr_generator, betas=betas, fused=True)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=recipe.lr_discriminator, betas=betas, fused=True)
    weights: list[torch.Tensor] = list(generator.parameters())
    averages: list[torch.Tensor] = list(ema.parameters())
    buffers = list(zip(ema.buffers(), generator.buffers(), strict=True))

    def latent(purpose: str, step: int) -> torch.Tensor:
        stream = torch.Generator().manual_seed(derive(seed, purpose, step, 0))  # 0: the rank
        return torch.randn(recipe.batch_size, recipe.latent_dim, generator=stream)

    watch = _Watch()
    for step in range(network.rounds):
        real = sampler.batch(step)
        with torch.no_grad():
            fake = generator(latent("latent/discriminator", step))
        loss = softplus(-discriminator(real)).mean() + softplus(discriminator(fake)).mean()
        optimizer_d.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer_d.step()

        discriminator.requires_grad_(False)
        loss = softplus(-discriminator(generator(latent("latent/generator", step)))).mean()
        optimizer_g.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        discriminator.requires_grad_(True)
        optimizer_g.step()

        decay = min(recipe.ema_decay, (2 + step) / (11 + step))
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - decay)
            for average, current in buffers:
                average.copy_(current)
    return watch.stop(generator, discriminator, ema)


def compare(network: Network, repeats: int) -> dict[str, Any]:
    """`repeats` pairs of runs, after one that is not counted, as a JSON-able row."""
    players: tuple[Callable[[Network], Run], ...] = (ours, bare)
    short = replace(network, rounds=min(network.rounds, 3))
    for player in players:
        player(short)
    pairs: list[dict[str, Run]] = []
    for repeat in range(repeats):
        order = players if repeat % 2 else players[::-1]
        pairs.append({player.__name__: player(network) for player in order})
        cpu = pairs[-1]["bare"].cpu / pairs[-1]["ours"].cpu
        print(f"{network.name}: repeat {repeat + 1} of {repeats}, ratio {cpu:.3f}", file=sys.stderr)
    ratios = [pair["bare"].cpu / pair["ours"].cpu for pair in pairs]
    return {
        "name": network.name,
        "rounds": network.rounds,
        "repeats": repeats,
        "ours_rounds_per_s": network.rounds / statistics.median(pair["ours"].cpu for pair in pairs),
        "bare_rounds_per_s": network.rounds / statistics.median(pair["bare"].cpu for pair in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "wall_ratio": statistics.median(pair["bare"].wall / pair["ours"].wall for pair in pairs),
        "target": network.target,
        "identical": len({run.digest for pair in pairs for run in pair.values()}) == 1,
    }


def main() -> int:
    """Time all networks, print JSON; 1 when ours and the bare loop's weights differ, else 0."""
    parser = argparse.ArgumentParser(description="Lightning's training speed over a bare loop's, as JSON.")
    parser.add_argument("--rounds", type=int, help="rounds per run (default: 10 for images, 300 for points)")
    parser.add_argument("--repeats", type=int, default=21, help="pairs of runs per network (default: %(default)s)")
    options = parser.parse_args()
    if options.repeats < 1 or (options.rounds is not None and options.rounds < 1):
        parser.error("--rounds and --repeats are at least 1")
    torch.set_num_threads(1)
    chosen = [replace(network, rounds=options.rounds or network.rounds) for network in NETWORKS]
    report = {
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "pytorch-lightning", "numpy")},
        },
        "networks": [compare(network, options.repeats) for network in chosen],
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return 0 if all(row["identical"] for row in report["networks"]) else 1  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())

"""Speed of a trial's training beside a bare PyTorch loop, beside Mimicry's step, and of each option.

    python tests/benchmarks/training.py [--options] [--device cuda] [--networks NAMES] [--rounds N] [--repeats N]

Ours is the path of a trial without its evaluation and files: `new_gan`, `RoundLoader` over `chunks`, `lean_trainer`,
and the losses read every `FLUSH_ROUNDS` rounds. It is compared with

- bare: a loop without Lightning that keeps no records, but has the same initial weights, batches, latents, optimisers
  and moving average: all weights must agree to the bit on a CPU, else the exit status is 1;
- peer: the step of Mimicry's published training procedure (kwotsin/mimicry 0.1.16), written anew from its description:
  the same networks, optimiser, n_critic and batch; a generator step first in each round, on whose way back the
  discriminator's gradients are computed too; fakes for the discriminator drawn with their graph and detached; a power
  iteration each forward pass; contiguous images; Adam as torch makes it; three numbers read in each discriminator step.
  It has no moving average, and what is left out here: its loader's worker processes, its log line a step.

With `--options`, ours is compared with itself under another value of each option of `trainer` that changes how, not
what, is computed; the first call of `training_step`, in which torch compiles, is not timed then.

What is timed: every round, from just before its batches are drawn to the end of the generator's average (between
Lightning's `on_train_start` and `on_train_end`). What is not: building networks, optimisers and the trainer, and
Lightning's set-up of `fit`, some 10 ms a trial.

Lightning's import sets an environment variable that slows every step of Adam on a machine without a GPU. The others run
without it, as they would where Lightning is not imported; ours begins with it.

All run in one process on one thread, once each per repeat and in alternating order. Rates are per CPU second, which
other processes disturb less than the clock (on a GPU: by the clock, once it is idle); a ratio is ours over theirs,
paired within each repeat, and the median is reported. `wall_ratio` is the same by the clock. On a quiet machine the two
agree.
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
from torch.nn.functional import relu, softplus
from torch.nn.utils import parametrize

from ganbench.seeds import derive
from gans.module import GAN
from harness import data
from harness.config import TrialConfig, resolve
from harness.data.sampler import RoundLoader, Sampler
from harness.trial.game import new_gan
from harness.trial.rounds import FLUSH_ROUNDS, chunks, rounds_per_call
from harness.trial.trainer import lean_trainer

SEED = 0
LIGHTNINGS_VARIABLE = "PYTORCH_NVML_BASED_CUDA_CHECK"


@dataclass(frozen=True)
class Network:
    """One setting to be timed: options of a variant's common preset, and the data's shape."""

    name: str
    variant: str
    shape: tuple[int, ...]
    rounds: int
    target: float
    """The ratio to the bare loop that we hold ourselves to on a quiet machine."""
    options: Mapping[str, Any]
    device: str = "cpu"
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """Options of `trainer` that differ from the defaults."""
    untimed: int = 0
    """Rounds before the watch is started, for ours alone."""

    @property
    def config(self) -> TrialConfig:
        """The trial; its images come from `sampler`, whatever its dataset is called."""
        recipe = {f"gan.{name}": value for name, value in self.options.items()}
        trainer = {f"trainer.{name}": value for name, value in self.trainer.items()}
        said = {"gan": self.variant, "dataset": "ring8", "images": 10**9, "seed": SEED, **recipe, **trainer}
        config = resolve(said)
        played = self.untimed + self.rounds
        return config.model_copy(update={"images": played * config.gan.batch_size * config.gan.n_critic})

    def build(self, **trainer: Any) -> GAN:
        """A fresh module; always the same weights."""
        return new_gan(replace(self, trainer={**self.trainer, **trainer}).config, self.shape)

    def sampler(self, *, channels_last: bool = True) -> Sampler:
        """Batches of 2,000 random images, or of the ring's points."""
        if len(self.shape) == 3:
            random = np.random.default_rng(derive(SEED, "images"))
            samples = random.integers(256, size=(2_000, *self.shape), dtype=np.uint8)
        else:
            samples = data.load("ring8").train
        batch_size = self.options["batch_size"]
        return Sampler(samples, batch_size=batch_size, seed=derive(SEED, "data"), channels_last=channels_last)


IMAGES = {"batch_size": 64, "latent_dim": 128}
SMALL_RESNET = {**IMAGES, "network": "resnet", "n_critic": 5, "lr_generator": 2e-4, "lr_discriminator": 2e-4}

NETWORKS = (
    Network("dcgan-32", "nonsaturating", (3, 32, 32), 10, 0.97, {**IMAGES, "width": 32}),
    # a quarter of the paper's channels, which would take minutes a repeat on a CPU
    Network("resnet-32", "sngan", (3, 32, 32), 1, 0.97, {**SMALL_RESNET, "width": 16}),
    Network("mlp-2d", "nonsaturating", (2,), 300, 0.92, {"batch_size": 256, "width": 128, "depth": 3}),
)

ON_A_GPU = (
    Network("dcgan-32", "nonsaturating", (3, 32, 32), 500, 0.97, {**IMAGES, "width": 64}),
    Network("resnet-32", "sngan", (3, 32, 32), 50, 0.97, {**SMALL_RESNET, "width": 64}),
    Network("mlp-2d", "nonsaturating", (2,), 1000, 0.92, {"batch_size": 256, "width": 128, "depth": 3}),
)
"""The papers' widths, and enough rounds to fill a second."""

OPTIONS: dict[str, dict[str, Any]] = {
    "channels_last=false": {"channels_last": False},
    "fused=false": {"fused": False},
    "shared_pass=true": {"shared_pass": True},
    "compile=default": {"compile": "default"},
    "precision=bf16-mixed": {"precision": "bf16-mixed"},
}
OPTIONS_OF_A_GPU: dict[str, dict[str, Any]] = {
    "compile=cuda-graphs": {"compile": "cuda-graphs"},
    "precision=16-mixed": {"precision": "16-mixed"},
    "bf16-mixed, compiled": {"precision": "bf16-mixed", "compile": "default"},
}


@dataclass(frozen=True)
class Run:
    """Seconds of all rounds, and a digest of the weights after them."""

    cpu: float
    wall: float
    digest: str
    memory: int = 0
    """Bytes of GPU memory at the peak."""

    @property
    def seconds(self) -> float:
        """By the processor's time; by the clock where that is not the one at work."""
        return self.wall if torch.cuda.is_initialized() else self.cpu


class _Watch:
    def __init__(self) -> None:
        _wait()
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def stop(self, *players: nn.Module) -> Run:
        _wait()
        cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
        memory = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
        return Run(cpu, wall, _digest(*players), memory)


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _digest(*players: nn.Module) -> str:
    digest = hashlib.sha256()
    for player in players:
        for name, value in player.state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Trial(pl.Callback):
    """Reads the losses as a trial does, and times the rounds."""

    run: Run
    _watch: _Watch | None = None
    _flushed_rounds = 0

    def __init__(self, untimed: int) -> None:
        self._untimed = untimed

    def on_train_start(self, trainer: pl.Trainer, gan: pl.LightningModule) -> None:
        if not self._untimed:
            self._watch = _Watch()

    def on_train_batch_end(self, trainer: pl.Trainer, gan: GAN, *_: object) -> None:  # type: ignore[override]
        rounds = gan.counters.g_steps
        if rounds - self._flushed_rounds >= FLUSH_ROUNDS or trainer.is_last_batch:
            self._flushed_rounds = rounds
            for record in gan.drain():
                assert all(math.isfinite(float(value)) for value in record.values.values())
        if self._watch is None and rounds >= self._untimed:
            self._watch = _Watch()

    def on_train_end(self, trainer: pl.Trainer, gan: GAN) -> None:  # type: ignore[override]
        assert self._watch
        self.run = self._watch.stop(gan.generator, gan.discriminator, gan.ema_generator)


def ours(network: Network) -> Run:
    """A trial's training: Lightning, records and all."""
    os.environ[LIGHTNINGS_VARIABLE] = "1"
    config = network.config
    gan, trial = network.build(), _Trial(network.untimed)
    sampler = network.sampler(channels_last=config.trainer.channels_last)
    marks = [network.untimed, network.untimed + network.rounds]
    loader = RoundLoader(
        sampler, n_critic=config.gan.n_critic, plan=list(chunks(0, marks, rounds_per_call(gan.recipe, gan.shape)))
    )
    with warnings.catch_warnings():
        # advice on loaders and logging that we do not use
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        lean_trainer(callbacks=[trial], device=network.device, config=config.trainer).fit(gan, loader)
    return trial.run


def _objective(network: Network) -> tuple[Callable[..., torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]:
    """The discriminator's loss of real and fake logits, and the generator's of fake ones."""
    if network.variant == "sngan":
        return lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(), lambda fake: -fake.mean()
    return lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: softplus(-fake).mean()


def bare(network: Network) -> Run:
    """The same training as one would write it by hand for this one game."""
    os.environ.pop(LIGHTNINGS_VARIABLE, None)
    gan, sampler = network.build().to(network.device), network.sampler()
    recipe, seed, total = gan.recipe, gan.seed, gan.total_images
    discriminator_loss, generator_loss = _objective(network)
    generator, discriminator, ema = gan.generator.train(), gan.discriminator.train(), gan.ema_generator
    betas = (recipe.beta1, recipe.beta2)
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=recipe.lr_generator, betas=betas, fused=True)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=recipe.lr_discriminator, betas=betas, fused=True)
    weights: list[torch.Tensor] = list(generator.parameters())
    averages: list[torch.Tensor] = list(ema.parameters())
    buffers = list(zip(ema.buffers(), generator.buffers(), strict=True))

    def latent(purpose: str, step: int) -> torch.Tensor:
        stream = torch.Generator().manual_seed(derive(seed, purpose, step, 0))
        return torch.randn(recipe.batch_size, recipe.latent_dim, generator=stream).to(network.device)

    def decay(optimizer: torch.optim.Optimizer, rate: float, d_step: int) -> None:
        if recipe.lr_decay == "linear":
            optimizer.param_groups[0]["lr"] = rate * (1 - d_step * recipe.batch_size / total)

    watch = _Watch()
    for step in range(network.rounds):
        for d_step in range(step * recipe.n_critic, (step + 1) * recipe.n_critic):
            decay(optimizer_d, recipe.lr_discriminator, d_step)
            real = sampler.batch(d_step).to(network.device)
            with torch.no_grad():
                fake = generator(latent("latent/discriminator", d_step))
            with parametrize.cached():
                loss = discriminator_loss(discriminator(real), discriminator(fake))
            optimizer_d.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer_d.step()

        decay(optimizer_g, recipe.lr_generator, (step + 1) * recipe.n_critic)
        discriminator.requires_grad_(False)
        loss = generator_loss(discriminator(generator(latent("latent/generator", step))))
        optimizer_g.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        discriminator.requires_grad_(True)
        optimizer_g.step()

        kept = min(recipe.ema_decay, (2 + step) / (11 + step))
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - kept)
            for average, current in buffers:
                average.copy_(current)
    return watch.stop(generator, discriminator, ema)


def peer(network: Network) -> Run:
    """Mimicry's step on the same networks: see the top of this file."""
    os.environ.pop(LIGHTNINGS_VARIABLE, None)
    gan, sampler = network.build(channels_last=False).to(network.device), network.sampler(channels_last=False)
    recipe, total = gan.recipe, gan.total_images
    discriminator_loss, generator_loss = _objective(network)
    generator, discriminator = gan.generator.train(), gan.discriminator.train()
    betas = (recipe.beta1, recipe.beta2)
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=recipe.lr_generator, betas=betas)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=recipe.lr_discriminator, betas=betas)
    random = torch.Generator(network.device).manual_seed(SEED)

    def generate() -> torch.Tensor:
        shape = (recipe.batch_size, recipe.latent_dim)
        fake: torch.Tensor = generator(torch.randn(shape, generator=random, device=network.device))
        return fake

    watch = _Watch()
    read: list[float] = []
    for step in range(network.rounds):
        for k in range(recipe.n_critic):
            real = sampler.batch(step * recipe.n_critic + k).to(network.device)
            if k == 0:
                generator.zero_grad()
                loss = generator_loss(discriminator(generate()))
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer_g.step()
                read.append(loss.item())
            discriminator.zero_grad()
            real_logits = discriminator(real)
            fake_logits = discriminator(generate().detach())
            loss = discriminator_loss(real_logits, fake_logits)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer_d.step()
            read += [loss.item(), *(logits.sigmoid().mean().item() for logits in (real_logits, fake_logits))]
        if recipe.lr_decay == "linear":
            share = 1 - (step + 1) * recipe.n_critic * recipe.batch_size / total
            optimizer_g.param_groups[0]["lr"] = recipe.lr_generator * share
            optimizer_d.param_groups[0]["lr"] = recipe.lr_discriminator * share
    assert all(map(math.isfinite, read))
    return watch.stop(generator, discriminator)


Player = Callable[[Network], Run]


def _paired(players: Mapping[str, Player], network: Network, repeats: int, warm: Network) -> dict[str, list[Run]]:
    """`repeats` rounds of all players in alternating order, after one that is not counted, on the `warm` network."""
    for player in players.values():
        player(warm)
    runs: dict[str, list[Run]] = {name: [] for name in players}
    for repeat in range(repeats):
        for name in list(players) if repeat % 2 else list(players)[::-1]:
            runs[name].append(players[name](network))
        said = ", ".join(f"{name} {taken[-1].seconds:.2f} s" for name, taken in runs.items())
        print(f"{network.name}: repeat {repeat + 1} of {repeats}: {said}", file=sys.stderr)
    return runs


def compare(network: Network, repeats: int) -> dict[str, Any]:
    """Ours beside the bare loop and beside the peer's step, as a JSON-able row."""
    warm = replace(network, rounds=min(network.rounds, 3))
    players: dict[str, Player] = {"ours": ours, "bare": bare}
    if len(network.shape) == 3:
        players["peer"] = peer
    runs = _paired(players, network, repeats, warm)
    row: dict[str, Any] = {"name": network.name, "rounds": network.rounds, "repeats": repeats, "target": network.target}
    for name, taken in runs.items():
        row[f"{name}_rounds_per_s"] = network.rounds / statistics.median(run.seconds for run in taken)
    for name, prefix in (("bare", ""), ("peer", "peer_")):
        if name in runs:
            row |= _ratios(runs[name], runs["ours"], prefix)
    row["identical"] = len({run.digest for name in ("ours", "bare") for run in runs[name]}) == 1
    return row


def compare_options(network: Network, repeats: int, options: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Ours under each option beside ours as it is, as JSON-able rows: a ratio above 1 is faster than the default."""
    network = replace(network, untimed=1)

    def player(option: Mapping[str, Any]) -> Player:
        return lambda at: ours(replace(at, trainer=option))

    players = {"default": player({}), **{name: player(option) for name, option in options.items()}}
    runs = _paired(players, network, repeats, replace(network, rounds=1))
    shown = network.rounds * network.config.gan.batch_size * network.config.gan.n_critic
    return [
        {
            "name": network.name,
            "option": name,
            "images_per_s": shown / statistics.median(run.seconds for run in taken),
            "peak_memory_mb": max(run.memory for run in taken) / 2**20,
            **_ratios(runs["default"], taken),
        }
        for name, taken in runs.items()
    ]


def _ratios(theirs: list[Run], ours: list[Run], prefix: str = "") -> dict[str, float]:
    pairs = list(zip(theirs, ours, strict=True))
    ratios = [other.seconds / own.seconds for other, own in pairs]
    return {
        f"{prefix}ratio": statistics.median(ratios),
        f"{prefix}ratio_min": min(ratios),
        f"{prefix}ratio_max": max(ratios),
        f"{prefix}wall_ratio": statistics.median(other.wall / own.wall for other, own in pairs),
    }


def main() -> int:
    """Time all networks, print JSON; 1 when ours and the bare loop's weights differ on a CPU, else 0."""
    parser = argparse.ArgumentParser(description="Training speed over a bare loop's and a peer's, as JSON.")
    parser.add_argument("--rounds", type=int, help="rounds per run (default: what takes seconds)")
    parser.add_argument("--repeats", type=int, default=21, help="repeats per network (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--networks", default="", help="names, comma-separated (default: all)")
    parser.add_argument("--options", action="store_true", help="compare the trainer's options instead")
    options = parser.parse_args()
    if options.repeats < 1 or (options.rounds is not None and options.rounds < 1):
        parser.error("--rounds and --repeats are at least 1")
    cuda = options.device == "cuda"
    named = {network.name: network for network in (ON_A_GPU if cuda else NETWORKS)}
    if unknown := set(filter(None, options.networks.split(","))) - set(named):
        parser.error(f"no network {min(unknown)!r}: choose from {', '.join(named)}")
    torch.set_num_threads(1)
    if cuda:
        torch.cuda.init()
    chosen = [
        replace(network, device=options.device, rounds=options.rounds or network.rounds)
        for name, network in named.items()
        if not options.networks or name in options.networks.split(",")
    ]
    report: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "pytorch-lightning", "numpy")},
        },
    }
    if options.options:
        said = {**OPTIONS, **(OPTIONS_OF_A_GPU if cuda else {})}
        report["options"] = [row for network in chosen for row in compare_options(network, options.repeats, said)]
    else:
        report["networks"] = [compare(network, options.repeats) for network in chosen]
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return 0 if cuda or all(row["identical"] for row in report.get("networks", ())) else 1


if __name__ == "__main__":
    sys.exit(main())

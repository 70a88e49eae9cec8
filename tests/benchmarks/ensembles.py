"""Speed of K seeds trained as one ensemble beside the same K trials in turn.

    python tests/benchmarks/ensembles.py [--members K] [--rounds N] [--repeats N] [--threads N] [--device cpu|cuda]

Both sides are the path of a trial without its looks and files: `new_gan`, the samplers, `lean_trainer`, `train`, and
the losses read every `FLUSH_ROUNDS` rounds. What is timed is `harness.trial.game.train`, with Lightning's set-up of
`fit`, K times on one side and once on the other; building the networks is not. A ratio is the trials' seconds over the
ensemble's, paired within each repeat, in alternating order; the median is reported, as JSON on stdout.

The games are the 2-D MLP GAN on the ring of eight Gaussians in its common preset (batch 64, latent 64, depth 3), at a
width where the cost of calling kernels is nearly all (32) and at one where arithmetic counts (128), and there with a
larger batch too. With `--all`, the common preset of every variant that points allow is timed as well, and a DCGAN.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import pytorch_lightning as pl
import torch

import gans
from gans.catalogue import preset
from gans.ensemble import Ensemble
from harness import data
from harness.config import TrialConfig, resolve
from harness.data import Dataset
from harness.trial.ensemble import Stacked
from harness.trial.game import new_gan, new_sampler, train
from harness.trial.interruption import Interruption
from harness.trial.rounds import FLUSH_ROUNDS
from harness.trial.trainer import lean_trainer


@dataclass(frozen=True)
class Setting:
    """One game to be timed."""

    name: str
    target: float | None
    """The ratio that we hold ourselves to for 8 seeds on two quiet cores."""
    options: Mapping[str, Any]

    def trials(self, members: int, rounds: int) -> list[TrialConfig]:
        """So many seeds of a budget of so many rounds."""
        options = {"gan": "nonsaturating", "dataset": "ring8", **self.options}
        whole = resolve({**options, "images": 10**9}).gan
        images = rounds * whole.batch_size * whole.n_critic
        return [resolve({**options, "images": images, "seed": seed}) for seed in range(members)]


_LARGE = {"gan.width": 128, "gan.batch_size": 256}

SETTINGS = (
    Setting("mlp 2-D, width 32", 3.0, {"gan.width": 32}),
    Setting("mlp 2-D, width 128", 1.8, {"gan.width": 128}),
    Setting("mlp 2-D, width 128, batch 256, latent 2", 1.8, {**_LARGE, "gan.latent_dim": 2}),
    Setting("mlp 2-D, width 128, batch 256", None, _LARGE),
)


def of_points(name: str) -> bool:
    """Whether a variant can be played on points, without labels."""
    recipe = preset(name)
    return recipe.condition == "none" and recipe.attention is None and recipe.network != "autoencoder"


MORE = (
    *(
        Setting(f"{name}, common preset", None, {"gan": name, "gan.network": "mlp"})
        for name in filter(of_points, gans.names())
    ),
    Setting("dcgan, polygons", None, {"dataset": "polygons", "gan.width": 16}),
)


class _Reader(pl.Callback):
    """Reads the losses as a trial does."""

    def __init__(self) -> None:
        self.flushed = 0

    def on_train_batch_end(self, trainer: pl.Trainer, game: pl.LightningModule, *_: Any) -> None:
        assert isinstance(game, gans.GAN)
        if game.counters.g_steps - self.flushed < FLUSH_ROUNDS:
            return
        self.flushed = game.counters.g_steps
        if isinstance(game, Ensemble):
            game.hand_out()
        for one in game.members if isinstance(game, Ensemble) else [game]:
            for record in one.drain():
                {name: float(value) for name, value in record.values.items()}


def in_turn(trials: list[TrialConfig], dataset: Dataset, device: str) -> float:
    """Seconds of training, one trial after another."""
    seconds = 0.0
    for config in trials:
        gan = new_gan(config, dataset.shape)
        trainer = lean_trainer(config=config.trainer, callbacks=[_Reader()], device=device)
        sampler = new_sampler(config, dataset, trainer, gan.schedule)
        seconds += _timed(partial(train, trainer, gan, sampler, config, device, Interruption()), device)
    return seconds


def together(trials: list[TrialConfig], dataset: Dataset, device: str) -> float:
    """Seconds of training, all as one ensemble."""
    members = [new_gan(config, dataset.shape) for config in trials]
    trainer = lean_trainer(config=trials[0].trainer, callbacks=[_Reader()], device=device)
    samplers = [
        new_sampler(config, dataset, trainer, gan.schedule) for config, gan in zip(trials, members, strict=True)
    ]
    ensemble = Ensemble(members)
    return _timed(partial(train, trainer, ensemble, Stacked(samplers), trials[0], device, Interruption()), device)


def _timed(action: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(setting: Setting, *, members: int, rounds: int, repeats: int, device: str = "cpu") -> dict[str, Any]:
    """One row of the result: rounds per second of either side, all members' counted, and their ratio."""
    trials = setting.trials(members, rounds)
    dataset = data.load_for(trials[0].data)
    sides = {"in_turn": in_turn, "together": together}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name in sorted(sides, reverse=bool(repeat % 2)):
            seconds[name].append(sides[name](trials, dataset, device))
    ratios = [alone / joint for alone, joint in zip(seconds["in_turn"], seconds["together"], strict=True)]
    return {
        "game": setting.name,
        "members": members,
        "rounds": rounds,
        **{f"{name}_rounds_per_s": members * rounds / statistics.median(spent) for name, spent in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "target": setting.target,
    }


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--all", action="store_true", help="every variant that points allow, and a DCGAN")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    settings = (*SETTINGS, *MORE) if asked.all else SETTINGS
    rows = []
    for setting in settings:
        row = compare(setting, members=asked.members, rounds=asked.rounds, repeats=asked.repeats, device=asked.device)
        rows.append(row)
        print(f"{row['game']}: {row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})", file=sys.stderr)
    machine = torch.cuda.get_device_name() if asked.device == "cuda" else platform.processor() or platform.machine()
    about = {"torch": version("torch"), "threads": asked.threads, "device": machine, "cpus": os.cpu_count()}
    print(json.dumps({**about, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()

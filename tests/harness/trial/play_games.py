"""A rank's process, for test_ddp: `python play_games.py FOLDER RANK DEVICE` plays each game of FOLDER/games.json.

Writes FOLDER/<game>.<rank>.pt, and FOLDER/waited.<rank> after a wait for the other that is longer than a step may be.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from harness import data
from harness.config import TrainerConfig, TrialConfig, resolve
from harness.data.sampler import RoundLoader
from harness.trial import ranks
from harness.trial.game import classes_of, new_gan, new_sampler
from harness.trial.trainer import lean_trainer

WORLD = 2


def play(config: TrialConfig, device: str = "cpu") -> dict[str, Any]:
    """The game's end: weights, optimisers, samples, and each step's scalars."""
    dataset = data.load(config.data.name, size=config.data.size, n=config.data.n, seed=config.data.seed)
    gan = new_gan(config, dataset.shape, classes_of(config, dataset))
    trainer = lean_trainer(config=config.trainer, device=device)
    sampler = new_sampler(config, dataset, trainer, gan.schedule)
    rounds = gan.schedule.rounds(config.images)
    plan = [range(first, first + 1) for first in range(rounds)]
    trainer.fit(gan, RoundLoader(sampler, n_critic=config.gan.n_critic, plan=plan))
    records = [
        {"images": record.images, **{name: float(value) for name, value in record.values.items()}}
        for record in gan.drain()
    ]
    return {**gan.training_state(), "records": records, "samples": gan.sample(8, seed=3)}


def wait_for_long(folder: Path, rank: int) -> None:
    """Rank 0 takes longer than a step may."""
    ranks.STEP_TIMEOUT = timedelta(seconds=3)  # also for the two to meet at first, however busy the machine is
    strategy = lean_trainer(config=TrainerConfig(devices=WORLD), device="cpu").strategy
    assert isinstance(strategy, ranks.Ranks)
    strategy.store = dist.FileStore(str(folder / "other-store"), WORLD)
    strategy.setup_environment()
    if rank == 0:
        time.sleep(4)
    strategy.meet()
    (folder / f"waited.{rank}").touch()
    ranks.leave()


def main() -> None:
    folder, rank, device = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.environ["LOCAL_RANK"] = str(rank)
    store = dist.FileStore(str(folder / "store"), WORLD)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", store=store, rank=rank, world_size=WORLD)
    for name, options in json.loads((folder / "games.json").read_text()).items():
        torch.save(play(resolve({**options, "trainer.devices": WORLD}), device), folder / f"{name}.{rank}.pt")
    ranks.leave()
    wait_for_long(folder, rank)


if __name__ == "__main__":
    main()

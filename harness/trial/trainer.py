"""Lightning, without what we do ourselves."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException

from ganbench.errors import UserError
from gans.speed import check_compiler
from harness.config import TrainerConfig
from harness.trial.ranks import Ranks


def lean_trainer(
    *, callbacks: Sequence[pl.Callback] = (), device: str = "auto", config: TrainerConfig | None = None
) -> pl.Trainer:
    """A Lightning trainer without what we do ourselves: bar, logger, checkpoints, step counting and launching.

    Raises:
        UserError: fewer GPUs than `devices`, 16-mixed without one, nothing that could compile for `compile`, or a
            cluster of another shape than the config's.
    """
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # no banner in front of every trial
    config = config or TrainerConfig()
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if gpus and config.devices > gpus:
        raise UserError(f"trainer.devices={config.devices} but {gpus} GPUs can be used here: lower it, or --device cpu")
    if config.precision == "16-mixed" and not gpus:
        raise UserError("trainer.precision=16-mixed needs a GPU: choose bf16-mixed or 32-true")
    check_compiler(config.compile, "cuda" if gpus else "cpu")
    alone = config.processes == 1
    try:
        return pl.Trainer(
            accelerator=device,
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision=config.precision,
            strategy="auto" if alone else Ranks(),
            # a single process is nobody's rank, though torchrun's or SLURM's variables may be about
            plugins=[LightningEnvironment()] if alone else None,
            max_epochs=1,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        if alone:
            raise
        raise UserError(f"trainer.devices={config.devices}, num_nodes={config.num_nodes}: {error}") from error

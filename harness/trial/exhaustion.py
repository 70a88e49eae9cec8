"""What to do when a GPU's memory does not suffice: the batch that would fit is found by playing a round of it."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator

import torch

import gans
from ganbench.errors import UserError
from gans.conditions import Batch, Labelled
from harness.config import TrialConfig
from harness.data.sampler import RoundLoader
from harness.trial.trainer import lean_trainer

NewGan = Callable[[TrialConfig, tuple[int, ...]], gans.GAN]


def exhausted(config: TrialConfig, shape: tuple[int, ...], new_gan: NewGan, device: str) -> UserError:
    """What is told of a training, with its looks, that ran out of GPU memory and has let go of it.

    Args:
        config: the trial that did not fit.
        shape: one sample's, (C, H, W) or (D,).
        new_gan: how a game of another config is built.
        device: where it was played: "auto", "cpu" or "cuda".
    """
    asked = config.gan.batch_size
    start = f"the GPU's memory does not suffice for gan.batch_size={asked} samples of {'×'.join(map(str, shape))}"
    if config.trainer.processes > 1:  # the others are in the middle of a step: nothing can be tried out beside them
        return UserError(f"{start}: halve it, or share it among more trainer.devices")
    if _fits(config, shape, new_gan, device):
        return scoring_exhausted(config)
    for smaller in _smaller(config):
        if _fits(smaller, shape, new_gan, device):
            return UserError(f"{start}: {_difference(config, smaller)} would fit")
    return UserError(f"{start}, nor for any smaller batch: lower gan.width or data.size")


def scoring_exhausted(config: TrialConfig) -> UserError:
    """What is told where the training fits and its scoring does not."""
    return UserError(
        "the GPU's memory suffices for the training but not for the scoring beside it, by "
        f"evaluation.features={config.evaluation.features}: end what else runs on the GPU, or give "
        "trainer.data_on_device=false or smaller features"
    )


def _smaller(config: TrialConfig) -> Iterator[TrialConfig]:
    """Half of every batch, a quarter, … down to 2 samples."""
    recipe = config.gan
    part = 2
    while recipe.batch_size // part >= 2:
        changes = {
            "batch_size": recipe.batch_size // part,
            "generator_batch": recipe.generator_batch and max(1, recipe.generator_batch // part),
            "stage_batches": [[side, max(2, batch // part)] for side, batch in recipe.stage_batches],
        }
        yield config.model_copy(update={"gan": recipe.model_copy(update=changes)})
        part *= 2


def _difference(config: TrialConfig, smaller: TrialConfig) -> str:
    """The changed options as the command line takes them."""
    before, after = config.gan.model_dump(), smaller.gan.model_dump()
    changes = [f"gan.{name}={after[name]}" for name in before if before[name] != after[name]]
    return " ".join(change.replace(" ", "") for change in changes)


def _fits(config: TrialConfig, shape: tuple[int, ...], new_gan: NewGan, device: str) -> bool:
    """Whether one round can be played, at the end of growing."""
    try:
        gan = new_gan(config, shape)
        gan.counters.images = config.images
        sampler = _Blank(config.gan.batch_at(shape[-1]), shape, labelled=gan.condition.classes is not None)
        loader = RoundLoader(sampler, n_critic=config.gan.n_critic, plan=[range(1)])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            lean_trainer(config=config.trainer, device=device).fit(gan, loader)
    except torch.OutOfMemoryError:
        return False
    finally:
        free()
    return True


def free() -> None:
    """Give back what nobody refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class _Blank:
    """Batches of zeros."""

    def __init__(self, batch_size: int, shape: tuple[int, ...], *, labelled: bool) -> None:
        samples = torch.zeros(batch_size, *shape)
        self._batch = Labelled(samples, torch.zeros(batch_size, dtype=torch.int64)) if labelled else samples

    def batch(self, step: int) -> Batch:  # noqa: ARG002 (all are the same)
        return self._batch

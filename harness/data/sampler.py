"""Batches from memory: each is a pure function of (seed, step), so an exact resume needs no state."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from ganbench.errors import UserError
from ganbench.seeds import derive
from gans.conditions import Batch, Labelled
from gans.shards import WHOLE, Shard
from harness.images import to_float


class Sampler:
    """Draws batches without replacement, epoch by epoch; a tail shorter than a batch is left out of its epoch.

    Args:
        images: uint8 (N, C, H, W), which come out as floats in [−1, 1], or points float32 (N, 2), left as they are; an
            array, from which rows are taken in the machine's memory, or a tensor, on its device (`placed`).
        batch_size: at most N, else `UserError`.
        seed: the same seed gives the same batches.
        channels_last: give images in that memory format (faster convolutions) rather than contiguous.
        shard: which rows of each batch are wanted, where several processes share it.
        flip: mirror each image of a batch left to right with probability ½.
        device: where batches are wanted; None: where the images are. Rows travel as uint8, a quarter of their floats.
        labels: int64 (N,), which then come with the samples.
    """

    def __init__(
        self,
        images: np.ndarray | torch.Tensor,
        *,
        batch_size: int,
        seed: int,
        channels_last: bool = False,
        shard: Shard = WHOLE,
        flip: bool = False,
        device: torch.device | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        if not 1 <= batch_size <= len(images):
            raise UserError(
                f"gan.batch_size is {batch_size} but there are {len(images)} training samples: "
                "lower gan.batch_size or give more data"
            )
        self.batch_size = batch_size
        self.steps_per_epoch = len(images) // batch_size
        self._images = images
        self._seed = seed
        self._format = torch.channels_last if channels_last and images.ndim == 4 else torch.contiguous_format
        self._shard = shard
        self._flip = flip
        self._device = device
        self._labels = labels
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def batch(self, step: int) -> Batch:
        """The float32 batch, or its shard, of discriminator step `step` (0, 1, …); labelled where labels are given."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng(derive(self._seed, "epoch", epoch)).permutation(len(self._images))
            self._epoch = epoch
        rows = self._shard.rows(self._order[place * self.batch_size : (place + 1) * self.batch_size])
        chosen = self._take(rows)
        if self._flip:
            chosen = self._mirrored(chosen, step)
        samples = to_float(chosen, memory_format=self._format) if chosen.dtype == torch.uint8 else chosen
        if self._labels is None:
            return samples
        return Labelled(samples, torch.from_numpy(self._labels[rows]).to(samples.device))

    def _take(self, rows: np.ndarray) -> torch.Tensor:
        if isinstance(self._images, torch.Tensor):
            return self._images[torch.from_numpy(rows.copy()).to(self._images.device)]
        return torch.from_numpy(self._images[rows]).to(self._device)

    def _mirrored(self, chosen: torch.Tensor, step: int) -> torch.Tensor:
        drawn = np.random.default_rng(derive(self._seed, "flip", step)).random(self.batch_size) < 0.5
        mirror = torch.from_numpy(self._shard.rows(drawn).copy()).to(chosen.device)
        return torch.where(mirror[:, None, None, None], chosen.flip(3), chosen)


def placed(images: np.ndarray, device: torch.device, wanted: bool | None) -> np.ndarray | torch.Tensor:
    """`images` on the GPU, once for all samplers, if that is `wanted`; None: if they take a quarter of what is free."""
    if device.type != "cuda" or wanted is False:
        return images
    free = torch.cuda.mem_get_info(device)[0]
    if wanted and images.nbytes > free:
        raise UserError(
            f"trainer.data_on_device=true, but the training images take {images.nbytes / 2**30:.1f} GiB and "
            f"{free / 2**30:.1f} GiB of the GPU's memory are free: give trainer.data_on_device=false"
        )
    if not wanted and images.nbytes > free // 4:
        return images
    dtype = torch.uint8 if images.dtype == np.uint8 else torch.float32
    on_device = torch.empty(images.shape, dtype=dtype, device=device)
    for start in range(0, len(images), 4096):  # a mapped set is not read into memory as a whole
        part = np.array(images[start : start + 4096])
        on_device[start : start + len(part)] = torch.from_numpy(part).to(device)
    return on_device


class Batches(Protocol):
    """Real samples by discriminator step."""

    def batch(self, step: int) -> Batch:
        """The float32 batch of discriminator step `step` (0, 1, …)."""


class StagedSampler:
    """One sampler after another, each from a step of its own on: a stage with another batch size begins a new epoch.

    Args:
        samplers: (first step, sampler) by rising step, the first from step 0.
    """

    def __init__(self, samplers: Sequence[tuple[int, Batches]]) -> None:
        self._first = [first for first, _ in samplers]
        self._samplers = [sampler for _, sampler in samplers]

    def batch(self, step: int) -> Batch:
        """The batch of discriminator step `step`, a pure function of it as its sampler's are."""
        place = bisect_right(self._first, step) - 1
        return self._samplers[place].batch(step - self._first[place])


class RoundLoader:
    """A sized iterable that Lightning takes for a train dataloader: real batches for several rounds at once.

    A round is `n_critic` discriminator steps and one generator step; round r takes the sampler's batches
    r·n_critic … r·n_critic + n_critic − 1. Each element is a list over the rounds of one range of `plan`, of
    lists of `n_critic` batches: several rounds a `training_step` pay Lightning's overhead once.
    """

    def __init__(self, sampler: Batches, *, n_critic: int, plan: Sequence[range]) -> None:
        self._sampler = sampler
        self._n_critic = n_critic
        self._plan = plan

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[list[list[Batch]]]:
        for rounds in self._plan:
            yield [[self._sampler.batch(r * self._n_critic + k) for k in range(self._n_critic)] for r in rounds]

"""Batches from memory: each is a pure function of (seed, step), so an exact resume needs no state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ganbench.errors import UserError
from ganbench.seeds import derive
from gans.shards import WHOLE, Shard
from harness.images import to_float


class Sampler:
    """Draws batches without replacement, epoch by epoch; a tail shorter than a batch is left out of its epoch.

    Args:
        images: uint8 (N, C, H, W), which come out as floats in [−1, 1], or points float32 (N, 2), left as they are.
        batch_size: at most N, else `UserError`.
        seed: the same seed gives the same batches.
        channels_last: give images in that memory format (faster convolutions) rather than contiguous.
        shard: which rows of each batch are wanted, where several processes share it.
    """

    def __init__(
        self, images: np.ndarray, *, batch_size: int, seed: int, channels_last: bool = False, shard: Shard = WHOLE
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
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def batch(self, step: int) -> torch.Tensor:
        """The float32 batch, or the shard of it, of discriminator step `step` (0, 1, …), on the CPU."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng(derive(self._seed, "epoch", epoch)).permutation(len(self._images))
            self._epoch = epoch
        chosen = self._images[self._shard.rows(self._order[place * self.batch_size : (place + 1) * self.batch_size])]
        if chosen.dtype != np.uint8:
            return torch.from_numpy(chosen)
        return to_float(chosen, memory_format=self._format)


class RoundLoader:
    """A sized iterable that Lightning takes for a train dataloader: real batches for several rounds at once.

    A round is `n_critic` discriminator steps and one generator step; round r takes the sampler's batches
    r·n_critic … r·n_critic + n_critic − 1. Each element is a list over the rounds of one range of `plan`, of
    lists of `n_critic` batches: several rounds a `training_step` pay Lightning's overhead once.
    """

    def __init__(self, sampler: Sampler, *, n_critic: int, plan: Sequence[range]) -> None:
        self._sampler = sampler
        self._n_critic = n_critic
        self._plan = plan

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[list[list[torch.Tensor]]]:
        for rounds in self._plan:
            yield [[self._sampler.batch(r * self._n_critic + k) for k in range(self._n_critic)] for r in rounds]

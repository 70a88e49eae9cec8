"""One game played by several processes (ranks), each with its own rows of every batch.

All ranks hold the same weights. Losses, gradients and batch statistics are those of the joined batch up to rounding:
every loss is a mean over samples, and the shards are equally large. Gradients are averaged by hand, right before an
optimiser's step: `DistributedDataParallel` expects one backward pass through the whole module for each forward pass,
where a GAN makes several through its halves. Without `find_unused_parameters` it stops at the second of them, and with
it walks through the graph at each to find what the other player's half is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganbench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from torch.autograd.function import FunctionCtx


Rows = TypeVar("Rows", "Tensor", "np.ndarray")


class Shard(NamedTuple):
    """Rows rank, rank + world, rank + 2·world … of each global batch.

    Every `world`-th row rather than a run of them: so the groups of `MinibatchStddev` stay whole.
    """

    rank: int = 0
    world: int = 1

    def rows(self, batch: Rows) -> Rows:
        """This rank's rows of a global batch, a tensor or an array."""
        return batch if self.world == 1 else batch[self.rank :: self.world]


WHOLE = Shard()


def check_divisible(batch_size: int, world: int, discriminator: nn.Module, *, option: str = "gan.batch_size") -> None:
    """Refuse, as a `UserError`, a batch whose equal shards would tear apart what the discriminator sees together."""
    if world == 1:
        return
    if batch_size % world:
        raise UserError(
            f"{option}={batch_size} cannot be shared equally by {world} processes (trainer.devices × "
            f"trainer.num_nodes): choose a multiple of {world}"
        )
    groups = [getattr(module, "shard_group", 1) for module in discriminator.modules()]
    if 0 in groups:
        raise UserError(
            f"{option}={batch_size}: this discriminator compares each sample with the whole batch, which {world} "
            "processes cannot share: give trainer.devices=1, or gan.minibatch=stddev instead of discrimination"
        )
    group = math.lcm(*groups)
    if batch_size % (group * world):
        raise UserError(
            f"{option}={batch_size} shared by {world} processes leaves no whole groups of {group} samples, whose "
            f"spread this discriminator looks at: choose a multiple of {group * world}"
        )


def mixes_samples(discriminator: nn.Module) -> bool:
    """Whether a sample's logit depends on the others of its batch: real and fake ones must not be in one then."""
    return any(isinstance(module, _BatchNorm) or hasattr(module, "shard_group") for module in discriminator.modules())


def average_gradients(player: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace the player's gradients by their mean over all ranks; returns the means of the scalars in `values`.

    Everything travels in one message. Parameters without a gradient (a growing network's later blocks) must be the
    same on all ranks. All ranks get the same bits.
    """
    gradients = [p.grad for p in player.parameters() if p.grad is not None]
    scalars = torch.stack([value.float() for value in values.values()])
    joined = torch.cat([*(gradient.reshape(-1) for gradient in gradients), scalars])
    dist.all_reduce(joined)
    joined /= dist.get_world_size()
    *pieces, means = torch.split(joined, [*(gradient.numel() for gradient in gradients), len(scalars)])
    torch._foreach_copy_(gradients, [piece.view_as(g) for piece, g in zip(pieces, gradients, strict=True)])
    return dict(zip(values, means.unbind(), strict=True))


def share_batch_norm(network: nn.Module) -> None:
    """Let every batch normalisation of the network take its statistics over the batches of all ranks, in place."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = SharedBatchNorm  # as torch's own parametrisations do: weights and state keep their names


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation over the joined batch of all ranks, on any device (`nn.SyncBatchNorm` knows no CPU).

    In evaluation mode, and where no ranks are joined, it is the ordinary one.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, …) → the same shape and dtype; statistics in float32."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        x = input.float()
        others = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x, others, correction=0)
        # each rank fills its row of a table of zeros, and the sum of the tables has everybody's
        table = x.new_zeros(dist.get_world_size(), 2, len(mean))
        row = torch.zeros_like(table).index_fill_(0, torch.tensor(dist.get_rank(), device=x.device), 1)
        means, variances = _sum_over_ranks(row * torch.stack([mean, variance])).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)  # no difference of large squares
        self._remember(mean.detach(), variance.detach(), count=x.numel() // x.shape[1] * dist.get_world_size())
        shape = [1, -1, *[1] * (x.ndim - 2)]
        scale = torch.rsqrt(variance + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        return (x * scale.view(shape) + shift.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, *, count: int) -> None:
        """The running statistics, as torch keeps them: with the unbiased variance."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), share)


class _SumOverRanks(torch.autograd.Function):
    """Every rank's loss depends on the sum, so its gradient is the sum of all ranks' gradients."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:  # noqa: ARG004 (torch's signature)
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _sum_over_ranks(gradient.contiguous())


def _sum_over_ranks(x: Tensor) -> Tensor:
    total: Tensor = _SumOverRanks.apply(x)
    return total

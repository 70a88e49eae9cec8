"""What tells a discriminator of a batch's variety, so that it sees a generator that gives always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe

_EPS = 1e-8

KERNELS, DIMENSIONS = 100, 5
"""Of `MinibatchDiscrimination`, as in its authors' code."""


def variety(recipe: Recipe, features: int) -> tuple[list[nn.Module], int]:
    """The layers that the recipe wants between (B, features) and a discriminator's last layer, and its features then.

    "auto" is none here; a network with statistics of its own takes care of itself.
    """
    match recipe.minibatch:
        case "stddev":
            return [MinibatchStddev()], features + 1
        case "discrimination":
            return [MinibatchDiscrimination(features)], features + KERNELS
        case _:
            return [], features


class MinibatchStddev(nn.Module):
    """Appends one map: the standard deviation over a group of samples, averaged over features and pixels.

    Karras et al. 2018, §3. Groups have 4 samples as in the authors' code; a batch that 4 does not divide is one group.
    """

    shard_group: ClassVar[int] = 4
    """Samples that stay together when several processes share a batch (gans/shards.py)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C+1, H, W), or (B, F) → (B, F+1)."""
        batch, pixels = len(x), x.shape[2:]
        group = self.shard_group if batch % self.shard_group == 0 else batch
        groups = wide(x).view(group, batch // group, *x.shape[1:])
        # Spelled out: var() over the outermost dimension is many times slower on a CPU, a tenth of the whole step.
        variance = (groups - groups.mean(0)).square().mean(0)
        # The ε under the root keeps first and second derivatives finite where all samples agree.
        deviation = (variance + _EPS).sqrt().mean(tuple(range(1, x.ndim))).to(x.dtype)
        row = deviation.repeat(group).view(batch, 1, *[1] * len(pixels)).expand(-1, -1, *pixels)
        return torch.cat([x, row], 1)


class MinibatchDiscrimination(nn.Module):
    """Appends how close each sample is to the others of its batch: (B, F) → (B, F + 100).

    Salimans et al. 2016, §3.2; deck 002's "batch statistics (variance, pair-wise norms) fed into the discriminator".
    With M_i = T·f(x_i), a matrix of 100 rows (kernels) and 5 columns, sample i gets Σ_j exp(−‖M_ib − M_jb‖₁) for each
    kernel b: 1 where it is alone, B where all are the same.
    """

    shard_group: ClassVar[int] = 0
    """The whole batch stays together."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.kernels = nn.Linear(features, KERNELS * DIMENSIONS, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The features and their closeness."""
        rows = wide(self.kernels(x)).view(len(x), KERNELS, DIMENSIONS)
        closeness = (rows[:, None] - rows[None]).abs().sum(-1).neg().exp().sum(1)
        return torch.cat([x, closeness.to(x.dtype)], 1)


def wide(x: Tensor) -> Tensor:
    """In float32 where it has 16 bits, which large squares and ε do not fit."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

"""Self-attention over feature maps (Zhang et al. 2019, "Self-Attention Generative Adversarial Networks", §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from gans.networks import attended
from gans.networks.blocks import glorot_weights

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe


class SelfAttention(nn.Module):
    """Every pixel adds a weighted mean of all pixels to itself: y = x + γ·V·softmax(FᵀG); (B, C, H, W) → the same.

    F, G and the values before V are 1×1 convolutions to C/8 channels (at least one), V one back to C. γ starts at 0:
    the block is the identity then, and learns first from nearby pixels, as the other layers have it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query, self.key, self.value = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.back = nn.Conv2d(inner, channels, 1)
        for layer in (self.query, self.key, self.value, self.back):
            glorot_weights(layer)
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """The attended maps; the attention takes (H·W)² numbers a sample."""
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        weights = torch.softmax(query.mT @ key, dim=-1)  # (B, here, there); each row sums to 1
        seen = (value @ weights.mT).view(*x.shape[:-3], -1, *x.shape[-2:])
        out: Tensor = x + self.share * self.back(seen)
        return out


def attention(recipe: Recipe, widths: dict[int, int]) -> dict[int, list[nn.Module]]:
    """The block that follows the feature maps of each side: none, but at one of them. `widths`: channels by side."""
    at = attended(recipe, widths)
    return {side: [SelfAttention(width)] if side == at else [] for side, width in widths.items()}

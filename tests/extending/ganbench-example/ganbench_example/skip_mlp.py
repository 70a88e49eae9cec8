"""Fully connected layers with skip connections, for points and small images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.functional import leaky_relu

from ganbench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from gans import Recipe

LARGEST = 1024
"""Numbers in one sample: beyond, nearly all weights would be in the first and last layer."""


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A generator (B, latent_dim) → (B, *shape) and a discriminator (B, *shape) → (B,).

    Raises `UserError` for samples of more than `LARGEST` numbers.
    """
    numbers = math.prod(shape)
    if numbers > LARGEST:
        raise UserError(f"network skip-mlp does not fit samples of {numbers} numbers: choose gan.network=dcgan")
    squash = [nn.Tanh()] if len(shape) == 3 else []
    generator = [*_body(recipe.latent_dim, recipe), nn.Linear(recipe.width, numbers), *squash, nn.Unflatten(1, shape)]
    discriminator = [nn.Flatten(1), *_body(numbers, recipe), nn.Linear(recipe.width, 1), nn.Flatten(0)]
    return nn.Sequential(*generator), nn.Sequential(*discriminator)


def _body(inputs: int, recipe: Recipe) -> list[nn.Module]:
    return [nn.Linear(inputs, recipe.width), *(Skip(recipe.width) for _ in range(recipe.depth))]


class Skip(nn.Module):
    """x + W·leaky_relu(x): no batch normalisation, so that any constraint may be put on the discriminator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) → (B, width)."""
        return x + self.linear(leaky_relu(x, 0.2))

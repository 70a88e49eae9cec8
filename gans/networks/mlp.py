"""Fully connected networks for points: `depth` hidden layers of `width` units, PyTorch's default initialisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ganbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gans.recipe import Recipe


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A generator (B, latent_dim) → (B, D) with ReLU and a discriminator (B, D) → (B,) with LeakyReLU(.2).

    Raises `UserError` unless `shape` is (D,).
    """
    if len(shape) != 1:
        raise UserError("network mlp draws points, not images: choose gan.network=dcgan or gan.network=progressive")
    (dimensions,) = shape
    generator = _layers(recipe, recipe.latent_dim, dimensions, lambda: nn.ReLU(inplace=True))
    discriminator = _layers(recipe, dimensions, 1, lambda: nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*generator), nn.Sequential(*discriminator, nn.Flatten(0))


def _layers(recipe: Recipe, inputs: int, outputs: int, activation: Callable[[], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(recipe.depth):
        layers += [nn.Linear(inputs, recipe.width), activation()]
        inputs = recipe.width
    return [*layers, nn.Linear(inputs, outputs)]

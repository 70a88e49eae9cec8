"""Fully connected networks for points: `depth` hidden layers of `width` units, PyTorch's default initialisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from gans.networks import generator_width, point_dimensions

if TYPE_CHECKING:
    from collections.abc import Callable

    from gans.recipe import Recipe


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A generator (B, latent_dim) → (B, D) with ReLU and a discriminator (B, D) → (B,) with LeakyReLU(.2).

    Raises `UserError` unless `shape` is (D,).
    """
    dimensions = point_dimensions(shape)
    generator = _layers(
        recipe.depth, generator_width(recipe), recipe.latent_dim, dimensions, lambda: nn.ReLU(inplace=True)
    )
    discriminator = _layers(recipe.depth, recipe.width, dimensions, 1, lambda: nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*generator), nn.Sequential(*discriminator, nn.Flatten(0))


def _layers(depth: int, width: int, inputs: int, outputs: int, activation: Callable[[], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    return [*layers, nn.Linear(inputs, outputs)]

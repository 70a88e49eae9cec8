"""Fully connected networks for points: `depth` hidden layers of `width` units, PyTorch's default initialisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from gans.networks import generator_width, point_dimensions
from gans.networks.minibatch import variety

if TYPE_CHECKING:
    from collections.abc import Callable

    from gans.recipe import Recipe


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A generator (B, latent_dim) → (B, D) with ReLU and a discriminator (B, D) → (B,) with LeakyReLU(.2).

    Raises `UserError` unless `shape` is (D,).
    """
    dimensions = point_dimensions(shape)
    generator = _hidden(recipe.depth, generator_width(recipe), recipe.latent_dim, lambda: nn.ReLU(inplace=True))
    to_point = nn.Linear(generator_width(recipe), dimensions)
    discriminator = _hidden(recipe.depth, recipe.width, dimensions, lambda: nn.LeakyReLU(0.2, inplace=True))
    told, features = variety(recipe, recipe.width)
    to_logit = nn.Linear(features, 1)
    return nn.Sequential(*generator, to_point), nn.Sequential(*discriminator, *told, to_logit, nn.Flatten(0))


def _hidden(depth: int, width: int, inputs: int, activation: Callable[[], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    return layers

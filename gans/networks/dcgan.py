"""DCGAN (Radford et al. 2016) for square images of any number of channels.

As in the paper: strided convolutions and no pooling, batch normalisation but at the generator's output and the
discriminator's input, ReLU and tanh in the generator, LeakyReLU(.2) in the discriminator, N(0, .02) initial weights.

Other than in the paper: kernels of 4 instead of 5, a multiple of the stride, which leaves no checkerboard; a normal
latent instead of a uniform one; logits instead of a sigmoid; `width` channels at the image's own side, doubled at each
halving up to `max_width` or 512 (the paper's 64×64 generator has `generator_width` 64 and `max_width` 1024); smallest
feature maps of 5, 6 or 7 pixels where 4 does not double into the image's side; a discriminator that is constrained
goes without batch normalisation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from gans.networks import batch_norm_allowed, doubled_widths, doublings, image_side
from gans.networks.attention import attention
from gans.networks.blocks import from_latent, normal_weights
from gans.networks.minibatch import variety

if TYPE_CHECKING:
    from gans.recipe import Recipe


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A generator (B, latent_dim) → (B, C, H, H) in [−1, 1] and a discriminator (B, C, H, H) → (B,).

    Raises `UserError` unless `shape` is (C, H, H) with H one of `SIZES`.
    """
    side = image_side("dcgan", shape)
    base, *_ = sides = doublings(side)[:-1]  # up to half the image's side, where the image itself follows
    generator_widths, widths = doubled_widths(recipe, sides, side)
    pair = (
        _generator(recipe, generator_widths, shape[0], base),
        _discriminator(recipe, dict(reversed(widths.items())), shape[0], base),
    )
    for network in pair:
        network.apply(_initialise)
    return pair


def _generator(recipe: Recipe, widths: dict[int, int], image_channels: int, base: int) -> nn.Sequential:
    look = attention(recipe, widths)
    layers: list[nn.Module] = [
        *from_latent(recipe.latent_dim, widths[base], base, bias=False),
        nn.BatchNorm2d(widths[base]),
        nn.ReLU(inplace=True),
        *look[base],
    ]
    for before, after in pairwise(widths):
        layers += [
            nn.ConvTranspose2d(widths[before], widths[after], 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[after]),
            nn.ReLU(inplace=True),
            *look[after],
        ]
    *_, last = widths.values()
    return nn.Sequential(*layers, nn.ConvTranspose2d(last, image_channels, 4, stride=2, padding=1), nn.Tanh())


def _discriminator(recipe: Recipe, widths: dict[int, int], image_channels: int, base: int) -> nn.Sequential:
    batch_norm, look = batch_norm_allowed(recipe), attention(recipe, widths)
    first, *_ = widths
    layers: list[nn.Module] = [
        nn.Conv2d(image_channels, widths[first], 4, stride=2, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        *look[first],
    ]
    for before, after in pairwise(widths):
        layers.append(nn.Conv2d(widths[before], widths[after], 4, stride=2, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(widths[after]))
        layers += [nn.LeakyReLU(0.2, inplace=True), *look[after]]
    told, features = variety(recipe, widths[base] * base**2)
    return nn.Sequential(*layers, nn.Flatten(1), *told, nn.Linear(features, 1), nn.Flatten(0))


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)
    else:
        normal_weights(layer)

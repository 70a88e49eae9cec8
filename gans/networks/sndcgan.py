"""The plain convolutional networks of SNGAN's paper (Miyato et al. 2018, table 3).

The generator is DCGAN's but for its end: the last transposed convolution reaches the image's side, and a 3×3
convolution turns its features into the image. The discriminator takes a 3×3 convolution at every side, and a 4×4 one
of stride 2 to the next; LeakyReLU(.1). `width` 64 and 32×32 or 48×48 images give the paper's channels: 64 at the
image's own side, doubled at each halving up to `max_width` or 512. Initial weights from N(0, .02).

Other than in the table: batch normalisation and ReLU behind the generator's first layer too (without them it and the
next would be one linear map); a discriminator that nothing constrains is batch-normalised
behind each convolution but the first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from gans.networks import batch_norm_allowed, doubled_widths, doublings, image_side
from gans.networks.blocks import from_latent, normal_weights

if TYPE_CHECKING:
    from gans.recipe import Recipe


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A generator (B, latent_dim) → (B, C, H, H) in [−1, 1] and a discriminator (B, C, H, H) → (B,).

    Raises `UserError` unless `shape` is (C, H, H) with H one of `SIZES`.
    """
    side = image_side("sndcgan", shape)
    base, *_ = sides = doublings(side)
    generator_widths, widths = doubled_widths(recipe, sides, side)
    pair = (
        _generator(recipe.latent_dim, [*generator_widths.values()], shape[0], base),
        _discriminator(shape[0], [*widths.values()][::-1], base, batch_norm=batch_norm_allowed(recipe)),
    )
    for network in pair:
        network.apply(normal_weights)
    return pair


def _generator(latent_dim: int, widths: list[int], image_channels: int, base: int) -> nn.Sequential:
    layers = [*from_latent(latent_dim, widths[0], base), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
    for before, after in pairwise(widths):
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], image_channels, 3, padding=1), nn.Tanh())


def _discriminator(image_channels: int, widths: list[int], base: int, *, batch_norm: bool) -> nn.Sequential:
    layers = _convolution(nn.Conv2d(image_channels, widths[0], 3, padding=1), batch_norm=False)
    for before, after in pairwise(widths):
        layers += _convolution(nn.Conv2d(before, before, 4, stride=2, padding=1), batch_norm=batch_norm)
        layers += _convolution(nn.Conv2d(before, after, 3, padding=1), batch_norm=batch_norm)
    return nn.Sequential(*layers, nn.Flatten(1), nn.Linear(widths[-1] * base**2, 1), nn.Flatten(0))


def _convolution(convolution: nn.Conv2d, *, batch_norm: bool) -> list[nn.Module]:
    norm = [nn.BatchNorm2d(convolution.out_channels)] if batch_norm else []
    return [convolution, *norm, nn.LeakyReLU(0.1, inplace=True)]

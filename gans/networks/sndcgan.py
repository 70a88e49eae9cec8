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
from gans.networks.attention import attention
from gans.networks.blocks import from_latent, normal_weights
from gans.networks.minibatch import variety

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
        _generator(recipe, generator_widths, shape[0], base),
        _discriminator(recipe, dict(reversed(widths.items())), shape[0], base),
    )
    for network in pair:
        network.apply(normal_weights)
    return pair


def _generator(recipe: Recipe, widths: dict[int, int], image_channels: int, base: int) -> nn.Sequential:
    look = attention(recipe, widths)
    layers = [*from_latent(recipe.latent_dim, widths[base], base), nn.BatchNorm2d(widths[base]), nn.ReLU(inplace=True)]
    layers += look[base]
    for before, after in pairwise(widths):
        layers += [
            nn.ConvTranspose2d(widths[before], widths[after], 4, stride=2, padding=1),
            nn.BatchNorm2d(widths[after]),
            nn.ReLU(inplace=True),
            *look[after],
        ]
    *_, last = widths.values()
    return nn.Sequential(*layers, nn.Conv2d(last, image_channels, 3, padding=1), nn.Tanh())


def _discriminator(recipe: Recipe, widths: dict[int, int], image_channels: int, base: int) -> nn.Sequential:
    batch_norm, look = batch_norm_allowed(recipe), attention(recipe, widths)
    first, *_ = widths
    layers = _convolution(nn.Conv2d(image_channels, widths[first], 3, padding=1), batch_norm=False) + look[first]
    for at, to in pairwise(widths):
        before, after = widths[at], widths[to]
        layers += _convolution(nn.Conv2d(before, before, 4, stride=2, padding=1), batch_norm=batch_norm)
        layers += _convolution(nn.Conv2d(before, after, 3, padding=1), batch_norm=batch_norm) + look[to]
    told, features = variety(recipe, widths[base] * base**2)
    return nn.Sequential(*layers, nn.Flatten(1), *told, nn.Linear(features, 1), nn.Flatten(0))


def _convolution(convolution: nn.Conv2d, *, batch_norm: bool) -> list[nn.Module]:
    norm = [nn.BatchNorm2d(convolution.out_channels)] if batch_norm else []
    return [convolution, *norm, nn.LeakyReLU(0.1, inplace=True)]

"""BEGAN's networks (Berthelot et al. 2017, §3.4): a generator, and a critic that is an autoencoder of images.

Convolutions 3×3 with ELU, two at every side. The encoder's channels grow linearly: `width` at the image's own side, one
`width` more at each halving. The generator and the decoder are one architecture, `generator_width` or `width` channels
throughout, doubled in side by nearest neighbour. The code between encoder and decoder has `latent_dim` dimensions, as
in the paper (N_h = N_z).

The critic's "logit" is −E|x − D(x)|, a mean over pixels: the better a sample is reconstructed, the more real it is.
Other than in the paper: without its skip connections that vanish in time; the generator ends in tanh, which keeps the
interface of all networks here; smallest feature maps of 4 to 7 pixels instead of 8.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from gans.networks import doublings, generator_width, image_side
from gans.networks.blocks import from_latent

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A generator (B, latent_dim) → (B, C, H, H) in [−1, 1] and a critic (B, C, H, H) → (B,), at most 0.

    Raises `UserError` unless `shape` is (C, H, H) with H one of `SIZES`.
    """
    sides = doublings(image_side("autoencoder", shape))
    most = recipe.max_width
    generator, inner = (min(width, most or width) for width in (generator_width(recipe), recipe.width))
    widths = [min((i + 1) * recipe.width, most or (i + 1) * recipe.width) for i in range(len(sides))]
    encoder = _encoder(shape[0], widths, sides[0], recipe.latent_dim)
    decoder = _decoder(recipe.latent_dim, inner, sides, shape[0])
    return nn.Sequential(*_decoder(recipe.latent_dim, generator, sides, shape[0]), nn.Tanh()), Reconstruction(
        nn.Sequential(*encoder), nn.Sequential(*decoder)
    )


def _encoder(image_channels: int, widths: list[int], base: int, code: int) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(image_channels, widths[0], 3, padding=1), nn.ELU(inplace=True)]
    for before, after in pairwise(widths):
        layers += [*_pair(before), nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ELU(inplace=True)]
    return [*layers, *_pair(widths[-1]), nn.Flatten(1), nn.Linear(widths[-1] * base**2, code)]


def _decoder(code: int, width: int, sides: list[int], image_channels: int) -> list[nn.Module]:
    layers = [*from_latent(code, width, sides[0]), *_pair(width)]
    for _ in sides[1:]:
        layers += [nn.Upsample(scale_factor=2), *_pair(width)]
    return [*layers, nn.Conv2d(width, image_channels, 3, padding=1)]


def _pair(width: int) -> list[nn.Module]:
    return [layer for _ in range(2) for layer in (nn.Conv2d(width, width, 3, padding=1), nn.ELU(inplace=True))]


class Reconstruction(nn.Module):
    """−E|x − D(x)| of an autoencoder D; (B, C, H, W) → (B,).

    Args:
        encoder: (B, C, H, W) → (B, code).
        decoder: (B, code) → (B, C, H, W).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, images: Tensor) -> Tensor:
        """Minus each image's mean absolute error."""
        error: Tensor = (images - self.decoder(self.encoder(images))).abs().flatten(1).mean(1)
        return -error

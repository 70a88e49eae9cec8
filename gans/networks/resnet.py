"""Residual networks of SNGAN (Miyato et al. 2018, tables 4 to 6) and WGAN-GP (Gulrajani et al. 2017, appendix C).

Images of up to 32 pixels, as both papers' CIFAR-10 networks: all feature maps have as many channels, 4·`width` in the
generator and 2·`width` in the discriminator, whose four blocks halve the side at most twice. Larger images, as SNGAN's
at 48 (STL-10) and 128 (ImageNet): `width` channels at the image's own side, doubled at each halving up to 16·`width` or
`max_width`; the discriminator halves the side down to 3, 4, 5 or 7 and ends with one more block, of twice the channels.

So `width` 64 has SNGAN's channels at every size, and `width` 64 with `generator_width` 32 WGAN-GP's on CIFAR-10. The
discriminator's last features are summed over all pixels in SNGAN and averaged in WGAN-GP: `pooling`.

Other than in the papers: a discriminator that nothing constrains is batch-normalised. As in the authors' code and so in
the published counts, the convolutions before a batch normalisation have biases, which it takes out again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from torch import nn

from gans.networks import batch_norm_allowed, channels, doublings, generator_width, image_side
from gans.networks.blocks import ResBlock, from_latent, glorot_weights

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe

_FLAT = 32
"""The largest side of images whose feature maps all have as many channels."""


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A generator (B, latent_dim) → (B, C, H, H) in [−1, 1] and a discriminator (B, C, H, H) → (B,).

    Raises `UserError` unless `shape` is (C, H, H) with H one of `SIZES`.
    """
    side = image_side("resnet", shape)
    return (
        _generator(recipe.latent_dim, _generator_widths(recipe, side), shape[0]),
        _discriminator(
            shape[0], _discriminator_blocks(recipe, side), batch_norm=batch_norm_allowed(recipe), pooling=recipe.pooling
        ),
    )


def _generator_widths(recipe: Recipe, side: int) -> dict[int, int]:
    """Channels by the feature maps' side, from the smallest to the image's own."""
    width = generator_width(recipe)
    most = recipe.max_width or 16 * width
    if side <= _FLAT:
        return dict.fromkeys(doublings(side), min(4 * width, most))
    return {at: channels(width, side, at, most) for at in doublings(side)}


def _discriminator_blocks(recipe: Recipe, side: int) -> list[tuple[int, bool]]:
    """Each block's channels, and whether it halves the side.

    At 32 [(128, True), (128, True), (128, False), (128, False)], and at 48 [(64, True), (128, True), (256, True),
    (512, True), (1024, False)], both of width 64.
    """
    most = recipe.max_width or 16 * recipe.width
    if side <= _FLAT:
        halvings = min(2, len(doublings(side)) - 1)
        return [(min(2 * recipe.width, most), i < halvings) for i in range(4)]
    base, *larger = doublings(side)
    halvings = len(larger) + (base == 6)  # of 4 to 7, 6 alone has a half that is worth a convolution, 3
    return [(min(recipe.width * 2**i, most), i < halvings) for i in range(halvings + 1)]


def _generator(latent_dim: int, widths: dict[int, int], image_channels: int) -> nn.Sequential:
    base, *_ = widths
    *_, last = widths.values()
    to_image = nn.Conv2d(last, image_channels, 3, padding=1)
    layers = [
        *from_latent(latent_dim, widths[base], base),
        *(ResBlock(before, after, after, resize="up", batch_norm=True) for before, after in pairwise(widths.values())),
        nn.BatchNorm2d(last),
        nn.ReLU(inplace=True),
        to_image,
        nn.Tanh(),
    ]
    for layer in (layers[0], to_image):
        glorot_weights(layer)
    return nn.Sequential(*layers)


def _discriminator(
    image_channels: int, blocks: list[tuple[int, bool]], *, batch_norm: bool, pooling: Literal["sum", "mean"]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = image_channels
    for i, (outputs, halve) in enumerate(blocks):
        first = i == 0
        hidden = outputs if first else inputs  # as in SNGAN's code; its tables do not tell
        resize: Literal["down", "no"] = "down" if halve else "no"
        layers.append(ResBlock(inputs, outputs, hidden, resize=resize, batch_norm=batch_norm, image=first))
        inputs = outputs
    norm = [nn.BatchNorm2d(inputs)] if batch_norm else []
    to_logit = nn.Linear(inputs, 1)
    glorot_weights(to_logit)
    return nn.Sequential(*layers, *norm, nn.ReLU(inplace=True), GlobalPool(pooling), to_logit, nn.Flatten(0))


class GlobalPool(nn.Module):
    """The sum or the mean over all pixels; (B, C, H, W) → (B, C)."""

    def __init__(self, pooling: Literal["sum", "mean"]) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        """One value a channel and sample."""
        return x.sum((2, 3)) if self.pooling == "sum" else x.mean((2, 3))

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

from gans.networks import FLAT, batch_norm_allowed, channels, doublings, flat_halvings, generator_width, image_side
from gans.networks.attention import attention
from gans.networks.blocks import ResBlock, from_latent, glorot_weights
from gans.networks.minibatch import variety

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A generator (B, latent_dim) → (B, C, H, H) in [−1, 1] and a discriminator (B, C, H, H) → (B,).

    Raises `UserError` unless `shape` is (C, H, H) with H one of `SIZES`.
    """
    side = image_side("resnet", shape)
    return (
        _generator(recipe, _generator_widths(recipe, side), shape[0]),
        _discriminator(recipe, shape[0], side),
    )


def _generator_widths(recipe: Recipe, side: int) -> dict[int, int]:
    """Channels by the feature maps' side, from the smallest to the image's own."""
    width = generator_width(recipe)
    most = recipe.max_width or 16 * width
    if side <= FLAT:
        return dict.fromkeys(doublings(side), min(4 * width, most))
    return {at: channels(width, side, at, most) for at in doublings(side)}


def _discriminator_blocks(recipe: Recipe, side: int) -> list[tuple[int, bool]]:
    """Each block's channels, and whether it halves the side.

    At 32 [(128, True), (128, True), (128, False), (128, False)], and at 48 [(64, True), (128, True), (256, True),
    (512, True), (1024, False)], both of width 64.
    """
    most = recipe.max_width or 16 * recipe.width
    if side <= FLAT:
        halvings = flat_halvings(side)
        return [(min(2 * recipe.width, most), i < halvings) for i in range(4)]
    base, *larger = doublings(side)
    halvings = len(larger) + (base == 6)  # of 4 to 7, 6 alone has a half that is worth a convolution, 3
    return [(min(recipe.width * 2**i, most), i < halvings) for i in range(halvings + 1)]


def _generator(recipe: Recipe, widths: dict[int, int], image_channels: int) -> nn.Sequential:
    base, *_ = widths
    *_, last = widths.values()
    look = attention(recipe, widths)
    to_image = nn.Conv2d(last, image_channels, 3, padding=1)
    layers = [
        *from_latent(recipe.latent_dim, widths[base], base),
        *look[base],
    ]
    for before, after in pairwise(widths):
        layers += [ResBlock(widths[before], widths[after], widths[after], resize="up", batch_norm=True), *look[after]]
    layers += [
        nn.BatchNorm2d(last),
        nn.ReLU(inplace=True),
        to_image,
        nn.Tanh(),
    ]
    for layer in (layers[0], to_image):
        glorot_weights(layer)
    return nn.Sequential(*layers)


def _discriminator(recipe: Recipe, image_channels: int, side: int) -> nn.Sequential:
    batch_norm, blocks = batch_norm_allowed(recipe), _discriminator_blocks(recipe, side)
    look = attention(recipe, _widths_by_side(blocks, side))
    layers: list[nn.Module] = []
    inputs = image_channels
    for i, (outputs, halve) in enumerate(blocks):
        first = i == 0
        hidden = outputs if first else inputs  # as in SNGAN's code; its tables do not tell
        resize: Literal["down", "no"] = "down" if halve else "no"
        layers.append(ResBlock(inputs, outputs, hidden, resize=resize, batch_norm=batch_norm, image=first))
        inputs = outputs
        if halve:
            side //= 2
            layers += look[side]
    norm = [nn.BatchNorm2d(inputs)] if batch_norm else []
    told, features = variety(recipe, inputs)
    to_logit = nn.Linear(features, 1)
    glorot_weights(to_logit)
    pool = GlobalPool(recipe.pooling)
    return nn.Sequential(*layers, *norm, nn.ReLU(inplace=True), pool, *told, to_logit, nn.Flatten(0))


def _widths_by_side(blocks: list[tuple[int, bool]], side: int) -> dict[int, int]:
    """Channels of the discriminator's feature maps at each side that it halves to, behind the block that does."""
    widths: dict[int, int] = {}
    for channels_there, halve in blocks:
        if halve:
            side //= 2
            widths[side] = channels_there
    return widths


class GlobalPool(nn.Module):
    """The sum or the mean over all pixels; (B, C, H, W) → (B, C)."""

    def __init__(self, pooling: Literal["sum", "mean"]) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        """One value a channel and sample."""
        return x.sum((2, 3)) if self.pooling == "sum" else x.mean((2, 3))

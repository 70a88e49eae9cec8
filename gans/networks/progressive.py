"""Networks that grow with their images (Karras et al. 2018): each doubling of the side adds a block, faded in by α.

All blocks exist from the start and none is ever frozen; `set_stage(size, alpha)` says which take part. At a stage
smaller than the full size the generator returns images of that side and the discriminator takes them.

As in the paper: equalised learning rate, pixelwise normalisation of the latent and of the generator's features,
nearest-neighbour upsampling and average pooling, two 3×3 convolutions per block, 1×1 convolutions to and from the
image's channels at each stage, one map of minibatch standard deviation, LeakyReLU(.2) and no batch normalisation. The
generator's output is linear, not squashed: it learns to stay near [−1, 1], and whoever shows or scores its images
clamps them.

`width` channels at the side `width_at`, by default the full one, doubled at each halving up to `max_width` or 512:
`width` 16 and `width_at` 1024 are the paper's table, `width` 128 and `max_width` 128 the authors' own for CIFAR-10.
Other than in the paper: the generator's first layer has a bias for each unit, not for each channel; the first stage may
be larger than 4×4, as it must be where 4 does not double into the images' side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, linear

from gans.growth import sizes
from gans.networks import doubled_widths, image_side
from gans.networks.attention import attention
from gans.networks.minibatch import MinibatchStddev, variety, wide

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe

_EPS = 1e-8
_GAIN = 2**0.5
"""He's gain for rectifiers."""


def build(recipe: Recipe, shape: tuple[int, ...]) -> tuple[Generator, Discriminator]:
    """A generator (B, latent_dim) → (B, C, s, s) and a discriminator (B, C, s, s) → (B,), both at their full side H.

    Raises `UserError` unless `shape` is (C, H, H) with H one of `SIZES`, at least `start_size`.
    """
    side = image_side("progressive", shape)
    generator_widths, widths = doubled_widths(recipe, sizes(recipe.start_size, side), side)
    discriminator = Discriminator(recipe, shape[0], widths)
    generator = Generator(recipe, shape[0], generator_widths)
    if "spectral-norm" in recipe.constraint:
        _unscale(discriminator)
    if recipe.spectral_generator:
        _unscale(generator)
    return generator, discriminator


def _unscale(network: nn.Module) -> None:
    """Let σ(W) take the place of He's constant: dividing by the one and by the other lets the numbers vanish."""
    for layer in network.modules():
        if isinstance(layer, EqualizedConv2d | EqualizedLinear):
            layer.scale = 1.0


class EqualizedConv2d(nn.Conv2d):
    """A convolution whose weights are drawn from N(0, 1) and multiplied by He's constant at run time (§4.1).

    An adaptive optimiser then moves every layer's weights by the same share of their scale.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, *, padding: int = 0, gain: float = _GAIN) -> None:
        super().__init__(inputs, outputs, kernel_size, padding=padding)
        self.scale = _equalize(self, gain)

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H', W')."""
        return conv2d(input, self.weight * self.scale, self.bias, padding=self.padding)


class EqualizedLinear(nn.Linear):
    """A fully connected layer with the run-time constant of `EqualizedConv2d`."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = _GAIN) -> None:
        super().__init__(inputs, outputs)
        self.scale = _equalize(self, gain)

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs) → (B, outputs)."""
        return linear(input, self.weight * self.scale, self.bias)


def _equalize(layer: nn.Conv2d | nn.Linear, gain: float) -> float:
    """Draw the weights from N(0, 1), zero the bias and return gain/√fan_in."""
    nn.init.normal_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return float(gain / layer.weight[0].numel() ** 0.5)


class _Growing(nn.Module):
    """The stage that both networks stand at. Not in their state: it follows from the images shown (gans/growth.py)."""

    def __init__(self, sides: list[int]) -> None:
        super().__init__()
        self.sides = sides
        self.set_stage(sides[-1], 1.0)

    def set_stage(self, size: int, alpha: float) -> None:
        """Work on images of side `size`, its newest block weighing α ∈ [0, 1]; at the smallest side α has no effect."""
        if size not in self.sides or not 0 <= alpha <= 1:
            raise ValueError(f"stage {size}, α={alpha}: sizes are {self.sides} and α lies between 0 and 1")
        self.size = size
        self.alpha = alpha

    @property
    def _fading(self) -> bool:
        return self.alpha < 1 and self.size > self.sides[0]


class Generator(_Growing):
    """(B, latent_dim) → (B, C, size, size), unbounded.

    Args:
        recipe: has the latent's dimensions and the attention.
        image_channels: C.
        widths: channels by side, from the smallest to the full one.
    """

    def __init__(self, recipe: Recipe, image_channels: int, widths: dict[int, int]) -> None:
        super().__init__(list(widths))
        start, latent_dim = self.sides[0], recipe.latent_dim
        look = attention(recipe, widths)
        self.base = nn.Sequential(
            PixelNorm(),
            # The paper counts this layer as a convolution of the latent: its fan-in has the kernel's area in it.
            EqualizedLinear(latent_dim, widths[start] * start**2, gain=_GAIN / start),
            nn.Unflatten(1, (widths[start], start, start)),
            nn.LeakyReLU(0.2, inplace=True),
            PixelNorm(),
            *_generator_layer(widths[start], widths[start]),
            *look[start],
        )
        self.blocks = nn.ModuleDict(
            {
                str(side): nn.Sequential(
                    nn.Upsample(scale_factor=2),
                    *_generator_layer(widths[side // 2], widths[side]),
                    *_generator_layer(widths[side], widths[side]),
                    *look[side],
                )
                for side in self.sides[1:]
            }
        )
        self.to_image = nn.ModuleDict(
            {str(side): EqualizedConv2d(width, image_channels, 1, gain=1.0) for side, width in widths.items()}
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Images of the stage's side; while fading, α·new + (1−α)·upsampled previous stage."""
        x: Tensor = self.base(latent)
        before = x
        for side in self.sides[1 : self.sides.index(self.size) + 1]:
            before, x = x, self.blocks[str(side)](x)
        image: Tensor = self.to_image[str(self.size)](x)
        if not self._fading:
            return image
        smaller: Tensor = self.to_image[str(self.size // 2)](before)
        return torch.lerp(interpolate(smaller, scale_factor=2), image, self.alpha)  # exact at both ends


class Discriminator(_Growing):
    """(B, C, size, size) → logits (B,). The batch's spread reaches the last block, so that a collapse can be seen.

    Args:
        recipe: says whether it does, and has the attention.
        image_channels: C.
        widths: channels by side, from the smallest to the full one.
    """

    def __init__(self, recipe: Recipe, image_channels: int, widths: dict[int, int]) -> None:
        super().__init__(list(widths))
        start = self.sides[0]
        look = attention(recipe, widths)
        spread = [MinibatchStddev()] if recipe.minibatch in ("auto", "stddev") else []
        told, features = variety(recipe, widths[start]) if recipe.minibatch == "discrimination" else ([], widths[start])
        self.from_image = nn.ModuleDict(
            {
                str(side): nn.Sequential(EqualizedConv2d(image_channels, width, 1), nn.LeakyReLU(0.2, inplace=True))
                for side, width in widths.items()
            }
        )
        self.blocks = nn.ModuleDict(
            {
                str(side): nn.Sequential(
                    *look[side],
                    EqualizedConv2d(widths[side], widths[side], 3, padding=1),
                    nn.LeakyReLU(0.2, inplace=True),
                    EqualizedConv2d(widths[side], widths[side // 2], 3, padding=1),
                    nn.LeakyReLU(0.2, inplace=True),
                    nn.AvgPool2d(2),
                )
                for side in self.sides[1:]
            }
        )
        self.head = nn.Sequential(
            *look[start],
            *spread,
            EqualizedConv2d(widths[start] + len(spread), widths[start], 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Flatten(1),
            EqualizedLinear(widths[start] * start**2, widths[start]),
            nn.LeakyReLU(0.2, inplace=True),
            *told,
            EqualizedLinear(features, 1, gain=1.0),
            nn.Flatten(0),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits; while fading, the newest block's features weigh α and those of the pooled images 1−α."""
        x: Tensor = self.from_image[str(self.size)](images)
        for side in reversed(self.sides[1 : self.sides.index(self.size) + 1]):
            x = self.blocks[str(side)](x)
            if side == self.size and self._fading:
                x = torch.lerp(self.from_image[str(side // 2)](avg_pool2d(images, 2)), x, self.alpha)
        logits: Tensor = self.head(x)
        return logits


class PixelNorm(nn.Module):
    """Divides each pixel's channels by their root mean square (§4.2); (B, C, …) → the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Unit mean square over dimension 1."""
        return x * torch.rsqrt(wide(x).square().mean(1, keepdim=True) + _EPS).to(x.dtype)


def _generator_layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [EqualizedConv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.2, inplace=True), PixelNorm()]

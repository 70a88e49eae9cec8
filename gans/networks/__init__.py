"""Pairs of generator and discriminator, by name.

A new pair is a file with `build(recipe, shape) -> (generator, discriminator)` and a line in `NETWORKS`; another package
adds its own through the entry-point group `ganbench.networks`. `shape` is one sample's: (C, H, W) or (D,).

The generator maps (B, latent_dim) standard normal floats to (B, *shape): images in [−1, 1], points unbounded. The
discriminator maps (B, *shape) to logits (B,).

Where several processes share a batch, batch normalisation is taken over all of it (gans/shards.py). Another layer that
mixes a discriminator's samples, by i modulo B/n for groups of n, says so with a class attribute `shard_group = n`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganbench.errors import UserError
from ganbench.registry import Entry, Registry

if TYPE_CHECKING:
    from torch import nn

    from gans.recipe import Recipe

NETWORKS = Registry(
    "ganbench.networks",
    "network",
    [
        Entry("mlp", "gans.networks.mlp:build", "fully connected, for points"),
        Entry(
            "dcgan", "gans.networks.dcgan:build", "strided convolutions, for images", "Radford et al. 2016, 1511.06434"
        ),
        Entry(
            "progressive",
            "gans.networks.progressive:build",
            "grows with the images, from 4×4 by doubling",
            "Karras et al. 2018, 1710.10196",
        ),
    ],
)

SIZES = (8, 16, 32, 64)
"""Sides of the images that our own networks draw."""

MAX_CHANNELS = 512


def networks(recipe: Recipe, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """A freshly initialised generator and discriminator; initial weights come from torch's global generator.

    Args:
        recipe: names the pair (`network`; "auto": mlp for points, dcgan for images) and its widths, depth and latent.
        shape: (C, H, W) of the images or (D,) of the points.

    Raises:
        UserError: an unknown name, or a shape which the network does not fit.
    """
    name = recipe.network
    if name == "auto":
        name = "dcgan" if len(shape) == 3 else "mlp"
    generator, discriminator = NETWORKS.load(name)(recipe, shape)
    return generator, discriminator


def image_side(network: str, shape: tuple[int, ...]) -> int:
    """The side of square images of a `shape` (C, H, W) that fits; raises `UserError` for any other shape."""
    if len(shape) != 3:
        raise UserError(f"network {network} draws images, not points: choose gan.network=mlp")
    _, height, width = shape
    if height != width or height not in SIZES:
        nearest = min(SIZES, key=lambda size: abs(size - max(height, width)))
        raise UserError(
            f"no network fits {height}×{width} images: sizes are 8, 16, 32 and 64; data.size={nearest} would fit"
        )
    return height


def channels(width: int, side: int, at: int) -> int:
    """Channels where the feature maps' side is `at`: `width` at the image's own `side`, doubled at each halving.

    At most `MAX_CHANNELS`.

    >>> [channels(32, 32, at) for at in (32, 16, 8, 4)]
    [32, 64, 128, 256]
    """
    return min(width * side // at, MAX_CHANNELS)


def batch_norm_allowed(recipe: Recipe) -> bool:
    """Whether the discriminator may mix a batch's samples: not where its slope at each sample is what is constrained.

    A gradient penalty on a batch-normalised critic penalises the wrong quantity, a clipped γ squeezes its features to
    nothing and spectral normalisation no longer bounds it.
    """
    return recipe.constraint == "none" and recipe.objective != "wasserstein"

"""Pairs of generator and discriminator, by name.

A new pair is a file with `build(recipe, shape) -> (generator, discriminator)` and a line in `NETWORKS`; another package
adds its own through the entry-point group `ganbench.networks`. `shape` is one sample's: (C, H, W) or (D,).

The generator maps (B, latent_dim) standard normal floats to (B, *shape): images in [−1, 1], points unbounded. The
discriminator maps (B, *shape) to logits (B,).

Where several processes share a batch, batch normalisation is taken over all of it (gans/shards.py). Another layer that
mixes a discriminator's samples, by i modulo B/n for groups of n, says so with a class attribute `shard_group = n`; 0 is
the whole batch, which cannot be shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganbench.errors import UserError
from ganbench.registry import Entry, Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
            "sndcgan",
            "gans.networks.sndcgan:build",
            "the plain convolutions of SNGAN's paper, for images",
            "Miyato et al. 2018, 1802.05957, table 3",
        ),
        Entry(
            "resnet",
            "gans.networks.resnet:build",
            "residual blocks of SNGAN and WGAN-GP, for images",
            "Miyato et al. 2018, 1802.05957, tables 4 to 6; Gulrajani et al. 2017, 1704.00028, appendix C",
        ),
        Entry(
            "autoencoder",
            "gans.networks.autoencoder:build",
            "BEGAN's: the critic reconstructs images",
            "Berthelot et al. 2017, 1703.10717",
        ),
        Entry(
            "progressive",
            "gans.networks.progressive:build",
            "grows with the images, from 4×4 by doubling",
            "Karras et al. 2018, 1710.10196",
        ),
    ],
)

_OF_IMAGES = ("dcgan", "sndcgan", "resnet", "autoencoder", "progressive")

SIZES = tuple(sorted(base * 2**k for base in (4, 5, 6, 7) for k in range(1, 9) if base * 2**k <= 1024))
"""Sides of the images that our own networks draw: 4, 5, 6 or 7, doubled up to 1024."""

MAX_CHANNELS = 512


def networks(recipe: Recipe, shape: tuple[int, ...], classes: int = 0) -> tuple[nn.Module, nn.Module]:
    """A freshly initialised generator and discriminator; initial weights come from torch's global generator.

    Args:
        recipe: names the pair (`network`; "auto": mlp for points, dcgan for images) and its widths, depth and latent.
        shape: (C, H, W) of the images or (D,) of the points.
        classes: how many the samples have, for a recipe with a condition; see `gans.networks.conditional`.

    Raises:
        UserError: an unknown name, or a shape or a condition which the network does not fit.
    """
    build = NETWORKS.load(_resolved(recipe.network, shape))
    check_options(recipe, shape)
    if recipe.condition == "none":
        generator, discriminator = build(recipe, shape)
    else:
        from gans.networks.conditional import conditional

        generator, discriminator = conditional(build, recipe, shape, classes)
    return generator, discriminator


def check_shape(network: str, shape: tuple[int, ...]) -> None:
    """Refuse, as a `UserError`, samples that one of our own networks does not fit; needs no torch."""
    name = _resolved(network, shape)
    if name == "mlp":
        point_dimensions(shape)
    elif name in _OF_IMAGES:
        image_side(name, shape)


def check_options(recipe: Recipe, shape: tuple[int, ...]) -> None:
    """Refuse, as a `UserError`, an option that our own network for such samples has no place for; needs no torch."""
    name = _resolved(recipe.network, shape)
    if name == "mlp" and recipe.critic_norm == "batch":
        raise UserError("gan.critic_norm=batch: the network of points has no batch normalisation; give auto")
    if recipe.attention is None or name not in ("mlp", *_OF_IMAGES):
        return
    if name == "mlp":
        raise UserError(
            f"gan.attention={recipe.attention}: points have no feature maps to look over; give gan.attention=null"
        )
    sides = doublings(image_side(name, shape))
    attended(recipe, [side for side in sides if name != "progressive" or side >= recipe.start_size])
    if name == "resnet" and sides[-1] <= FLAT:
        attended(recipe, [sides[-1] // 2**halvings for halvings in range(1, flat_halvings(sides[-1]) + 1)])


def attended(recipe: Recipe, sides: Iterable[int]) -> int | None:
    """The largest of a player's feature maps' sides that the recipe's attention takes; None: it asks for none.

    >>> from gans.recipe import Recipe
    >>> attended(Recipe(attention=16), [4, 8, 16, 32]), attended(Recipe(attention=16), [7, 14, 28])
    (16, 14)

    Raises:
        UserError: all are larger.
    """
    if recipe.attention is None:
        return None
    sides = list(sides)
    fitting = [side for side in sides if side <= recipe.attention]
    if not fitting:
        raise UserError(
            f"gan.attention={recipe.attention} is less than the side of the smallest feature maps of network "
            f"{recipe.network}: give {min(sides)} or more, or null"
        )
    return max(fitting)


FLAT = 32
"""The largest side of images whose feature maps all have as many channels in a ResNet."""


def flat_halvings(side: int) -> int:
    """How often the critic of a ResNet for images of up to `FLAT` pixels halves their side."""
    return min(2, len(doublings(side)) - 1)


def _resolved(network: str, shape: tuple[int, ...]) -> str:
    if network != "auto":
        return network
    return "dcgan" if len(shape) == 3 else "mlp"


def point_dimensions(shape: tuple[int, ...]) -> int:
    """The dimensions of points of a `shape` (D,); raises `UserError` for any other shape."""
    if len(shape) != 1:
        raise UserError("network mlp draws points, not images: choose gan.network=auto, or a network for images")
    return shape[0]


def image_side(network: str, shape: tuple[int, ...]) -> int:
    """The side of square images of a `shape` (C, H, W) that fits; raises `UserError` for any other shape."""
    if len(shape) != 3:
        remedy = "data of images, or another gan" if network == "autoencoder" else "gan.network=mlp"
        raise UserError(f"network {network} draws images, not points: choose {remedy}")
    _, height, width = shape
    if height == width and height in SIZES:
        return height
    side = max(height, width)
    nearest = min(SIZES, key=lambda size: abs(size - side))
    larger = next((size for size in SIZES if size >= side), None)
    pad = f" or data.pad={larger}" if larger else ""
    raise UserError(
        f"network {network} does not fit {height}×{width} images: they must be square, their side {SIZES[0]} to "
        f"{SIZES[-1]} and 4, 5, 6 or 7 times a power of two; data.size={nearest}{pad} would fit"
    )


def doublings(side: int) -> list[int]:
    """Sides of an image's feature maps: what its `side` halves to while that is even and 8 or more, from the smallest.

    >>> doublings(32), doublings(48), doublings(28)
    ([4, 8, 16, 32], [6, 12, 24, 48], [7, 14, 28])
    """
    sides = [side]
    while sides[0] >= 8 and sides[0] % 2 == 0:
        sides.insert(0, sides[0] // 2)
    return sides


def channels(width: int, side: int, at: int, most: int = MAX_CHANNELS) -> int:
    """Channels where the feature maps' side is `at`: `width` at `side`, doubled at each halving, at most `most`.

    >>> [channels(32, 32, at) for at in (32, 16, 8, 4)]
    [32, 64, 128, 256]
    """
    return max(1, min(width * side // at, most))


def doubled_widths(recipe: Recipe, sides: Sequence[int], side: int) -> tuple[dict[int, int], dict[int, int]]:
    """The generator's and the discriminator's channels by the feature maps' side, for images of `side`.

    >>> from gans.recipe import Recipe
    >>> doubled_widths(Recipe(width=32, generator_width=64), [8, 16], 16)
    ({8: 128, 16: 64}, {8: 64, 16: 32})
    """
    at, most = recipe.width_at or side, recipe.max_width or MAX_CHANNELS
    generator, discriminator = (
        {each: channels(width, at, each, most) for each in sides} for width in (generator_width(recipe), recipe.width)
    )
    return generator, discriminator


def generator_width(recipe: Recipe) -> int:
    """The generator's width, which is the discriminator's unless the recipe gives it its own."""
    return recipe.generator_width or recipe.width


def batch_norm_allowed(recipe: Recipe) -> bool:
    """Whether the discriminator may mix a batch's samples: not where its slope at each sample is what is constrained.

    A gradient penalty on a batch-normalised critic penalises the wrong quantity, a clipped γ squeezes its features to
    nothing and spectral normalisation no longer bounds it. `gan.critic_norm` says it where nothing is constrained.
    """
    return recipe.critic_norm != "none" and recipe.constraint == "none"

"""What is asked of a generator and a discriminator, whoever built them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from gans import GAN
from gans.growth import sizes
from gans.recipe import Recipe
from harness.conformance.finding import Broken

SHAPES = ((1, 8, 8), (2,), (3, 8, 8), (1, 16, 16), (1, 32, 32), (3, 32, 32))
"""Samples that are tried: (C, H, W) of images, (D,) of points."""

SMALL: Mapping[str, int] = {"width": 8, "latent_dim": 8, "batch_size": 8}
"""Options that make any recipe cheap."""

OUTSIDE = 0.9
"""Share of an untrained generator's pixels that may lie outside [−1, 1]: a linear output learns to stay within, as
progressive growing's does, of which two thirds are outside before it has learnt anything."""

ONE_SIDED = 0.25
"""Mean distance from 0 of an untrained generator's pixels that are all of one sign: 0.5 after a sigmoid, and far less
where small random weights happen to be so.
"""

Shape = tuple[int, ...]

Judge = Callable[[Tensor], Tensor]
"""Samples (B, …) to logits (B,)."""


def latents(n: int, recipe: Recipe, seed: int = 0) -> Tensor:
    """(n, latent_dim) standard normal numbers."""
    return torch.randn(n, recipe.latent_dim, generator=torch.Generator().manual_seed(seed))


def noise(n: int, shape: Shape, seed: int = 0) -> Tensor:
    """(n, *shape) uniform numbers in [−1, 1]."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def check_forward(generator: nn.Module, discriminator: nn.Module, recipe: Recipe, shape: Shape) -> None:
    """(B, latent_dim) → (B, *shape) and (B, *shape) → (B,), float32, for a batch and for a single one."""
    generator.eval()
    for n in (5, 1):
        with torch.no_grad():
            samples = generator(latents(n, recipe))
        _expect(samples, (n, *shape), "the generator's samples", "end the generator in the shape it is asked for")
    discriminator.train()
    with torch.no_grad():
        logits = discriminator(noise(5, shape))
    _expect(logits, (5,), "the discriminator's logits", "one number per sample: flatten its last layer with Flatten(0)")


def _expect(values: Any, shape: Shape, what: str, remedy: str) -> None:
    if not isinstance(values, Tensor):
        raise Broken(f"{what} are a {type(values).__name__}", where=f"asked for {shape}", remedy="return a tensor")
    if tuple(values.shape) != shape or values.dtype != torch.float32:
        said = f"{str(values.dtype).removeprefix('torch.')} {tuple(values.shape)}"
        raise Broken(f"{what} are {said}", where=f"asked for float32 {shape}", remedy=remedy)
    broken = int((~values.isfinite()).sum())
    if broken:
        raise Broken(
            f"{broken} of {what} are NaN or infinite", where=f"asked for {shape}", remedy="look at the initial weights"
        )


def check_range(samples: Tensor, shape: Shape) -> str:
    """What untrained samples (n, *shape) reach: finite, varied, and images about [−1, 1] and its middle."""
    where = f"untrained samples of shape {shape}"
    if not samples.isfinite().all():
        raise Broken("some are NaN or infinite", where=where, remedy="look at the initial weights")
    if samples.std(dim=0).max() == 0:
        raise Broken("all are the same", where=where, remedy="let the generator's output depend on its latents")
    lowest, highest = float(samples.min()), float(samples.max())
    reach = f"{lowest:.3g} … {highest:.3g}"
    if len(shape) == 1:
        return f"points from {reach}"
    if (lowest >= 0 or highest <= 0) and samples.abs().mean() > ONE_SIDED:
        raise Broken(
            f"images reach from {reach} only", where=where, remedy="end in tanh: black is −1 and white 1, not 0 and 1"
        )
    outside = float((samples.abs() > 1).float().mean())
    if outside > OUTSIDE:
        raise Broken(
            f"images reach from {reach}, {outside:.0%} of their pixels outside [−1, 1]",
            where=where,
            remedy="end in tanh, or draw smaller weights",
        )
    return f"images from {reach}"


def check_gradients(generator: nn.Module, discriminator: nn.Module, recipe: Recipe, shape: Shape) -> str:
    """A loss of the logits of real and generated samples reaches every parameter of both, at some stage of growth."""
    players = {"generator": generator.train(), "discriminator": discriminator.train()}
    missed = {f"{name}.{key}" for name, player in players.items() for key, _ in player.named_parameters()}
    number = len(missed)
    for side in _stages(generator, discriminator, recipe, shape):
        real = noise(8, shape)
        if side < shape[-1]:
            real = nn.functional.avg_pool2d(real, shape[-1] // side)
        logits = torch.cat([discriminator(real), discriminator(generator(latents(8, recipe)))])
        for player in players.values():
            player.zero_grad()
        # each logit has its own weight: what only shifts all of them counts too
        (nn.functional.softplus(logits) * torch.arange(1, 17)).sum().backward()  # type: ignore[no-untyped-call]
        missed -= {f"{name}.{key}" for name, player in players.items() for key, _ in reached(player)}
    if missed:
        raise Broken(
            f"no gradient reaches {len(missed)} of {number} parameters",
            where=shown(missed),
            remedy="use every layer that is made, and detach none",
        )
    return f"all {number} parameters of both players"


def _stages(generator: Any, discriminator: Any, recipe: Recipe, shape: Shape) -> Iterator[int]:
    """The images' side: the full one, or every stage's of networks that grow, its newest block half faded in."""
    if not hasattr(generator, "set_stage"):
        yield shape[-1]
        return
    for side in sizes(recipe.start_size, shape[-1]):
        generator.set_stage(side, 0.5)
        discriminator.set_stage(side, 0.5)
        yield side
    generator.set_stage(side, 1.0)
    discriminator.set_stage(side, 1.0)


def judge_of(gan: GAN) -> Judge:
    """The discriminator's logits as a function of samples alone; a conditional one takes all for the first class."""

    def judge(samples: Tensor) -> Tensor:
        labels = torch.zeros(len(samples), dtype=torch.int64) if gan.condition.classes else None
        return gan.condition.critic(gan.discriminator, labels)(samples)

    return judge


def only_shift(discriminator: nn.Module, judge: Judge, shape: Shape) -> set[str]:
    """The discriminator's parameters that add the same to every logit: a loss of the logits' differences has no slope
    along them, and a Wasserstein critic's last bias is one.
    """
    discriminator.train()
    logits = judge(noise(8, shape))
    discriminator.zero_grad()
    logits.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    moving = {key for key, _ in reached(discriminator)}
    discriminator.zero_grad()
    (logits * torch.arange(-3.5, 4.5)).sum().backward()  # type: ignore[no-untyped-call]
    largest = {key: float(p.grad.abs().max()) for key, p in discriminator.named_parameters() if p.grad is not None}
    discriminator.zero_grad()
    return {key for key in moving if largest[key] < 1e-5}


def reached(player: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters whose last gradient is finite and not all zero."""
    for key, parameter in player.named_parameters():
        if parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any():
            yield key, parameter


def shown(names: set[str], most: int = 3) -> str:
    """The first few of them."""
    first = sorted(names)
    return ", ".join(first[:most]) + (f" and {len(first) - most} more" if len(first) > most else "")


@torch.no_grad()
def check_rows(generator: nn.Module, recipe: Recipe, *, conditional: bool = False) -> str:
    """A sample of a generator in evaluation mode depends on its own latent (and label) alone."""
    generator.eval()
    labels = [torch.zeros(6, dtype=torch.int64)] if conditional else []
    batch, others = latents(6, recipe), latents(6, recipe, seed=1)
    others[0] = batch[0]
    torch.manual_seed(0)
    first = generator(batch, *labels)[0]
    torch.manual_seed(1)
    second = generator(others, *labels)[0]
    if not torch.equal(first, second):
        alone = torch.equal(first, generator(batch, *labels)[0])
        raise Broken(
            "one latent gives another sample beside other latents" if alone else "one latent gives another sample",
            where="the generator in evaluation mode",
            remedy="take batch statistics only while training (keep running ones), and draw no noise inside",
        )
    return "a sample depends on its latent alone"


@torch.no_grad()
def check_mixing(discriminator: nn.Module, judge: Judge, shape: Shape, *, constrained: bool) -> str:
    """What a sample's logit depends on besides the sample, while training.

    A critic under a constraint has no batch normalisation: a gradient or a Lipschitz constant speaks of one sample.
    Other layers that look at several samples say so (`shard_group`), and then keep to their groups.
    """
    normalised = [key for key, layer in discriminator.named_modules() if isinstance(layer, _BatchNorm)]
    groups = [getattr(layer, "shard_group", 1) for layer in discriminator.modules()]
    group = math.lcm(*(each for each in groups if isinstance(each, int)))
    batch = 2 * group if group > 1 else 8
    apart = torch.arange(batch) % (batch // group) != 0 if group > 1 else torch.arange(batch) > 0
    real, others = noise(batch, shape), noise(batch, shape, seed=1)
    others[~apart] = real[~apart]
    discriminator.train()
    logits = []
    with parametrize.cached():  # a spectral norm would take another step at each look
        for samples in (real, others):
            torch.manual_seed(0)  # dropout may drop, but the same
            logits.append(judge(samples)[0])
    mixed = not torch.equal(*logits)
    if mixed and (constrained or not normalised):
        raise Broken(
            "a sample's logit changes with the others of its batch",
            where=shown(set(normalised)) or "the discriminator in training mode",
            remedy="no batch normalisation where gans.networks.batch_norm_allowed(recipe) is false; a layer that must "
            "look at several samples says at how many with shard_group",
        )
    if mixed:
        return "batch normalisation, where nothing constrains the critic"
    return f"within groups of {group} samples" if group > 1 else "a logit depends on its sample alone"

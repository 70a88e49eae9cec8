"""What keeps a critic tame: weight clipping, penalties on its slope, spectral normalisation, and pairs of these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrizations import _SpectralNorm, spectral_norm

from gans.shards import WHOLE, Shard

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    weight: float,
    target: float = 1.0,
    generator: torch.Generator | None = None,
    shard: Shard = WHOLE,
) -> Tensor:
    """λ·E(‖∇D(x̂)‖₂ − γ)²/γ² at x̂ = t·fake + (1−t)·real (Gulrajani et al. 2017, eq. 3; γ of Karras et al. 2018).

    Every sample has its own t ~ U(0, 1) and its own norm, over all dimensions but the batch's. Autocast is off inside,
    as squared half-precision gradients overflow.

    Args:
        discriminator: maps (B, …) to logits, one per sample. It must not mix samples (no batch normalisation).
        real: (B, …) float.
        fake: (B, …) float, of the same shape; no gradient reaches it.
        weight: λ.
        target: γ, the norm that is asked for.
        generator: the source of t; its device may differ from the samples'.
        shard: which rows of the joined batch of several processes these samples are; t is then theirs.

    Returns:
        A scalar, differentiable in the discriminator's parameters; at a gradient of exactly zero its derivative is 0.
    """
    between = GradientPenalty(weight, target)
    return between.penalty(discriminator, real, fake, generator=generator, shard=shard)


class Constraint:
    """The base, and the constraint "none": does nothing at each of the three places where a constraint may act."""

    def prepare(self, discriminator: nn.Module) -> None:
        """Change the discriminator in place, once, after it is built and before its optimiser is."""

    def penalty(
        self,
        discriminator: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        *,
        generator: torch.Generator | None,
        shard: Shard = WHOLE,
    ) -> Tensor | None:
        """A scalar to add to the discriminator's loss, or None. `generator` is the source of any randomness.

        It is drawn from for the joined batch, of which these samples are the `shard`.
        """

    def after_step(self, discriminator: nn.Module) -> None:
        """Act on the discriminator after each step of its optimiser."""


class WeightClipping(Constraint):
    """Every parameter stays in [−c, c] (Arjovsky et al. 2017, Algorithm 1)."""

    def __init__(self, c: float) -> None:
        self.c = c

    @torch.no_grad()
    def after_step(self, discriminator: nn.Module) -> None:
        """Clamp the parameters in place."""
        for parameter in discriminator.parameters():
            parameter.clamp_(-self.c, self.c)


class SlopePenalty(Constraint, ABC):
    """A mean over samples of a function of ‖∇D‖₂, each sample's own norm over all its dimensions.

    Autocast is off inside, as squared half-precision gradients overflow.

    Args:
        weight: λ.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def noise(
        self,
        shape: Sequence[int],  # noqa: ARG002
        generator: torch.Generator | None,  # noqa: ARG002
        like: Tensor,  # noqa: ARG002
    ) -> Tensor | None:
        """What `places` needs of randomness for the joined batch of that shape, (B, …); None: nothing."""
        return None

    @abstractmethod
    def places(self, real: Tensor, fake: Tensor, noise: Tensor | None) -> Tensor:
        """The samples at which the slope is looked at: (B, …), without a gradient to either batch."""

    @abstractmethod
    def cost(self, norm: Tensor) -> Tensor:
        """What a slope of that norm costs, but for λ."""

    def penalty(
        self,
        discriminator: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        *,
        generator: torch.Generator | None,
        shard: Shard = WHOLE,
    ) -> Tensor:
        """The penalty of this batch, a scalar."""
        noise = self.noise((len(real) * shard.world, *real.shape[1:]), generator, real)
        at = self.places(real, fake, None if noise is None else shard.rows(noise).to(real.device))
        return self.at(discriminator, at)

    def at(self, discriminator: Callable[[Tensor], Tensor], places: Tensor, *, ahead: int = 1) -> Tensor:
        """The penalty at (B, …) places, or at (K, B, …) for K critics at once, where `ahead` is 2.

        Returns:
            A scalar, or (K,).
        """
        with torch.autocast(places.device.type, enabled=False):
            places = places.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(discriminator(places).sum(), places, create_graph=True)
            # vector_norm's derivative at the zero vector is 0, where that of sqrt(Σ g²) is NaN.
            norm = torch.linalg.vector_norm(gradient.flatten(ahead), dim=-1)
            penalty: Tensor = self.weight * self.cost(norm).mean(-1)
            return penalty


class GradientPenalty(SlopePenalty):
    """The critic's gradient between real and fake samples is asked to have norm `target`: see `gradient_penalty`."""

    def __init__(self, weight: float, target: float = 1.0) -> None:
        super().__init__(weight)
        self.target = target

    def noise(self, shape: Sequence[int], generator: torch.Generator | None, like: Tensor) -> Tensor:
        """One t ~ U(0, 1) a sample."""
        return torch.rand((shape[0], *[1] * (len(shape) - 1)), **_source(generator, like))

    def places(self, real: Tensor, fake: Tensor, noise: Tensor | None) -> Tensor:
        """x̂ = t·fake + (1−t)·real."""
        assert noise is not None
        with torch.autocast(real.device.type, enabled=False):
            return noise * fake.detach() + (1 - noise) * real.detach()

    def cost(self, norm: Tensor) -> Tensor:
        """(‖∇D‖ − γ)²/γ²."""
        return ((norm - self.target) / self.target).square()


class R1(SlopePenalty):
    """λ/2·E‖∇D(x)‖₂² at real samples: a critic that is right has no slope to leave them by (Mescheder et al. 2018).

    Unlike a target of 1, it lets the game come to rest where the generator's samples are the real ones.
    """

    def places(self, real: Tensor, fake: Tensor, noise: Tensor | None) -> Tensor:  # noqa: ARG002
        """The real samples."""
        return real

    def cost(self, norm: Tensor) -> Tensor:
        """½‖∇D‖²."""
        return norm.square() / 2


class Dragan(GradientPenalty):
    """λ·E(‖∇D(x + δ)‖₂ − γ)²/γ² around real samples, δ ~ N(0, c²) in every dimension (Kodali et al. 2017, eq. 4).

    Args:
        weight: λ.
        target: γ.
        spread: c, in the samples' own unit: images lie in [−1, 1].
    """

    def __init__(self, weight: float, target: float = 1.0, spread: float = 0.5) -> None:
        super().__init__(weight, target)
        self.spread = spread

    def noise(self, shape: Sequence[int], generator: torch.Generator | None, like: Tensor) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(tuple(shape), **_source(generator, like))

    def places(self, real: Tensor, fake: Tensor, noise: Tensor | None) -> Tensor:  # noqa: ARG002
        """The real samples, moved by δ."""
        assert noise is not None
        return real + self.spread * noise


def _source(generator: torch.Generator | None, like: Tensor) -> dict[str, Any]:
    device = like.device if generator is None else generator.device
    return {"generator": generator, "device": device, "dtype": like.dtype}


class SpectralNorm(Constraint):
    """Every weight W is used as W/σ(W), σ by one power iteration per training forward (Miyato et al. 2018, Alg. 1).

    A convolution's W is its kernel as an (out, in·k·k) matrix, as in the paper: that bounds a linear layer's Lipschitz
    constant by 1 and a strided convolution's by kernel/stride. Inside `torch.nn.utils.parametrize.cached()` several
    forwards share one iteration.
    """

    def prepare(self, discriminator: nn.Module) -> None:
        """Parametrise every layer with a weight matrix; the iteration's start comes from the global generator."""
        for layer in list(discriminator.modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
                spectral_norm(layer, n_power_iterations=1)
                layer.get_submodule("parametrizations.weight.0").__class__ = _Float32SpectralNorm


class _Float32SpectralNorm(_SpectralNorm):
    """Takes σ in float32 under mixed precision too, where a GPU would multiply in 16 bits: off by up to 1 in 256.

    Its iteration is torch's, to the bit, but in operations that `torch.func` can map over an ensemble's members.
    """

    _u: Tensor
    _v: Tensor

    @torch.no_grad()
    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        for _ in range(n_power_iterations):
            self._u.copy_(normalize(torch.mv(weight_mat, self._v), dim=0, eps=self.eps))
            self._v.copy_(normalize(torch.mv(weight_mat.mT, self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(weight.device.type):
            return super().forward(weight)
        with torch.autocast(weight.device.type, enabled=False):
            return super().forward(weight)


class Pair(Constraint):
    """Spectral normalisation and a penalty on the slope of the normalised critic."""

    def __init__(self, normalisation: SpectralNorm, slope: SlopePenalty) -> None:
        self.normalisation = normalisation
        self.slope = slope

    def prepare(self, discriminator: nn.Module) -> None:
        """Normalise."""
        self.normalisation.prepare(discriminator)

    def penalty(
        self,
        discriminator: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        *,
        generator: torch.Generator | None,
        shard: Shard = WHOLE,
    ) -> Tensor:
        """The penalty of this batch, a scalar."""
        return self.slope.penalty(discriminator, real, fake, generator=generator, shard=shard)


def slope_penalty(constraint: Constraint) -> SlopePenalty | None:
    """The penalty on the critic's slope that a constraint is or has."""
    if isinstance(constraint, Pair):
        return constraint.slope
    return constraint if isinstance(constraint, SlopePenalty) else None


def build(recipe: Recipe) -> Constraint:
    """The constraint that the recipe names."""
    first, _, second = recipe.constraint.partition("+")
    one = _build(first, recipe)
    if not second:
        return one
    other = _build(second, recipe)
    assert isinstance(one, SpectralNorm)
    assert isinstance(other, SlopePenalty)
    return Pair(one, other)


def _build(name: str, recipe: Recipe) -> Constraint:
    match name:
        case "clip":
            return WeightClipping(recipe.clip)
        case "gradient-penalty":
            return GradientPenalty(recipe.penalty_weight, recipe.penalty_target)
        case "r1":
            return R1(recipe.penalty_weight)
        case "dragan":
            return Dragan(recipe.penalty_weight, recipe.penalty_target, recipe.dragan_noise)
        case "spectral-norm":
            return SpectralNorm()
        case _:
            return Constraint()

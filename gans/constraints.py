"""What keeps a critic tame: weight clipping, the gradient penalty, spectral normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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
    device = real.device if generator is None else generator.device
    t_shape = (len(real) * shard.world, *[1] * (real.ndim - 1))
    t = shard.rows(torch.rand(t_shape, generator=generator, device=device, dtype=real.dtype)).to(real.device)
    with torch.autocast(real.device.type, enabled=False):
        between = t * fake.detach() + (1 - t) * real.detach()
        return slope_penalty(discriminator, between, weight=weight, target=target)


def slope_penalty(
    discriminator: Callable[[Tensor], Tensor], at: Tensor, *, weight: float, target: float, ahead: int = 1
) -> Tensor:
    """λ·E(‖∇D(x)‖₂ − γ)²/γ² over the samples x in `at`: (B, …), or (K, B, …) for K critics at once, where `ahead` is 2.

    Returns:
        A scalar, or (K,).
    """
    at = at.requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(at).sum(), at, create_graph=True)
    # vector_norm's derivative at the zero vector is 0, where that of sqrt(Σ g²) is NaN.
    norm = torch.linalg.vector_norm(gradient.flatten(ahead), dim=-1)
    penalty: Tensor = weight * ((norm - target) / target).square().mean(-1)
    return penalty


class Constraint:
    """The base, and the constraint "none": does nothing at each of the three places where a constraint may act."""

    def prepare(self, discriminator: nn.Module) -> None:
        """Change the discriminator in place, once, after it is built and before its optimiser is."""

    def penalty(
        self,
        discriminator: nn.Module,
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


class GradientPenalty(Constraint):
    """The critic's gradient between real and fake samples is asked to have norm `target`: see `gradient_penalty`."""

    def __init__(self, weight: float, target: float = 1.0) -> None:
        self.weight = weight
        self.target = target

    def penalty(
        self,
        discriminator: nn.Module,
        real: Tensor,
        fake: Tensor,
        *,
        generator: torch.Generator | None,
        shard: Shard = WHOLE,
    ) -> Tensor:
        """The penalty of this batch, a scalar."""
        return gradient_penalty(
            discriminator, real, fake, weight=self.weight, target=self.target, generator=generator, shard=shard
        )


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


def build(recipe: Recipe) -> Constraint:
    """The constraint that the recipe names."""
    match recipe.constraint:
        case "none":
            return Constraint()
        case "clip":
            return WeightClipping(recipe.clip)
        case "gradient-penalty":
            return GradientPenalty(recipe.penalty_weight, recipe.penalty_target)
        case "spectral-norm":
            return SpectralNorm()

"""What the two players minimise, as functions of the discriminator's logits.

Logits are D(x) with no sigmoid, of any shape (usually (B,)); every loss is a mean over them, taken in float32 at
least so that half-precision logits neither overflow nor vanish.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.functional import relu, softplus

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe


class Objective(ABC):
    """A pair of losses. Pure: nothing is kept between calls."""

    name: ClassVar[str]

    @abstractmethod
    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The scalar that the discriminator minimises."""

    @abstractmethod
    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """The scalar that the generator minimises."""


class Minimax(Objective):
    """−E log σ(D(x)) − E log(1−σ(D(G(z)))), and the generator maximises the same (Goodfellow et al. 2014).

    The generator's gradient per sample is −σ(l)/B: it vanishes where the discriminator is sure of the fake.
    """

    name = "minimax"

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """sp(−l_r) + sp(l_f), with sp the softplus."""
        return softplus(-_float(real_logits)).mean() + softplus(_float(fake_logits)).mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """−sp(l_f)."""
        return -softplus(_float(fake_logits)).mean()


class NonSaturating(Minimax):
    """Minimax's discriminator; the generator minimises −E log σ(D(G(z))) instead (Goodfellow et al. 2014, §3).

    The generator's gradient per sample is −(1−σ(l))/B: largest where the discriminator is sure of the fake.
    """

    name = "nonsaturating"

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """sp(−l_f)."""
        return softplus(-_float(fake_logits)).mean()


class LeastSquares(Objective):
    """Squared distance of the raw logits to targets (Mao et al. 2017, eq. 2).

    Args:
        a: the discriminator's target for fakes.
        b: the discriminator's target for real samples.
        c: the generator's target for its fakes.
    """

    name = "least-squares"

    def __init__(self, a: float = 0.0, b: float = 1.0, c: float = 1.0) -> None:
        self.a, self.b, self.c = a, b, c

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """½(l_r−b)² + ½(l_f−a)²."""
        return 0.5 * ((_float(real_logits) - self.b).square().mean() + (_float(fake_logits) - self.a).square().mean())

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """½(l_f−c)²."""
        return 0.5 * (_float(fake_logits) - self.c).square().mean()


class Wasserstein(Objective):
    """The critic's gap, an estimate of −W₁ while the critic is Lipschitz (Arjovsky et al. 2017, Algorithm 1)."""

    name = "wasserstein"

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """l_f − l_r."""
        return _float(fake_logits).mean() - _float(real_logits).mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """−l_f."""
        return -_float(fake_logits).mean()


class Hinge(Wasserstein):
    """The Wasserstein generator against a discriminator that stops caring beyond a margin of 1 (Miyato et al. 2018)."""

    name = "hinge"

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """relu(1−l_r) + relu(1+l_f)."""
        return relu(1 - _float(real_logits)).mean() + relu(1 + _float(fake_logits)).mean()


def build(recipe: Recipe) -> Objective:
    """The objective that the recipe names."""
    match recipe.objective:
        case "minimax":
            return Minimax()
        case "nonsaturating":
            return NonSaturating()
        case "least-squares":
            return LeastSquares(recipe.lsgan_a, recipe.lsgan_b, recipe.lsgan_c)
        case "wasserstein":
            return Wasserstein()
        case "hinge":
            return Hinge()


def _float(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))

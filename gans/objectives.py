"""What the two players minimise, as functions of the discriminator's logits.

Logits are D(x) with no sigmoid, of any shape (usually (B,)); every loss is a mean over them, taken in float32 at
least so that half-precision logits neither overflow nor vanish.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

if TYPE_CHECKING:
    from gans.recipe import Recipe


class Objective(ABC):
    """A pair of losses. Pure: nothing is kept between calls, but what `after_step` may change."""

    name: ClassVar[str]

    @abstractmethod
    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The scalar that the discriminator minimises."""

    @abstractmethod
    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """The scalar that the generator minimises."""

    def scalars(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """What else a critic step is to record, by name; of the joined batch where several processes share one."""
        return {}

    def after_step(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002
        """Hear of a critic step and its scalars; returns more to record."""
        return {}


class Minimax(Objective):
    """−E log σ(D(x)) − E log(1−σ(D(G(z)))), and the generator maximises the same (Goodfellow et al. 2014).

    The generator's gradient per sample is −σ(l)/B: it vanishes where the discriminator is sure of the fake.

    Args:
        smoothing: s, where real samples have the label 1 − s instead of 1 (one-sided: Salimans et al. 2016, §3.4).
    """

    name = "minimax"

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """(1−s)·sp(−l_r) + s·sp(l_r) + sp(l_f), with sp the softplus."""
        loss = softplus(-_float(real_logits)).mean() + softplus(_float(fake_logits)).mean()
        # sp(l) = sp(−l) + l
        return loss + self.smoothing * _float(real_logits).mean() if self.smoothing else loss

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


class BoundaryEquilibrium(nn.Module, Objective):
    """Reconstruction errors e = −l of an autoencoder, weighed against each other (Berthelot et al. 2017, §3.3).

    The fakes' weight k in the critic's loss starts at 0 and follows, after each critic step, how far the fakes' error
    is from γ times the real samples': k ← k + λ·(γ·e_r − e_f), kept in [0, 1]. It is the objective's only state, and
    part of the game's, so that a resume cannot lose it.

    Args:
        target: γ ∈ (0, 1]: smaller asks for sharper and less varied samples.
        rate: λ.
    """

    name = "boundary-equilibrium"
    balance: Tensor

    def __init__(self, target: float = 0.5, rate: float = 0.001) -> None:
        super().__init__()
        self.target = target
        self.rate = rate
        self.register_buffer("balance", torch.zeros(()))

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """e_r − k·e_f."""
        # a copy, as a step may be taken before this loss is done with
        return self.balance.clone() * _float(fake_logits).mean() - _float(real_logits).mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """e_f."""
        return -_float(fake_logits).mean()

    def scalars(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        """Both errors."""
        errors = {"loss/error_real": real_logits, "loss/error_fake": fake_logits}
        return {name: -_float(logits.detach()).mean() for name, logits in errors.items()}

    @torch.no_grad()
    def after_step(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Move k; returns it, and the paper's measure of convergence e_r + |γ·e_r − e_f|."""
        real, fake = values["loss/error_real"], values["loss/error_fake"]
        self.balance.add_(self.rate * (self.target * real - fake)).clamp_(0, 1)
        return {"loss/balance": self.balance.clone(), "loss/convergence": real + (self.target * real - fake).abs()}


def build(recipe: Recipe) -> Objective:
    """The objective that the recipe names."""
    match recipe.objective:
        case "minimax":
            return Minimax(recipe.label_smoothing)
        case "nonsaturating":
            return NonSaturating(recipe.label_smoothing)
        case "least-squares":
            a, b = recipe.lsgan_a, recipe.lsgan_b
            return LeastSquares(a, b - recipe.label_smoothing * (b - a), recipe.lsgan_c)
        case "wasserstein":
            return Wasserstein()
        case "hinge":
            return Hinge()
        case "boundary-equilibrium":
            return BoundaryEquilibrium(recipe.balance_target, recipe.balance_rate)


def _float(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))

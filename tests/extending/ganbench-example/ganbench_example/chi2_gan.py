"""The f-GAN of Pearson's χ² divergence (Nowozin, Cseke & Tomioka 2016, arXiv:1606.00709, tables 1 and 6).

    D descends  −D(x) + D(G(z)) + ¼ D(G(z))²
    G descends  −D(G(z))

At D*(x) = 2 (p(x)/p_G(x) − 1) the discriminator's loss is −χ²(p ‖ p_G), 0 where p_G = p. The generator's loss is the
paper's section 3.2: that of Algorithm 1 has no slope at logits of −2, where D is sure of a fake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gans import GAN, Recipe
from gans.objectives import Objective

if TYPE_CHECKING:
    from torch import Tensor

_COMMON = {"batch_size": 64, "latent_dim": 64, "width": 32, "ema_decay": 0.99}
_CRITIC = {"objective": "wasserstein", "constraint": "spectral-norm", "beta1": 0.0, "beta2": 0.9}


class PearsonChi2(Objective):
    """Losses of logits of any shape, each a mean over them in float32."""

    name = "pearson-chi2"

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """−l_r + l_f + ¼ l_f²."""
        real, fake = real_logits.float(), fake_logits.float()
        return (fake + fake.square() / 4).mean() - real.mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """−l_f."""
        return -fake_logits.float().mean()


class Chi2GAN(GAN):
    """Objective Pearson's χ², constraint spectral norm.

    The recipe's own objective is "wasserstein": what else reads it then knows a critic whose loss has no floor and
    which goes without batch normalisation.
    """

    presets: ClassVar = {
        "common": Recipe(**_COMMON, **_CRITIC, lr_generator=1e-3, lr_discriminator=1e-3),
        "author": Recipe(**_COMMON, **_CRITIC, lr_generator=1e-4, lr_discriminator=1e-4),
    }

    def __init__(self, recipe: Recipe, **options: Any) -> None:
        super().__init__(recipe, **options)
        self.objective = PearsonChi2()

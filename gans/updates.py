"""The order in which the two players move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from gans.module import GAN


def alternate(gan: GAN, reals: Sequence[Tensor]) -> None:
    """One round: a discriminator step on each batch of `reals`, then one generator step.

    This is Algorithm 1 of Goodfellow et al. 2014 with k = len(reals); for a critic it is WGAN's n_critic.
    Two time scales need no other order, only two learning rates.
    """
    for real in reals:
        gan.discriminator_step(real)
    gan.generator_step()

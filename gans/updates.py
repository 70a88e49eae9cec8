"""The order in which the two players move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Players(Protocol):
    """What an update rule may ask of a game."""

    def discriminator_step(self, real: Tensor) -> None:
        """One step of the discriminator on a batch of real samples."""

    def generator_step(self) -> None:
        """One step of the generator."""


def alternate(game: Players, reals: Sequence[Tensor]) -> None:
    """One round: a discriminator step on each batch of `reals`, then one generator step.

    This is Algorithm 1 of Goodfellow et al. 2014 with k = len(reals); for a critic it is WGAN's n_critic.
    Two time scales need no other order, only two learning rates.
    """
    for real in reals:
        game.discriminator_step(real)
    game.generator_step()

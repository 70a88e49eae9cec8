"""The order in which the two players move, and the places that they look at before they do.

alternate       each critic step in turn, then the generator's: the opponent has always just moved
simultaneous    both gradients at one place, then both steps
extragradient   both take a trial step; the gradients found there are then applied to where they came from

`prediction` belongs to the first. With u the opponent, as printed in deck 000 (Yadav et al. 2017):

    u_{k+1} = u_k − α·∇_u L(u_k, v_k)
    ū_{k+1} = u_{k+1} + (u_{k+1} − u_k)
    v_{k+1} = v_k + β·∇_v L(ū_{k+1}, v_k)

A step is an optimiser's, whichever it is, and k counts rounds: where the critic takes several steps in one, its move is
all of them. The opponent stands at ū only while its answer is computed, and at u again, to the last bit, afterwards.
Running statistics of the passes made there (batch normalisation's, a power iteration's vectors) stay, as those of every
other pass do.

Extragradient (Korpelevich 1976) takes both gradients of a round on the same samples and latents. Its optimisers'
moments see both, as in Gidel et al. 2019, Algorithm 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from gans.lookahead import predicted, restore, snapshot

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gans.recipe import Recipe


class Players(Protocol):
    """What an update rule may ask of a game. A batch is the game's own affair: it is handed through."""

    recipe: Recipe
    generator: nn.Module
    discriminator: nn.Module
    before: list[Tensor] | None
    """Where the generator stood before its last step, where the discriminator answers a predicted generator."""

    def discriminator_step(self, real: Any) -> None:
        """One step of the discriminator on a batch of real samples."""

    def generator_step(self) -> None:
        """One step of the generator."""

    def discriminator_gradient(self, real: Any) -> dict[str, Tensor]:
        """The first half of `discriminator_step`: the gradient."""

    def generator_gradient(self) -> dict[str, Tensor]:
        """The first half of `generator_step`: the gradient."""

    def move(self, player: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The optimiser's step on a player, the generator (0) or the discriminator (1), not counted yet."""

    def count_discriminator(self, real: Any, values: dict[str, Tensor]) -> None:
        """Count a discriminator step on that batch."""

    def count_generator(self, values: dict[str, Tensor]) -> None:
        """Count a generator step, and let the moving average follow."""


def play(game: Players, reals: Sequence[Any]) -> None:
    """One round: as many discriminator steps as there are batches of real samples, and one generator step."""
    match game.recipe.update:
        case "alternate":
            alternate(game, reals, prediction=game.recipe.prediction)
        case "simultaneous":
            simultaneous(game, *reals)
        case "extragradient":
            extragradient(game, *reals)


def alternate(game: Players, reals: Sequence[Any], *, prediction: str = "none") -> None:
    """A discriminator step on each batch of `reals`, then one generator step.

    This is Algorithm 1 of Goodfellow et al. 2014 with k = len(reals); for a critic it is WGAN's n_critic.
    Two time scales need no other order, only two learning rates.

    Args:
        game: the two players.
        reals: batches of real samples.
        prediction: who answers its opponent's predicted place: "none", "discriminator", "generator" or "both".
    """
    before = snapshot(game.discriminator.parameters()) if prediction in ("generator", "both") else None
    with _predicted(game.generator, game.before):
        for real in reals:
            game.discriminator_step(real)
    game.before = snapshot(game.generator.parameters()) if prediction in ("discriminator", "both") else None
    with _predicted(game.discriminator, before):
        game.generator_step()


def _predicted(player: nn.Module, before: Sequence[Tensor] | None) -> AbstractContextManager[None]:
    return nullcontext() if before is None else predicted(player.parameters(), before)


def simultaneous(game: Players, real: Any) -> None:
    """A step of each player, both along gradients at the place where both stand before."""
    theirs, ours = _moved(game, real)
    game.count_discriminator(real, theirs)
    game.count_generator(ours)


def extragradient(game: Players, real: Any) -> None:
    """A trial step of each player; the gradients at the place where both arrive are applied where both came from."""
    parameters = [*game.generator.parameters(), *game.discriminator.parameters()]
    origin = snapshot(parameters)
    _moved(game, real)
    theirs, ours = _moved(game, real, origin=(parameters, origin))
    game.count_discriminator(real, theirs)
    game.count_generator(ours)


def _moved(
    game: Players, real: Any, *, origin: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Both gradients here, then both steps: from here, or from `origin` (parameters, and where they were)."""
    theirs = game.discriminator_gradient(real)
    ours = game.generator_gradient()
    if origin is not None:
        restore(*origin)
    return game.move(1, theirs), game.move(0, ours)

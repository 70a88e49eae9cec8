"""Several seeds of one recipe, played at once: every step of the game is taken for all members together.

A tiny network's step is mostly the cost of calling its kernels, and K members share it. Each member draws from its own
streams, sees its own batches and keeps its own weights, so that it plays the game that it would play alone, but for the
rounding: a batched product adds up in another order. Rounding grows as chaotic games go on, and so a member's numbers
are statistically, not digit by digit, those of a single run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from ganbench.errors import UserError
from gans.base import Record
from gans.conditions import Batch
from gans.constraints import slope_penalty
from gans.module import GAN
from gans.objectives import Objective
from gans.shards import mixes_samples
from gans.stacks import stacked

_STEPS = (
    *("training_step", "discriminator_step", "generator_step", "discriminator_loss", "generator_loss"),
    *("discriminator_gradient", "generator_gradient", "move", "count_discriminator", "count_generator"),
    *("_judge_both", "_penalty", "_draw", "_latent", "_average", "_build_optimizer", "_set_rate"),
)
"""What an ensemble does in its members' place."""


class Ensemble(GAN):
    """K games of one recipe that differ by their seed, played as one.

    The first dimension of a batch of real samples is the members': (K, B, …); of a recorded scalar likewise: (K,).
    From `configure_optimizers` on, which Lightning calls, the members' weights are views of the ensemble's: they can be
    sampled from at any time. Their counters follow too, each with an equal share of the seconds.

    Args:
        members: at least one; all must stand at the same place.

    Raises:
        UserError: games that cannot be played together, with the reason.
    """

    def __init__(self, members: Sequence[GAN]) -> None:
        first = members[0]
        if reason := why_not(first):
            raise UserError(f"this game cannot be played as an ensemble of seeds: {reason}")
        super().__init__(first.recipe, shape=first.shape, total_images=first.total_images, seed=first.seed)
        self.members = list(members)
        self.speed = first.speed
        self.generator = stacked([member.generator for member in members])
        self.discriminator = stacked([member.discriminator for member in members])
        self.ema_generator = stacked([member.ema_generator for member in members])
        self.objective = _EachObjective(self.objective)
        self.counters = replace(first.counters)
        self._mixes = mixes_samples(first.discriminator)
        device = next(first.parameters()).device
        self.generator.check(torch.zeros(len(members), 2, first.recipe.latent_dim, device=device))
        self.discriminator.check(torch.zeros(len(members), 2, *first.shape, device=device))
        states = [member.training_state()["optimizers"] for member in members]
        if all(states):
            self._optimizer_states = [_joined(players) for players in zip(*states, strict=True)]
        befores = [member.before for member in members if member.before is not None]
        if len(befores) == len(members):
            self.before = [torch.stack(weights) for weights in zip(*befores, strict=True)]
        self._enter_stage()

    # --- the game

    def training_step(self, rounds: Sequence[Sequence[Batch]], batch_idx: int) -> None:
        """Play the given rounds; the members' counters follow."""
        before = self.counters.seconds
        super().training_step(rounds, batch_idx)
        self._share(self.counters.seconds - before)

    def _share(self, seconds: float) -> None:
        for member in self.members:
            member.counters = replace(self.counters, seconds=member.counters.seconds + seconds / len(self.members))

    def _judge_both(self, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        if self._mixes:
            real_logits = self._judge(real)
            with self._still():
                return real_logits, self._judge(fake)
        # one pass: also because a spectral norm's power iteration is to be one a step
        logits = self._judge(torch.cat([real, fake], dim=1))
        return logits[:, : real.shape[1]], logits[:, real.shape[1] :]

    def _penalty(self, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> Tensor | None:  # noqa: ARG002
        penalty = slope_penalty(self.constraint)
        if penalty is None:
            return None
        streams = [member._stream("penalty", self.counters.d_steps) for member in self.members]
        drawn = [penalty.noise(real.shape[1:], stream, real) for stream in streams]
        given = [noise for noise in drawn if noise is not None]
        noise = torch.stack(given).to(real.device) if given else None
        with self._still():
            return penalty.at(self.discriminator, penalty.places(real, fake, noise), ahead=2)

    @contextmanager
    def _still(self) -> Iterator[None]:
        """A spectral norm's iteration rests in a step's later passes; batch normalisation goes with no such norm."""
        if "spectral-norm" not in self.recipe.constraint:
            yield
            return
        self.discriminator.eval()
        try:
            yield
        finally:
            self.discriminator.train()

    def _gradient(self, player: str) -> dict[str, Tensor]:
        gradients = [p.grad for p in getattr(self, player).parameters() if p.grad is not None]
        norms = torch.stack(
            [torch.linalg.vector_norm(gradient.reshape(len(gradient), -1), dim=1) for gradient in gradients]
        )
        return {f"health/gradient_{player}": torch.linalg.vector_norm(norms, dim=0)}

    def _draw(
        self, n: int, shape: Sequence[int], purpose: str, step: int, draw: Callable[..., Tensor] = torch.randn
    ) -> Tensor:
        return torch.stack([member._draw(n, shape, purpose, step, draw) for member in self.members]).to(self.device)

    # --- the members

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """As a game's, over the stacked weights, whose views the members' are from now on."""
        for member in self.members:
            member.to(self.device)  # a view on another device could not take the place of a weight
        for name in ("generator", "discriminator", "ema_generator"):
            getattr(self, name).bind([getattr(member, name) for member in self.members])
        return super().configure_optimizers()

    def hand_out(self) -> None:
        """Give each member its part of the records since the last call."""
        before = self.counters.seconds
        records = self.drain()
        self._share(self.counters.seconds - before)
        if not records:
            return
        table = torch.stack([value for record in records for value in record.values.values()]).T.cpu()
        for member, row in zip(self.members, table, strict=True):
            numbers = iter(row)
            member._records += [
                Record(record.images, {name: next(numbers) for name in record.values}) for record in records
            ]

    def hand_out_state(self) -> None:
        """Give each member its part of the optimisers' state and of the prediction's, for its checkpoint."""
        states = [optimizer.state_dict() for optimizer in self._optimizers]
        for place, member in enumerate(self.members):
            member._optimizer_states = [_part(state, place) for state in states]
            member.before = None if self.before is None else [weights[place].clone() for weights in self.before]


class _EachObjective(Objective):
    """Every member's own losses: (K, B) logits → (K,)."""

    def __init__(self, one: Objective) -> None:
        self._discriminator = vmap(one.discriminator_loss)
        self._generator = vmap(one.generator_loss)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self._discriminator(real_logits, fake_logits)

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return self._generator(fake_logits)


def why_not(game: GAN) -> str | None:
    """The reason why a game cannot be one of an ensemble, as a clause; None where it can."""
    if game.grows:
        return "its networks grow with the images"
    if game.condition.classes:
        return "its networks are told of classes"
    if any(getattr(type(game), name) is not getattr(GAN, name) for name in _STEPS):
        return f"{type(game).__name__} takes steps of its own"
    if isinstance(game.objective, nn.Module):
        return "its objective keeps a state"
    if game.speed.compile != "none":
        return "its networks are to be compiled"
    return None


def _joined(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The members' states of one player's optimizer as that of the stacked weights'; they have taken equal steps."""
    first = states[0]
    entries = {
        index: {
            name: value.clone() if name == "step" else torch.stack([state["state"][index][name] for state in states])
            for name, value in entry.items()
        }
        for index, entry in first["state"].items()
    }
    return {**first, "state": entries}


def _part(state: Mapping[str, Any], place: int) -> dict[str, Any]:
    """One member's part of a state that `_joined` made: copies, which later steps leave alone."""
    entries = {
        index: {name: (value if name == "step" else value[place]).clone() for name, value in entry.items()}
        for index, entry in state["state"].items()
    }
    return {**state, "state": entries}

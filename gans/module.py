"""The game itself: two players, their steps, and the generator's moving average."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gans.base import Game, Record
from gans.conditions import Batch, parted
from gans.growth import fade_real
from gans.shards import average_gradients
from gans.updates import play

HEALTH_EVERY = 50
"""Rounds between two looks at gradient norms and the discriminator's accuracy, which cost more than the losses."""


class GAN(Game):
    """A generator and a discriminator (or critic) that play one recipe's game.

    `training_step` takes a list of rounds, each a list of `n_critic` batches of real images: float32
    (B, C, H, W) in [−1, 1], or points (B, D), `Labelled` in a game with a condition. All losses are functions of
    logits. Under several processes each takes its `shard` of the batch, and all play the same game: see gans/shards.py.

    Args:
        recipe: the point in objective × constraint × update × network.
        shape: (C, H, W) of images or (D,) of points.
        total_images: the budget in real images, over which learning rates decay and networks grow.
        seed: root of every random draw of the training (weights, latents, penalty's t).
        classes: the training data's, for a recipe with a condition; others take no notice.

    Raises:
        UserError: no network fits the shape, or a condition without classes.
    """

    def training_step(self, rounds: Sequence[Sequence[Batch]], batch_idx: int) -> None:  # noqa: ARG002 (Lightning's)
        """Play the given rounds. Tiny networks get many rounds per call: Lightning's own cost is paid once."""
        start = time.perf_counter()
        for reals in rounds:
            self._begin_round()
            play(self, reals)
        self.counters.seconds += (time.perf_counter() - start) * self.shard.world

    def discriminator_step(self, real: Batch) -> None:
        """One step of the discriminator on real images at full size and as many fresh fakes."""
        self.count_discriminator(real, self.move(1, self.discriminator_gradient(real)))

    def discriminator_gradient(self, real: Batch) -> dict[str, Tensor]:
        """Leave the loss's gradient in the discriminator's parameters; returns the scalars to be recorded."""
        loss, values = self.discriminator_loss(real)
        self._optimizer(1).zero_grad()
        self._backward(loss.sum())
        return values

    def move(self, player: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The optimiser's step on the generator (0) or discriminator (1); returns the joined batch's `values`."""
        optimizer, recipe = self._optimizer(player), self.recipe
        self._set_rate(optimizer, recipe.lr_discriminator if player else recipe.lr_generator)
        values = self._step(optimizer, self.discriminator if player else self.generator, values)
        if player:
            self.constraint.after_step(self.discriminator)
        return values

    def count_discriminator(self, real: Batch, values: dict[str, Tensor]) -> None:
        """Count a step that the discriminator has taken, and record its scalars."""
        values.update(self.objective.after_step(values))
        if self._looks_at_health:
            values.update(self._gradient("discriminator"))
        self.counters.d_steps += 1
        self.counters.images += self._rows(real) * self.shard.world
        self._records.append(Record(self.counters.images, values))

    def discriminator_loss(self, real: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminator's next step minimises on these real images, and the scalars to be recorded.

        In a game with a condition the fakes are of the real images' classes: drawn by the same law, and so that a
        penalty between a real and a fake image stays within one class.
        """
        real, labels = parted(real)
        if self.grows:
            real = fade_real(real, self._entered)
        with torch.no_grad():
            fake = self._generate(self._latent(self._rows(real), "latent/discriminator", self.counters.d_steps), labels)
        real, fake = self._shown(real, "noise/real"), self._shown(fake, "noise/fake")
        with parametrize.cached():  # a spectral norm is then one power iteration a step, not one a forward pass
            judged = self._judge_both(real, fake, labels)
            real_logits, fake_logits = map(self.condition.logits, judged)
            loss = self.objective.discriminator_loss(*self._labelled(real_logits, fake_logits))
            penalty = self._penalty(real, fake, labels)
        values = {"loss/discriminator": loss.detach(), **self.objective.scalars(real_logits, fake_logits)}
        if penalty is not None:
            loss = loss + penalty
            values["loss/penalty"] = penalty.detach()
        if (guessed := self.condition.label_loss(judged, labels)) is not None:
            loss = loss + guessed
            values["loss/classes"] = guessed.detach()
        if self.recipe.drift:
            loss = loss + self.recipe.drift * real_logits.float().square().mean(-1)
        if self._looks_at_health:
            values["health/accuracy_real"] = (real_logits.detach() > 0).float().mean(-1)
            values["health/accuracy_fake"] = (fake_logits.detach() < 0).float().mean(-1)
        return loss, values

    def generator_step(self) -> None:
        """One step of the generator on a fresh batch of latents, then of its moving average."""
        self.count_generator(self.move(0, self.generator_gradient()))

    def generator_gradient(self) -> dict[str, Tensor]:
        """Leave the loss's gradient in the generator's parameters; returns the scalars to be recorded."""
        self.discriminator.requires_grad_(False)  # its weights' gradients would be computed and thrown away
        loss = self.generator_loss()
        self._optimizer(0).zero_grad()
        self._backward(loss.sum())
        self.discriminator.requires_grad_(True)
        return {"loss/generator": loss.detach()}

    def count_generator(self, values: dict[str, Tensor]) -> None:
        """Count a step that the generator has taken, let its moving average follow, and record its scalars."""
        if self._looks_at_health:
            values.update(self._gradient("generator"))
        self.counters.g_steps += 1
        self._average()
        self._records.append(Record(self.counters.images, values))

    def generator_loss(self) -> Tensor:
        """What the generator's next step minimises."""
        n = self.recipe.generator_batch or self._segment.batch_size
        n, step = n // self.shard.world, self.counters.g_steps
        labels = self._classes(n, "classes/generator", step)
        fake = self._generate(self._latent(n, "latent/generator", step), labels)
        judged = self._judge(self._shown(fake, "noise/generator"), labels)
        loss = self.objective.generator_loss(self.condition.logits(judged))
        guessed = self.condition.label_loss([judged], labels)
        return loss if guessed is None else loss + guessed

    def _shown(self, samples: Tensor, purpose: str) -> Tensor:
        """What the discriminator is shown of samples: less and less noise is on them, if any."""
        deviation = self.recipe.instance_noise * max(0.0, 1 - self.counters.images / self.total_images)
        if not deviation:
            return samples
        step = self.counters.g_steps if purpose == "noise/generator" else self.counters.d_steps
        noise = self._draw(self._rows(samples), samples.shape[-len(self.shape) :], purpose, step)
        return samples + deviation * noise

    def _labelled(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of what the discriminator is told to be real and to be fake: a few pairs may be exchanged."""
        if not self.recipe.label_flip:
            return real_logits, fake_logits
        draw = self._draw(real_logits.shape[-1], (), "labels", self.counters.d_steps, torch.rand)
        exchanged = draw < self.recipe.label_flip
        return torch.where(exchanged, fake_logits, real_logits), torch.where(exchanged, real_logits, fake_logits)

    def _generate(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        network = self._passes[0] if self._passes else self.generator
        samples: Tensor = network(latent) if labels is None else network(latent, labels)
        return samples

    def _judge(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the discriminator says of samples: logits, and more in a game with a condition (gans/conditions.py)."""
        network = self._passes[1] if self._passes else self.discriminator
        return self.condition.judge(network, labels)(samples)

    def _judge_both(self, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What it says of real and of fake samples, of the same labels."""
        if not self._shares_pass:
            return self._judge(real, labels), self._judge(fake, labels)
        judged = self._judge(torch.cat([real, fake]), None if labels is None else torch.cat([labels, labels]))
        return judged[: len(real)], judged[len(real) :]

    def _penalty(self, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> Tensor | None:
        noise = self._stream("penalty", self.counters.d_steps)
        critic = self.condition.critic(self.discriminator, labels)
        return self.constraint.penalty(critic, real, fake, generator=noise, shard=self.shard)

    def _rows(self, batch: Batch) -> int:
        """Samples in a batch; those of an ensemble have a dimension before it."""
        return parted(batch)[0].shape[-1 - len(self.shape)]

    def _backward(self, loss: Tensor) -> None:
        """Backward passes in the precision of the forward ones: autocast would halve a penalty's second derivatives."""
        if torch.is_autocast_enabled(loss.device.type):
            with torch.autocast(loss.device.type, enabled=False):
                self.manual_backward(loss)
        else:
            self.manual_backward(loss)

    def _step(self, optimizer: Any, player: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """A step by the joined batch's gradients; returns the joined batch's `values`."""
        if self.shard.world > 1:
            values = average_gradients(player, values)
        optimizer.step()
        return values

    def _gradient(self, player: str) -> dict[str, Tensor]:
        """The norm of the player's last gradient, unless it overflowed 16 bits: that step was left out, by design."""
        norm = _gradient_norm(getattr(self, player))
        return {} if self._scaler and not norm.isfinite() else {f"health/gradient_{player}": norm}

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average of the generator, its start-up bias removed by a decay that grows with t."""
        t = self.counters.g_steps
        decay = min(self.recipe.ema_decay, (1 + t) / (10 + t))
        torch._foreach_lerp_(*self._averaged, 1 - decay)
        for average, current in self._copied:
            average.copy_(current)

    @property
    def _looks_at_health(self) -> bool:
        return self.counters.g_steps % HEALTH_EVERY == 0


def _gradient_norm(player: nn.Module) -> Tensor:
    gradients = [p.grad for p in player.parameters() if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm

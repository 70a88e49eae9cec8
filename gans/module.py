"""The game itself: two players, their counters, the generator's moving average, and sampling."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganbench.seeds import derive
from gans import constraints, objectives
from gans.growth import Schedule, Stage, fade_real, stage
from gans.networks import networks
from gans.recipe import Recipe
from gans.shards import WHOLE, Shard, average_gradients, check_divisible, mixes_samples, share_batch_norm
from gans.speed import Pass, Speed, compiled
from gans.updates import alternate

SAMPLE_BLOCK = 64
"""Samples are always drawn and generated in whole blocks, so that sample i depends on (seed, i) alone."""

HEALTH_EVERY = 50
"""Rounds between two looks at gradient norms and the discriminator's accuracy, which cost more than the losses."""


@dataclass
class Counters:
    """What has been spent. Lightning's `global_step` counts every optimizer's step, so these are our own."""

    images: int = 0
    """Real images shown to the discriminator: the budget's unit."""
    d_steps: int = 0
    g_steps: int = 0
    seconds: float = 0.0
    """Device seconds of training alone, without evaluation: two devices spend two in a second."""


@dataclass(frozen=True)
class Record:
    """Scalars of one round, still on the device (reading them would stall it)."""

    images: int
    values: Mapping[str, Tensor]


class GAN(pl.LightningModule):
    """A generator and a discriminator (or critic) that play one recipe's game.

    `training_step` takes a list of rounds, each a list of `n_critic` batches of real images: float32
    (B, C, H, W) in [−1, 1], or points (B, D). All losses are functions of logits. Under several processes each
    takes its `shard` of the batch, and all play the same game: see gans/shards.py.

    Args:
        recipe: the point in objective × constraint × update × network.
        shape: (C, H, W) of images or (D,) of points.
        total_images: the budget in real images, over which learning rates decay and networks grow.
        seed: root of every random draw of the training (weights, latents, penalty's t).

    Raises:
        UserError: no network fits the shape.
    """

    presets: ClassVar[Mapping[str, Recipe]] = {}
    """Recipes by preset name; needed only from a third party's variant (ours are in gans/catalogue.py)."""

    def __init__(self, recipe: Recipe, *, shape: tuple[int, ...], total_images: int = 100_000, seed: int = 0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe = recipe
        self.shape = shape
        self.total_images = total_images
        self.seed = seed
        self.counters = Counters()
        self.shard = WHOLE
        self.speed = Speed()
        """How it is computed; whoever wants it otherwise says so before the first step."""
        self.objective = objectives.build(recipe)
        self.constraint = constraints.build(recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "weights"))
            self.generator, self.discriminator = networks(recipe, shape)
            self.constraint.prepare(self.discriminator)
        self.ema_generator = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.grows = hasattr(self.generator, "set_stage")
        self.schedule = Schedule(recipe, total_images=total_images, final_size=shape[-1] if self.grows else None)
        self._records: list[Record] = []
        self._optimizer_states: list[dict[str, Any]] | None = None
        self._scaler: torch.amp.GradScaler | None = None
        self._scaler_state: dict[str, Any] | None = None
        self._optimizers: list[torch.optim.Optimizer] = []
        self._averaged: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._passes: tuple[Pass, Pass] | None = None
        self._shares_pass = False
        self._copied: list[tuple[Tensor, Tensor]] = []
        self._enter_stage()

    # --- the game

    def setup(self, stage: str) -> None:  # noqa: ARG002 (Lightning's)
        """Take this process's place among the ranks, the scale of 16-bit gradients, and the ways of computing.

        Raises:
            UserError: a batch that cannot be divided without changing the game.
        """
        self._scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if self._scaler and self._scaler_state:
            self._scaler.load_state_dict(self._scaler_state)
        self.shard = Shard(self.trainer.global_rank, self.trainer.world_size)
        if self.shard.world > 1:
            for batch_size, option in self.batch_sizes.items():
                check_divisible(batch_size, self.shard.world, self.discriminator, option=option)
            share_batch_norm(self.generator)
            share_batch_norm(self.discriminator)
        # a tuple: as attributes, the compiled networks would be in the state a second time
        players = (self.generator, self.discriminator)
        self._passes = None if self.speed.compile == "none" else compiled(players, self.speed.compile)
        self._shares_pass = self.speed.shared_pass and not mixes_samples(self.discriminator)

    def on_train_start(self) -> None:
        """Undo an environment variable of Lightning's import, which slows every step of an optimizer.

        Adam asks torch whether there is a GPU; told to look through NVML, torch searches a machine without one for
        its library each time, a twentieth of a tiny network's round. Not done at import: Lightning sets the variable
        so that a process may fork before it touches a GPU.
        """
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)

    def training_step(self, rounds: Sequence[Sequence[Tensor]], batch_idx: int) -> None:  # noqa: ARG002 (Lightning's)
        """Play the given rounds. Tiny networks get many rounds per call: Lightning's own cost is paid once."""
        start = time.perf_counter()
        for reals in rounds:
            self._begin_round()
            alternate(self, reals)
        self.counters.seconds += (time.perf_counter() - start) * self.shard.world

    def discriminator_step(self, real: Tensor) -> None:
        """One step of the discriminator on real images at full size and as many fresh fakes."""
        optimizer = self._optimizer(1)
        self._set_rate(optimizer, self.recipe.lr_discriminator)
        loss, values = self.discriminator_loss(real)
        optimizer.zero_grad()
        self._backward(loss.sum())
        values = self._step(optimizer, self.discriminator, values)
        self.constraint.after_step(self.discriminator)
        if self._looks_at_health:
            values.update(self._gradient("discriminator"))
        self.counters.d_steps += 1
        self.counters.images += self._rows(real) * self.shard.world
        self._records.append(Record(self.counters.images, values))

    def discriminator_loss(self, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminator's next step minimises on these real images, and the scalars to be recorded."""
        if self.grows:
            real = fade_real(real, self._entered)
        with torch.no_grad():
            fake = self._generate(self._latent(self._rows(real), "latent/discriminator", self.counters.d_steps))
        with parametrize.cached():  # a spectral norm is then one power iteration a step, not one a forward pass
            real_logits, fake_logits = self._judge_both(real, fake)
            loss = self.objective.discriminator_loss(real_logits, fake_logits)
            penalty = self._penalty(real, fake)
        values = {"loss/discriminator": loss.detach()}
        if penalty is not None:
            loss = loss + penalty
            values["loss/penalty"] = penalty.detach()
        if self.recipe.drift:
            loss = loss + self.recipe.drift * real_logits.float().square().mean(-1)
        if self._looks_at_health:
            values["health/accuracy_real"] = (real_logits.detach() > 0).float().mean(-1)
            values["health/accuracy_fake"] = (fake_logits.detach() < 0).float().mean(-1)
        return loss, values

    def generator_step(self) -> None:
        """One step of the generator on a fresh batch of latents, then of its moving average."""
        optimizer = self._optimizer(0)
        self._set_rate(optimizer, self.recipe.lr_generator)
        self.discriminator.requires_grad_(False)  # its weights' gradients would be computed and thrown away
        loss = self.generator_loss()
        optimizer.zero_grad()
        self._backward(loss.sum())
        self.discriminator.requires_grad_(True)
        values = self._step(optimizer, self.generator, {"loss/generator": loss.detach()})
        if self._looks_at_health:
            values.update(self._gradient("generator"))
        self.counters.g_steps += 1
        self._average()
        self._records.append(Record(self.counters.images, values))

    def generator_loss(self) -> Tensor:
        """What the generator's next step minimises."""
        n = self.recipe.generator_batch or self._segment.batch_size
        latent = self._latent(n // self.shard.world, "latent/generator", self.counters.g_steps)
        return self.objective.generator_loss(self._judge(self._generate(latent)))

    def _generate(self, latent: Tensor) -> Tensor:
        samples: Tensor = (self._passes[0] if self._passes else self.generator)(latent)
        return samples

    def _judge(self, samples: Tensor) -> Tensor:
        logits: Tensor = (self._passes[1] if self._passes else self.discriminator)(samples)
        return logits

    def _judge_both(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of real and of fake samples."""
        if not self._shares_pass:
            return self._judge(real), self._judge(fake)
        logits = self._judge(torch.cat([real, fake]))
        return logits[: len(real)], logits[len(real) :]

    def _penalty(self, real: Tensor, fake: Tensor) -> Tensor | None:
        noise = self._stream("penalty", self.counters.d_steps)
        return self.constraint.penalty(self.discriminator, real, fake, generator=noise, shard=self.shard)

    def _rows(self, batch: Tensor) -> int:
        """Samples in a batch; those of an ensemble have a dimension before it."""
        return batch.shape[-1 - len(self.shape)]

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

    # --- growth

    @property
    def stage(self) -> Stage:
        """The progressive schedule's place: a pure function of the images shown, so that a resume cannot lose it."""
        return stage(
            self.counters.images,
            total_images=self.total_images,
            start_size=self.recipe.start_size,
            final_size=self.shape[-1],
            fade_share=self.recipe.fade_share,
            fade_images=self.recipe.fade_images,
            stabilise_images=self.recipe.stabilise_images,
        )

    @property
    def batch_sizes(self) -> dict[int, str]:
        """Every size of a batch that either player sees, and the option that it comes from."""
        recipe, used = self.recipe, [size for _, size in self.schedule.batches(self.total_images)]
        sizes = {size: "gan.batch_size" if size == recipe.batch_size else "gan.stage_batches: batch" for size in used}
        if recipe.generator_batch:
            sizes.setdefault(recipe.generator_batch, "gan.generator_batch")
        return sizes

    def _begin_round(self) -> None:
        self._enter_stage()
        begins = 0 < self.counters.images == self._segment.first_image
        if begins and self.recipe.reset_optimizers:
            for optimizer in self._optimizers:
                optimizer.state.clear()

    def _enter_stage(self) -> None:
        """Stand where the images shown say; a whole round is played there, though they grow with each critic step."""
        self._segment = self.schedule.at(self.counters.images)
        if self.grows:
            self._entered = self.stage
            networks: tuple[Any, ...] = (self.generator, self.ema_generator, self.discriminator)
            for network in networks:
                network.set_stage(*self._entered)

    # --- randomness

    def _stream(self, purpose: str, step: int) -> torch.Generator:
        """The generator of one draw, named by purpose and step: no state to save, nobody disturbs anybody."""
        # the 0 has no meaning any more: without it, old seeds would draw other numbers
        return torch.Generator().manual_seed(derive(self.seed, purpose, step, 0))

    def _latent(self, n: int, purpose: str, step: int) -> Tensor:
        """This rank's `n` rows of a step's latents."""
        shape = (n * self.shard.world, self.recipe.latent_dim)
        return self.shard.rows(torch.randn(shape, generator=self._stream(purpose, step))).to(self.device)

    @torch.no_grad()
    def sample(self, n: int, *, seed: int = 0, weights: Literal["ema", "raw"] = "ema") -> Tensor:
        """`n` samples as a float32 CPU tensor: (n, C, H, W) in [−1, 1], or points (n, D).

        Sample i depends on (seed, i) only: not on n, nor on the batch. BatchNorm uses its running statistics;
        the module's modes and the global random state are left as they were. A network that is still growing
        gives its stage's images, enlarged to full size by nearest neighbour.
        """
        network = self.ema_generator if weights == "ema" else self.generator
        was_training = network.training
        network.eval()
        try:
            blocks = [network(latent) for latent in self._sample_latents(n, seed)]
        finally:
            network.train(was_training)
        out = torch.cat(blocks)[:n].float().cpu() if blocks else torch.empty(0, *self.shape)
        if len(self.shape) == 1:
            return out
        if out.shape[1:] != self.shape:
            out = nn.functional.interpolate(out, size=self.shape[1:])
        return out.clamp(-1, 1).contiguous()

    def _sample_latents(self, n: int, seed: int) -> Iterator[Tensor]:
        for block in range(-(-n // SAMPLE_BLOCK)):
            stream = torch.Generator().manual_seed(derive(seed, "sample", block))
            yield torch.randn(SAMPLE_BLOCK, self.recipe.latent_dim, generator=stream).to(self.device)

    # --- optimisers and state

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The generator's optimizer, then the discriminator's."""
        recipe = self.recipe
        players = ((self.generator, recipe.lr_generator), (self.discriminator, recipe.lr_discriminator))
        self._optimizers = [self._build_optimizer(player, rate) for player, rate in players]
        for optimizer, state in zip(self._optimizers, self._optimizer_states or (), strict=False):
            optimizer.load_state_dict(state)
        # the networks are on their device by now; walking through their modules each round would cost a tiny one 2 %
        average, current = self.ema_generator, self.generator
        self._averaged = (list(average.parameters()), list(current.parameters()))
        self._copied = list(zip(average.buffers(), current.buffers(), strict=True))
        return self._optimizers

    def _build_optimizer(self, player: nn.Module, rate: float) -> torch.optim.Optimizer:
        if self.recipe.optimizer == "rmsprop":  # torch has no fused one
            return torch.optim.RMSprop(player.parameters(), lr=rate)
        betas = (self.recipe.beta1, self.recipe.beta2)
        return torch.optim.Adam(player.parameters(), lr=rate, betas=betas, fused=self.speed.fused)

    def _optimizer(self, player: int) -> Any:
        return self.optimizers()[player]  # type: ignore[index]

    def _set_rate(self, optimizer: Any, rate: float) -> None:
        recipe, share = self.recipe, 1.0
        if recipe.lr_decay == "linear":
            share = max(0.0, 1 - self.counters.images / self.total_images)
        if recipe.ramp_images:  # above 0 from the first step on
            since = self.counters.images - self._segment.first_image + self._segment.batch_size
            share *= min(1.0, since / recipe.ramp_images)
        if recipe.lr_decay == "linear" or recipe.ramp_images:
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def drain(self) -> list[Record]:
        """The records since the last call; the caller reads the scalars, once for many rounds.

        A GPU may lag behind until then: what it still has to do belongs to the seconds of training.
        """
        if self.device.type == "cuda":
            start = time.perf_counter()
            torch.cuda.synchronize(self.device)
            self.counters.seconds += (time.perf_counter() - start) * self.shard.world
        records, self._records = self._records, []
        return records

    def get_extra_state(self) -> dict[str, Any]:
        """Counters travel inside `state_dict`, so that weights can never be loaded without their stage."""
        return asdict(self.counters)

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take over the counters, and enter the stage that they mean."""
        self.counters = Counters(**state)
        self._enter_stage()

    def training_state(self) -> dict[str, Any]:
        """Everything an exact resume needs: weights, averages, counters, optimisers, 16 bits' scale.

        Safe for `weights_only`.
        """
        return {
            "model": self.state_dict(),
            # before Lightning has asked for them, what they were loaded with
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers] or self._optimizer_states or [],
            "scaler": self._scaler.state_dict() if self._scaler else self._scaler_state,
        }

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Take over a `training_state`; what is not the module's own waits until Lightning asks for it."""
        self.load_state_dict(state["model"])
        self._optimizer_states = list(state["optimizers"])
        self._scaler_state = state.get("scaler")


def _gradient_norm(player: nn.Module) -> Tensor:
    gradients = [p.grad for p in player.parameters() if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm

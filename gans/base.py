"""What a game has before a step of it is played: its networks, counters, growth, draws, samples and state."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ganbench.errors import UserError
from ganbench.seeds import derive
from gans import conditions, constraints, objectives, sampling
from gans.classes import Classes
from gans.growth import Schedule, Stage, stage
from gans.networks import networks
from gans.recipe import Recipe
from gans.shards import WHOLE, Shard, check_divisible, mixes_samples, share_batch_norm
from gans.speed import Pass, Speed, compiled


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


class Game(pl.LightningModule):
    """The part of `gans.module.GAN` that no rule of play changes; its arguments are told there."""

    presets: ClassVar[Mapping[str, Recipe]] = {}
    """Recipes by preset name; needed only from a third party's variant (ours are in gans/catalogue.py)."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        shape: tuple[int, ...],
        total_images: int = 100_000,
        seed: int = 0,
        classes: Classes | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe = recipe
        self.shape = shape
        self.total_images = total_images
        self.seed = seed
        self.counters = Counters()
        self.before: list[Tensor] | None = None
        """Where the generator stood before its last step, for a discriminator that predicts it (gans/updates.py)."""
        self.shard = WHOLE
        self.speed = Speed()
        """How it is computed; whoever wants it otherwise says so before the first step."""
        self.objective = objectives.build(recipe)
        self.constraint = constraints.build(recipe)
        self.condition = conditions.build(recipe, classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "weights"))
            self.generator, self.discriminator = networks(recipe, shape, len(self.condition.classes or ()))
            self.constraint.prepare(self.discriminator)
            if recipe.spectral_generator:
                constraints.SpectralNorm().prepare(self.generator)
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

    # --- before the first step

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

    def _draw(
        self, n: int, shape: Sequence[int], purpose: str, step: int, draw: Callable[..., Tensor] = torch.randn
    ) -> Tensor:
        """This rank's `n` rows, of `shape` each, of what a step draws: standard normal numbers, or `torch.rand`'s."""
        rows = draw((n * self.shard.world, *shape), generator=self._stream(purpose, step))
        return self.shard.rows(rows).to(self.device)

    def _latent(self, n: int, purpose: str, step: int) -> Tensor:
        """This rank's `n` rows of a step's latents."""
        return self._draw(n, (self.recipe.latent_dim,), purpose, step)

    def _classes(self, n: int, purpose: str, step: int) -> Tensor | None:
        """Places of the classes of this rank's `n` rows, drawn by their shares; None without a condition."""
        drawn = self.condition.draw(n * self.shard.world, self._stream(purpose, step))
        return None if drawn is None else self.shard.rows(drawn).to(self.device)

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        weights: Literal["ema", "raw"] = "ema",
        labels: int | Iterable[int] | None = None,
    ) -> Tensor:
        """`n` samples as a float32 CPU tensor: (n, C, H, W) in [−1, 1], or points (n, D).

        Sample i depends on (seed, i) and its label only: not on n, nor on the batch. BatchNorm uses its running
        statistics; the module's modes and the global random state are left as they were. A network that is still
        growing gives its stage's images, enlarged to full size by nearest neighbour.

        Args:
            n: how many.
            seed: of the latents, and of the labels that are drawn.
            weights: the generator's moving average, or its last weights.
            labels: of a conditional game, the data's own: one for all samples, or one for each; None: drawn by the
                classes' shares of the training data, as `sample_labels` has them.

        Raises:
            UserError: labels that the training data do not have, or of a game that has none.
        """
        classes = self.condition.classes
        if classes is None and labels is not None:
            raise UserError("labels are given to a game without a condition: leave them out, or train with one")
        told = sampling.places(classes, n, labels, seed=seed) if classes else None
        network = self.ema_generator if weights == "ema" else self.generator
        drawn = sampling.latents(n, seed=seed, dim=self.recipe.latent_dim)
        blocks = sampling.generate(network, drawn, told, self.device)
        out = torch.cat(blocks)[:n].float().cpu() if blocks else torch.empty(0, *self.shape)
        if len(self.shape) == 1:
            return out
        if out.shape[1:] != self.shape:
            out = nn.functional.interpolate(out, size=self.shape[1:])
        return out.clamp(-1, 1).contiguous()

    def sample_labels(self, n: int, *, seed: int = 0) -> list[int] | None:
        """The labels of the samples that `sample` gives for the same `n` and `seed`; None without a condition."""
        if (classes := self.condition.classes) is None:
            return None
        return [classes.labels[place] for place in sampling.drawn_places(classes, n, seed=seed).tolist()]

    # --- optimisers and state

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The generator's optimizer, then the discriminator's."""
        recipe = self.recipe
        players = ((self.generator, recipe.lr_generator), (self.discriminator, recipe.lr_discriminator))
        self._optimizers = [self._build_optimizer(player, rate) for player, rate in players]
        for optimizer, state in zip(self._optimizers, self._optimizer_states or (), strict=False):
            optimizer.load_state_dict(state)
        if self.before is not None:
            self.before = [value.to(self.device) for value in self.before]
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
            **({} if self.before is None else {"before": self.before}),
        }

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Take over a `training_state`; what is not the module's own waits until Lightning asks for it."""
        self.load_state_dict(state["model"])
        self._optimizer_states = list(state["optimizers"])
        self._scaler_state = state.get("scaler")
        self.before = state.get("before")

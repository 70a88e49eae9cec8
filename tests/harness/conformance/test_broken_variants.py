"""Each check of a variant catches the fault that it is meant for."""

from __future__ import annotations

import random
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from gans import GAN, Recipe
from gans.objectives import NonSaturating
from harness.conformance.trials import Trials
from harness.conformance.variants import CHECKS

RECIPE = {"network": "mlp", "lr_generator": 1e-3, "lr_discriminator": 1e-3}


class Sound(GAN):
    presets: ClassVar = {"common": Recipe(**RECIPE)}


def test_a_sound_variant_passes_every_check(failures):
    assert failures(Sound) == {}


class NoPreset(GAN):
    pass


class WrongPreset(GAN):
    presets: ClassVar = {"common": {"network": "mlp"}}


class WrongShape(Sound):
    def sample(self, n, **options):
        return super().sample(n, **options)[:, :1]


class BeyondOne(Sound):
    presets: ClassVar = {"common": Recipe(**{**RECIPE, "network": "dcgan"})}

    def sample(self, n, **options):
        return super().sample(n, **options) + 2.0


class NothingForTheGenerator(NonSaturating):
    def generator_loss(self, fake_logits):
        return 0 * fake_logits.sum()


class GeneratorUnmoved(Sound):
    def __init__(self, recipe, **options):
        super().__init__(recipe, **options)
        self.objective = NothingForTheGenerator()


class CountsTwice(Sound):
    def discriminator_step(self, real):
        super().discriminator_step(real)
        self.counters.images += len(real)


class GlobalNoise(Sound):
    def discriminator_step(self, real):
        super().discriminator_step(real + 0.1 * torch.randn_like(real))


class IgnoresItsSeed(Sound):
    def __init__(self, recipe, **options):
        super().__init__(recipe, **{**options, "seed": 0})

    def discriminator_step(self, real):
        super().discriminator_step(torch.zeros_like(real))


class ForgetsItsSteps(Sound):
    """The real samples' weight grows with a count that no checkpoint holds."""

    def __init__(self, recipe, **options):
        super().__init__(recipe, **options)
        self.taken = 0

    def discriminator_step(self, real):
        self.taken += 1
        super().discriminator_step(real * self.taken)


class NeverHalfway(Sound):
    """Its count goes from less than half of the budget to all of it, so that it is over before the look halfway."""

    def discriminator_step(self, real):
        super().discriminator_step(real)
        if self.counters.d_steps == 3:
            self.counters.images += 10 * len(real)


class DependsOnTheNumber(Sound):
    def sample(self, n, *, seed=0, weights="ema"):
        return super().sample(n, seed=seed + n, weights=weights)


class SamplesInTraining(Sound):
    presets: ClassVar = {"common": Recipe(**{**RECIPE, "network": "dcgan"})}

    @torch.no_grad()
    def sample(self, n, *, seed=0, weights="ema"):
        self.generator.train()
        self.generator(torch.zeros(2, self.recipe.latent_dim))
        return super().sample(n, seed=seed, weights=weights)


class SamplesFromTheGlobalGenerator(Sound):
    def sample(self, n, *, seed=0, weights="ema"):
        torch.manual_seed(seed)
        return super().sample(n, seed=seed, weights=weights)


class BatchNormInItsCritic(Sound):
    presets: ClassVar = {"common": Recipe(**RECIPE, constraint="gradient-penalty")}

    def __init__(self, recipe, **options):
        super().__init__(recipe, **options)
        self.discriminator[0] = nn.Sequential(self.discriminator[0], nn.BatchNorm1d(recipe.width))


class BatchNormForLargeImages(Sound):
    presets: ClassVar = {"common": Recipe(**{**RECIPE, "network": "dcgan"}, constraint="gradient-penalty")}

    def __init__(self, recipe, **options):
        super().__init__(recipe, **options)
        if self.shape[-1] > 8:
            self.discriminator = nn.Sequential(nn.BatchNorm2d(self.shape[0]), self.discriminator)


class NoiseInItsGenerator(Sound):
    def __init__(self, recipe, **options):
        super().__init__(recipe, **options)
        for generator in (self.generator, self.ema_generator):
            generator.append(nn.BatchNorm1d(2, affine=False, track_running_stats=False))


BROKEN = {
    NoPreset: "presets",
    WrongPreset: "presets",
    WrongShape: "shapes",
    BeyondOne: "ranges",
    GeneratorUnmoved: "gradients",
    CountsTwice: "budget",
    GlobalNoise: "determinism",
    IgnoresItsSeed: "determinism",
    ForgetsItsSteps: "resume",
    NeverHalfway: "resume",
    DependsOnTheNumber: "seeds",
    SamplesInTraining: "sampling",
    SamplesFromTheGlobalGenerator: "sampling",
    NoiseInItsGenerator: "rows",
    BatchNormInItsCritic: "mixing",
    BatchNormForLargeImages: "mixing",
}


@pytest.mark.parametrize("variant", BROKEN)
def test_a_fault_is_caught_by_the_check_that_is_meant_for_it(failures, variant):
    assert list(failures(variant, only=BROKEN[variant])) == [BROKEN[variant]]


def test_somebodys_ctrl_c_while_a_trial_is_stopped_and_continued_is_heard(monkeypatch):
    heard = []

    def run_trial(*_, **__):
        heard.append(1)
        if len(heard) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("harness.conformance.trials.run_trial", run_trial)
    trials = Trials({"gan": "nonsaturating", "dataset": "ring8"})
    with pytest.raises(KeyboardInterrupt):
        _ = trials.continued
    trials.close()


def test_a_trial_leaves_the_global_generators_where_they_stood(monkeypatch):
    def run_trial(*_, **__):
        return random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002

    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    monkeypatch.setattr("harness.conformance.trials.run_trial", run_trial)
    trials = Trials({"gan": "nonsaturating", "dataset": "ring8"})
    before = state()
    _ = trials.unbroken
    assert state() == before
    trials.close()


def test_every_check_has_caught_something():
    assert set(BROKEN.values()) == {name for name, _ in CHECKS}

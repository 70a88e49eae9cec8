"""Each check of a network pair catches the fault that it is meant for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganbench.errors import UserError
from harness.conformance.networks import CHECKS


def generator(recipe, *end):
    return nn.Sequential(nn.Linear(recipe.latent_dim, 8), nn.ReLU(), nn.Linear(8, 64), *end, nn.Unflatten(1, (1, 8, 8)))


def discriminator(*middle, end=None):
    return nn.Sequential(
        nn.Flatten(1), nn.Linear(64, 8), *middle, nn.LeakyReLU(0.2), nn.Linear(8, 1), end or nn.Flatten(0)
    )


def pair(shape, recipe, *, g=None, d=None):
    if tuple(shape) != (1, 8, 8):
        raise UserError(f"it does not fit {shape}: choose gan.network=dcgan")
    return g or generator(recipe, nn.Tanh()), d or discriminator()


def sound(recipe, shape):
    return pair(shape, recipe)


def test_a_sound_pair_passes_every_check(failures):
    assert failures(sound) == {}


def refuses_in_its_own_way(recipe, shape):
    if len(shape) != 3:
        raise RuntimeError("images only")
    return pair(shape, recipe)


def no_modules(recipe, shape):
    generator, discriminator = pair(shape, recipe)
    return generator.forward, discriminator.forward


def logits_of_two_dimensions(recipe, shape):
    return pair(shape, recipe, d=discriminator(end=nn.Identity()))


def from_black_to_white_as_0_to_1(recipe, shape):
    return pair(shape, recipe, g=generator(recipe, nn.Sigmoid()))


class Loud(nn.Module):
    def forward(self, x):
        return 1000 * x


def far_beyond_one(recipe, shape):
    return pair(shape, recipe, g=generator(recipe, Loud()))


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(2, 2)

    def forward(self, x):
        return x


def a_layer_without_use(recipe, shape):
    return pair(shape, recipe, d=discriminator(Unused()))


def weights_of_its_own_randomness(recipe, shape):
    built = pair(shape, recipe)
    nn.init.normal_(built[0][0].weight, generator=torch.Generator().manual_seed(torch.seed() % 2**32))
    return built


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


def noise_in_the_generator(recipe, shape):
    return pair(shape, recipe, g=generator(recipe, Noise(), nn.Tanh()))


def batch_norm_always(recipe, shape):
    return pair(shape, recipe, d=discriminator(nn.BatchNorm1d(8)))


class BatchMean(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


def an_undeclared_look_at_the_batch(recipe, shape):
    return pair(shape, recipe, d=discriminator(BatchMean()))


class Declared(BatchMean):
    shard_group = 4


def a_look_beyond_the_declared_group(recipe, shape):
    return pair(shape, recipe, d=discriminator(Declared()))


class Forgetful(nn.Module):
    """Scales by a count that is no buffer."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        if self.training:
            self.seen += 1
        return x * (1 + 0.01 * self.seen)


def a_count_in_no_buffer(recipe, shape):
    return pair(shape, recipe, d=discriminator(Forgetful()))


class DropsInTraining(nn.Dropout):
    pass


def dropout_from_the_global_generator(recipe, shape):
    return pair(shape, recipe, d=discriminator(DropsInTraining(0.5)))


class DeafToEval(nn.BatchNorm1d):
    def train(self, mode=True):
        return super().train(True)


def batch_norm_that_stays_in_training(recipe, shape):
    return pair(shape, recipe, g=generator(recipe, DeafToEval(64), nn.Tanh()))


def deaf_to_latents(recipe, shape):
    class Same(nn.Module):
        def forward(self, x):
            return x[:1].expand_as(x) * 0 + 0.5 * torch.linspace(-1, 1, 64)

    return pair(shape, recipe, g=generator(recipe, Same()))


class ByNumber(nn.Module):
    """Another sample in a call of its own."""

    calls = 0

    def forward(self, x):
        ByNumber.calls += 1
        return x + 0.01 * ByNumber.calls


def a_sample_of_each_call_its_own(recipe, shape):
    return pair(shape, recipe, g=generator(recipe, ByNumber(), nn.Tanh()))


BROKEN = {
    refuses_in_its_own_way: "built",
    no_modules: "built",
    logits_of_two_dimensions: "shapes",
    from_black_to_white_as_0_to_1: "ranges",
    far_beyond_one: "ranges",
    deaf_to_latents: "ranges",
    a_layer_without_use: "gradients",
    weights_of_its_own_randomness: "weights",
    noise_in_the_generator: "rows",
    batch_norm_always: "mixing",
    an_undeclared_look_at_the_batch: "mixing",
    a_look_beyond_the_declared_group: "mixing",
    dropout_from_the_global_generator: "determinism",
    a_count_in_no_buffer: "resume",
    a_sample_of_each_call_its_own: "seeds",
    batch_norm_that_stays_in_training: "sampling",
}


@pytest.mark.parametrize("build", BROKEN)
def test_a_fault_is_caught_by_the_check_that_is_meant_for_it(failures, build):
    assert list(failures(build, only=BROKEN[build])) == [BROKEN[build]]


def test_every_check_has_caught_something():
    assert set(BROKEN.values()) == {name for name, _ in CHECKS}

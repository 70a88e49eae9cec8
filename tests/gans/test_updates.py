"""The order of the moves, on the saddle L(u, v) = u·v, where every iteration has a closed form."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import gans
from gans.recipe import Recipe
from gans.updates import alternate, play


class Saddle:
    """u, the generator, descends u·v and v, the discriminator, ascends it; by gradient steps of one size."""

    def __init__(self, rate: float = 0.1, **options: object) -> None:
        self.recipe = Recipe(**options)
        self.generator, self.discriminator = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.players = (self.generator, self.discriminator)
        for player, start in zip(self.players, (1.0, 0.5), strict=True):
            nn.init.constant_(player.weight, start)
        self.before = None
        self.counted = [0, 0]
        self.optimizers = [torch.optim.SGD(player.parameters(), lr=rate) for player in self.players]

    @property
    def place(self):
        return self.generator.weight.item(), self.discriminator.weight.item()

    def _gradient(self, player):
        sign = -1 if player else 1
        (gradient,) = torch.autograd.grad(
            sign * (self.generator.weight * self.discriminator.weight).sum(), self.players[player].weight
        )
        self.players[player].weight.grad = gradient
        return {}

    def discriminator_gradient(self, real):
        return self._gradient(1)

    def generator_gradient(self):
        return self._gradient(0)

    def move(self, player, values):
        self.optimizers[player].step()
        return values

    def count_discriminator(self, real, values):
        self.counted[1] += 1

    def count_generator(self, values):
        self.counted[0] += 1

    def discriminator_step(self, real):
        self.count_discriminator(real, self.move(1, self.discriminator_gradient(real)))

    def generator_step(self):
        self.count_generator(self.move(0, self.generator_gradient()))


def run(rounds, **options):
    game = Saddle(**options)
    places = [game.place]
    for _ in range(rounds):
        play(game, [None] * game.recipe.n_critic)
        places.append(game.place)
    return game, places


def test_prediction_is_the_decks_iteration():
    _, places = run(5, prediction="discriminator")
    u, v = places[0]
    ahead = u  # nothing is known of u's move yet
    for place in places[1:]:
        v = v + 0.1 * ahead
        u, before = u - 0.1 * v, u
        ahead = u + (u - before)
        assert place == pytest.approx((u, v), rel=1e-5)


def test_the_generator_answers_the_predicted_critic_after_all_its_steps():
    _, places = run(4, prediction="generator", n_critic=2)
    u, v = places[0]
    for place in places[1:]:
        before, v = v, v + 2 * 0.1 * u
        u = u - 0.1 * (v + (v - before))
        assert place == pytest.approx((u, v), rel=1e-5)


def test_both_predict_what_the_other_does():
    _, places = run(4, prediction="both")
    u, v = places[0]
    ahead = u
    for place in places[1:]:
        before, v = v, v + 0.1 * ahead
        u, last = u - 0.1 * (v + (v - before)), u
        ahead = u + (u - last)
        assert place == pytest.approx((u, v), rel=1e-5)


@pytest.mark.parametrize("prediction", ["discriminator", "generator", "both"])
def test_prediction_converges_where_alternating_steps_orbit(prediction):
    radius = [math.hypot(*place) for place in run(1000)[1]]
    assert 0.9 * radius[0] < min(radius[500:])
    assert math.hypot(*run(1000, prediction=prediction)[1][-1]) < 0.02 * radius[0]


def test_steps_at_once_spiral_out_by_the_root_of_one_plus_the_squared_rate():
    _, places = run(50, update="simultaneous")
    growth = math.hypot(*places[-1]) / math.hypot(*places[0])
    assert growth == pytest.approx((1 + 0.1**2) ** 25, rel=1e-4)


def test_extragradient_is_korpelevichs_iteration_and_converges():
    game, places = run(300, update="extragradient")
    u, v = places[0]
    for place in places[1:10]:
        trial_u, trial_v = u - 0.1 * v, v + 0.1 * u
        u, v = u - 0.1 * trial_v, v + 0.1 * trial_u
        assert place == pytest.approx((u, v), rel=1e-4)
    assert math.hypot(*places[-1]) < 0.3 * math.hypot(*places[0])
    assert game.counted == [300, 300]


def test_the_opponent_is_put_back_to_the_last_bit():
    game = Saddle(prediction="both")
    alternate(game, [None], prediction="both")
    seen = []
    step = game.discriminator_step
    game.discriminator_step = lambda real: (seen.append(game.generator.weight.item()), step(real))
    at = copy.deepcopy(game.generator.weight.item())
    game.generator_step = lambda: seen.append(game.generator.weight.item())
    alternate(game, [None], prediction="both")
    assert seen[0] != at
    assert seen[1] == at


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("options", [{"prediction": "both"}, {"update": "extragradient"}, {"update": "simultaneous"}])
def test_every_order_is_another_game_with_any_optimiser(optimizer, options):
    def last(**chosen):
        gan = gans.build("vanilla", data_dim=2, width=4, latent_dim=2, batch_size=4, optimizer=optimizer, **chosen)
        gan.manual_backward = lambda loss: loss.backward()
        gan.optimizers = lambda: gan._optimizers
        gan.configure_optimizers()
        for step in range(3):
            real = torch.randn(4, 2, generator=torch.Generator().manual_seed(step))
            gan.training_step([[real]], 0)
        return torch.cat([p.detach().flatten() for p in gan.parameters()])

    assert last(**options).isfinite().all()
    assert not torch.equal(last(**options), last())

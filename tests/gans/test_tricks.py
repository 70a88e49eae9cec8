"""Label smoothing, label flipping, instance noise, minibatch statistics, attention and BEGAN's balance."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

import gans
from ganbench.errors import UserError
from gans import constraints, objectives
from gans.networks import check_options
from gans.networks.attention import SelfAttention
from gans.networks.minibatch import KERNELS, MinibatchDiscrimination, MinibatchStddev
from gans.recipe import Recipe
from gans.shards import check_divisible, mixes_samples


def at_hand(name="nonsaturating", **options):
    """A tiny game, played without Lightning's trainer."""
    shape = {} if "image_shape" in options else {"data_dim": 2}
    small = {"width": 4, "latent_dim": 4, "batch_size": 8, "total_images": 80}
    gan = gans.build(name, **shape, **{**small, **options})
    gan.manual_backward = lambda loss: loss.backward()
    gan.optimizers = lambda: gan._optimizers
    gan.configure_optimizers()
    return gan


def real(gan, step):
    return torch.rand(8, *gan.shape, generator=torch.Generator().manual_seed(step)) * 2 - 1


# Labels


def test_smoothing_has_its_optimum_at_the_smoothed_label():
    """(1−s)·sp(−l) + s·sp(l) is least where σ(l) = 1 − s."""
    loss = objectives.build(Recipe(objective="minimax", label_smoothing=0.1))
    at = torch.tensor([0.9]).logit().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.discriminator_loss(at, torch.zeros(1)), at)
    assert gradient.item() == pytest.approx(0, abs=1e-6)
    logits = torch.tensor([-1.0, 0.5, 3.0])
    expected = (0.9 * softplus(-logits) + 0.1 * softplus(logits)).mean() + softplus(torch.zeros(()))
    assert loss.discriminator_loss(logits, torch.zeros(3)).item() == pytest.approx(expected.item())


def test_smoothing_moves_least_squares_target_towards_the_fakes():
    loss = objectives.build(Recipe(objective="least-squares", lsgan_a=-1, lsgan_b=1, label_smoothing=0.25))
    assert loss.discriminator_loss(torch.tensor([0.5]), torch.tensor([-1.0])).item() == 0
    assert loss.generator_loss(torch.tensor([1.0])).item() == 0


def test_flipped_pairs_change_sides_as_often_as_asked_for():
    gan = at_hand(label_flip=0.25)
    ones = torch.ones(4000)
    told_real, told_fake = gan._labelled(ones, -ones)
    assert torch.equal(told_real, -told_fake)
    assert (told_real < 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    again, _ = gan._labelled(ones, -ones)
    assert torch.equal(told_real, again)  # drawn from the step, not from a state
    gan.counters.d_steps += 1
    assert not torch.equal(told_real, gan._labelled(ones, -ones)[0])


# Instance noise


def test_instance_noise_falls_to_nothing_over_the_budget():
    gan = at_hand(instance_noise=0.5, total_images=100)
    zeros = torch.zeros(2000, 2)
    for images, deviation in ((0, 0.5), (50, 0.25), (90, 0.05)):
        gan.counters.images = images
        assert gan._shown(zeros, "noise/real").std().item() == pytest.approx(deviation, rel=0.05)
    gan.counters.images = 100
    assert torch.equal(gan._shown(zeros, "noise/real"), zeros)
    assert at_hand()._shown(zeros, "noise/real") is zeros


def test_real_fake_and_generated_samples_have_noise_of_their_own():
    gan = at_hand(instance_noise=0.5)
    zeros = torch.zeros(8, 2)
    drawn = [gan._shown(zeros, purpose) for purpose in ("noise/real", "noise/fake", "noise/generator")]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


# Penalties


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [("r1", lambda norm: 3 / 2 * norm**2), ("dragan", lambda norm: 3 * (norm - 2) ** 2 / 4)],
)
def test_penalties_of_a_linear_critic(constraint, expected):
    weight = torch.tensor([1.0, 2.0, 2.0])
    penalty = constraints.build(Recipe(constraint=constraint, penalty_weight=3, penalty_target=2))
    for paired in (
        penalty,
        constraints.build(Recipe(constraint=f"spectral-norm+{constraint}", penalty_weight=3, penalty_target=2)),
    ):
        value = paired.penalty(lambda x: x @ weight, torch.randn(5, 3), torch.randn(5, 3), generator=None)
        assert value.item() == pytest.approx(expected(3.0), rel=1e-5)


def test_r1_looks_at_real_samples_alone_and_dragan_around_them():
    samples, other = torch.randn(6, 3), torch.full((6, 3), 100.0)
    quadratic = lambda x: x.square().sum(1) / 2  # noqa: E731  its slope is x
    r1 = constraints.build(Recipe(constraint="r1", penalty_weight=1))
    value = r1.penalty(quadratic, samples, other, generator=None)
    assert value.item() == pytest.approx(samples.square().sum(1).mean().item() / 2, rel=1e-5)
    dragan = constraints.Dragan(1.0, spread=0.5)
    noise = dragan.noise((20_000, 1), torch.Generator().manual_seed(0), samples)
    moved = dragan.places(torch.ones(20_000, 1), torch.zeros(20_000, 1), noise)
    assert moved.mean().item() == pytest.approx(1, abs=0.02)
    assert moved.std().item() == pytest.approx(0.5, rel=0.02)


# Minibatch statistics


def test_discrimination_counts_the_samples_that_are_alike():
    layer = MinibatchDiscrimination(3)
    same = layer(torch.ones(6, 3))
    assert torch.allclose(same[:, 3:], torch.full((6, KERNELS), 6.0))
    apart = layer(torch.arange(6.0)[:, None] * 1e4 * torch.ones(6, 3))
    assert torch.allclose(apart[:, 3:], torch.ones(6, KERNELS))
    assert torch.equal(apart[:, :3], torch.arange(6.0)[:, None] * 1e4 * torch.ones(6, 3))


def test_the_deviation_of_features_is_that_of_maps_of_one_pixel():
    x = torch.randn(8, 3)
    assert torch.allclose(MinibatchStddev()(x), MinibatchStddev()(x[..., None, None]).flatten(1))


@pytest.mark.parametrize("network", ["dcgan", "sndcgan", "resnet", "progressive"])
@pytest.mark.parametrize("minibatch", ["none", "stddev", "discrimination"])
def test_a_critic_sees_its_batch_only_where_it_is_told_of_it(network, minibatch):
    gan = at_hand(image_shape=(1, 8, 8), network=network, minibatch=minibatch, constraint="spectral-norm")
    assert mixes_samples(gan.discriminator) == (minibatch != "none")
    alone = at_hand(image_shape=(1, 8, 8), network=network, constraint="spectral-norm")
    assert mixes_samples(alone.discriminator) == (network == "progressive")


def test_discrimination_is_not_shared_among_processes():
    with pytest.raises(UserError, match="whole batch"):
        check_divisible(8, 2, MinibatchDiscrimination(3))
    check_divisible(8, 1, MinibatchDiscrimination(3))


# Attention


def test_attention_is_the_identity_at_first_and_looks_everywhere_later():
    torch.manual_seed(0)
    block, x = SelfAttention(8), torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), x)
    with torch.no_grad():
        block.share.fill_(1.0)
    moved = x.clone()
    moved[..., 3, 3] += 5
    assert not torch.allclose(block(moved)[..., 0, 0], block(x)[..., 0, 0])
    turned = block(x.flip(-1)).flip(-1)  # no pixel has a place of its own
    assert torch.allclose(turned, block(x), atol=1e-5)


def test_attention_weighs_pixels_by_query_and_key():
    """Where one key answers a query alone, each pixel adds that pixel's value."""
    block = SelfAttention(1)
    with torch.no_grad():
        for layer, weight in ((block.query, 0.0), (block.key, 1.0), (block.value, 1.0), (block.back, 1.0)):
            layer.weight.fill_(weight)
        block.query.bias.fill_(50.0)
        block.share.fill_(0.5)
    x = torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]])
    assert torch.allclose(block(x), x + 0.5 * 4)


@pytest.mark.parametrize("network", ["dcgan", "sndcgan", "resnet", "progressive"])
def test_both_players_get_one_block_at_their_largest_fitting_maps(network):
    gan = gans.build("sagan", image_shape=(1, 32, 32), network=network, width=8, attention=8)
    sides = []
    for player, shape in ((gan.generator, (2, 64)), (gan.discriminator, (2, 1, 32, 32))):
        if gan.grows:
            player.set_stage(32, 1.0)
        (block,) = (module for module in player.modules() if isinstance(module, SelfAttention))
        block.register_forward_hook(lambda _, x, __: sides.append(x[0].shape[-1]))
        player(torch.randn(shape))
    assert sides == [8, 8]


def test_attention_without_a_place_is_refused():
    with pytest.raises(UserError, match="give 8 or more"):
        check_options(Recipe(network="resnet", attention=4), (1, 32, 32))
    with pytest.raises(UserError, match="points"):
        gans.build("sagan", data_dim=2)
    check_options(Recipe(network="somebody-elses", attention=4), (1, 32, 32))


def test_points_have_no_batch_normalisation_to_ask_for():
    with pytest.raises(UserError, match="give auto"):
        gans.build("vanilla", data_dim=2, critic_norm="batch")
    check_options(Recipe(critic_norm="batch"), (1, 8, 8))


# Batch normalisation and spectral norms as asked for


def test_an_unconstrained_critic_may_go_without_batch_normalisation():
    norms = [
        any("BatchNorm" in type(module).__name__ for module in gan.discriminator.modules())
        for gan in (at_hand(image_shape=(1, 16, 16), critic_norm=norm) for norm in ("auto", "batch", "none"))
    ]
    assert norms == [True, True, False]


@pytest.mark.parametrize("network", ["dcgan", "progressive"])
def test_a_normalised_generators_layers_have_norm_one(network):
    gan = at_hand("sagan", image_shape=(1, 8, 8), network=network)
    for step in range(10):
        gan.training_step([[real(gan, step)]], 0)
    layers = [module for module in gan.generator.eval().modules() if hasattr(module, "parametrizations")]
    assert layers
    for layer in layers:
        outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        matrix = layer.weight.detach().transpose(0, outputs).flatten(1)
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.2)
    assert gan.sample(2).isfinite().all()


# BEGAN


def test_the_balance_follows_its_recursion_and_stays_between_0_and_1():
    objective = objectives.BoundaryEquilibrium(target=0.5, rate=0.1)
    k = 0.0
    for real_error, fake_error in ((1.0, 0.2), (0.8, 0.3), (0.1, 9.0), (9.0, 0.0), (9.0, 0.0), (9.0, 0.0)):
        loss = objective.discriminator_loss(torch.tensor([-real_error]), torch.tensor([-fake_error]))
        assert loss.item() == pytest.approx(real_error - k * fake_error, abs=1e-6)
        values = objective.scalars(torch.tensor([-real_error]), torch.tensor([-fake_error]))
        told = objective.after_step(values)
        k = min(max(k + 0.1 * (0.5 * real_error - fake_error), 0.0), 1.0)
        assert told["loss/balance"].item() == pytest.approx(k, abs=1e-6)
        assert told["loss/convergence"].item() == pytest.approx(real_error + abs(0.5 * real_error - fake_error))
    assert k == 1.0


def test_a_resumed_began_goes_on_with_its_balance():
    whole, first = (at_hand("began", image_shape=(1, 8, 8)) for _ in range(2))
    for step in range(4):
        whole.training_step([[real(whole, step)]], 0)
        if step < 2:
            first.training_step([[real(first, step)]], 0)
    second = at_hand("began", image_shape=(1, 8, 8))
    second.load_training_state(copy.deepcopy(first.training_state()))
    second.configure_optimizers()
    for step in (2, 3):
        second.training_step([[real(second, step)]], 0)
    assert whole.objective.balance.item() == second.objective.balance.item() > 0
    assert torch.equal(whole.sample(2), second.sample(2))


def test_an_autoencoders_logit_is_minus_its_error():
    gan = at_hand("began", image_shape=(2, 8, 8))
    images = real(gan, 0)
    error = (images - gan.discriminator.decoder(gan.discriminator.encoder(images))).abs().mean((1, 2, 3))
    assert torch.allclose(gan.discriminator(images), -error)
    with torch.no_grad():
        gan.discriminator.decoder[-1].weight.zero_()
        gan.discriminator.decoder[-1].bias.fill_(0.5)
    assert torch.allclose(gan.discriminator(torch.ones(3, 2, 8, 8)), torch.full((3,), -0.5))

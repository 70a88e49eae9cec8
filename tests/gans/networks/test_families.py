"""What every pair of networks promises: shapes, seeds, refusals, no batch normalisation where it would spoil a game."""

import pytest
import torch
from torch import nn

from ganbench.errors import UserError
from gans.constraints import SpectralNorm, gradient_penalty
from gans.networks import NETWORKS, SIZES, channels, check_shape, doublings, networks
from gans.recipe import Recipe
from gans.shards import mixes_samples

IMAGES = ("dcgan", "sndcgan", "resnet", "progressive")
ALL = ("mlp", *IMAGES)


def shape_for(name):
    return (2,) if name == "mlp" else (2, 16, 16)


# Shapes


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("size", [*SIZES[:9], 40, 48, 112, 160, 256, 1024])
def test_images_of_every_size_are_drawn_and_judged(name, size):
    with torch.device("meta"):  # shapes alone, so that 1024×1024 costs nothing
        generator, discriminator = networks(Recipe(network=name, width=2, latent_dim=3), (1, size, size))
        images = generator(torch.empty(2, 3))
    assert images.shape == (2, 1, size, size)
    assert discriminator(images).shape == (2,)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(("size", "image_channels"), [(8, 1), (28, 1), (32, 3), (48, 5)])
def test_logits_and_images_are_finite(pair, latent, name, size, image_channels):
    generator, discriminator = pair(name, (image_channels, size, size))
    images = generator(latent())
    assert images.shape == (4, image_channels, size, size)
    assert discriminator(images).isfinite().all()
    if name != "progressive":
        assert images.abs().max() <= 1


def test_auto_is_mlp_for_points_and_dcgan_for_images(pair):
    for shape, name in (((2,), "mlp"), ((1, 8, 8), "dcgan")):
        chosen, named = pair("auto", shape), pair(name, shape)
        for mine, theirs in zip(chosen, named, strict=True):
            assert str(mine) == str(theirs)


@pytest.mark.parametrize("name", IMAGES)
def test_channels_last_gives_the_same(pair, latent, name):
    generator, discriminator = pair(name, (3, 16, 16))
    images = generator(latent()).detach()
    logits = discriminator(images)
    generator.to(memory_format=torch.channels_last)
    discriminator.to(memory_format=torch.channels_last)
    # a batch's statistics were taken once more: running ones differ, those of the batch do not
    torch.testing.assert_close(generator(latent()), images, atol=1e-5, rtol=1e-4)
    last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(discriminator(last), logits, atol=1e-4, rtol=1e-4)


# Sizes


def test_sizes_are_4_to_7_times_a_power_of_two():
    assert SIZES[:13] == (8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
    assert SIZES[-1] == 1024
    assert all(4 <= doublings(size)[0] <= 7 for size in SIZES)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(
    ("side", "remedy"),
    [
        (30, "data.size=28 or data.pad=32"),
        (100, "data.size=96 or data.pad=112"),
        (4, "data.size=8 or data.pad=8"),
        (27, "data.size=28 or data.pad=28"),
        (2000, "data.size=1024"),
    ],
)
def test_a_size_that_does_not_fit_names_the_nearest_one_that_does(pair, name, side, remedy):
    with pytest.raises(UserError) as error:
        pair(name, (1, side, side))
    assert str(error.value) == (
        f"network {name} does not fit {side}×{side} images: they must be square, their side 8 to 1024 and 4, 5, 6 or 7 "
        f"times a power of two; {remedy} would fit"
    )


@pytest.mark.parametrize("name", [*ALL, "auto"])
@pytest.mark.parametrize("shape", [(2,), (1, 28, 28), (1, 30, 30), (3, 32, 16)])
def test_a_shape_can_be_checked_before_anything_is_built(pair, name, shape):
    said = []
    for attempt in (lambda: check_shape(name, shape), lambda: pair(name, shape)):
        try:
            attempt()
        except UserError as error:
            said.append(str(error))
    assert len(said) in (0, 2)
    assert len(set(said)) <= 1


def test_oblong_images_are_a_user_error(pair):
    with pytest.raises(UserError, match=r"does not fit 32×16 images: they must be square.*data\.size=32"):
        pair("dcgan", (3, 32, 16))


def test_data_of_the_other_kind_are_a_user_error(pair):
    with pytest.raises(UserError, match=r"mlp draws points, not images"):
        pair("mlp", (1, 8, 8))
    for name in IMAGES:
        with pytest.raises(UserError, match=rf"{name} draws images, not points: choose gan\.network=mlp"):
            pair(name, (2,))


def test_an_unknown_network_is_a_user_error(pair):
    with pytest.raises(UserError, match="unknown network 'dcgn': did you mean 'dcgan'"):
        pair("dcgn", (1, 8, 8))


def test_every_registered_network_says_what_it_is():
    assert {*ALL} <= {*NETWORKS.names()}
    assert all(entry.summary for entry in NETWORKS.entries())


# Widths


def test_width_doubles_at_each_halving_up_to_512():
    assert [channels(64, 64, at) for at in (64, 32, 16, 8, 4)] == [64, 128, 256, 512, 512]
    assert channels(1, 8, 64) == 1


@pytest.mark.parametrize("name", ALL)
def test_the_generator_may_have_its_own_width(pair, name):
    shape = shape_for(name)
    (narrow, judge), (wide, same_judge) = pair(name, shape), pair(name, shape, generator_width=8)
    assert sum(p.numel() for p in wide.parameters()) > sum(p.numel() for p in narrow.parameters())
    assert [p.shape for p in judge.parameters()] == [p.shape for p in same_judge.parameters()]


@pytest.mark.parametrize("name", IMAGES)
def test_no_layer_is_wider_than_the_most(pair, name):
    for network in pair(name, (3, 64, 64), max_width=6):
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert max(layer.out_channels for layer in convolutions) == 6


# Weights


@pytest.mark.parametrize("name", ALL)
def test_the_global_seed_determines_the_weights(pair, name):
    for first, second in zip(pair(name, shape_for(name), seed=5), pair(name, shape_for(name), seed=5), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


# What keeps a critic tame


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "options",
    [
        {"constraint": "gradient-penalty"},
        {"constraint": "clip"},
        {"constraint": "spectral-norm"},
        {"objective": "wasserstein", "constraint": "gradient-penalty"},
        {"constraint": "r1"},
        {"constraint": "spectral-norm+dragan"},
    ],
    ids=str,
)
def test_no_batch_norm_in_a_constrained_critic(pair, name, options):
    _, discriminator = pair(name, shape_for(name), **options)
    assert not any("Norm" in type(layer).__name__ for layer in discriminator.modules())
    assert mixes_samples(discriminator) == (name == "progressive")


@pytest.mark.parametrize("name", ALL)
def test_spectral_normalisation_reaches_every_weight_of_the_critic(pair, name):
    _, discriminator = pair(name, shape_for(name), constraint="spectral-norm")
    SpectralNorm().prepare(discriminator)
    matrices = [name for name, parameter in discriminator.named_parameters() if parameter.ndim > 1]
    assert matrices
    assert all(name.endswith("parametrizations.weight.original") for name in matrices)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("constraint", ["gradient-penalty", "spectral-norm"])
def test_the_double_backward_reaches_every_weight(pair, latent, name, constraint):
    generator, discriminator = pair(name, shape_for(name), constraint=constraint)
    if constraint == "spectral-norm":
        SpectralNorm().prepare(discriminator)
    if name == "progressive":
        generator.set_stage(16, 0.5)
        discriminator.set_stage(16, 0.5)
    fake = generator(latent())
    penalty = gradient_penalty(
        discriminator, torch.randn(fake.shape), fake, weight=10.0, generator=torch.Generator().manual_seed(0)
    )
    (discriminator(fake).mean() + penalty).backward()
    for network in (generator, discriminator):
        for parameter_name, parameter in network.named_parameters():
            if name == "progressive" and any(part in parameter_name for part in ("to_image.4", "from_image.4")):
                assert parameter.grad is None  # two stages back: takes no part
            else:
                assert parameter.grad is not None, parameter_name
                assert parameter.grad.isfinite().all(), parameter_name
                assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", ALL)
def test_activations_in_place_leave_the_second_derivative_right(pair, name):
    """Against the same critics with activations out of place, in float64."""
    shape = (2,) if name == "mlp" else (1, 8, 8)
    _, discriminator = pair(name, shape, constraint="gradient-penalty")
    discriminator.double()
    real, fake = torch.randn(2, 4, *shape, dtype=torch.float64)
    gradients = []
    for inplace in (True, False):
        for layer in discriminator.modules():
            if isinstance(layer, nn.LeakyReLU | nn.ReLU):
                assert layer.inplace or not inplace
                layer.inplace = inplace
        penalty = gradient_penalty(discriminator, real, fake, weight=1.0, generator=torch.Generator().manual_seed(0))
        weights = [weight for weight in discriminator.parameters() if weight.ndim > 1 and weight.requires_grad]
        gradients.append(torch.autograd.grad(penalty, weights, allow_unused=True))
    for mine, reference in zip(*gradients, strict=True):
        assert (mine is None) == (reference is None)
        if mine is not None:
            torch.testing.assert_close(mine, reference)

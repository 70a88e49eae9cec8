"""Shapes, the rules that each network family promises, growing, and gradients through everything."""

from itertools import chain, pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

from ganbench.errors import UserError
from gans.constraints import SpectralNorm, gradient_penalty
from gans.networks import NETWORKS, SIZES, channels, networks
from gans.networks.progressive import EqualizedConv2d, EqualizedLinear, MinibatchStddev, PixelNorm
from gans.recipe import Recipe

RECIPE = Recipe(width=4, latent_dim=8)
IMAGE_NETWORKS = ("dcgan", "progressive")


def pair(name, shape, recipe=RECIPE, seed=0):
    torch.manual_seed(seed)
    return networks(recipe.model_copy(update={"network": name}), shape)


def latent(n=4, recipe=RECIPE, seed=0):
    return torch.randn(n, recipe.latent_dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("image_channels", [1, 3, 5])
def test_image_shapes(name, size, image_channels):
    shape = (image_channels, size, size)
    generator, discriminator = pair(name, shape)
    images = generator(latent())
    assert images.shape == (4, *shape)
    logits = discriminator(images)
    assert logits.shape == (4,)
    assert logits.isfinite().all()
    if name == "dcgan":
        assert images.abs().max() <= 1


@pytest.mark.parametrize("dimensions", [1, 2, 7])
@pytest.mark.parametrize("depth", [1, 3])
def test_point_shapes_and_depth(dimensions, depth):
    recipe = Recipe(width=5, depth=depth, latent_dim=8)
    generator, discriminator = pair("mlp", (dimensions,), recipe)
    points = generator(latent())
    assert points.shape == (4, dimensions)
    assert discriminator(points).shape == (4,)
    for network in (generator, discriminator):
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        assert len(layers) == depth + 1
        assert [layer.out_features for layer in layers[:-1]] == [5] * depth


def test_points_are_unbounded():
    generator, _ = pair("mlp", (2,))
    assert generator(1000 * latent()).abs().max() > 10


def test_auto_is_mlp_for_points_and_dcgan_for_images():
    for shape, name in (((2,), "mlp"), ((1, 8, 8), "dcgan")):
        chosen, named = pair("auto", shape), pair(name, shape)
        for mine, theirs in zip(chosen, named, strict=True):
            assert str(mine) == str(theirs)


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
@pytest.mark.parametrize(("side", "fits"), [(28, 32), (100, 64), (4, 8), (20, 16)])
def test_a_size_that_does_not_fit_names_the_nearest_one_that_does(name, side, fits):
    with pytest.raises(UserError) as error:
        pair(name, (1, side, side))
    assert str(error.value) == (
        f"no network fits {side}×{side} images: sizes are 8, 16, 32 and 64; data.size={fits} would fit"
    )


def test_oblong_images_are_a_user_error():
    with pytest.raises(UserError, match=r"no network fits 32×16 images.*data\.size=32"):
        pair("dcgan", (3, 32, 16))


def test_data_of_the_other_kind_are_a_user_error():
    with pytest.raises(UserError, match=r"mlp draws points, not images"):
        pair("mlp", (1, 8, 8))
    for name in IMAGE_NETWORKS:
        with pytest.raises(UserError, match=rf"{name} draws images, not points: choose gan\.network=mlp"):
            pair(name, (2,))


def test_an_unknown_network_is_a_user_error():
    with pytest.raises(UserError, match="unknown network 'dcgn': did you mean 'dcgan'"):
        pair("dcgn", (1, 8, 8))


def test_every_registered_network_says_what_it_is():
    assert NETWORKS.names()[:3] == ["mlp", "dcgan", "progressive"]
    assert all(entry.summary for entry in NETWORKS.entries())


@pytest.mark.parametrize("name", ["mlp", *IMAGE_NETWORKS])
def test_the_global_seed_determines_the_weights(name):
    shape = (2,) if name == "mlp" else (1, 16, 16)
    for first, second in zip(pair(name, shape, seed=5), pair(name, shape, seed=5), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_width_doubles_at_each_halving_up_to_512():
    assert [channels(64, 64, at) for at in (64, 32, 16, 8, 4)] == [64, 128, 256, 512, 512]
    _, discriminator = pair("dcgan", (3, 64, 64), Recipe(width=32))
    convolutions = [layer for layer in discriminator if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 128, 256, 512]  # the paper's discriminator


# Who may normalise over the batch


@pytest.mark.parametrize("name", ["mlp", *IMAGE_NETWORKS])
@pytest.mark.parametrize(
    "options",
    [
        {"constraint": "gradient-penalty"},
        {"constraint": "clip"},
        {"constraint": "spectral-norm"},
        {"objective": "wasserstein"},
        {"objective": "wasserstein", "constraint": "gradient-penalty"},
    ],
    ids=str,
)
def test_no_batch_norm_in_a_constrained_or_wasserstein_critic(name, options):
    _, discriminator = pair(name, (2,) if name == "mlp" else (1, 16, 16), Recipe(width=4, **options))
    assert not any("Norm" in type(layer).__name__ for layer in discriminator.modules())


def test_dcgan_has_batch_norm_everywhere_but_at_the_image():
    generator, discriminator = pair("dcgan", (1, 32, 32))
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in generator) == 3  # 4×4, 8×8, 16×16
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in discriminator) == 2  # 8×8, 4×4
    assert isinstance(discriminator[1], nn.LeakyReLU)  # not after the first convolution
    assert isinstance(generator[-2], nn.ConvTranspose2d)  # nor after the last one
    for before, after in chain(pairwise(generator), pairwise(discriminator)):
        if isinstance(after, nn.BatchNorm2d) and not isinstance(before, nn.Unflatten):
            assert before.bias is None


@pytest.mark.parametrize("constraint", ["none", "gradient-penalty"])
def test_dcgan_weights_start_as_the_paper_says(constraint):
    for network in pair("dcgan", (3, 32, 32), Recipe(width=16, constraint=constraint)):
        for layer in network:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.15)
                assert layer.bias is None or not layer.bias.any()
            elif isinstance(layer, nn.BatchNorm2d):
                assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)


# Gradients


@pytest.mark.parametrize("name", ["mlp", *IMAGE_NETWORKS])
@pytest.mark.parametrize("constraint", ["gradient-penalty", "spectral-norm"])
def test_the_double_backward_reaches_every_weight(name, constraint):
    shape = (2,) if name == "mlp" else (2, 16, 16)
    generator, discriminator = pair(name, shape, Recipe(width=4, latent_dim=8, constraint=constraint))
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


def test_activations_in_place_leave_the_second_derivative_right():
    """Against the same critics with activations out of place, in float64."""
    for name, shape in (("mlp", (2,)), ("dcgan", (1, 8, 8)), ("progressive", (1, 8, 8))):
        _, discriminator = pair(name, shape, Recipe(width=4, constraint="gradient-penalty"))
        discriminator.double()
        real, fake = torch.randn(2, 4, *shape, dtype=torch.float64)
        gradients = []
        for inplace in (True, False):
            for layer in discriminator.modules():
                if isinstance(layer, nn.LeakyReLU):
                    assert layer.inplace or not inplace
                    layer.inplace = inplace
            penalty = gradient_penalty(
                discriminator, real, fake, weight=1.0, generator=torch.Generator().manual_seed(0)
            )
            weights = [weight for weight in discriminator.parameters() if weight.ndim > 1 and weight.requires_grad]
            gradients.append(torch.autograd.grad(penalty, weights, allow_unused=True))
        for mine, reference in zip(*gradients, strict=True):
            assert (mine is None) == (reference is None)
            if mine is not None:
                torch.testing.assert_close(mine, reference)


# Progressive growing


@pytest.fixture
def growing():
    return pair("progressive", (3, 32, 32))


@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_new_block_begins_as_the_upsampled_previous_stage(growing, size):
    generator, _ = growing
    generator.set_stage(size // 2, 1.0)
    previous = generator(latent())
    generator.set_stage(size, 0.0)
    assert torch.equal(generator(latent()), interpolate(previous, scale_factor=2))


@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_faded_block_stands_alone(growing, size):
    generator, discriminator = growing
    images = torch.randn(4, 3, size, size)
    for network, inputs, old in ((generator, latent(), "to_image"), (discriminator, images, "from_image")):
        network.set_stage(size, 1.0)
        alone = network(inputs)
        network.set_stage(size, 0.5)
        blended = network(inputs)
        with torch.no_grad():
            for parameter in getattr(network, old)[str(size // 2)].parameters():
                parameter.add_(1.0)  # the previous stage's path to the image
        assert not torch.equal(network(inputs), blended)
        network.set_stage(size, 1.0)
        assert torch.equal(network(inputs), alone)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_the_generator_blends_linearly(growing, size):
    generator, _ = growing
    outputs = []
    for alpha in (0.0, 1.0, 0.3):
        generator.set_stage(size, alpha)
        outputs.append(generator(latent()))
    torch.testing.assert_close(outputs[2], 0.7 * outputs[0] + 0.3 * outputs[1])


@pytest.mark.parametrize("size", [8, 16, 32])
def test_the_discriminator_too_begins_a_stage_where_the_last_one_ended(growing, size):
    _, discriminator = growing
    images = torch.randn(4, 3, size, size)
    discriminator.set_stage(size, 0.0)
    began = discriminator(images)
    discriminator.set_stage(size // 2, 1.0)
    assert torch.equal(began, discriminator(avg_pool2d(images, 2)))


@pytest.mark.parametrize("which", [0, 1], ids=["generator", "discriminator"])
def test_alpha_is_continuous_at_both_ends(growing, which):
    network = growing[which]
    inputs = (latent(), torch.randn(4, 3, 16, 16))[which]
    for end, near in ((0.0, 1e-5), (1.0, 1 - 1e-5)):
        outputs = []
        for alpha in (end, near):
            network.set_stage(16, alpha)
            outputs.append(network(inputs))
        torch.testing.assert_close(*outputs, atol=1e-3, rtol=0)
        assert not torch.equal(*outputs)


@pytest.mark.parametrize(("size", "alpha"), [(4, 1.0), (8, 0.5), (8, 1.0), (16, 0.5), (32, 0.5), (32, 1.0)])
def test_what_takes_part_learns_and_nothing_is_frozen(growing, size, alpha):
    generator, discriminator = growing
    for network in growing:
        network.set_stage(size, alpha)
    discriminator(generator(latent())).sum().backward()
    for network, image in ((generator, "to_image"), (discriminator, "from_image")):
        for name, parameter in network.named_parameters():
            assert parameter.requires_grad
            group, side, *_ = name.split(".")
            if group == image:
                part = int(side) == size or (alpha < 1 and int(side) == size // 2)
            else:
                part = group != "blocks" or int(side) <= size
            assert (parameter.grad is not None and bool(parameter.grad.any())) == part, name


def test_the_stage_is_no_part_of_the_state(growing):
    for network in growing:
        before = list(network.state_dict())
        network.set_stage(8, 0.25)
        assert (network.size, network.alpha) == (8, 0.25)
        assert list(network.state_dict()) == before


def test_a_smallest_stage_has_nothing_to_fade_from(growing):
    generator, _ = growing
    outputs = []
    for alpha in (0.0, 1.0):
        generator.set_stage(4, alpha)
        outputs.append(generator(latent()))
    assert torch.equal(*outputs)


@pytest.mark.parametrize(("size", "alpha"), [(64, 1.0), (12, 1.0), (8, 1.5), (8, -0.1)])
def test_a_stage_that_does_not_exist_is_refused(growing, size, alpha):
    for network in growing:
        with pytest.raises(ValueError, match="sizes are"):
            network.set_stage(size, alpha)


def test_growth_may_start_above_4():
    generator, discriminator = pair("progressive", (1, 16, 16), Recipe(width=4, latent_dim=8, start_size=8))
    for network in (generator, discriminator):
        network.set_stage(8, 1.0)
    images = generator(latent())
    assert images.shape == (4, 1, 8, 8)
    assert discriminator(images).shape == (4,)


def test_a_start_above_the_images_is_a_user_error():
    with pytest.raises(UserError, match=r"gan\.start_size=32 does not grow into 16×16"):
        pair("progressive", (1, 16, 16), Recipe(start_size=32))


def test_equalised_layers_keep_the_variance():
    torch.manual_seed(0)
    x = torch.randn(64, 48, 6, 6)
    out = EqualizedConv2d(48, 64, 3, gain=1.0)(x)
    assert out.std().item() == pytest.approx(1, rel=0.05)
    out = EqualizedLinear(512, 256, gain=1.0)(torch.randn(256, 512))
    assert out.std().item() == pytest.approx(1, rel=0.05)
    rectified = torch.relu(torch.randn(64, 48, 6, 6))  # He's gain makes up for the half that a rectifier loses
    assert EqualizedConv2d(48, 64, 3)(rectified).square().mean().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("layer", [EqualizedConv2d(32, 32, 3), EqualizedLinear(64, 64)], ids=["conv", "linear"])
def test_equalised_layers_hold_standard_normal_weights(layer):
    assert layer.weight.std().item() == pytest.approx(1, rel=0.1)
    assert not layer.bias.any()


def test_the_whole_generator_starts_at_unit_scale():
    generator, _ = pair("progressive", (3, 32, 32), Recipe(width=16, latent_dim=32))
    with torch.no_grad():
        assert 0.5 < generator(torch.randn(64, 32)).std().item() < 2


def test_the_latent_counts_by_its_direction_only(growing):
    generator, _ = growing
    with torch.no_grad():
        generator.base[1].bias.normal_()  # without it, the norm behind the layer would hide a missing one before it
    torch.testing.assert_close(generator(latent()), generator(7 * latent()), atol=1e-4, rtol=1e-4)


def test_pixel_norm_gives_each_pixel_unit_mean_square():
    x = torch.randn(3, 16, 5, 5) * 9
    torch.testing.assert_close(PixelNorm()(x).square().mean(1), torch.ones(3, 5, 5))
    assert torch.equal(PixelNorm()(torch.zeros(2, 4)), torch.zeros(2, 4))


@pytest.mark.parametrize("batch", [1, 2, 4, 6, 8, 12])
def test_minibatch_stddev_against_a_loop(batch):
    x = torch.randn(batch, 5, 3, 3)
    out = MinibatchStddev()(x)
    assert torch.equal(out[:, :5], x)
    group = 4 if batch % 4 == 0 else batch
    stride = batch // group
    for n in range(batch):
        members = x[n % stride :: stride]
        assert len(members) == group
        expected = (members.var(0, correction=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(out[n, 5], expected.expand(3, 3))


def test_minibatch_stddev_sees_a_collapse_and_stays_differentiable_twice():
    varied = torch.randn(8, 5, 3, 3)
    collapsed = varied[:1].repeat(8, 1, 1, 1).requires_grad_()
    assert MinibatchStddev()(varied)[:, 5].mean() > 0.5
    spread = MinibatchStddev()(collapsed)[:, 5]
    assert spread.max() < 1e-3
    (gradient,) = torch.autograd.grad(spread.sum(), collapsed, create_graph=True)
    gradient.square().sum().backward()
    assert collapsed.grad.isfinite().all()


def test_the_discriminator_tells_a_collapsed_batch_from_its_samples_in_company():
    _, discriminator = pair("progressive", (1, 8, 8), Recipe(width=16))
    varied = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        company, alone = discriminator(varied)[0], discriminator(varied[:1].repeat(4, 1, 1, 1))[0]
    assert (company - alone).abs() > 1e-2


def test_spectral_normalisation_takes_the_place_of_hes_constant():
    """With the constant on top of 1/σ the logits would not depend on the images any more."""
    _, discriminator = pair("progressive", (1, 16, 16), Recipe(width=8, constraint="spectral-norm"))
    SpectralNorm().prepare(discriminator)
    layers = [layer for layer in discriminator.modules() if isinstance(layer, EqualizedConv2d | EqualizedLinear)]
    with torch.no_grad():
        for layer in layers:
            for _ in range(300):  # one power iteration each
                weight = layer.weight
            sigma = torch.linalg.matrix_norm((weight * layer.scale).flatten(1), 2)
            assert sigma.item() == pytest.approx(1, rel=1e-2)

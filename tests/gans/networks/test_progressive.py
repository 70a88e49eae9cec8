"""Networks that grow: fading, stages, and the layers that keep them even."""

import pytest
import pytorch_lightning as pl
import torch
from torch.nn.functional import avg_pool2d, interpolate
from torch.utils.data import DataLoader

import gans
from ganbench.errors import UserError
from gans.constraints import SpectralNorm
from gans.networks import networks
from gans.networks.progressive import EqualizedConv2d, EqualizedLinear, MinibatchStddev, PixelNorm
from gans.recipe import Recipe


@pytest.fixture
def growing(pair):
    return pair("progressive", (3, 32, 32))


@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_new_block_begins_as_the_upsampled_previous_stage(growing, size, latent):
    generator, _ = growing
    generator.set_stage(size // 2, 1.0)
    previous = generator(latent())
    generator.set_stage(size, 0.0)
    assert torch.equal(generator(latent()), interpolate(previous, scale_factor=2))


@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_faded_block_stands_alone(growing, size, latent):
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
def test_the_generator_blends_linearly(growing, size, latent):
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
def test_alpha_is_continuous_at_both_ends(growing, which, latent):
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
def test_what_takes_part_learns_and_nothing_is_frozen(growing, size, alpha, latent):
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


def test_a_smallest_stage_has_nothing_to_fade_from(growing, latent):
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


def test_the_papers_networks_at_1024():
    """Table 2: 23.1 million parameters each; 16 channels at 1024×1024, doubled at each halving up to 512."""
    recipe = Recipe(network="progressive", width=16, width_at=1024, latent_dim=512)
    with torch.device("meta"):
        generator, discriminator = networks(recipe, (3, 1024, 1024))
    table = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
    assert {int(side): layer.in_channels for side, layer in generator.to_image.items()} == table
    assert {int(side): layers[0].out_channels for side, layers in discriminator.from_image.items()} == table
    # By hand, a 3×3 convolution a→b having 9ab + b parameters. The generator from the latent on: 512²·16 + 512 and
    # 9·512² + 512 at 4×4; then the two convolutions of each side, and 16·3 + 3 to the image:
    #   4,194,816 + 2,359,808 + 3·4,719,616 + 1,769,984 + 442,624 + 110,720 + 27,712 + 6,944 + 51 = 23,071,507
    # The discriminator from the image (3·16 + 16), then each side's two, and at 4×4 the one that takes the deviation's
    # map too, 512²·16 + 512 and 512 + 1:
    #   64 + 6,960 + 27,744 + 110,784 + 442,752 + 1,770,240 + 3·4,719,616 + 2,364,416 + 4,194,816 + 513 = 23,077,137
    to_smaller = {
        network: sum(p.numel() for side, layer in layers.items() if side != "1024" for p in layer.parameters())
        for network, layers in ((generator, generator.to_image), (discriminator, discriminator.from_image))
    }
    counts = [sum(p.numel() for p in network.parameters()) - fewer for network, fewer in to_smaller.items()]
    biases = 512 * 16 - 512  # the generator's first layer has one for each unit
    assert counts == [23_071_507 + biases, 23_077_137]


def test_the_table_does_not_depend_on_the_images_side(pair):
    for side in (32, 256):
        with torch.device("meta"):
            generator, _ = pair("progressive", (3, side, side), width=16, width_at=1024)
        assert generator.to_image["32"].in_channels == 512
    with torch.device("meta"):
        generator, _ = pair("progressive", (3, 32, 32), width=128, max_width=128)
    assert [layer.in_channels for layer in generator.to_image.values()] == [128] * 4  # the authors' for CIFAR-10


@pytest.mark.parametrize("shown", [620, 680], ids=["fading", "stable"])
def test_a_round_at_256(shown):
    gan = gans.build(
        "progressive", image_shape=(3, 256, 256), width=2, latent_dim=8, batch_size=4, total_images=700, seed=1
    )
    gan.counters.images = shown  # the last of seven stages begins at 600
    round_ = [torch.rand(4, 3, 256, 256) * 2 - 1]
    before = {name: parameter.clone() for name, parameter in gan.named_parameters()}
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(gan, DataLoader([[round_]], batch_size=None))
    assert gan.stage.size == 256
    assert (gan.counters.d_steps, gan.counters.g_steps) == (1, 1)
    after = dict(gan.named_parameters())
    assert all(parameter.isfinite().all() for parameter in after.values())
    for name in ("generator.blocks.256.1.weight", "discriminator.blocks.256.0.weight", "generator.base.1.weight"):
        assert not torch.equal(before[name], after[name])


def test_growth_may_start_above_4(pair, latent):
    generator, discriminator = pair("progressive", (1, 16, 16), width=4, latent_dim=8, start_size=8)
    for network in (generator, discriminator):
        network.set_stage(8, 1.0)
    images = generator(latent())
    assert images.shape == (4, 1, 8, 8)
    assert discriminator(images).shape == (4,)


def test_a_start_above_the_images_is_a_user_error(pair):
    with pytest.raises(UserError, match=r"gan\.start_size=32 does not grow into 16×16"):
        pair("progressive", (1, 16, 16), start_size=32)


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


def test_the_whole_generator_starts_at_unit_scale(pair):
    generator, _ = pair("progressive", (3, 32, 32), width=16, latent_dim=32)
    with torch.no_grad():
        assert 0.5 < generator(torch.randn(64, 32)).std().item() < 2


def test_the_latent_counts_by_its_direction_only(growing, latent):
    generator, _ = growing
    with torch.no_grad():
        generator.base[1].bias.normal_()  # without it, the norm behind the layer would hide a missing one before it
    torch.testing.assert_close(generator(latent()), generator(7 * latent()), atol=1e-4, rtol=1e-4)


def test_pixel_norm_gives_each_pixel_unit_mean_square():
    x = torch.randn(3, 16, 5, 5) * 9
    torch.testing.assert_close(PixelNorm()(x).square().mean(1), torch.ones(3, 5, 5))
    assert torch.equal(PixelNorm()(torch.zeros(2, 4)), torch.zeros(2, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layer", [PixelNorm(), MinibatchStddev()], ids=["norm", "deviation"])
def test_sixteen_bits_overflow_and_underflow_nowhere(layer, dtype):
    large = torch.randn(4, 8, 3, 3) * 3000  # its square is no float16
    out = layer(large.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), layer(large), rtol=0.02, atol=0.02)
    assert layer(torch.zeros(4, 8, 3, 3, dtype=dtype)).isfinite().all()


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


def test_the_discriminator_tells_a_collapsed_batch_from_its_samples_in_company(pair):
    _, discriminator = pair("progressive", (1, 8, 8), width=16)
    varied = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        company, alone = discriminator(varied)[0], discriminator(varied[:1].repeat(4, 1, 1, 1))[0]
    assert (company - alone).abs() > 1e-2


def test_spectral_normalisation_takes_the_place_of_hes_constant(pair):
    """With the constant on top of 1/σ the logits would not depend on the images any more."""
    _, discriminator = pair("progressive", (1, 16, 16), width=8, constraint="spectral-norm")
    SpectralNorm().prepare(discriminator)
    layers = [layer for layer in discriminator.modules() if isinstance(layer, EqualizedConv2d | EqualizedLinear)]
    with torch.no_grad():
        for layer in layers:
            for _ in range(300):  # one power iteration each
                weight = layer.weight
            sigma = torch.linalg.matrix_norm((weight * layer.scale).flatten(1), 2)
            assert sigma.item() == pytest.approx(1, rel=1e-2)

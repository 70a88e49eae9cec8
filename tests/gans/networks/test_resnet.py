"""Residual pairs against SNGAN's and WGAN-GP's tables, and their resizing convolutions against what they stand for."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, relu

from gans.networks import networks
from gans.networks.blocks import DownConv2d, ResBlock, UpConv2d
from gans.recipe import Recipe

# The papers' tables. Parameters of layers with biases: a 3×3 convolution a→b has 9ab + b, a 1×1 one ab + b, a linear
# layer ab + b, a batch normalisation 2a. A generator's block a→b: 9ab + 9b² + 2b, its shortcut ab + b, 2a + 2b. A
# critic's block a→b: 9a² + a + 9ab + b, a shortcut ab + b where it halves or widens; its first 9ac + 9a² + 2a + ac + a.
PAPERS = {
    # Miyato, table 4. G: 129·4096 + 3·1,246,976 + 512 + 6,915. D: 151,680 + 311,680 + 2·295,168 + 129. Both are the
    # counts of Mimicry's networks too.
    "sngan-32": ((32, {}), [256, 256, 256, 256], [128] * 4, [1, 1, 0, 0], 4_276_739, 1_053_825),
    # Gulrajani, appendix C. G: 129·2048 + 3·312,192 + 256 + 3,459; D as above.
    "wgan-gp-32": ((32, {"generator_width": 32}), [128] * 4, [128] * 4, [1, 1, 0, 0], 1_204_483, 1_053_825),
    # Table 5. G: 129·18,432 + 1,902,848 + 476,288 + 119,360 + 128 + 1,731.
    # D: 38,976 + 119,104 + 475,776 + 1,901,824 + 7,604,736 + 1,025.
    "sngan-48": ((48, {}), [512, 256, 128, 64], [64, 128, 256, 512, 1024], [1, 1, 1, 1, 0], 4_878_083, 10_141_441),
    # Mimicry's at 64, of which the paper says nothing; its last block halves too, which changes no count.
    "sngan-64": (
        (64, {}),
        [1024, 512, 256, 128, 64],
        [64, 128, 256, 512, 1024],
        [1, 1, 1, 1, 0],
        12_220_675,
        10_141_441,
    ),
    # Table 6.
    "sngan-128": (
        (128, {}),
        [1024, 1024, 512, 256, 128, 64],
        [64, 128, 256, 512, 1024, 1024],
        [1, 1, 1, 1, 1, 0],
        32_150_787,
        29_017_857,
    ),
}


def by_hand(generator, discriminator, halves, base):
    """Parameters of both networks as the comment above counts them."""
    g = 129 * generator[0] * base**2 + 2 * generator[-1] + 27 * generator[-1] + 3
    for a, b in pairwise(generator):
        g += 9 * a * b + 9 * b * b + 2 * b + a * b + b + 2 * a + 2 * b
    first = discriminator[0]
    d = 27 * first + 9 * first**2 + 2 * first + 3 * first + first + discriminator[-1] + 1
    for (a, b), half in zip(pairwise(discriminator), halves[1:], strict=True):
        d += 9 * a * a + a + 9 * a * b + b + (a * b + b if half or a != b else 0)
    return g, d


@pytest.mark.parametrize("name", PAPERS)
def test_channels_and_counts_are_the_papers(name):
    (side, options), generator_channels, critic_channels, halves, g_count, d_count = PAPERS[name]
    recipe = Recipe(network="resnet", width=64, latent_dim=128, constraint="spectral-norm", **options)
    with torch.device("meta"):
        generator, discriminator = networks(recipe, (3, side, side))
    base = side // 2 ** (len(generator_channels) - 1)
    assert generator[0].out_features == generator_channels[0] * base**2
    blocks = [block for block in generator if isinstance(block, ResBlock)]
    assert [block.conv2.out_channels for block in blocks] == generator_channels[1:]
    assert {block.resize for block in blocks} == {"up"}
    blocks = [block for block in discriminator if isinstance(block, ResBlock)]
    assert [block.conv2.out_channels for block in blocks] == critic_channels
    assert [block.resize == "down" for block in blocks] == [bool(half) for half in halves]
    counts = tuple(sum(p.numel() for p in network.parameters()) for network in (generator, discriminator))
    assert counts == (g_count, d_count)
    assert counts == by_hand(generator_channels, critic_channels, halves, base)


@pytest.mark.parametrize(
    ("side", "last"),
    [(8, 4), (14, 7), (16, 4), (28, 7), (32, 8), (40, 5), (48, 3), (56, 7), (64, 4), (96, 3), (128, 4)],
)
def test_the_critic_halves_even_sides_only(pair, side, last):
    _, discriminator = pair("resnet", (1, side, side), width=1)
    sides = []
    for block in discriminator:
        if isinstance(block, ResBlock):
            block.register_forward_hook(lambda block, inputs, output: sides.append((inputs[0].shape[-1], block.resize)))
    pooled = []
    discriminator[-3].register_forward_hook(lambda pool, inputs, output: pooled.append(inputs[0].shape[-1]))
    discriminator(torch.zeros(2, 1, side, side))
    assert pooled == [last]
    assert all(resize == "no" or before % 2 == 0 for before, resize in sides)


def test_the_last_features_are_summed_or_averaged(pair):
    images = torch.randn(2, 3, 32, 32)
    logits = []
    for pooling in ("sum", "mean"):
        _, discriminator = pair("resnet", (3, 32, 32), constraint="spectral-norm", pooling=pooling)
        logits.append(discriminator(images))
    torch.testing.assert_close(logits[0], 64 * logits[1])  # 8×8 pixels


def test_weights_start_as_glorots(pair):
    """Variance 2/(fan_in + fan_out), twice that in the 3×3 convolutions of the blocks."""
    for network in pair("resnet", (3, 32, 32), width=16, latent_dim=64):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                area = layer.kernel_size[0] ** 2 if isinstance(layer, nn.Conv2d) else 1
                fans = (layer.weight.shape[0] + layer.weight.shape[1]) * area
                gain = 2 if name.endswith(("conv1", "conv2")) else 1
                assert layer.weight.var().item() == pytest.approx(gain * 2 / fans, rel=0.25), name
                assert not layer.bias.any()


def test_an_unconstrained_critic_is_normalised_but_not_at_the_image(pair):
    _, discriminator = pair("resnet", (3, 32, 32))
    blocks = [block for block in discriminator if isinstance(block, ResBlock)]
    assert isinstance(blocks[0].norm1, nn.Identity)
    assert all(isinstance(block.norm1, nn.BatchNorm2d) for block in blocks[1:])
    assert all(isinstance(block.norm2, nn.BatchNorm2d) for block in blocks)


# Blocks


def upsample_then_convolve(layer, x):
    return conv2d(interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1)


def convolve_then_pool(layer, x):
    return avg_pool2d(conv2d(x, layer.weight, layer.bias, padding=1), 2)


@pytest.mark.parametrize(("layer", "reference"), [(UpConv2d, upsample_then_convolve), (DownConv2d, convolve_then_pool)])
@pytest.mark.parametrize("side", [2, 6])
def test_a_resizing_convolution_is_the_two_steps_in_one(layer, reference, side):
    torch.manual_seed(0)
    convolution = layer(3, 5).double()
    nn.init.normal_(convolution.bias)
    x = torch.randn(2, 3, side, side, dtype=torch.float64, requires_grad=True)
    outputs, gradients, slopes = [], [], []
    for forward in (convolution, lambda x: reference(convolution, x)):
        outputs.append(forward(x))
        wanted = (x, convolution.weight, convolution.bias)
        gradients.append(torch.autograd.grad(outputs[-1].cos().sum(), wanted, create_graph=True))
        slopes.append(torch.autograd.grad(gradients[-1][0].square().sum(), wanted[:2]))  # as a gradient penalty's
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("resize", ["up", "down", "no"])
@pytest.mark.parametrize("image", [False, True])
def test_a_block_against_its_definition(resize, image):
    torch.manual_seed(0)
    block = ResBlock(3, 5, 4, resize=resize, batch_norm=True, image=image).double().eval()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    untouched = x.clone()

    def enlarge(h):
        return interpolate(h, scale_factor=2) if resize == "up" else h

    def shrink(h):
        return avg_pool2d(h, 2) if resize == "down" else h

    def convolve(layer, h):
        return conv2d(h, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)

    h = x if image else relu(block.norm1(x))
    h = convolve(block.conv1, enlarge(h))
    h = shrink(convolve(block.conv2, relu(block.norm2(h))))
    expected = h + shrink(convolve(block.shortcut, enlarge(x)))
    torch.testing.assert_close(block(x), expected)
    assert torch.equal(x, untouched)


def test_a_block_that_changes_nothing_has_the_identity_beside_it():
    block = ResBlock(4, 4, 4)
    assert block.shortcut is None
    with torch.no_grad():
        block.conv2.weight.zero_()
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x), x)

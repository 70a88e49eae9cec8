"""The plain convolutional pairs, DCGAN's and SNGAN's, against their papers' tables."""

from itertools import chain, pairwise

import pytest
import torch
from torch import nn

from gans.networks import networks
from gans.recipe import Recipe


def convolutions(network):
    return [layer for layer in network if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]


def test_the_generator_of_dcgan_at_64_has_the_papers_channels(pair):
    """Figure 1: 1024 at 4×4, then 512, 256, 128 and the image; the paper does not tell its discriminator's."""
    with torch.device("meta"):
        generator, discriminator = pair(
            "dcgan", (3, 64, 64), width=32, generator_width=64, max_width=1024, latent_dim=100
        )
    assert generator[0].out_features == 4 * 4 * 1024
    assert [layer.out_channels for layer in convolutions(generator)] == [512, 256, 128, 3]
    assert [layer.out_channels for layer in convolutions(discriminator)] == [64, 128, 256, 512]


def test_dcgan_has_batch_norm_everywhere_but_at_the_image(pair):
    generator, discriminator = pair("dcgan", (1, 32, 32))
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in generator) == 3  # 4×4, 8×8, 16×16
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in discriminator) == 2  # 8×8, 4×4
    assert isinstance(discriminator[1], nn.LeakyReLU)  # not after the first convolution
    assert isinstance(generator[-2], nn.ConvTranspose2d)  # nor after the last one
    for before, after in chain(pairwise(generator), pairwise(discriminator)):
        if isinstance(after, nn.BatchNorm2d) and not isinstance(before, nn.Unflatten):
            assert before.bias is None


@pytest.mark.parametrize("name", ["dcgan", "sndcgan"])
@pytest.mark.parametrize("constraint", ["none", "gradient-penalty"])
def test_weights_start_as_the_papers_say(pair, name, constraint):
    for network in pair(name, (3, 32, 32), width=16, latent_dim=64, constraint=constraint):
        for layer in network:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.15)
                assert layer.bias is None or not layer.bias.any()
            elif isinstance(layer, nn.BatchNorm2d):
                assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)


def kernels(network):
    """Each convolution's inputs, outputs, kernel and stride."""
    return [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in convolutions(network)]


@pytest.mark.parametrize(("side", "base"), [(32, 4), (48, 6)])
def test_sndcgan_is_the_papers_table_3(side, base):
    with torch.device("meta"):
        generator, discriminator = networks(
            Recipe(network="sndcgan", width=64, latent_dim=128, constraint="spectral-norm"), (3, side, side)
        )
    assert (generator[0].in_features, generator[0].out_features) == (128, base * base * 512)
    assert kernels(generator) == [(512, 256, 4, 2), (256, 128, 4, 2), (128, 64, 4, 2), (64, 3, 3, 1)]
    assert kernels(discriminator) == [
        (3, 64, 3, 1),
        (64, 64, 4, 2),
        (64, 128, 3, 1),
        (128, 128, 4, 2),
        (128, 256, 3, 1),
        (256, 256, 4, 2),
        (256, 512, 3, 1),
    ]
    assert [layer.in_features for layer in discriminator if isinstance(layer, nn.Linear)] == [base * base * 512]
    # by hand from the table, biases and the generator's γ and β (512, 256, 128 and 64 features) included:
    #   generator: 129·512·b² + (512·256 + 256·128 + 128·64)·16 + 448 + 2·960 + 64·3·9 + 3
    #   discriminator: (3·64 + 64·128 + 128·256 + 256·512)·9 + (64² + 128² + 256²)·16 + 1408 + 512·b² + 1
    fixed = {"generator": 2_756_611, "discriminator": 2_927_680}
    assert count(generator) == fixed["generator"] + 129 * 512 * base**2
    assert count(discriminator) == fixed["discriminator"] + 512 * base**2 + 1


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_an_unconstrained_sndcgan_is_batch_normalised_behind_all_convolutions_but_the_first(pair):
    _, discriminator = pair("sndcgan", (3, 32, 32))
    for before, after in pairwise(discriminator):
        if isinstance(before, nn.Conv2d):
            assert isinstance(after, nn.LeakyReLU if before is discriminator[0] else nn.BatchNorm2d)

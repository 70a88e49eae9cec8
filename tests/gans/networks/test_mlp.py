"""Fully connected pairs for points."""

import pytest
from torch import nn


@pytest.mark.parametrize("dimensions", [1, 2, 7])
@pytest.mark.parametrize("depth", [1, 3])
def test_shapes_and_depth(pair, latent, dimensions, depth):
    networks = pair("mlp", (dimensions,), width=5, depth=depth)
    generator, discriminator = networks
    points = generator(latent())
    assert points.shape == (4, dimensions)
    assert discriminator(points).shape == (4,)
    for network in networks:
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        assert len(layers) == depth + 1
        assert [layer.out_features for layer in layers[:-1]] == [5] * depth


def test_points_are_unbounded(pair, latent):
    generator, _ = pair("mlp", (2,))
    assert generator(1000 * latent()).abs().max() > 10

"""Small pairs of networks, the same for the same seed."""

import pytest
import torch

from gans.networks import networks
from gans.recipe import Recipe


@pytest.fixture
def pair():
    """A function: a generator and a discriminator by name, for samples of a shape; `options` are the recipe's."""

    def build(name, shape, *, seed=0, **options):
        torch.manual_seed(seed)
        return networks(Recipe(**{"width": 4, "latent_dim": 8, **options, "network": name}), shape)

    return build


@pytest.fixture
def latent():
    """A function: `n` latents of eight dimensions."""

    def draw(n=4):
        return torch.randn(n, 8, generator=torch.Generator().manual_seed(0))

    return draw

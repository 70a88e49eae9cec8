"""The author presets are the papers': networks by their published sizes, and what a budget costs."""

import pytest
import torch

from gans.catalogue import PRESETS, preset
from gans.networks import networks


@pytest.mark.parametrize(
    ("name", "side", "generator", "discriminator"),
    [
        # DCGAN's figure 1: 1024, 512, 256 and 128 channels; kernels of 4
        ("vanilla", 64, 12_658_435, 2_765_633),
        # CIFAR-10's ResNets: 128 channels in both players; 256 in SNGAN's generator, as Mimicry counts it
        ("wgan-gp", 32, 1_204_483, 1_053_825),
        ("ttur", 32, 1_204_483, 1_053_825),
        ("sngan", 32, 4_276_739, 1_053_825),
        # table 2 of the paper has 23.1 million each, with the last side's image layers alone
        ("progressive", 1024, 23_086_795, 23_087_249),
    ],
)
def test_author_presets_have_the_papers_networks(name, side, generator, discriminator):
    with torch.device("meta"):
        pair = networks(preset(name, "author"), (3, side, side))
    assert [sum(p.numel() for p in player.parameters()) for player in pair] == [generator, discriminator]


@pytest.mark.parametrize(("name", "images"), [("wgan-gp", 320), ("sngan", 320), ("ttur", 64), ("wgan", 320)])
def test_a_round_of_an_author_preset_shows_as_many_real_images_as_the_papers(name, images):
    recipe = preset(name, "author")
    assert recipe.batch_size * recipe.n_critic == images


def test_common_presets_share_batch_latent_and_network_but_for_growing_and_reconstructing():
    common = {name: presets["common"] for name, presets in PRESETS.items()}
    assert {(recipe.batch_size, recipe.latent_dim) for recipe in common.values()} == {(64, 64)}
    assert {recipe.network for name, recipe in common.items() if name not in ("progressive", "began")} == {"auto"}

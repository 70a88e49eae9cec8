"""What several processes share, and what mixed precision leaves alone, as far as one process can tell.

The processes themselves are in tests/harness/test_ddp.py.
"""

import pytest
import torch
from torch import nn

import gans
from ganbench.errors import UserError
from gans import constraints
from gans.networks.progressive import MinibatchStddev
from gans.recipe import Recipe
from gans.shards import Shard, check_divisible, share_batch_norm


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_groups_of_the_minibatch_deviation_stay_whole_in_every_shard(world):
    batch = torch.randn(4 * world * 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = MinibatchStddev()(batch)
    for rank in range(world):
        shard = Shard(rank, world)
        assert torch.allclose(MinibatchStddev()(shard.rows(batch)), shard.rows(whole))


def test_only_batches_that_change_no_game_are_shared():
    plain, growing = nn.Linear(1, 1), nn.Sequential(MinibatchStddev())
    check_divisible(6, 2, plain)
    check_divisible(24, 3, growing)
    check_divisible(6, 1, growing)  # one process has whatever groups there are
    with pytest.raises(UserError, match=r"gan\.batch_size=7 cannot be shared equally by 2 processes"):
        check_divisible(7, 2, plain)
    with pytest.raises(UserError, match=r"no whole groups of 4 .*choose a multiple of 8"):
        check_divisible(12, 2, growing)


def test_a_penaltys_t_is_its_rows_of_the_joined_batchs():
    real, fake = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1)).unbind()
    points = {}

    def record(name):
        def discriminator(x):
            points[name] = x.detach()
            return x.square().sum(1)

        return discriminator

    def penalty(name, shard):
        generator = torch.Generator().manual_seed(2)
        samples = shard.rows(real), shard.rows(fake)
        return constraints.gradient_penalty(record(name), *samples, weight=10, generator=generator, shard=shard)

    whole = penalty("whole", Shard())
    parts = [penalty(rank, Shard(rank, 2)) for rank in (0, 1)]
    assert all(torch.equal(points[rank], points["whole"][rank::2]) for rank in (0, 1))
    assert sum(parts).item() / 2 == pytest.approx(whole.item())


def test_shared_batch_norm_is_the_ordinary_one_in_a_process_of_its_own():
    images = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    plain, shared = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    names = list(shared.state_dict())
    share_batch_norm(shared)
    assert list(shared.state_dict()) == names
    assert torch.equal(plain(images), shared(images))
    assert torch.equal(plain.running_var, shared.running_var)
    assert torch.equal(plain.eval()(images), shared.eval()(images))


# --- mixed precision


def test_a_penalty_and_its_second_derivatives_are_taken_in_float32():
    gan = gans.build("wgan-gp", image_shape=(1, 8, 8), width=4, latent_dim=4, batch_size=4)
    gan.manual_backward = lambda loss: loss.backward()
    real, fake = torch.randn(2, 4, 1, 8, 8, generator=torch.Generator().manual_seed(1)).unbind()
    found = {}
    for half in (False, True):
        gan.discriminator.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            generator = torch.Generator().manual_seed(2)
            loss = constraints.gradient_penalty(gan.discriminator, real, fake, weight=10, generator=generator)
            gan._backward(loss)
        found[half] = [loss.detach(), *(p.grad for p in gan.discriminator.parameters() if p.grad is not None)]
    assert len(found[True]) > 2
    assert all(torch.equal(*values) for values in zip(found[False], found[True], strict=True))


def test_a_spectral_norm_is_taken_in_float32():
    """Its products would be 16-bit on a GPU only: here, whether autocast is on where they are made."""
    layer = nn.Sequential(nn.Linear(40, 30))
    constraints.build(Recipe(constraint="spectral-norm")).prepare(layer)
    norm = layer[0].parametrizations.weight[0]
    seen, power_method = [], norm._power_method

    def spy(*arguments):
        seen.append(torch.is_autocast_enabled("cpu"))
        power_method(*arguments)

    norm._power_method = spy
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(1, 40)).dtype == torch.bfloat16
    assert seen == [False]

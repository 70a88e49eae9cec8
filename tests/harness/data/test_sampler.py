"""Batches are pure functions of (seed, step), cover every epoch once, and reach the model unchanged."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.errors import UserError
from gans.shards import Shard
from harness.data.sampler import RoundLoader, Sampler, StagedSampler, placed
from harness.images import to_uint8


def numbered(n):
    """Points that name their own place."""
    return np.repeat(np.arange(n, dtype=np.float32)[:, None], 2, axis=1)


sizes = st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@given(sizes, st.integers(0, 2**31), st.integers(0, 5))
def test_an_epoch_shows_no_sample_twice_and_drops_only_its_tail(size, seed, epoch):
    n, batch_size = size
    sampler = Sampler(numbered(n), batch_size=batch_size, seed=seed)
    steps = n // batch_size
    assert sampler.steps_per_epoch == steps
    seen = torch.cat([sampler.batch(epoch * steps + i)[:, 0] for i in range(steps)]).tolist()
    assert len(seen) == len(set(seen)) == steps * batch_size
    assert set(seen) <= set(range(n))


@given(sizes, st.integers(0, 2**31), st.lists(st.integers(0, 200), min_size=1, max_size=10))
def test_a_batch_depends_on_seed_and_step_alone(size, seed, steps):
    n, batch_size = size
    used = Sampler(numbered(n), batch_size=batch_size, seed=seed)
    for step in steps:
        fresh = Sampler(numbered(n), batch_size=batch_size, seed=seed)
        assert torch.equal(used.batch(step), fresh.batch(step))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 30))
def test_the_shards_of_a_batch_are_its_rows_dealt_out(world, rows, step):
    size = world * rows
    whole = Sampler(numbered(3 * size), batch_size=size, seed=4).batch(step)
    for rank in range(world):
        part = Sampler(numbered(3 * size), batch_size=size, seed=4, shard=Shard(rank, world)).batch(step)
        assert torch.equal(part, whole[rank::world])


def test_epochs_and_seeds_have_their_own_order_and_leave_the_global_generators_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    orders = [
        tuple(Sampler(numbered(50), batch_size=50, seed=seed).batch(step)[:, 0].tolist())
        for seed in (0, 1)
        for step in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_come_out_as_floats_that_give_the_images_back(channels_last):
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 6), dtype=np.uint8)
    images.flags.writeable = False
    batch = Sampler(images, batch_size=10, seed=0, channels_last=channels_last).batch(3)
    assert (batch.dtype, batch.shape) == (torch.float32, (10, 3, 4, 6))
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.is_contiguous(memory_format=wanted)
    assert batch.min() >= -1
    assert batch.max() <= 1
    assert {image.tobytes() for image in to_uint8(batch)} == {image.tobytes() for image in images}


def test_samplers_follow_each_other_from_their_first_steps_on():
    first, second = (Sampler(numbered(40), batch_size=size, seed=size) for size in (8, 4))
    staged = StagedSampler([(0, first), (7, second)])
    for step in (6, 7, 0, 20):  # in any order: a batch is a pure function of its step
        alone = first.batch(step) if step < 7 else second.batch(step - 7)
        assert torch.equal(staged.batch(step), alone)


def test_changing_a_batch_in_place_does_not_change_the_data():
    points = numbered(4)
    Sampler(points, batch_size=4, seed=0).batch(0).zero_()
    assert np.array_equal(points, numbered(4))


NOISE = np.random.default_rng(0).integers(0, 256, (32, 3, 4, 6), dtype=np.uint8)


def test_flip_mirrors_half_of_the_images_and_changes_nothing_else():
    plain, flipping = Sampler(NOISE, batch_size=32, seed=5), Sampler(NOISE, batch_size=32, seed=5, flip=True)
    mirrored = 0
    for step in range(20):
        before, after = plain.batch(step), flipping.batch(step)
        turned = (after == before.flip(3)).flatten(1).all(1)
        assert torch.equal(after[~turned], before[~turned])
        mirrored += int(turned.sum())
    assert 260 <= mirrored <= 380  # of 640, six standard deviations
    fresh = Sampler(NOISE, batch_size=32, seed=5, flip=True)
    assert torch.equal(fresh.batch(19), after)
    assert not torch.equal(fresh.batch(19), fresh.batch(18))


@pytest.mark.parametrize("flip", [False, True])
def test_where_the_images_lie_changes_no_bit(device, flip, tmp_path):
    NOISE.tofile(tmp_path / "noise")
    mapped = np.memmap(tmp_path / "noise", np.uint8, "r", shape=NOISE.shape)
    there = torch.device(device)
    wanted = Sampler(NOISE, batch_size=8, seed=1, flip=flip)
    resident = placed(mapped, there, True)
    assert isinstance(resident, torch.Tensor) == (device == "cuda")
    for images in (mapped, resident, torch.from_numpy(NOISE).to(there)):
        sampler = Sampler(images, batch_size=8, seed=1, flip=flip, device=there)
        for step in (0, 3, 4, 9):
            batch = sampler.batch(step)
            assert batch.device.type == device
            assert torch.equal(batch.cpu(), wanted.batch(step))
    shard = Sampler(resident, batch_size=8, seed=1, flip=flip, device=there, shard=Shard(1, 2))
    assert torch.equal(shard.batch(9).cpu(), wanted.batch(9)[1::2])


def test_images_stay_in_memory_where_nothing_else_is_asked_for():
    assert placed(NOISE, torch.device("cpu"), None) is NOISE
    assert placed(NOISE, torch.device("cpu"), True) is NOISE


@pytest.mark.cuda
def test_images_go_to_the_gpu_where_they_fit_or_are_told_to(monkeypatch):
    gpu = torch.device("cuda")
    assert isinstance(placed(NOISE, gpu, None), torch.Tensor)
    assert placed(NOISE, gpu, False) is NOISE
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (4 * NOISE.nbytes - 1, 0))
    assert placed(NOISE, gpu, None) is NOISE
    assert isinstance(placed(NOISE, gpu, True), torch.Tensor)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match=r"gan\.batch_size is 64 but there are 63 training samples: lower"):
        Sampler(numbered(63), batch_size=64, seed=0)


@settings(max_examples=30)
@given(st.integers(1, 4), st.lists(st.integers(1, 5), max_size=5), st.integers(0, 10))
def test_rounds_take_consecutive_batches_whatever_the_plan(n_critic, lengths, start):
    sampler = Sampler(numbered(20), batch_size=4, seed=1)
    edges = np.cumsum([start, *lengths]).tolist()
    plan = [range(low, high) for low, high in pairwise(edges)]
    loader = RoundLoader(sampler, n_critic=n_critic, plan=plan)
    elements = list(loader)
    assert len(loader) == len(elements) == len(lengths)
    assert [len(element) for element in elements] == lengths
    batches = [batch for element in elements for rounds in element for batch in rounds]
    assert len(batches) == sum(lengths) * n_critic
    for step, batch in enumerate(batches, start=start * n_critic):
        assert torch.equal(batch, sampler.batch(step))


def test_lightning_hands_the_very_batches_to_the_model():
    lightning = pytest.importorskip("pytorch_lightning")

    class Recorder(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.received = []

        def training_step(self, batch, batch_idx):
            self.received.append(batch)

        def configure_optimizers(self):
            return torch.optim.SGD([self.weight], lr=0.1)

    class Watched(RoundLoader):
        def __iter__(self):
            for element in super().__iter__():
                given_out.append(element)
                yield element

    given_out: list[list[list[torch.Tensor]]] = []
    loader = Watched(Sampler(numbered(40), batch_size=4, seed=0), n_critic=3, plan=[range(5, 7), range(7, 8)])
    model = Recorder()
    lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=False,
    ).fit(model, loader)
    assert [[len(rounds) for rounds in element] for element in model.received] == [[3, 3], [3]]
    flat = [
        [b for element in elements for rounds in element for b in rounds] for elements in (given_out, model.received)
    ]
    assert all(sent is received for sent, received in zip(*flat, strict=True))
    assert torch.equal(flat[0][0], loader._sampler.batch(15))

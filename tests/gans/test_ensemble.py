"""Seeds of one recipe played at once: each member plays the game that it would play alone, up to rounding."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

import gans
from ganbench.errors import UserError
from gans.catalogue import preset
from gans.ensemble import Ensemble, why_not
from gans.speed import Speed
from gans.stacks import LinearStack, Stack, is_linear, stacked

SEEDS = (0, 5, 7)

VARIANTS = [name for name in gans.names() if preset(name).condition == "none" and name != "began"]


@pytest.fixture(autouse=True)
def double():
    """Rounding of single precision grows within a few rounds; in double, only a mistake is seen."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Calls:
    """What each training step is handed; not a list, which Lightning would take for several loaders."""

    def __init__(self, calls):
        self.calls = calls

    def __len__(self):
        return len(self.calls)

    def __iter__(self):
        return iter(self.calls)


def fit(game, calls, device="cpu"):
    pl.Trainer(
        max_epochs=1,
        accelerator=device,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(game, Calls(calls))


def real(gan, step):
    """The real batch of a member's discriminator step: another one for each seed."""
    generator = torch.Generator().manual_seed(1000 * gan.seed + step)
    return torch.randn(gan.recipe.batch_size, *gan.shape, generator=generator)


def rounds(gan, number):
    first, k = gan.counters.g_steps, gan.recipe.n_critic
    return [[real(gan, r * k + i) for i in range(k)] for r in range(first, first + number)]


def play_alone(members, number, device="cpu"):
    for gan in members:
        fit(gan, [rounds(gan, number)], device)


def play_together(members, number, device="cpu"):
    ensemble = Ensemble(members)
    each = [rounds(gan, number) for gan in members]
    fit(
        ensemble,
        [[[torch.stack(batch) for batch in zip(*steps, strict=True)] for steps in zip(*each, strict=True)]],
        device,
    )
    ensemble.hand_out()
    ensemble.hand_out_state()
    return ensemble


def build(name, seed, **options):
    shape = {"data_dim": 2} if "image_shape" not in options else {}
    defaults = {"width": 16, "latent_dim": 8, "batch_size": 16, "total_images": 4000}
    return gans.build(name, seed=seed, **shape, **{**defaults, **options})


def pair(name, **options):
    """The same members twice: to be played alone, and together."""
    options = {"network": "mlp", "attention": None, **options}
    return [build(name, seed, **options) for seed in SEEDS], [build(name, seed, **options) for seed in SEEDS]


def tensors(gan):
    return {name: value for name, value in gan.state_dict().items() if isinstance(value, torch.Tensor)}


def assert_close(alone, member):
    a, b = tensors(alone), tensors(member)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(
            a[name], b[name], rtol=1e-6, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("preset", ["common", pytest.param("author", marks=pytest.mark.slow)])
def test_every_member_plays_the_game_that_it_would_play_alone(name, preset):
    alone, together = pair(name, preset=preset)
    play_alone(alone, 5)
    play_together(together, 5)
    for single, member in zip(alone, together, strict=True):
        assert_close(single, member)
        assert (single.counters.images, single.counters.d_steps, single.counters.g_steps) == (
            member.counters.images,
            member.counters.d_steps,
            member.counters.g_steps,
        )
        torch.testing.assert_close(single.sample(8, seed=3), member.sample(8, seed=3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lsgan", "wgan", "wgan-gp", "sngan"])
def test_every_member_hears_of_its_own_losses_and_gradients(name):
    alone, together = pair(name)
    play_alone(alone, 2)
    play_together(together, 2)
    for single, member in zip(alone, together, strict=True):
        theirs, ours = single.drain(), member.drain()
        assert [record.images for record in theirs] == [record.images for record in ours]
        for there, here in zip(theirs, ours, strict=True):
            assert there.values.keys() == here.values.keys()
            for key, value in there.values.items():
                assert float(here.values[key]) == pytest.approx(float(value), rel=1e-5, abs=1e-6)
    assert len({float(member.sample(1, seed=0).sum()) for member in together}) == len(SEEDS)


@pytest.mark.parametrize("name", ["nonsaturating", "sngan"])
def test_a_game_goes_on_from_a_members_state_together_or_alone(name):
    options = {"network": "mlp"}
    straight = [build(name, seed, **options) for seed in SEEDS]
    play_together(straight, 8)
    halved = [build(name, seed, **options) for seed in SEEDS]
    play_together(halved, 4)
    states = [copy.deepcopy(gan.training_state()) for gan in halved]
    again = [build(name, seed, **options) for seed in SEEDS]
    for gan, state in zip(again, states, strict=True):
        gan.load_training_state(state)
    play_together(again, 4)
    for first, second in zip(straight, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors(first).values(), tensors(second).values(), strict=True))
    single = build(name, SEEDS[1], **options)
    single.load_training_state(states[1])
    fit(single, [rounds(single, 4)])
    assert_close(single, straight[1])


def test_the_seconds_are_shared_out():
    members = [build("nonsaturating", seed) for seed in SEEDS]
    ensemble = play_together(members, 3)
    assert sum(gan.counters.seconds for gan in members) == pytest.approx(ensemble.counters.seconds)


def test_a_member_that_diverges_does_not_touch_the_others():
    well, ill = ([build("wgan-gp", seed) for seed in SEEDS] for _ in range(2))
    with torch.no_grad():
        next(ill[1].discriminator.parameters()).fill_(float("nan"))
    play_together(well, 5)
    play_together(ill, 5)
    assert not next(ill[1].generator.parameters()).isfinite().all()
    for place in (0, 2):
        expected, found = tensors(well[place]), tensors(ill[place])
        assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nonsaturating", {"network": "dcgan"}),
        ("wgan-gp", {"network": "dcgan"}),
        ("sngan", {"network": "dcgan"}),
        ("sngan", {"network": "sndcgan"}),
        ("sngan", {"network": "resnet"}),
    ],
)
def test_image_networks_that_do_not_grow_are_mapped(name, options):
    options = {**options, "image_shape": (1, 8, 8), "width": 4, "batch_size": 8}
    alone, together = pair(name, **options)
    play_alone(alone, 1)
    play_together(together, 1)
    for single, member in zip(alone, together, strict=True):
        a, b = tensors(single), tensors(member)
        # Adam's first step is the sign of the gradient, so rounding may turn a weight's whole step around
        wrong = sum(int(((a[key] - b[key]).abs() > 1e-5).sum()) for key in a)
        assert wrong <= 0.03 * sum(value.numel() for value in a.values())


@pytest.mark.parametrize(
    "options",
    [
        {"constraint": "r1"},
        {"constraint": "dragan"},
        {"constraint": "spectral-norm+gradient-penalty"},
        {"constraint": "spectral-norm", "minibatch": "stddev", "spectral_generator": True},
        {"minibatch": "discrimination", "instance_noise": 0.3},
        {"prediction": "both", "n_critic": 2, "label_flip": 0.2},
        {"update": "simultaneous"},
        {"update": "extragradient", "label_smoothing": 0.1},
    ],
    ids=str,
)
def test_the_axes_other_points_are_played_together_as_alone(options):
    alone, together = pair("nonsaturating", **options)
    play_alone(alone, 4)
    play_together(together, 4)
    for single, member in zip(alone, together, strict=True):
        assert_close(single, member)


def test_attention_is_played_together():
    options = {"image_shape": (1, 8, 8), "width": 4, "network": "dcgan", "attention": 8}
    alone, together = pair("nonsaturating", **options)
    play_alone(alone, 2)
    play_together(together, 2)
    for single, member in zip(alone, together, strict=True):
        assert_close(single, member)


def test_a_prediction_goes_on_from_a_members_state():
    options = {"network": "mlp", "prediction": "both"}
    straight = [build("vanilla", seed, **options) for seed in SEEDS]
    play_together(straight, 6)
    halved = [build("vanilla", seed, **options) for seed in SEEDS]
    play_together(halved, 3)
    again = [build("vanilla", seed, **options) for seed in SEEDS]
    for gan, half in zip(again, halved, strict=True):
        gan.load_training_state(copy.deepcopy(half.training_state()))
    play_together(again, 3)
    for first, second in zip(straight, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors(first).values(), tensors(second).values(), strict=True))


def test_what_cannot_be_played_together_says_why():
    growing = gans.build("progressive", image_shape=(1, 8, 8), width=4)
    assert "grow" in why_not(growing)
    with pytest.raises(UserError, match="grow"):
        Ensemble([growing])
    compiled = build("vanilla", 0)
    compiled.speed = Speed(compile="default")
    assert "compiled" in why_not(compiled)

    class Own(gans.GAN):
        def generator_step(self):
            pass

    own = Own(gans.VARIANTS and build("vanilla", 0).recipe, shape=(2,))
    assert "Own" in why_not(own)
    assert all(why_not(build(name, 0, network="mlp", attention=None)) is None for name in VARIANTS)
    began = build("began", 0, image_shape=(1, 8, 8))
    assert "keeps a state" in why_not(began)


def test_a_network_that_torch_cannot_map_is_refused():
    dropping = [build("vanilla", seed) for seed in SEEDS]
    for gan in dropping:
        gan.discriminator = nn.Sequential(nn.Dropout(0.5), gan.discriminator)
    with pytest.raises(UserError, match="cannot be mapped over its members"):
        Ensemble(dropping)


def test_linear_networks_take_the_fast_way_to_the_same_numbers():
    members = [build("sngan", seed).discriminator for seed in SEEDS]
    assert is_linear(members[0])
    assert not is_linear(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    x = torch.randn(len(SEEDS), 5, 2)
    fast, mapped = stacked(members), Stack(members)
    assert isinstance(fast, LinearStack)
    alone = torch.stack([member(batch) for member, batch in zip(members, x, strict=True)])  # moves the members' norms
    torch.testing.assert_close(fast(x), alone)
    torch.testing.assert_close(mapped(x), alone)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["nonsaturating", "wgan", "wgan-gp", "sngan"])
def test_members_play_their_games_on_a_gpu_too(name):
    alone, together = pair(name)
    play_alone(alone, 3, "cuda")
    play_together(together, 3, "cuda")
    for single, member in zip(alone, together, strict=True):
        assert_close(single.cpu(), member.cpu())
    play_together(together, 2, "cuda")  # from where they are, as when one of them has left
    assert {gan.counters.g_steps for gan in together} == {5}

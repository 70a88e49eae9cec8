"""Any combination: the space of objective × constraint × update × network, walked from configs.

Which points make sense is counted over the whole space. The walk trains, saves, resumes and samples a part of it in
which every two choices that go together meet: all of objective × constraint × update on points, and as many games as
that takes on images, where network, attention and minibatch statistics turn with them.
"""

from __future__ import annotations

import io
from itertools import combinations, product

import pytest
import torch
from pydantic import ValidationError

import gans
from ganbench.errors import UserError
from gans.recipe import Recipe
from gans.validity import why_no_pair
from harness.config import resolve

OBJECTIVES = ["minimax", "nonsaturating", "least-squares", "wasserstein", "hinge"]
CONSTRAINTS = [
    *("none", "clip", "gradient-penalty", "r1", "dragan", "spectral-norm"),
    *("spectral-norm+gradient-penalty", "spectral-norm+r1", "spectral-norm+dragan"),
]
UPDATES = [
    {},
    {"n_critic": 2},
    {"lr_discriminator": 8e-4},
    {"prediction": "discriminator"},
    {"prediction": "generator"},
    {"prediction": "both", "n_critic": 2},
    {"update": "simultaneous"},
    {"update": "extragradient"},
]
POINTS = [{"network": "mlp", "minibatch": minibatch} for minibatch in ("none", "stddev", "discrimination")]
IMAGES = [
    {"network": network, "attention": attention, "minibatch": minibatch}
    for network, attention, minibatch in product(
        ("dcgan", "sndcgan", "resnet", "progressive"), (None, 4), ("none", "stddev", "discrimination")
    )
]
SMALL = {"width": 2, "depth": 1, "latent_dim": 4, "batch_size": 4}

Point = dict[str, object]


AXES = ("objective", "constraint", "network", "attention", "minibatch", "update", "prediction", "n_critic")


def reason(point: Point) -> str | None:
    """Why a point's config is refused; None: it is not."""
    try:
        resolve({"gan": {"name": "vanilla", **SMALL, **point}, "data.name": "ring8"})
    except UserError as error:
        return str(error)
    return None


def makes_sense(point: Point) -> bool:
    """As `reason`, without the rest of a config, which takes most of the time."""
    try:
        Recipe.model_validate(point)
    except ValidationError:
        return False
    return True


def pairs(point: Point) -> set[object]:
    """Every two of a point's choices."""
    return set(combinations([(axis, point.get(axis)) for axis in AXES], 2))


def space() -> list[Point]:
    """The valid points."""
    axes = product(OBJECTIVES, CONSTRAINTS, UPDATES, [*POINTS, *IMAGES])
    points = ({"objective": o, "constraint": c, **update, **body} for o, c, update, body in axes)
    return [point for point in points if makes_sense(point)]


def walk() -> list[Point]:
    """The points that are trained: every game on points, and on images as many as bring two choices together anew."""
    chosen: list[Point] = []
    met: set[object] = set()
    for bodies in (POINTS, IMAGES):
        for objective, constraint, update in product(OBJECTIVES, CONSTRAINTS, UPDATES):
            games = ({"objective": objective, "constraint": constraint, **update, **body} for body in bodies)
            valid = [game for game in games if makes_sense(game)]
            best = max(valid, key=lambda point: len(pairs(point) - met), default={})
            if valid and (bodies is POINTS or not pairs(best) <= met):
                chosen.append(best)
                met |= pairs(best)
    return chosen


def label(point: Point) -> str:
    return " ".join(f"{value}" for value in point.values())


WALK = walk()


def at_hand(point: Point) -> gans.GAN:
    """The point's game, played without Lightning's trainer, whose cost would be most of the walk's."""
    config = resolve({"gan": {"name": "vanilla", **SMALL, **point}, "data.name": "ring8", "images": 64})
    shape = (2,) if point["network"] == "mlp" else (1, 8, 8)
    gan = gans.from_recipe("vanilla", config.gan.recipe(), shape=shape, total_images=24, seed=1)
    gan.manual_backward = lambda loss: loss.backward()
    gan.optimizers = lambda: gan._optimizers
    return gan


def rounds(gan: gans.GAN, number: int) -> None:
    for _ in range(number):
        draw = torch.Generator().manual_seed(gan.counters.d_steps)
        gan.training_step([[torch.rand(4, *gan.shape, generator=draw) * 2 - 1 for _ in range(gan.recipe.n_critic)]], 0)


def weights(gan: gans.GAN) -> dict[str, torch.Tensor]:
    return {name: value for name, value in gan.state_dict().items() if isinstance(value, torch.Tensor)}


def trains(point: Point) -> None:
    """Built, three rounds, saved after the second and resumed to the bit, sampled."""
    gan = at_hand(point)
    gan.configure_optimizers()
    before = {name: value.clone() for name, value in weights(gan).items()}
    rounds(gan, 2)
    saved = io.BytesIO()
    torch.save(gan.training_state(), saved)
    rounds(gan, 1)
    saved.seek(0)
    resumed = at_hand(point)
    resumed.load_training_state(torch.load(saved, weights_only=True))
    resumed.configure_optimizers()
    rounds(resumed, 1)
    straight, again = weights(gan), weights(resumed)
    assert all(torch.equal(straight[name], again[name]) for name in straight)
    assert all(value.isfinite().all() for value in straight.values())
    for player in ("generator.", "discriminator."):
        assert any(not torch.equal(before[name], straight[name]) for name in before if name.startswith(player))
    assert (gan.counters.g_steps, gan.counters.d_steps) == (3, 3 * gan.recipe.n_critic)
    samples = gan.sample(3, seed=2)
    assert samples.shape == (3, *gan.shape)
    assert torch.equal(samples, resumed.sample(3, seed=2))


@pytest.mark.slow
def test_every_point_of_the_walk_trains_resumes_and_samples():
    for point in WALK:
        try:
            trains(point)
        except Exception as error:
            error.add_note(label(point))
            raise
    print(f"walked {len(WALK)} valid points")
    assert len(WALK) >= 200


@pytest.mark.parametrize("point", WALK[:: len(WALK) // 20], ids=label)
def test_a_sample_of_the_walk_trains_resumes_and_samples(point):
    trains(point)


def test_every_two_choices_that_go_together_meet_in_the_walk():
    valid = space()
    print(f"{len(valid)} valid points")
    assert len(valid) >= 200
    assert set().union(*map(pairs, WALK)) == set().union(*map(pairs, valid))


INVALID: list[tuple[Point, str]] = [
    ({"objective": "wasserstein"}, "no lower bound"),
    ({"objective": "wasserstein", "constraint": "r1"}, "real samples alone"),
    ({"constraint": "clip", "critic_norm": "batch"}, "squeezes every normalised feature"),
    ({"constraint": "gradient-penalty", "critic_norm": "batch"}, "function of the whole batch"),
    ({"constraint": "spectral-norm+r1", "critic_norm": "batch"}, "give gan.critic_norm=auto"),
    ({"network": "progressive", "critic_norm": "batch"}, "has no batch normalisation"),
    ({"constraint": "r1", "minibatch": "discrimination"}, "not that sample's own"),
    ({"update": "simultaneous", "n_critic": 2}, "give gan.n_critic=1"),
    ({"update": "extragradient", "prediction": "both"}, "already answer a trial step"),
    ({"objective": "hinge", "label_smoothing": 0.1}, "no target for real samples"),
    ({"objective": "wasserstein", "constraint": "clip", "label_flip": 0.1}, "has no labels"),
    ({"network": "autoencoder"}, "never above 0"),
    ({"objective": "boundary-equilibrium"}, "gan.network=autoencoder"),
    ({"objective": "boundary-equilibrium", "network": "autoencoder", "constraint": "clip"}, "balance alone"),
    ({"objective": "boundary-equilibrium", "network": "autoencoder", "attention": 8}, "gan.attention=null"),
    (
        {"objective": "boundary-equilibrium", "network": "autoencoder", "minibatch": "stddev"},
        "no such layer; give gan.minibatch=auto",
    ),
    ({"minibatch": "discrimination", "generator_batch": 8}, "by their number"),
    ({"network": "mlp", "attention": 8}, "no feature maps"),
    ({"constraint": "clip+spectral-norm"}, "no scale"),
    ({"constraint": "r1+dragan"}, "different slopes"),
    ({"constraint": "gradient-penalty+spectral-norm"}, "comes first"),
    ({"constraint": "clip+r1"}, "cannot reach"),
]


@pytest.mark.parametrize(("point", "why"), INVALID, ids=lambda value: label(value) if isinstance(value, dict) else "")
def test_points_without_sense_are_refused_with_the_reason(point, why):
    told = reason(point)
    assert told is not None
    assert why in told
    assert "\n" not in told
    with pytest.raises(UserError, match="do not fit"):
        gans.build("vanilla", data_dim=2, **point)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"gan.update": "simultaneous", "trainer.precision": "16-mixed"}, "16-mixed"),
        ({"gan.update": "extragradient", "trainer.compile": "cuda-graphs"}, "cuda-graphs"),
        ({"gan.minibatch": "discrimination", "trainer.devices": 2}, "cannot share"),
    ],
)
def test_a_way_to_compute_that_would_change_the_game_is_refused(options, why):
    with pytest.raises(UserError, match=why):
        resolve({"gan": "vanilla", "dataset": "ring8", **options})


def test_a_trial_that_was_trained_when_its_game_was_allowed_can_be_read():
    played = {**resolve({"gan": "wgan", "dataset": "ring8"}).model_dump(mode="json")}
    played["gan"]["constraint"] = "none"
    with pytest.raises(UserError, match="no lower bound"):
        resolve(played)
    config = resolve(played, stored=True)
    assert config.gan.recipe().constraint == "none"


def test_pairs_are_judged_alike_wherever_they_are_named():
    for first, second in product(CONSTRAINTS[:6], repeat=2):
        named = f"{first}+{second}"
        assert (why_no_pair(named) is None) == (named in CONSTRAINTS)

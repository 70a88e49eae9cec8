"""Class-conditional games: what labels do to samples, logits, losses and penalties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

import gans
from ganbench.errors import UserError
from gans.classes import Classes
from gans.conditions import Auxiliary, Labelled, Told
from gans.constraints import gradient_penalty
from gans.ensemble import why_not
from gans.networks.blocks import ConditionalBatchNorm2d
from gans.networks.conditional import AuxiliaryDiscriminator, ProjectionDiscriminator
from gans.recipe import Recipe
from harness.data.sampler import RoundLoader
from harness.trial.trainer import lean_trainer

CONDITIONS = ("concatenate", "auxiliary", "projection")
SHAPES = {"mlp": (2,), "dcgan": (1, 8, 8), "sndcgan": (3, 8, 8), "resnet": (1, 8, 8)}
CLASSES = 3


def build(condition: str, network: str = "mlp", variant: str = "nonsaturating", **options):
    shape = SHAPES[network]
    given = {"data_dim": shape[0]} if len(shape) == 1 else {"image_shape": shape}
    small = {"network": network, "width": 4, "latent_dim": 5, "batch_size": 6, "seed": 1}
    return gans.build(variant, condition=condition, classes=CLASSES, **{**given, **small, **options})


def batch(shape, step: int = 0) -> Labelled:
    source = torch.Generator().manual_seed(step)
    labels = torch.randint(CLASSES, (6,), generator=source)
    return Labelled(torch.rand(6, *shape, generator=source) * 2 - 1, labels)


class Labelling:
    """Labelled batches, each a function of the step."""

    def __init__(self, shape) -> None:
        self.shape = shape

    def batch(self, step: int) -> Labelled:
        return batch(self.shape, step)


def play(gan, rounds: int = 2):
    first = gan.counters.g_steps
    plan = [range(r, r + 1) for r in range(first, first + rounds)]
    lean_trainer(device="cpu").fit(gan, RoundLoader(Labelling(gan.shape), n_critic=gan.recipe.n_critic, plan=plan))
    return gan


# --- classes


def test_classes_are_drawn_by_their_shares():
    classes = Classes.of(np.repeat([2, 5, 9], [500, 300, 200]))
    assert classes == Classes((2, 5, 9), (500, 300, 200))
    drawn = classes.draw(20_000, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.015)  # 4 standard errors
    assert torch.equal(classes.draw(7, torch.Generator().manual_seed(0)), drawn[:7])
    assert classes.places_of(np.array([9, 2])).tolist() == classes.places([9, 2]).tolist() == [2, 0]


def test_a_label_may_be_numpys():
    gan = build("concatenate")
    assert torch.equal(gan.sample(3, labels=np.int64(1)), gan.sample(3, labels=1))


def test_a_label_that_was_not_trained_on_is_refused():
    with pytest.raises(UserError, match="class 4 is none of the 3 that were trained on: give one of 2, 5, 9"):
        Classes((2, 5, 9), (1, 1, 1)).places([2, 4])


# --- every network


@pytest.mark.parametrize("network", SHAPES)
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("variant", ["nonsaturating", "wgan", "wgan-gp", "sngan"])
def test_both_players_learn_in_every_family(condition, network, variant):
    gan = build(condition, network, variant)
    before = {name: value.detach().clone() for name, value in gan.named_parameters()}
    play(gan, 3)
    moved = {name for name, value in gan.named_parameters() if not torch.equal(value, before[name])}
    # a bias before a batch normalisation has no gradient but rounding's; whatever is told of labels must move
    assert {"generator", "discriminator"} <= {name.partition(".")[0] for name in moved}
    told = [name for name in before if name.endswith((".scale", ".shift", "embedding.weight", "to_classes.weight"))]
    assert {name for name in told if not name.startswith("ema_")} <= moved
    values = [record.values for record in gan.drain()]
    assert all(
        ("loss/classes" in each) == (condition == "auxiliary") for each in values if "loss/discriminator" in each
    )
    assert all(value.isfinite() for each in values for value in each.values())


@pytest.mark.parametrize("network", SHAPES)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_sample_depends_on_the_seed_its_place_and_its_label(condition, network):
    gan = play(build(condition, network))  # whose classes have the same normalisations before the first step
    many, labels = gan.sample(70, seed=3), gan.sample_labels(70, seed=3)
    assert set(labels) == set(range(CLASSES))
    assert torch.equal(gan.sample(9, seed=3, labels=labels[:9]), many[:9])
    assert torch.equal(gan.sample(9, seed=3), many[:9])
    assert gan.sample_labels(9, seed=3) == labels[:9]
    ones = gan.sample(70, seed=3, labels=1)
    chosen = torch.tensor(labels) == 1
    assert torch.equal(ones[chosen], many[chosen])
    unmoved = (ones[~chosen] == many[~chosen]).flatten(1).all(1)
    assert unmoved.float().mean() < 0.3  # a sample whose four rectifiers are all silent tells of nothing


@pytest.mark.parametrize("network", SHAPES)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_who_is_told(condition, network):
    gan = build(condition, network)
    gan.discriminator.eval()
    samples, labels = batch(gan.shape)
    said, other = (gan.condition.judge(gan.discriminator, told)(samples) for told in (labels, (labels + 1) % CLASSES))
    assert said.shape == ((6, 1 + CLASSES) if condition == "auxiliary" else (6,))
    assert gan.condition.logits(said).shape == (6,)
    assert torch.equal(said, other) == (condition == "auxiliary")


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_stopped_game_goes_on_to_the_same_bits(condition):
    whole = play(build(condition, "dcgan"), 4)
    first = play(build(condition, "dcgan"), 2)
    again = build(condition, "dcgan")
    again.load_training_state(first.training_state())
    play(again, 2)
    ours, theirs = whole.state_dict(), again.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items() if isinstance(value, torch.Tensor))


def test_half_precision_plays_every_condition():
    for condition in CONDITIONS:
        gan = build(condition, "dcgan", "wgan-gp")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, values = gan.discriminator_loss(batch(gan.shape))
            assert gan.generator_loss().isfinite()
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        assert "loss/penalty" in values


def test_real_and_generated_samples_may_be_judged_in_one_pass():
    gan = build("projection", "dcgan", "wgan-gp")
    expected, _ = gan.discriminator_loss(batch(gan.shape))
    gan._shares_pass = True
    together, _ = gan.discriminator_loss(batch(gan.shape))
    assert together.item() == pytest.approx(expected.item(), rel=1e-5)


# --- closed forms


def test_projection_adds_the_product_of_features_and_embedding():
    discriminator = ProjectionDiscriminator(nn.Identity(), nn.Linear(4, 1), classes=3)
    x, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    v = discriminator.embedding.weight
    difference = discriminator(x, labels) - discriminator(x, torch.zeros_like(labels))
    torch.testing.assert_close(difference, (x * (v[labels] - v[0])).sum(1))


def test_the_penalty_on_a_projection_critic_is_each_class_own():
    """D(x, y) = (w + v_y)ᵀx + b: the penalty is the mean of (‖w + v_y‖ − 1)² over the batch's labels."""
    critic = ProjectionDiscriminator(nn.Identity(), nn.Linear(4, 1), classes=3).double()
    labels = torch.tensor([0, 1, 2, 1, 0])
    real, fake = torch.randn(2, 5, 4, dtype=torch.float64)
    bound = Told(Classes.equal(3)).critic(critic, labels)
    penalty = gradient_penalty(bound, real, fake, weight=10.0)
    slopes = torch.linalg.vector_norm(critic.to_logit.weight + critic.embedding.weight[labels], dim=1)
    torch.testing.assert_close(penalty, 10 * (slopes - 1).square().mean())


def test_the_classifiers_loss_is_its_cross_entropy():
    condition = Auxiliary(Classes.equal(10), weight=0.5)
    labels = torch.arange(10)
    unsure = torch.zeros(10, 11)
    assert condition.label_loss([unsure], labels).item() == pytest.approx(0.5 * math.log(10))
    assert condition.label_loss([unsure, unsure], labels).item() == pytest.approx(math.log(10))
    sure = torch.cat([torch.zeros(10, 1), 100.0 * one_hot(labels, 10)], dim=1)
    assert condition.label_loss([sure], labels).item() == pytest.approx(0, abs=1e-6)
    assert torch.equal(condition.logits(sure), torch.zeros(10))


def test_the_auxiliary_critics_slope_is_the_logits_alone():
    critic = AuxiliaryDiscriminator(nn.Identity(), nn.Linear(4, 1), classes=3).double()
    bound = Auxiliary(Classes.equal(3), 1.0).critic(critic, torch.zeros(5, dtype=torch.int64))
    penalty = gradient_penalty(bound, *torch.randn(2, 5, 4, dtype=torch.float64), weight=1.0)
    torch.testing.assert_close(penalty, (torch.linalg.vector_norm(critic.to_logit.weight) - 1).square())


def test_the_losses_of_an_auxiliary_game_are_the_objectives_and_the_classifiers():
    gan = build("auxiliary", class_weight=2.0)
    plain = build("auxiliary", class_weight=0.0)
    loss, values = gan.discriminator_loss(batch(gan.shape))
    without, none = plain.discriminator_loss(batch(gan.shape))
    assert none["loss/classes"].item() == 0
    assert values["loss/discriminator"].item() == without.item()
    assert loss.item() == pytest.approx(without.item() + values["loss/classes"].item(), rel=1e-6)
    assert gan.generator_loss().item() > plain.generator_loss().item()


def test_conditional_normalisation_is_the_plain_one_until_its_classes_differ():
    plain = nn.BatchNorm2d(3)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    conditional = ConditionalBatchNorm2d(plain, classes=2)
    x, labels = torch.randn(6, 3, 4, 4), torch.tensor([0, 1, 1, 0, 1, 0])
    torch.testing.assert_close(conditional(x, labels), plain(x))
    with torch.no_grad():
        conditional.scale[1], conditional.shift[1] = 0.0, 7.0
    out = conditional(x, labels)
    assert (out[labels == 1] == 7).all()
    torch.testing.assert_close(out[labels == 0], plain(x)[labels == 0])


def test_the_discriminators_fakes_are_of_the_real_samples_classes():
    gan = build("concatenate")
    seen = []
    gan.generator.register_forward_hook(lambda _, given, __: seen.append(given[1]))
    real = batch(gan.shape)
    gan.discriminator_loss(real)
    assert torch.equal(seen[0], real.labels)


def test_embeddings_and_class_heads_are_spectrally_normalised_too():
    for condition, name in (("projection", "embedding"), ("auxiliary", "to_classes")):
        gan = build(condition, "dcgan", "sngan")
        weight = gan.discriminator.get_submodule(name).weight
        assert torch.linalg.matrix_norm(weight, ord=2).item() == pytest.approx(1, rel=0.1)


# --- refusals


def test_a_condition_needs_classes():
    with pytest.raises(UserError, match=r"gan.condition=projection needs samples of two or more classes"):
        gans.build("projection", data_dim=2)
    with pytest.raises(UserError, match="without a condition"):
        gans.build("vanilla", data_dim=2).sample(3, labels=1)
    with pytest.raises(UserError, match="2 labels are given for 3 samples"):
        build("projection").sample(3, labels=[0, 1])


@pytest.mark.parametrize("condition", CONDITIONS)
def test_growing_networks_take_no_labels(condition):
    with pytest.raises((UserError, ValueError), match=f"gan.condition={condition} does not go with gan.network=progr"):
        Recipe(network="progressive", condition=condition)


def test_an_ensemble_of_conditional_games_is_refused():
    assert why_not(build("concatenate")) == "its networks are told of classes"


def test_options_of_a_condition_are_idle_without_it():
    assert "class_weight" in Recipe().idle()
    assert "class_weight" not in Recipe(condition="auxiliary").idle()
    assert gans.build("vanilla", data_dim=2, classes=4).condition.classes is None

"""Every loss against its formula, its gradient against the closed form, its optimum against the theory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gans import objectives
from gans.objectives import Hinge, LeastSquares, Minimax, NonSaturating, Wasserstein
from gans.recipe import Recipe

untimed = settings(deadline=None)  # the first call of a torch function pays for its loading
logit_lists = st.lists(st.floats(-30, 30), min_size=1, max_size=8)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def generator_gradient(objective, logits):
    (gradient,) = torch.autograd.grad(objective.generator_loss(logits), logits)
    return gradient


def discriminator_gradients(objective, real, fake):
    return torch.autograd.grad(objective.discriminator_loss(real, fake), [real, fake])


@untimed
@given(logit_lists)
def test_minimax_generator_gradient_vanishes_where_the_discriminator_wins(values):
    logits = tensor(values)
    torch.testing.assert_close(generator_gradient(Minimax(), logits), -logits.sigmoid() / len(values))


@untimed
@given(logit_lists)
def test_nonsaturating_generator_gradient_is_largest_where_the_discriminator_wins(values):
    logits = tensor(values)
    torch.testing.assert_close(generator_gradient(NonSaturating(), logits), -(1 - logits.sigmoid()) / len(values))


@pytest.mark.parametrize("objective", [Minimax(), NonSaturating()])
@untimed
@given(real=logit_lists, fake=logit_lists)
def test_cross_entropy_discriminators_agree_with_the_probabilities(objective, real, fake):
    real, fake = tensor(real), tensor(fake)
    expected = -real.sigmoid().log().mean() - (-fake).sigmoid().log().mean()
    torch.testing.assert_close(objective.discriminator_loss(real, fake), expected)
    gradients = discriminator_gradients(objective, real, fake)
    torch.testing.assert_close(gradients[0], (real.sigmoid() - 1) / len(real))
    torch.testing.assert_close(gradients[1], fake.sigmoid() / len(fake))


def test_minimax_generator_maximises_what_the_discriminator_minimises():
    real, fake = tensor([0.3, -2.0]), tensor([1.5, -0.4])
    _, discriminator = discriminator_gradients(Minimax(), real, fake)
    torch.testing.assert_close(generator_gradient(Minimax(), fake), -discriminator)


@untimed
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6))
def test_the_optimal_discriminator_is_p_over_p_plus_q(counts):
    """On a finite set, with each point as often in the batch as its count."""
    p_counts, q_counts = torch.tensor(counts).T
    p, q = p_counts.double() / p_counts.sum(), q_counts.double() / q_counts.sum()
    table = (p / q).log().requires_grad_()  # the logit of p/(p+q)
    points = torch.arange(len(counts))
    loss = Minimax().discriminator_loss(
        table[points.repeat_interleave(p_counts)], table[points.repeat_interleave(q_counts)]
    )
    (gradient,) = torch.autograd.grad(loss, table)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)
    middle = (p + q) / 2
    shannon = ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2
    torch.testing.assert_close(-loss.detach(), 2 * shannon - math.log(4))


def test_the_value_is_minus_log_4_where_the_generator_is_perfect():
    zeros = torch.zeros(5)
    assert -Minimax().discriminator_loss(zeros, zeros).item() == pytest.approx(-math.log(4))


@untimed
@given(logit_lists, logit_lists, st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2))
def test_least_squares_with_any_targets(real, fake, a, b, c):
    objective = LeastSquares(a, b, c)
    real, fake = tensor(real), tensor(fake)
    expected = ((real - b) ** 2).mean() / 2 + ((fake - a) ** 2).mean() / 2
    torch.testing.assert_close(objective.discriminator_loss(real, fake), expected)
    torch.testing.assert_close(objective.generator_loss(fake), ((fake - c) ** 2).mean() / 2)
    torch.testing.assert_close(generator_gradient(objective, fake), (fake - c).detach() / len(fake))


def test_least_squares_rests_on_its_targets():
    objective = LeastSquares(a=-1.0, b=2.0, c=0.5)
    assert objective.discriminator_loss(torch.full((3,), 2.0), torch.full((4,), -1.0)).item() == 0
    assert objective.generator_loss(torch.full((4,), 0.5)).item() == 0


@untimed
@given(logit_lists, logit_lists)
def test_wasserstein_is_the_gap_and_its_gradients_are_constant(real, fake):
    real, fake = tensor(real), tensor(fake)
    torch.testing.assert_close(Wasserstein().discriminator_loss(real, fake), fake.mean() - real.mean())
    gradients = discriminator_gradients(Wasserstein(), real, fake)
    torch.testing.assert_close(gradients[0], torch.full_like(real, -1 / len(real)))
    torch.testing.assert_close(gradients[1], torch.full_like(fake, 1 / len(fake)))
    torch.testing.assert_close(generator_gradient(Wasserstein(), fake), torch.full_like(fake, -1 / len(fake)))


def test_hinge_stops_at_the_margin_and_leaves_the_generator_linear():
    real, fake = tensor([2.0, 0.5, -1.0]), tensor([-3.0, -0.5, 4.0])
    assert Hinge().discriminator_loss(real, fake).item() == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 0.5 + 5) / 3)
    gradients = discriminator_gradients(Hinge(), real, fake)
    torch.testing.assert_close(gradients[0], torch.tensor([0, -1, -1], dtype=torch.float64) / 3)
    torch.testing.assert_close(gradients[1], torch.tensor([0, 1, 1], dtype=torch.float64) / 3)
    torch.testing.assert_close(generator_gradient(Hinge(), fake), torch.full_like(fake, -1 / 3))


every_objective = pytest.mark.parametrize(
    "objective", [Minimax(), NonSaturating(), LeastSquares(), Wasserstein(), Hinge()], ids=lambda o: o.name
)


@every_objective
def test_huge_logits_give_finite_losses_and_gradients(objective):
    real, fake = (torch.tensor([-1e4, 1e4], requires_grad=True) for _ in range(2))
    loss = objective.discriminator_loss(real, fake) + objective.generator_loss(fake)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, [real, fake]))


@every_objective
def test_half_precision_logits_are_reduced_in_float32(objective):
    values = torch.tensor([300.0, -300.0, 0.25])  # 300² is beyond float16
    for dtype in (torch.float16, torch.bfloat16):
        half = values.to(dtype)
        for loss, expected in (
            (objective.discriminator_loss(half, half), objective.discriminator_loss(half.float(), half.float())),
            (objective.generator_loss(half), objective.generator_loss(half.float())),
        ):
            assert loss.dtype == torch.float32
            torch.testing.assert_close(loss, expected)


@every_objective
def test_the_logits_shape_does_not_matter(objective):
    real, fake = torch.linspace(-2, 2, 12), torch.linspace(1, -3, 12)
    torch.testing.assert_close(
        objective.discriminator_loss(real.view(3, 1, 2, 2), fake.view(3, 1, 2, 2)),
        objective.discriminator_loss(real, fake),
    )
    torch.testing.assert_close(objective.generator_loss(fake.view(12, 1)), objective.generator_loss(fake))


@pytest.mark.parametrize("name", ["minimax", "nonsaturating", "least-squares", "wasserstein", "hinge"])
def test_build_gives_the_objective_that_the_recipe_names(name):
    assert objectives.build(Recipe(objective=name, constraint="spectral-norm")).name == name


def test_build_passes_the_least_squares_targets():
    objective = objectives.build(Recipe(objective="least-squares", lsgan_a=-1, lsgan_b=1, lsgan_c=0))
    assert isinstance(objective, LeastSquares)
    assert (objective.a, objective.b, objective.c) == (-1, 1, 0)

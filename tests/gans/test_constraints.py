"""The penalty's closed forms, the clip's bound, the spectral norm against the SVD and Lipschitz's definition."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gans import constraints
from gans.constraints import Constraint, GradientPenalty, SpectralNorm, WeightClipping, gradient_penalty
from gans.networks import networks
from gans.recipe import Recipe


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(
    batch=st.integers(1, 5),
    shape=st.sampled_from([(2,), (1, 4, 4), (3, 4, 4), (5, 2, 2)]),
    weight=st.floats(0, 20),
    target=st.floats(0.1, 800),
    seed=st.integers(0, 2**32),
)
def test_a_linear_critic_is_penalised_by_its_norm_alone(batch, shape, weight, target, seed):
    random = seeded(seed)
    w, real, fake = (torch.randn(size, generator=random).double() for size in (shape, (batch, *shape), (batch, *shape)))
    penalty = gradient_penalty(
        lambda x: (x * w).flatten(1).sum(1), real, fake, weight=weight, target=target, generator=random
    )
    assert penalty.item() == pytest.approx(weight * (w.norm().item() - target) ** 2 / target**2, abs=1e-9)


def quadratic(x):
    """½‖x‖², whose gradient is x itself: the norm tells where x̂ lies."""
    return x.flatten(1).square().sum(1) / 2


def test_every_sample_is_mixed_by_its_own_t():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return quadratic(x)

    real, fake = torch.zeros(64, 3, 2, 2), torch.ones(64, 3, 2, 2)
    gradient_penalty(critic, real, fake, weight=1.0, generator=seeded())
    t = seen[0].flatten(1)
    torch.testing.assert_close(t, t[:, :1].expand_as(t))  # one t over all channels and pixels …
    assert t[:, 0].unique().numel() == 64  # … and another for each sample
    assert t.min() >= 0
    assert t.max() <= 1
    assert t[:, 0].mean().item() == pytest.approx(0.5, abs=0.15)


def test_the_norm_is_taken_per_sample():
    batch = 256
    real, fake = torch.zeros(batch, 1), torch.ones(batch, 1)
    penalty = gradient_penalty(quadratic, real, fake, weight=1.0, generator=seeded())
    t = torch.rand(batch, 1, generator=seeded())
    torch.testing.assert_close(penalty, (t - 1).square().mean())  # the gradient's norm at t is t
    assert penalty.item() == pytest.approx(1 / 3, abs=0.06)  # a norm over the whole batch would give about (9.2−1)²


def test_real_and_fake_stand_at_the_ends_that_the_paper_gives_them():
    real, fake = torch.full((4, 1), 5.0), torch.full((4, 1), 1.0)
    penalty = gradient_penalty(quadratic, real, fake, weight=1.0, generator=seeded())
    t = torch.rand(4, 1, generator=seeded())
    torch.testing.assert_close(penalty, (t * 1.0 + (1 - t) * 5.0 - 1).square().mean())


def test_the_same_generator_state_gives_the_same_penalty_and_leaves_the_global_one_alone():
    real, fake = torch.zeros(8, 2), torch.ones(8, 2)
    before = torch.get_rng_state()
    first, second = (gradient_penalty(quadratic, real, fake, weight=1.0, generator=seeded(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def test_a_gradient_of_exactly_zero_has_a_finite_derivative():
    w = torch.zeros(3, requires_grad=True)
    penalty = gradient_penalty(lambda x: x @ w, torch.randn(4, 3), torch.randn(4, 3), weight=10.0, generator=seeded())
    assert penalty.item() == 10.0
    (gradient,) = torch.autograd.grad(penalty, w)
    assert gradient.isfinite().all()


def test_the_penalty_trains_the_critic_and_spares_the_generator():
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    fake = torch.randn(4, 2, requires_grad=True)
    penalty = gradient_penalty(lambda x: x @ w, torch.randn(4, 2), fake, weight=10.0, generator=seeded())
    (gradient,) = torch.autograd.grad(penalty, w)
    torch.testing.assert_close(gradient, 10.0 * 2 * (5 - 1) * w.detach() / 5)
    assert fake.grad is None


def test_the_penalty_is_computed_outside_autocast():
    dtypes = []

    class Critic(nn.Linear):
        def forward(self, input):
            logits = super().forward(input)
            dtypes.append(logits.dtype)
            return logits.flatten()

    with torch.autocast("cpu", torch.bfloat16):
        penalty = gradient_penalty(Critic(2, 1), torch.randn(4, 2), torch.randn(4, 2), weight=1.0, generator=seeded())
    assert dtypes == [torch.float32]
    assert penalty.dtype == torch.float32


def critic(constraint, network="mlp", **options):
    recipe = Recipe(constraint=constraint, width=16, depth=3, network=network, **options)
    torch.manual_seed(0)
    return networks(recipe, (2,) if network == "mlp" else (1, 8, 8))[1]


def descend(discriminator, real, fake, constraint, steps=3):
    optimizer = torch.optim.RMSprop(discriminator.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        (discriminator(fake) - discriminator(real)).mean().backward()
        optimizer.step()
        constraint.after_step(discriminator)
        yield


@pytest.mark.parametrize("network", ["mlp", "dcgan", "progressive"])
def test_clipping_bounds_every_parameter_after_every_step(network):
    discriminator = critic("clip", network)
    shape = (8, 2) if network == "mlp" else (8, 1, 8, 8)
    for _ in descend(discriminator, torch.randn(shape), torch.randn(shape), WeightClipping(0.01)):
        assert max(parameter.abs().max().item() for parameter in discriminator.parameters()) <= 0.01
    assert any(parameter.abs().max().item() > 0.009 for parameter in discriminator.parameters())


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(7, 5), nn.Conv2d(3, 6, 4), nn.ConvTranspose2d(3, 6, 4), nn.Embedding(7, 5)],
    ids=["linear", "conv", "transposed", "embedding"],
)
def test_the_power_iteration_converges_to_the_largest_singular_value(layer):
    # A matrix with a clear gap, so that 100 iterations are enough.
    with torch.no_grad():
        layer.weight.normal_(generator=seeded()).view(-1)[0] += 10
    matrix = layer.weight.detach()
    matrix = (matrix.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else matrix).flatten(1)
    sigma = torch.linalg.svdvals(matrix)[0]
    weight = layer.weight.detach().clone()
    network = nn.Sequential(layer)
    SpectralNorm().prepare(network)
    for _ in range(100):
        normalised = layer.weight
    torch.testing.assert_close(normalised.detach(), weight / sigma)


def test_a_network_of_normalised_layers_is_1_lipschitz():
    discriminator = critic("spectral-norm")
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.mul_(30)
    SpectralNorm().prepare(discriminator)
    for _ in range(200):
        discriminator(torch.zeros(1, 2))
    discriminator.eval()
    x, y = torch.randn(2, 4096, 2, generator=seeded()) * 3
    with torch.no_grad():
        slope = (discriminator(x) - discriminator(y)).abs() / (x - y).norm(dim=1)
    assert slope.max().item() <= 1 + 1e-4


def test_without_the_constraint_the_same_network_is_not():
    discriminator = critic("none")
    x, y = torch.randn(2, 64, 2, generator=seeded())
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.mul_(30)
        slope = (discriminator(x) - discriminator(y)).abs() / (x - y).norm(dim=1)
    assert slope.max().item() > 10


def test_a_cached_step_is_one_iteration_however_many_forwards():
    discriminator = nn.Sequential(nn.Linear(6, 4))
    SpectralNorm().prepare(discriminator)
    vector = discriminator[0].parametrizations.weight[0]._u
    x = torch.randn(3, 6)
    with nn.utils.parametrize.cached():
        discriminator(x)
        after_one = vector.clone()
        discriminator(x)
        assert torch.equal(vector, after_one)


def test_spectral_normalisation_is_reproducible_under_a_seed():
    weights = []
    for _ in range(2):
        discriminator = critic("spectral-norm", "dcgan")
        SpectralNorm().prepare(discriminator)
        weights.append(torch.cat([p.detach().flatten() for p in discriminator.state_dict().values()]))
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        (Recipe(constraint="none"), Constraint),
        (Recipe(constraint="clip", clip=0.1), WeightClipping),
        (Recipe(constraint="gradient-penalty", penalty_weight=3, penalty_target=750), GradientPenalty),
        (Recipe(constraint="spectral-norm"), SpectralNorm),
    ],
    ids=lambda value: value.constraint if isinstance(value, Recipe) else "",
)
def test_build_gives_the_constraint_that_the_recipe_names(recipe, kind):
    constraint = constraints.build(recipe)
    assert type(constraint) is kind
    expected = {"clip": {"c": 0.1}, "gradient-penalty": {"weight": 3, "target": 750}}
    assert vars(constraint) == expected.get(recipe.constraint, {})


def test_only_the_gradient_penalty_has_a_penalty():
    real, fake = torch.zeros(4, 2), torch.ones(4, 2)
    for constraint in (Constraint(), WeightClipping(0.01), SpectralNorm()):
        assert constraint.penalty(nn.Linear(2, 1), real, fake, generator=seeded()) is None
    linear = nn.Linear(2, 1, bias=False)
    penalty = GradientPenalty(10.0, 2.0).penalty(linear, real, fake, generator=seeded())
    assert penalty.item() == pytest.approx(10 * (math.hypot(*linear.weight[0].tolist()) - 2) ** 2 / 4, rel=1e-5)


def test_the_base_constraint_changes_nothing():
    discriminator = critic("none")
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    Constraint().prepare(discriminator)
    Constraint().after_step(discriminator)
    after = discriminator.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)

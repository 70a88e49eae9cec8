"""Two Gaussians: closed forms against each other, and what is trained against them."""

import math

import pytest
import torch
from scipy import integrate, stats

from gans.objectives import Minimax, NonSaturating, Wasserstein
from gans.theory import gaussians
from gans.theory.gaussians import Gaussian, Optimal, OptimalCritic

THETAS = (0.5, 2.0, 5.0)


def noise(n: int = 20_000) -> torch.Tensor:
    return gaussians.stratified_noise(n, torch.Generator().manual_seed(0))


def test_the_best_discriminator_is_a_share_of_densities():
    real, fake = Gaussian(0.0), Gaussian(1.0, 0.5)
    x = torch.linspace(-3, 3, 31, dtype=torch.float64)
    p, q = stats.norm(0, 1).pdf(x), stats.norm(1, 0.5).pdf(x)
    assert gaussians.optimal_discriminator(x, real, fake).tolist() == pytest.approx((p / (p + q)).tolist())


def test_the_divergence_goes_from_zero_to_log_two():
    assert gaussians.jensen_shannon(Gaussian(1.0), Gaussian(1.0)) == pytest.approx(0, abs=1e-12)
    assert gaussians.jensen_shannon(Gaussian(0.0), Gaussian(40.0)) == pytest.approx(math.log(2), abs=1e-9)
    p, q = stats.norm(0, 1), stats.norm(2, 0.5)

    def inside(x: float) -> float:
        m = (p.pdf(x) + q.pdf(x)) / 2
        return float(sum(0.5 * side.pdf(x) * (side.logpdf(x) - math.log(m)) for side in (p, q)))

    known, _ = integrate.quad(inside, -8, 8, limit=200)
    assert gaussians.jensen_shannon(Gaussian(0.0), Gaussian(2.0, 0.5)) == pytest.approx(known, abs=1e-7)


@pytest.mark.parametrize("theta", THETAS)
def test_the_saturating_strength_is_the_slope_of_twice_the_divergence(theta):
    h = 1e-4
    above, below = (gaussians.jensen_shannon(Gaussian(0.0), Gaussian(theta + step)) for step in (h, -h))
    assert gaussians.saturating_strength(theta) == pytest.approx((above - below) / h, rel=1e-5)


def test_the_saturating_strength_vanishes_as_it_is_said_to():
    for theta in (0.5, 2.0, 4.0, 8.0):
        assert gaussians.saturating_strength(theta) <= theta / 2 * math.exp(-(theta**2) / 8)
    assert gaussians.saturating_strength(12.0) == pytest.approx(gaussians.saturating_asymptote(12.0), rel=0.04)
    assert gaussians.nonsaturating_strength(12.0) == pytest.approx(12.0, abs=1e-6)


@pytest.mark.parametrize("theta", THETAS)
def test_autograd_through_the_best_discriminator_has_these_strengths(theta):
    best = Optimal(Gaussian(0.0), Gaussian(theta))
    objectives = (Minimax(), NonSaturating())
    measured = [gaussians.generator_gradient(objective, best, theta, noise()) for objective in objectives]
    known = [gaussians.saturating_strength(theta), gaussians.nonsaturating_strength(theta)]
    assert measured == pytest.approx(known, rel=1e-2)
    critic = gaussians.generator_gradient(Wasserstein(), OptimalCritic(), theta, noise())
    assert critic == pytest.approx(gaussians.wasserstein_strength(theta)) == 1


def test_the_penalised_critic_minimises_its_loss_over_slopes():
    """No other slopes that were tried, by hand or at random, have a lower loss, integrated point by point."""
    real, fake, weight = Gaussian(0.0), Gaussian(3.0), 2.0
    x = torch.linspace(-4, 7, 1101, dtype=torch.float64)
    best = gaussians.penalised_slope(x, real, fake, weight)
    generator = torch.Generator().manual_seed(0)
    t = torch.rand(400_000, generator=generator, dtype=torch.float64)
    z = torch.randn(2, 400_000, generator=generator, dtype=torch.float64)
    between = t * (z[0] + 3.0) + (1 - t) * z[1]

    def loss(slope: torch.Tensor) -> float:
        gain = torch.trapezoid(slope * (real.below(x) - fake.below(x)), x)
        at = slope[((between - x[0]) / (x[1] - x[0])).round().long().clamp(0, len(x) - 1)]
        return float(weight * (at - 1).square().mean() - gain)

    lowest = loss(best)
    assert lowest < min(loss(torch.ones_like(x)), loss(best * 1.1), loss(best * 0.9), loss(best + 0.1 * x.sin()))


def test_a_heavy_penalty_leaves_the_slope_at_one():
    assert gaussians.penalised_strength(2.0, 1e6) == pytest.approx(1.0, abs=1e-5)


def test_stratified_noise_is_nearly_a_normal_sample_without_chance():
    z = noise(2_000)
    assert z.shape == (2_000, 1)
    assert stats.kstest(z.flatten().numpy(), "norm").statistic < 1.5 / 2_000


def test_equal_seeds_train_equal_networks_and_leave_no_trace():
    seen: list[int] = []
    state = torch.random.get_rng_state()
    first, second = (
        gaussians.train_discriminator(
            Gaussian(0.0), Gaussian(1.0, 0.5), steps=5, batch=32, lr=0.01, width=8,
            generator=torch.Generator().manual_seed(3), watch=lambda step, _: seen.append(step),
        )
        for _ in range(2)
    )  # fmt: skip
    assert torch.equal(torch.random.get_rng_state(), state)
    assert seen == [0, 1, 2, 3, 4, 5] * 2
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_a_trained_discriminator_comes_near_the_best_one():
    real, fake = Gaussian(0.0), Gaussian(1.0, 0.5)
    network = gaussians.train_discriminator(
        real, fake, steps=1_000, batch=256, lr=0.01, width=32, generator=torch.Generator().manual_seed(3)
    )
    x = gaussians.line(real, fake, reach=2.0, points=41)
    with torch.no_grad():
        called = network(x.float()[:, None]).double().sigmoid()
    assert float((called - gaussians.optimal_discriminator(x, real, fake)).abs().max()) < 0.1


@pytest.mark.slow
def test_a_trained_critic_has_the_penalised_slope():
    critic = gaussians.train_critic(
        Gaussian(0.0), Gaussian(2.0), steps=1_200, batch=256, lr=0.005, width=32, weight=10.0,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    measured = gaussians.generator_gradient(Wasserstein(), critic, 2.0, noise(2_000).float())
    assert measured == pytest.approx(gaussians.penalised_strength(2.0, 10.0), abs=0.1)

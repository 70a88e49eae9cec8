"""Two Gaussians on the line: the discriminator that is best, and what the generator learns from it.

Goodfellow et al. 2014, Proposition 1 (D* = p*/(p*+p_G)); Arjovsky et al. 2017, Figure 2 (deck 000's Figure 8). What
has no elementary form is integrated by the trapezoid rule, whose error is below 1e-9 here; all of it in float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gans.constraints import gradient_penalty
from gans.networks import mlp
from gans.objectives import Minimax, Objective, Wasserstein
from gans.recipe import Recipe

REACH = 9.0
"""Standard deviations beyond which an integral has nothing left."""
POINTS = 4001
PATH_POINTS = 200
WARM_UP = 0.1
"""Share of a critic's steps in which its penalty grows to its weight."""


@dataclass(frozen=True)
class Gaussian:
    """N(mean, std²)."""

    mean: float
    std: float = 1.0

    def log_density(self, x: Tensor) -> Tensor:
        """In nats, elementwise."""
        density: Tensor = (
            -0.5 * ((x - self.mean) / self.std).square() - math.log(self.std) - 0.5 * math.log(2 * math.pi)
        )
        return density

    def below(self, x: Tensor) -> Tensor:
        """The probability of less than x, elementwise."""
        share: Tensor = torch.special.ndtr((x - self.mean) / self.std)
        return share

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Float32 (n, 1)."""
        return self.mean + self.std * torch.randn(n, 1, generator=generator)


# --- closed forms


def line(real: Gaussian, fake: Gaussian, *, reach: float = REACH, points: int = POINTS) -> Tensor:
    """Evenly spaced float64 (points,) from `reach` deviations below both to as many above."""
    low = min(side.mean - reach * side.std for side in (real, fake))
    high = max(side.mean + reach * side.std for side in (real, fake))
    return torch.linspace(low, high, points, dtype=torch.float64)


def optimal_logit(x: Tensor, real: Gaussian, fake: Gaussian) -> Tensor:
    """log p*(x) − log p_G(x): the logit of the best discriminator."""
    return real.log_density(x) - fake.log_density(x)


def optimal_discriminator(x: Tensor, real: Gaussian, fake: Gaussian) -> Tensor:
    """p*/(p*+p_G), in [0, 1]."""
    return optimal_logit(x, real, fake).sigmoid()


def jensen_shannon(real: Gaussian, fake: Gaussian) -> float:
    """The JS divergence in nats, 0 … log 2."""
    x = line(real, fake)
    p, q = real.log_density(x), fake.log_density(x)
    middle = torch.logaddexp(p, q) - math.log(2)
    return 0.5 * float(torch.trapezoid(p.exp() * (p - middle) + q.exp() * (q - middle), x))


def saturating_strength(theta: float) -> float:
    """dL_G/dθ of minimax's generator N(θ, 1) against the best discriminator from N(0, 1): θ·E_q σ(l*).

    It is the slope of 2·JS, is at most (θ/2)·exp(−θ²/8), and tends to √(π/2)·exp(−θ²/8): it vanishes.
    """
    fake = Gaussian(theta)
    x = line(Gaussian(0.0), fake)
    caught = fake.log_density(x).exp() * optimal_discriminator(x, Gaussian(0.0), fake)
    return theta * float(torch.trapezoid(caught, x))


def saturating_asymptote(theta: float) -> float:
    """√(π/2)·exp(−θ²/8), to which `saturating_strength` tends as the two Gaussians part."""
    return math.sqrt(math.pi / 2) * math.exp(-(theta**2) / 8)


def nonsaturating_strength(theta: float) -> float:
    """dL_G/dθ of the non-saturating generator: θ·(1 − E_q σ(l*)), which tends to θ."""
    return theta - saturating_strength(theta)


def wasserstein_strength(theta: float) -> float:
    """dL_G/dθ against the best 1-Lipschitz critic, −x: 1 for every θ > 0, the slope of W = |θ|."""
    return 1.0 if theta else 0.0


def penalised_slope(x: Tensor, real: Gaussian, fake: Gaussian, weight: float) -> Tensor:
    """−f'(x) of the best critic under WGAN-GP's penalty, in one dimension: 1 + (P(x) − Q(x))/(2λ·r(x)).

    P and Q are the distribution functions of real and generated samples and r the density of t·x̃ + (1−t)·x, at which
    the gradient is penalised. It follows from L_D = ∫ f'·(P−Q) + λ·∫ r·(|f'|−1)² dx, point by point. The generated
    Gaussian lies to the right. `x` must stay where r is not 0 in float64.
    """
    t = torch.linspace(0, 1, PATH_POINTS + 1, dtype=x.dtype)
    mean = t * fake.mean + (1 - t) * real.mean
    std = ((t * fake.std).square() + ((1 - t) * real.std).square()).sqrt()
    standard = (x[:, None] - mean) / std
    density = torch.trapezoid((-0.5 * standard.square()).exp() / (std * math.sqrt(2 * math.pi)), t, dim=1)
    return 1 + (real.below(x) - fake.below(x)) / (2 * weight * density)


def penalised_strength(theta: float, weight: float) -> float:
    """dL_G/dθ against the best critic under WGAN-GP's penalty: the generated samples' mean `penalised_slope`."""
    real, fake = Gaussian(0.0), Gaussian(theta)
    x = torch.linspace(theta - 7, theta + 7, POINTS, dtype=torch.float64)
    return float(torch.trapezoid(fake.log_density(x).exp() * penalised_slope(x, real, fake, weight), x))


# --- measured


class Optimal(nn.Module):
    """The best discriminator as a module: (n, 1) points to logits (n,)."""

    def __init__(self, real: Gaussian, fake: Gaussian) -> None:
        super().__init__()
        self.real, self.fake = real, fake

    def forward(self, x: Tensor) -> Tensor:
        """log p*(x) − log p_G(x)."""
        return optimal_logit(x.flatten(), self.real, self.fake)


class OptimalCritic(nn.Module):
    """The best 1-Lipschitz critic of a generated Gaussian to the right of the real one: −x."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1) points to (n,)."""
        return -x.flatten()


def generator_gradient(objective: Objective, discriminator: nn.Module, theta: float, noise: Tensor) -> float:
    """dL_G/dθ of the generator z + θ against a fixed discriminator, by autograd; `noise` is z (n, 1).

    For θ > 0 and real data around 0, a step against a positive gradient leads towards them.
    """
    place = torch.tensor(theta, dtype=noise.dtype, requires_grad=True)
    (slope,) = torch.autograd.grad(objective.generator_loss(discriminator(noise + place)), place)
    return float(slope)


def stratified_noise(n: int, generator: torch.Generator) -> Tensor:
    """z ~ N(0, 1), float64 (n, 1), one draw from each of n equally likely intervals.

    What vanishes hangs on the rare samples near the other Gaussian: this way, every draw has its share of them.
    """
    within = torch.rand(n, generator=generator, dtype=torch.float64)
    shares = (torch.arange(n, dtype=torch.float64) + within) / n
    noise: Tensor = torch.special.ndtri(shares)
    return noise[:, None]


Watch = Callable[[int, nn.Module], None]
"""Called with (steps done, network), before the first step and after each."""


def train_discriminator(
    real: Gaussian,
    fake: Gaussian,
    *,
    steps: int,
    batch: int,
    lr: float,
    width: int,
    generator: torch.Generator,
    watch: Watch = lambda *_: None,
) -> nn.Module:
    """A network of two hidden layers trained on fresh samples with minimax's loss by Adam, its rate falling to 0."""
    objective = Minimax()
    network = _network(width, generator)

    def loss() -> Tensor:
        return objective.discriminator_loss(
            network(real.sample(batch, generator)), network(fake.sample(batch, generator))
        )

    return _train(network, loss, steps=steps, lr=lr, watch=watch)


def train_critic(
    real: Gaussian,
    fake: Gaussian,
    *,
    steps: int,
    batch: int,
    lr: float,
    width: int,
    weight: float,
    generator: torch.Generator,
) -> nn.Module:
    """The same network as a Wasserstein critic with a gradient penalty of that weight (Gulrajani et al. 2017).

    On a line, the penalty has a second minimum: a critic of the wrong sign would have to become flat to turn round,
    where it is penalised most. So the weight grows from 0 over the first tenth of the steps, in which the data choose.
    """
    objective = Wasserstein()
    network = _network(width, generator)

    rounds = itertools.count(1)

    def loss() -> Tensor:
        grown = weight * min(1.0, next(rounds) / (WARM_UP * steps))
        x, y = real.sample(batch, generator), fake.sample(batch, generator)
        penalty = gradient_penalty(network, x, y, weight=grown, generator=generator)
        return objective.discriminator_loss(network(x), network(y)) + penalty

    return _train(network, loss, steps=steps, lr=lr)


def _network(width: int, generator: torch.Generator) -> nn.Module:
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global generator
        torch.manual_seed(seed)
        return mlp.build(Recipe(width=width, depth=2, latent_dim=1), (1,))[1]


def _train(
    network: nn.Module, loss: Callable[[], Tensor], *, steps: int, lr: float, watch: Watch = lambda *_: None
) -> nn.Module:
    optimiser = torch.optim.Adam(network.parameters(), lr=lr)
    watch(0, network)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimiser.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        watch(step + 1, network)
    return network

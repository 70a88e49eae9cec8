"""Learning parallel lines (Arjovsky et al. 2017, Example 1; deck 002): real (0, z), generated (θ, z), z ~ N(0, 1).

The Jensen–Shannon divergence is log 2 for every θ ≠ 0 and 0 at θ = 0, the Wasserstein distance is |θ|.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gans.objectives import Minimax


def jensen_shannon(theta: float) -> float:
    """In nats: log 2, and 0 at θ = 0."""
    return math.log(2) if theta else 0.0


def wasserstein(theta: float) -> float:
    """|θ|."""
    return abs(theta)


def sample(theta: float, n: int, generator: torch.Generator) -> Tensor:
    """`n` points of the line through (θ, 0), float64 (n, 2)."""
    heights = torch.randn(n, generator=generator, dtype=torch.float64)
    return torch.stack([torch.full_like(heights, theta), heights], dim=1)


def train_discriminator(real: Tensor, fake: Tensor, *, iterations: int = 60) -> Tensor:
    """Weights (3,) of the linear discriminator D(x) = w₀ + w₁x₁ + w₂x₂ that minimise minimax's loss, by L-BFGS.

    A line separates the two supports, so D has all it takes; its weights would grow for ever, whence the limit.
    """
    weights = torch.zeros(3, dtype=real.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = Minimax().discriminator_loss(logits(weights, real), logits(weights, fake))
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()


def logits(weights: Tensor, points: Tensor) -> Tensor:
    """D(x) of (n, 2) points: (n,)."""
    return weights[0] + points @ weights[1:]


def divergence_estimate(weights: Tensor, real: Tensor, fake: Tensor) -> float:
    """log 2 − L_D/2: what a discriminator says that the JS divergence is at least, on samples that it has not seen."""
    loss = Minimax().discriminator_loss(logits(weights, real), logits(weights, fake))
    return math.log(2) - float(loss) / 2


def saturated_gradient(weights: Tensor, theta: float, heights: Tensor) -> float:
    """|d L_G / dθ| of minimax's generator (θ, z) against that discriminator."""
    place = torch.tensor(theta, dtype=heights.dtype, requires_grad=True)
    fake = torch.stack([place.expand_as(heights), heights], dim=1)
    loss = Minimax().generator_loss(logits(weights, fake))
    (slope,) = torch.autograd.grad(loss, place)
    return abs(float(slope))


def transport_cost(real: Tensor, fake: Tensor) -> float:
    """The Wasserstein-1 distance of two samples (n, 2), each on a line of its own parallel to the second axis.

    The cost √(θ² + h²) is convex in the difference of heights h, so the cheapest matching is that of sorted heights.
    """
    heights = real[:, 1].sort().values - fake[:, 1].sort().values
    return float(torch.hypot(real[:, 0] - fake[:, 0], heights).mean())


def transport_slope(real: Tensor, fake: Tensor) -> float:
    """|d/dθ| of `transport_cost` as the generated line moves, the matching held: E|θ|/√(θ² + h²), 0 at θ = 0."""
    heights = real[:, 1].sort().values - fake[:, 1].sort().values
    apart = (fake[:, 0] - real[:, 0]).abs()
    return float((apart / torch.hypot(apart, heights).clamp_min(torch.finfo(apart.dtype).tiny)).mean())

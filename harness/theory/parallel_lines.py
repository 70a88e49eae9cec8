"""Learning parallel lines: what a discriminator and a transport plan say of two lines at the distance θ."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from ganbench.seeds import derive
from gans.theory import lines
from harness.theory.experiments import Curve, Distinct, Experiment, Parameters
from reports.bench import Plot


class Choice(Parameters):
    """Options of the experiment."""

    thetas: Annotated[list[float], Distinct] = Field(
        default=[-1.0, -0.75, -0.5, -0.25, -0.1, -0.05, 0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0], min_length=1
    )
    """Places of the generated line; the real one is at 0."""
    samples: int = Field(default=20_000, ge=3)
    """Of each line, for training and as many again for judging."""


def measure(choice: Choice, seed: int) -> list[Curve]:
    """Both distances, and the generator's gradients, at every θ."""
    thetas = sorted(choice.thetas)
    divergence, cost, gradient, slope = [], [], [], []
    for place, theta in enumerate(thetas):
        generator = torch.Generator().manual_seed(derive(seed, "parallel-lines", place))
        real, fake, unseen_real, unseen_fake = (
            lines.sample(where, choice.samples, generator) for where in (0.0, theta, 0.0, theta)
        )
        discriminator = lines.train_discriminator(real, fake)
        divergence.append(lines.divergence_estimate(discriminator, unseen_real, unseen_fake))
        cost.append(lines.transport_cost(unseen_real, unseen_fake))
        gradient.append(lines.saturated_gradient(discriminator, theta, unseen_fake[:, 1]))
        slope.append(lines.transport_slope(unseen_real, unseen_fake))
    return [
        Curve("distance", "JS", thetas, divergence, [lines.jensen_shannon(theta) for theta in thetas]),
        Curve("distance", "W", thetas, cost, [lines.wasserstein(theta) for theta in thetas]),
        Curve("slope", "2·JS", thetas, gradient, [0.0 for _ in thetas]),
        Curve("slope", "W", thetas, slope, [float(theta != 0) for theta in thetas]),
    ]


EXPERIMENT = Experiment(
    title="Learning parallel lines",
    claims=(
        "Real points (0, z), generated ones (θ, z), z ~ N(0, 1): two lines that never meet unless θ = 0 (deck 002; "
        "Arjovsky et al. 2017, Example 1).",
        "The Jensen–Shannon divergence is log 2 for every θ ≠ 0, and 0 at θ = 0: it does not say which way to go.",
        "The Wasserstein distance is |θ|: continuous, with the slope ±1.",
    ),
    plots=(
        Plot(
            "distance", "Two distances between the lines", "θ", "distance",
            "JS: log 2 − L_D/2 of a linear discriminator that is trained on samples and judged on others. W: the "
            "cheapest transport between two samples, whose different heights cost a little near θ = 0.",
        ),
        Plot(
            "slope", "What a generator is given to learn from", "θ", "|slope in θ|",
            "2·JS: minimax's generator against the trained discriminator. W: the cheapest transport's cost.",
        ),
    ),
    parameters=Choice,
    measure=measure,
)  # fmt: skip

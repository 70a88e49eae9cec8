"""How strongly three generators are moved as their Gaussian departs from the real one (deck 000, Figure 8)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ganbench.seeds import derive
from gans.objectives import Minimax, NonSaturating, Wasserstein
from gans.theory import gaussians
from gans.theory.gaussians import Gaussian, Optimal, OptimalCritic
from harness.theory.experiments import Curve, Distinct, Experiment, Parameters
from reports.bench import Plot

SATURATING, NONSATURATING, WASSERSTEIN = "saturating", "non-saturating", "Wasserstein"
PENALISED = "Wasserstein, gradient penalty"
DRAWN = 81
WITHIN = 3.0
FEW = 20_000
"""Samples that a trained network is given: it is smooth, and costs more than a formula."""


class Choice(Parameters):
    """Options of the experiment."""

    separations: Annotated[list[Annotated[float, Field(gt=0)]], Distinct] = Field(
        default=[0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0], min_length=1
    )
    """Means θ > 0 of the generated N(θ, 1); the real one is N(0, 1)."""
    shown: float = Field(default=4.0, gt=0)
    """The separation at which discriminator and critic are drawn along the line."""
    samples: int = Field(default=1_000_000, ge=2)
    """Generated samples that a gradient is the mean of; what vanishes hangs on one in 10,000 of them."""
    steps: int = Field(default=1000, ge=1)
    batch: int = Field(default=256, ge=2)
    lr: float = Field(default=0.005, gt=0)
    width: int = Field(default=32, ge=1)
    penalty_weight: float = Field(default=10.0, gt=0)


def measure(choice: Choice, seed: int) -> list[Curve]:
    """Gradients through the best discriminators, and through those that were trained from this seed."""
    real, thetas = Gaussian(0.0), choice.separations
    generator = torch.Generator().manual_seed(derive(seed, "gradient-strength"))
    noise = gaussians.stratified_noise(choice.samples, generator)
    best: dict[str, list[float]] = {SATURATING: [], NONSATURATING: [], WASSERSTEIN: []}
    trained: dict[str, list[float]] = {SATURATING: [], NONSATURATING: [], PENALISED: []}
    curves = []
    for theta in sorted({*thetas, choice.shown}):
        fake = Gaussian(theta)
        discriminator, critic = _players(choice, theta, seed)
        if theta in thetas:
            optimal = Optimal(real, fake)
            for found, network, last in ((best, optimal, OptimalCritic()), (trained, discriminator, critic)):
                z = noise if network is optimal else noise[:: max(1, choice.samples // FEW)].float()
                name = WASSERSTEIN if network is optimal else PENALISED
                found[SATURATING].append(gaussians.generator_gradient(Minimax(), network, theta, z))
                found[NONSATURATING].append(gaussians.generator_gradient(NonSaturating(), network, theta, z))
                found[name].append(gaussians.generator_gradient(Wasserstein(), last, theta, z))
        if theta == choice.shown:
            curves += _along(discriminator, critic, real, fake, choice.penalty_weight)
    ordered = sorted(thetas)
    known = {
        SATURATING: [gaussians.saturating_strength(theta) for theta in ordered],
        NONSATURATING: [gaussians.nonsaturating_strength(theta) for theta in ordered],
        WASSERSTEIN: [gaussians.wasserstein_strength(theta) for theta in ordered],
        PENALISED: [gaussians.penalised_strength(theta, choice.penalty_weight) for theta in ordered],
    }
    for plot, found in (("optimal", best), ("trained", trained)):
        curves += [Curve(plot, name, ordered, values, known[name]) for name, values in found.items()]
    return curves


def _players(choice: Choice, theta: float, seed: int) -> tuple[nn.Module, nn.Module]:
    """A discriminator and a critic, trained to tell N(0, 1) and N(θ, 1) apart; equal θ gives equal networks."""
    real, fake = Gaussian(0.0), Gaussian(theta)
    counter = round(theta * 1e6)
    discriminator = gaussians.train_discriminator(
        real, fake, steps=choice.steps, batch=choice.batch, width=choice.width, lr=choice.lr,
        generator=torch.Generator().manual_seed(derive(seed, "gradient-strength/discriminator", counter)),
    )  # fmt: skip
    critic = gaussians.train_critic(
        real, fake, steps=choice.steps, batch=choice.batch, width=choice.width, lr=choice.lr,
        weight=choice.penalty_weight,
        generator=torch.Generator().manual_seed(derive(seed, "gradient-strength/critic", counter)),
    )  # fmt: skip
    return discriminator, critic


def _along(discriminator: nn.Module, critic: nn.Module, real: Gaussian, fake: Gaussian, weight: float) -> list[Curve]:
    """σ(D) and the critic along the line, the critic as it stands above the point half way."""
    x = gaussians.line(real, fake, reach=WITHIN, points=DRAWN)
    with torch.no_grad():
        called = discriminator(x.float()[:, None]).double().sigmoid()
        height = critic(x.float()[:, None]).double()
    fine = gaussians.line(real, fake, reach=WITHIN)
    fall = torch.cumulative_trapezoid(gaussians.penalised_slope(fine, real, fake, weight), fine)
    known = -torch.cat([fall.new_zeros(1), fall])[:: (len(fine) - 1) // (DRAWN - 1)]
    middle = (DRAWN - 1) // 2
    return [
        Curve("discriminator", "σ(D(x))", x.tolist(), called.tolist(),
              gaussians.optimal_discriminator(x, real, fake).tolist()),
        Curve("critic", "f(x) − f(θ/2)", x.tolist(), _above(height, middle), _above(known, middle)),
    ]  # fmt: skip


def _above(height: Tensor, middle: int) -> list[float]:
    values: list[float] = (height - height[middle]).tolist()
    return values


EXPERIMENT = Experiment(
    title="Gradient strength as the supports separate",
    claims=(
        "Real N(0, 1), generated N(θ, 1); the strength is dL_G/dθ against a discriminator that is held: a step "
        "against it leads towards the data where it is above 0.",
        "Saturating (minimax): θ·E_q σ(l*), the slope of 2·JS; at most (θ/2)·exp(−θ²/8), and near √(π/2)·exp(−θ²/8) "
        "for large θ. It vanishes: D wins and G learns nothing.",
        "Non-saturating: θ·(1 − E_q σ(l*)), which tends to θ.",
        "Wasserstein with the best 1-Lipschitz critic: 1 at every θ > 0, the slope of W = |θ|.",
        "Under WGAN-GP's penalty of weight λ the best critic is steeper: −f'(x) = 1 + (P(x) − Q(x))/(2λ·r(x)) with the "
        "distribution functions P and Q and the density r of the points at which the slope is penalised.",
        "On a line the penalty has a second minimum, a critic of the wrong sign; here its weight grows from 0 over the "
        "first tenth of the critic's steps, so that the data choose the sign.",
    ),
    plots=(
        Plot(
            "optimal", "Against the best discriminator", "separation θ", "dL_G/dθ",
            "By autograd through our objectives, D and critic in closed form.", error="relative", log_y=True,
        ),
        Plot(
            "trained", "Against trained networks", "separation θ", "dL_G/dθ",
            "D and a critic with gradient penalty trained at each θ. Where the samples no longer tell how steep the "
            "best D would be, a network's logit flattens, and the non-saturating strength with it.", log_y=True,
        ),
        Plot(
            "discriminator", "The discriminator saturates", "x", "probability of being real",
            "Trained at the one separation that is shown.",
        ),
        Plot(
            "critic", "The critic does not", "x", "f(x) − f(θ/2)",
            "The critic at the same separation: a clean slope everywhere.",
        ),
    ),
    parameters=Choice,
    measure=measure,
)  # fmt: skip

"""A trained discriminator against the best one, on two Gaussians of which the generated one is fixed."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from ganbench.seeds import derive
from gans.theory import gaussians
from gans.theory.gaussians import Gaussian
from harness.theory.experiments import Curve, Distinct, Experiment, Parameters
from reports.bench import Plot

LOOKS = 25
"""Places along the training at which the error is taken."""
DRAWN = 81
"""Points at which a discriminator is looked at."""
WITHIN = 3.0
"""Deviations around both means between which it is judged: beyond, it sees next to no samples to learn from."""


def _mean_and_std(pair: list[float]) -> list[float]:
    if len(pair) != 2 or pair[1] <= 0:
        raise PydanticCustomError("gaussian", "must be [mean, standard deviation] with a deviation above 0")
    return pair


class Choice(Parameters):
    """Options of the experiment."""

    fakes: Annotated[list[Annotated[list[float], AfterValidator(_mean_and_std)]], Distinct] = Field(
        default=[[1.0, 1.0], [3.0, 1.0], [1.0, 0.5]], min_length=1
    )
    """[mean, standard deviation] of each generated Gaussian; the real one is N(0, 1)."""
    steps: int = Field(default=3000, ge=LOOKS)
    batch: int = Field(default=512, ge=2)
    lr: float = Field(default=0.01, gt=0)
    width: int = Field(default=32, ge=1)


def measure(choice: Choice, seed: int) -> list[Curve]:
    """Each generated Gaussian's discriminator, trained from this seed."""
    curves = []
    real = Gaussian(0.0)
    for place, (mean, std) in enumerate(choice.fakes):
        fake = Gaussian(mean, std)
        label = f"p_G = N({mean:g}, {std:g}²)"
        x = gaussians.line(real, fake, reach=WITHIN, points=DRAWN)
        best = gaussians.optimal_discriminator(x, real, fake)
        looks = sorted({round(choice.steps ** (i / (LOOKS - 1))) for i in range(LOOKS)})
        errors: list[float] = []

        def watch(step: int, network: nn.Module, *, x: Tensor = x, best: Tensor = best, errors: list[float] = errors,
                  looks: list[int] = looks) -> None:  # fmt: skip
            if step in looks:
                errors.append(float((_called_real(network, x) - best).abs().max()))

        network = gaussians.train_discriminator(
            real,
            fake,
            steps=choice.steps,
            batch=choice.batch,
            lr=choice.lr,
            width=choice.width,
            generator=torch.Generator().manual_seed(derive(seed, "optimal-discriminator", place)),
            watch=watch,
        )
        known = gaussians.jensen_shannon(real, fake)
        curves += [
            Curve("discriminator", label, x.tolist(), _called_real(network, x).tolist(), best.tolist()),
            Curve("training", label, [float(step) for step in looks], errors),
            Curve("value", "V(D, G)", [known], [_value(network, real, fake)], [2 * known - math.log(4)]),
        ]
    return curves


@torch.no_grad()
def _called_real(network: nn.Module, x: Tensor) -> Tensor:
    """σ(D(x)), float64."""
    called: Tensor = network(x.float()[:, None]).double().sigmoid()
    return called


@torch.no_grad()
def _value(network: nn.Module, real: Gaussian, fake: Gaussian) -> float:
    """E_p* log σ(D) + E_pG log(1 − σ(D)), by the trapezoid rule."""
    x = gaussians.line(real, fake)
    logits = network(x.float()[:, None]).double()
    inside = real.log_density(x).exp() * nn.functional.logsigmoid(logits)
    inside += fake.log_density(x).exp() * nn.functional.logsigmoid(-logits)
    return float(torch.trapezoid(inside, x))


EXPERIMENT = Experiment(
    title="The optimal discriminator",
    claims=(
        "For a fixed generator the best discriminator is D*(x) = p*(x)/(p*(x) + p_G(x)) (Goodfellow et al. 2014, "
        "Proposition 1): its logit is log p*(x) − log p_G(x).",
        "The game's value is then −log 4 + 2·JS(p*, p_G), which is −log 4 where the two are the same.",
        "A network that is trained on samples comes near to it where there are samples; it is judged within three "
        "deviations of both means, and its value by integrals over both densities.",
    ),
    plots=(
        Plot(
            "discriminator", "The trained discriminator", "x", "probability of being real",
            "p* = N(0, 1). Error: |σ(D(x)) − D*(x)|.",
        ),
        Plot(
            "training", "Its largest error while training", "discriminator steps", "largest |σ(D) − D*| over x",
            "The error's way down; after the last step, it is that of the curves beside.", error="none", log_x=True,
            log_y=True,
        ),
        Plot(
            "value", "The value of the game", "JS(p*, p_G), in nats", "V(D, G)",
            "One point for each generated Gaussian. No discriminator can have more than the closed form.",
        ),
    ),
    parameters=Choice,
    measure=measure,
)  # fmt: skip

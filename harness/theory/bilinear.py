"""The bilinear saddle u·v: four ways to play it, two schedules of step sizes, and the prediction method's bound."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ganbench.errors import UserError
from ganbench.seeds import derive
from gans.theory import bilinear
from gans.theory.bilinear import Method
from harness.theory.experiments import Curve, Distinct, Experiment, Parameters
from reports.bench import Plot

METHODS: dict[Method, str] = {
    "simultaneous": "simultaneous",
    "alternating": "alternating",
    "prediction": "prediction step",
    "extragradient": "extragradient",
}
LOOKS = 60
PATH_STEPS = 200
FACTOR_STEPS = 50


class Choice(Parameters):
    """Options of the experiment."""

    step: float = Field(default=0.1, gt=0, lt=1)
    """The constant step size of both players."""
    steps: int = Field(default=600, ge=2)
    """Steps with constant sizes."""
    sizes: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Distinct] = Field(
        default=[0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], min_length=1
    )
    """Constant step sizes at which the factor per step is taken."""
    first: float = Field(default=0.5, gt=0, lt=1)
    """C_α = C_β of the decreasing step sizes C/√k."""
    long: int = Field(default=5000, ge=2)
    """Steps with decreasing sizes."""


def measure(choice: Choice, seed: int) -> list[Curve]:
    """All methods from one start on the unit circle, at an angle drawn by the seed."""
    angle = 2 * math.pi * torch.rand(1, generator=torch.Generator().manual_seed(derive(seed, "bilinear"))).item()
    start = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    curves = []
    for plot, sizes in (
        ("constant", bilinear.constant_steps(choice.step, choice.steps)),
        ("decreasing", bilinear.decreasing_steps(choice.first, choice.long)),
    ):
        looks = _looks(len(sizes), evenly=plot == "constant")
        for method, label in METHODS.items():
            places = bilinear.play(method, start, sizes, sizes)
            known = bilinear.trajectory(method, start, sizes, sizes)
            curves.append(Curve(plot, label, *_at(looks, _distance(places), _distance(known))))
            if plot == "constant":
                path = places[: PATH_STEPS + 1]
                curves.append(Curve("paths", label, path[:, 0].tolist(), path[:, 1].tolist()))
                curves.append(_factors(choice.sizes, start, method))
            elif method == "prediction":
                curves.append(_bounded(places, looks, choice.first))
    return curves


def _factors(sizes: list[float], start: Tensor, method: Method) -> Curve:
    """The distance's mean factor per step at each size, against the eigenvalues' modulus."""
    measured = []
    for size in sizes:
        steps = bilinear.constant_steps(size, FACTOR_STEPS)
        # the distance swings around its trend along an ellipse; the ellipse's own size does not
        span = bilinear.ellipse(bilinear.play(method, start, steps, steps)[[0, -1]], method, size, size)
        measured.append(float((span[1] / span[0]) ** (0.5 / FACTOR_STEPS)))
    return Curve("factor", METHODS[method], sizes, measured, [bilinear.rate(method, size, size) for size in sizes])


def _bounded(places: Tensor, looks: list[int], first: float) -> Curve:
    gap = bilinear.gap(bilinear.averages(places), 1.0)
    bound = bilinear.error_bound(places, 1.0, first, first)
    chosen = torch.tensor(looks) - 1
    return Curve("bound", "gap of the averages", [float(look) for look in looks], gap[chosen].tolist(),
                 bound[chosen].tolist())  # fmt: skip


def _distance(places: Tensor) -> Tensor:
    """To the saddle at 0; no square of a tiny coordinate becomes 0 on the way, as in a norm."""
    return torch.hypot(places[:, 0], places[:, 1])


def _looks(steps: int, *, evenly: bool) -> list[int]:
    """Steps, the last among them: evenly from the start on, or from the first on and closer together there."""
    shares = [i / (LOOKS - 1) for i in range(LOOKS)]
    return sorted({round(share * steps if evenly else steps**share) for share in shares})


def _at(looks: list[int], measured: Tensor, known: Tensor) -> tuple[list[float], list[float], list[float]]:
    for name, values in (("a step", measured), ("a matrix", known)):
        if not values.isfinite().all():
            raise UserError(f"bilinear: {name} went beyond the largest number: lower steps or the step sizes")
    return [float(look) for look in looks], measured[looks].tolist(), known[looks].tolist()


EXPERIMENT = Experiment(
    title="The bilinear saddle: orbit and cure",
    claims=(
        "L(u, v) = u·v, minimised over u and maximised over v, has its only saddle at 0. With step sizes of αβ = s, "
        "the distance to it changes in the long run by a factor per step: √(1 + s) for simultaneous gradients (away), "
        "1 for alternating ones (they go round on an ellipse, βu² + αv² − αβuv = const), √(1 − s) with the prediction "
        "step (towards it), and √(1 − s + s²) for extragradient (towards it).",
        "The prediction step is deck 000's: u moves, v answers ū = u_{k+1} + (u_{k+1} − u_k), and ū is forgotten.",
        "Theorem (Yadav et al. 2018, as deck 000 prints it): with sizes C_α/√k and C_β/√k the averages of the iterates "
        "have an error of at most (D_u²/C_α + D_v²/C_β)/(2√l) + √(l+1)/l·(C_αG_u²/2 + C_αL_vG_u² + C_αL_vD_v² + "
        "C_βG_v²/2) after l steps.",
        "At the saddle itself, L(û, v*) − L(u*, v̂) is 0 whatever the players do; so the error taken here is its "
        "largest value against any u, v of the unit ball, |û| + |v̂|, with D_u and D_v reaching to all of that ball.",
    ),
    plots=(
        Plot(
            "paths", "The players' ways", "u", "v", "Constant step sizes, from the same start.", error="none", path=True
        ),
        Plot(
            "constant", "Distance to the saddle, constant steps", "step", "distance to the saddle",
            "Played by autograd and SGD.", error="relative", log_y=True,
        ),
        Plot(
            "factor", "Factor per step", "step size of both players", "factor per step",
            "Constant step sizes; the factor of the method's own ellipse, above 1 away from the saddle.",
        ),
        Plot(
            "decreasing", "Distance to the saddle, steps C/√k", "step", "distance to the saddle",
            "The theorem's schedule.", error="relative", log_x=True, log_y=True,
        ),
        Plot(
            "bound", "The prediction method's error and its bound", "step l", "error of the averages",
            "Steps C/√k; the bound with the constants of the run itself.", error="bound", log_x=True, log_y=True,
        ),
    ),
    parameters=Choice,
    measure=measure,
)  # fmt: skip

"""The bilinear saddle L(u, v) = u·v: min over u, max over v, with the only saddle at 0 (decks 000 and 002).

`play` moves the two players by autograd and optimisers; the other functions are what algebra says of the same moves.
Every method is linear here, z_{k+1} = M_k z_k with z = (u, v), and its step sizes α_k (of u) and β_k (of v) are given
for each step.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from gans.lookahead import predicted, restore, snapshot

Method = Literal["simultaneous", "alternating", "prediction", "extragradient"]


def constant_steps(size: float, count: int) -> Tensor:
    """α_k = size for k = 1 … count, float64 (count,)."""
    return torch.full((count,), size, dtype=torch.float64)


def decreasing_steps(size: float, count: int) -> Tensor:
    """α_k = size/√k for k = 1 … count, the theorem's choice (Yadav et al. 2017); float64 (count,)."""
    steps = torch.arange(1, count + 1, dtype=torch.float64)
    return size * steps.rsqrt()


def play(method: Method, start: Tensor, alphas: Tensor, betas: Tensor) -> Tensor:
    """The game played by gradients and plain SGD: places (steps + 1, 2) from `start` float64 (2,), which is the first.

    simultaneous: both step from the same place; alternating: v answers u_{k+1}; prediction: v answers
    ū_{k+1} = 2u_{k+1} − u_k; extragradient: both step from z_k by the gradients where a first step leads.
    """
    u, v = (value.detach().clone().requires_grad_() for value in start)
    minimiser, maximiser = torch.optim.SGD([u], lr=1.0), torch.optim.SGD([v], lr=1.0, maximize=True)
    places = [start.detach().clone()]
    for alpha, beta in zip(alphas.tolist(), betas.tolist(), strict=True):
        minimiser.param_groups[0]["lr"], maximiser.param_groups[0]["lr"] = alpha, beta
        before = snapshot([u, v])
        if method in ("simultaneous", "extragradient"):
            _gradients(u, v)
            minimiser.step()
            maximiser.step()
            if method == "extragradient":
                _gradients(u, v)
                restore([u, v], before)
                minimiser.step()
                maximiser.step()
        else:
            _gradients(u, v)
            minimiser.step()
            if method == "prediction":
                with predicted([u], before[:1]):
                    _gradients(u, v)
            else:
                _gradients(u, v)
            maximiser.step()
        places.append(torch.stack([u.detach(), v.detach()]))
    return torch.stack(places)


def _gradients(u: Tensor, v: Tensor) -> None:
    u.grad, v.grad = torch.autograd.grad(u * v, (u, v))


def transition(method: Method, alpha: float, beta: float) -> Tensor:
    """The matrix M of one step, float64 (2, 2)."""
    match method:
        case "simultaneous":
            rows = [[1.0, -alpha], [beta, 1.0]]
        case "alternating":
            rows = [[1.0, -alpha], [beta, 1.0 - alpha * beta]]
        case "prediction":
            rows = [[1.0, -alpha], [beta, 1.0 - 2 * alpha * beta]]
        case "extragradient":
            rows = [[1.0 - alpha * beta, -alpha], [beta, 1.0 - alpha * beta]]
    return torch.tensor(rows, dtype=torch.float64)


def trajectory(method: Method, start: Tensor, alphas: Tensor, betas: Tensor) -> Tensor:
    """The same places as `play`, by the matrices alone: (steps + 1, 2)."""
    places = [start.detach().clone()]
    for alpha, beta in zip(alphas.tolist(), betas.tolist(), strict=True):
        places.append(transition(method, alpha, beta) @ places[-1])
    return torch.stack(places)


def rate(method: Method, alpha: float, beta: float) -> float:
    """The factor by which the distance to the saddle grows each step in the long run: the eigenvalues' modulus.

    With s = αβ: simultaneous √(1+s) (away from it); alternating 1 (an orbit, for s < 4); prediction √(1−s) (towards
    it, for 0 < s < 1); extragradient √(1−s+s²) (towards it, for 0 < s < 1).

    Raises:
        ValueError: s outside these ranges, where the two eigenvalues are no conjugate pair or lead elsewhere.
    """
    s = alpha * beta
    limit = {"simultaneous": math.inf, "alternating": 4.0, "prediction": 1.0, "extragradient": 1.0}[method]
    if not 0 < s < limit:
        raise ValueError(f"{method}: alpha·beta = {s:g} must lie between 0 and {limit:g}")
    return {
        "simultaneous": math.sqrt(1 + s),
        "alternating": 1.0,
        "prediction": math.sqrt(max(0.0, 1 - s)),
        "extragradient": math.sqrt(1 - s + s * s),
    }[method]


def ellipse(places: Tensor, method: Method, alpha: float, beta: float) -> Tensor:
    """A quadratic form of (…, 2) places that each step of constant sizes multiplies by det M = `rate`², exactly.

    With M = (a b; c d) it is c·u² + (d−a)·u·v − b·v². Alternating steps leave it alone: its level sets are the orbits.
    """
    (a, b), (c, d) = transition(method, alpha, beta).tolist()
    u, v = places[..., 0], places[..., 1]
    form: Tensor = c * u.square() + (d - a) * u * v - b * v.square()
    return form


def averages(places: Tensor) -> Tensor:
    """(û^l, v̂^l) for l = 1 … steps: the means of the first l places, of which the start is one; (steps, 2)."""
    left = places[:-1]
    counts = torch.arange(1, len(left) + 1, dtype=left.dtype)
    return left.cumsum(0) / counts[:, None]


def gap(place: Tensor, radius: float) -> Tensor:
    """max over |u|, |v| ≤ radius of L(û, v) − L(u, v̂) = radius·(|û| + |v̂|), for (…, 2) places.

    L(û, v*) − L(u*, v̂) at the saddle itself is 0 everywhere here and would say nothing.
    """
    return radius * place.abs().sum(-1)


def error_bound(places: Tensor, radius: float, c_alpha: float, c_beta: float) -> Tensor:
    """The theorem's bound on the gap of the averages, for l = 1 … steps, as deck 000 prints it (Yadav et al. 2017):

        (D_u²/C_α + D_v²/C_β)/(2√l) + √(l+1)/l · (C_α·G_u²/2 + C_α·L_v·G_u² + C_α·L_v·D_v² + C_β·G_v²/2)

    The constants are those of the run up to l: D_u, D_v reach from any point of the `gap`'s ball to any place of
    the run, G_u = max |v|, G_v = max |ū|, and L_v = 1.

    Args:
        places: (steps + 1, 2) of the prediction method with the steps C_α/√k and C_β/√k.
        radius: of the ball that `gap` compares with.
        c_alpha: C_α.
        c_beta: C_β.
    """
    u, v = places[:, 0], places[:, 1]
    reach_u, reach_v = (value.abs().cummax(0).values[1:] + radius for value in (u, v))
    slope_u = v.abs().cummax(0).values[:-1]
    slope_v = (2 * u[1:] - u[:-1]).abs().cummax(0).values
    steps = torch.arange(1, len(places), dtype=places.dtype)
    first = (reach_u.square() / c_alpha + reach_v.square() / c_beta) / (2 * steps.sqrt())
    # L_v = 1
    bracket = 1.5 * c_alpha * slope_u.square() + c_alpha * reach_v.square() + 0.5 * c_beta * slope_v.square()
    return first + (steps + 1).sqrt() / steps * bracket

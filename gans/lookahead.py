"""Parameters moved for one look at the game and put back to the last bit, whatever the optimiser is.

The prediction method (Yadav et al. 2017; deck 000) lets a player answer its opponent's predicted place
ū = u_{k+1} + (u_{k+1} − u_k); extragradient (Korpelevich 1976) lets both answer the place where a first step would
have led. Either is a place to compute gradients at, never one to stay at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def snapshot(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Copies of the parameters' values, without gradients."""
    return [parameter.detach().clone() for parameter in parameters]


def restore(parameters: Iterable[Tensor], values: Sequence[Tensor]) -> None:
    """Put the values of a `snapshot` back, in place; gradients stay as they are."""
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


@contextmanager
def predicted(parameters: Iterable[Tensor], previous: Sequence[Tensor]) -> Iterator[None]:
    """The parameters at u + (u − previous) inside the block, and at u again after it, to the last bit.

    Args:
        parameters: the player's, after its step.
        previous: a `snapshot` of them from before that step.
    """
    player = list(parameters)
    now = snapshot(player)
    restore(player, [value + (value - before) for value, before in zip(now, previous, strict=True)])
    try:
        yield
    finally:
        restore(player, now)

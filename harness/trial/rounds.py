"""How many rounds of the game are played between two looks at the clock, the losses and the signals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gans.module import HEALTH_EVERY
from gans.recipe import Recipe

FLUSH_ROUNDS = HEALTH_EVERY
"""Rounds between two readings of the losses: reading one stalls the device."""

CHUNK_NUMBERS = 200_000
"""Real numbers handed to one `training_step`: many rounds of a tiny network, one of a large one."""


def rounds_per_call(recipe: Recipe, shape: tuple[int, ...]) -> int:
    """Rounds that one `training_step` plays: many where they are tiny, so that Lightning's own cost is paid seldom."""
    numbers = recipe.batch_size * recipe.n_critic * math.prod(shape)
    return max(1, min(FLUSH_ROUNDS, CHUNK_NUMBERS // numbers))


def chunks(start: int, marks: Sequence[int], size: int) -> Iterator[range]:
    """Ranges of at most `size` rounds from `start` to the last mark, none of which reaches over a mark.

    >>> list(chunks(2, [4, 9], 3))
    [range(2, 4), range(4, 7), range(7, 9)]
    """
    for mark in marks:
        for first in range(start, mark, size):
            yield range(first, min(first + size, mark))
        start = max(start, mark)

"""Which of the images at hand go into which part: chosen by the seed, by place in the natural order alone."""

from __future__ import annotations

import numpy as np

from ganbench.errors import UserError
from ganbench.seeds import derive


def three_ways(count: int, *, seed: int, where: str) -> dict[str, np.ndarray]:
    """Ascending indices of "train" (80 %), "selection" and "test" (10 % each, rounded down).

    Raises `UserError` below 20 images, of which a held-out part would have fewer than 2.
    """
    held_out = count // 10
    if held_out < 2:
        raise UserError(
            f"{where} holds {count} image{'' if count == 1 else 's'}, too few to hold out a tenth for selection and "
            "a tenth for the test: give at least 20"
        )
    order = np.random.default_rng(derive(seed, "three-ways")).permutation(count)
    test, selection, train = np.split(order, [held_out, 2 * held_out])
    return {"train": np.sort(train), "selection": np.sort(selection), "test": np.sort(test)}


def hold_out(count: int, *, seed: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Ascending indices of train (90 %) and selection (10 %), of a train part that came with a test part."""
    held_out = count // 10
    if held_out < 2:
        raise UserError(
            f"{where} holds {count} training images, too few to hold out a tenth for selection: "
            "give at least 20, or a selection folder beside train and test"
        )
    order = np.random.default_rng(derive(seed, "hold-out")).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def subset(train: np.ndarray, n: int | None, *, seed: int, where: str) -> np.ndarray:
    """`n` of the indices `train`, in their order (None: all); a smaller choice is part of a larger one."""
    if n is None or n == len(train):
        return train
    if n > len(train):
        raise UserError(f"data.n={n} asks for more than the {len(train)} training images of {where}: lower it")
    chosen = np.random.default_rng(derive(seed, "subset")).permutation(len(train))[:n]
    return train[np.sort(chosen)]

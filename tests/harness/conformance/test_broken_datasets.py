"""Each check of a dataset catches the fault that it is meant for."""

from __future__ import annotations

import numpy as np
import pytest

from ganbench.errors import UserError
from harness.conformance.datasets import CHECKS
from harness.data import Dataset

COUNTS = {"train": 100, "selection": 30, "test": 30}


def draw(seed=0, *, size=8, n=None, counts=COUNTS):
    counts = {**counts, "train": n or counts["train"]}
    return [
        np.random.default_rng([seed, part]).integers(0, 256, (count, 1, size, size), dtype=np.uint8)
        for part, count in enumerate(counts.values())
    ]


def classes(parts, dtype=np.int64):
    return {name: (np.arange(len(part)) % 5).astype(dtype) for name, part in zip(COUNTS, parts, strict=True)}


def sound(*, size=None, n=None, seed=0):
    parts = draw(seed, size=size or 8, n=n)
    return Dataset("sound", *parts, labels=classes(parts))


def only_the_shape_it_has(*, size=None, n=None, seed=0):
    if size or n:
        raise UserError("it is what it is: leave data.size and data.n out")
    return Dataset("sound", *draw(seed))


@pytest.mark.parametrize("load", [sound, only_the_shape_it_has])
def test_a_sound_dataset_passes_every_check(failures, load):
    assert failures(load) == {}


def arrays(*, size=None, n=None, seed=0):
    return draw(seed)


def floats(*, size=None, n=None, seed=0):
    return Dataset("floats", *(part / 255 for part in draw(seed)))


def a_scale_of_one_cut_off(*, size=None, n=None, seed=0):
    return Dataset("black", *((part / 255).astype(np.uint8) for part in draw(seed, size=size or 8, n=n)))


def points_with_nan(*, size=None, n=None, seed=0):
    if size:
        raise UserError("points have no size: leave it out")
    parts = [part.reshape(len(part), -1)[:, :2].astype(np.float32) for part in draw(seed, n=n)]
    parts[2][3] = np.nan
    return Dataset("points", *parts)


def the_test_part_is_training_data(*, size=None, n=None, seed=0):
    train, selection, _ = draw(seed, size=size or 8, n=n)
    return Dataset("leaky", train, selection, train[:10])


def labels_as_floats(*, size=None, n=None, seed=0):
    parts = draw(seed, size=size or 8, n=n)
    return Dataset("labelled", *parts, labels=classes(parts, np.float32))


def a_class_unseen_in_training(*, size=None, n=None, seed=0):
    parts = draw(seed, size=size or 8, n=n)
    labels = classes(parts)
    labels["test"][0] = 7
    return Dataset("labelled", *parts, labels=labels)


def from_the_global_generator(*, size=None, n=None, seed=0):
    return sound(size=size, n=n, seed=np.random.randint(1000))  # noqa: NPY002


def n_moves_the_test_part(*, size=None, n=None, seed=0):
    return Dataset("moving", *draw(seed if n is None else n, size=size or 8, n=n))


def n_is_ignored(*, size=None, n=None, seed=0):
    return sound(size=size, seed=seed)


def size_is_ignored(*, size=None, n=None, seed=0):
    return sound(n=n, seed=seed)


BROKEN = {
    arrays: "loaded",
    floats: "loaded",
    a_scale_of_one_cut_off: "ranges",
    points_with_nan: "ranges",
    the_test_part_is_training_data: "splits",
    labels_as_floats: "labels",
    a_class_unseen_in_training: "labels",
    from_the_global_generator: "determinism",
    n_moves_the_test_part: "number",
    n_is_ignored: "number",
    size_is_ignored: "size",
}


@pytest.mark.parametrize("load", BROKEN)
def test_a_fault_is_caught_by_the_check_that_is_meant_for_it(failures, load):
    assert BROKEN[load] in failures(load)


def test_every_check_has_caught_something():
    assert set(BROKEN.values()) == {name for name, _ in CHECKS}

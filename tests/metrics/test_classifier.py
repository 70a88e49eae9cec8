import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_isc import isc_features_to_metric

from ganbench.errors import UserError
from metrics import inception_score


@pytest.mark.parametrize("classes", [2, 10, 1008])
@pytest.mark.parametrize("gap", [50.0, 745.0, 1e5])
def test_one_hot_answers_score_the_number_of_classes(classes: int, gap: float) -> None:
    assert inception_score(np.eye(classes) * gap, splits=1).value == pytest.approx(classes, rel=1e-9)


def test_equal_answers_score_one() -> None:
    logits = np.tile(np.array([3.0, -1.0, 0.5]), (40, 1))
    estimate = inception_score(logits)
    assert estimate.value == pytest.approx(1, abs=1e-12)
    assert estimate.std == pytest.approx(0, abs=1e-12)


def test_classes_that_are_never_answered_give_no_nan() -> None:
    logits = np.zeros((20, 4))
    logits[:, :2] = 2000
    assert inception_score(logits, splits=2).value == pytest.approx(1)


def test_two_known_distributions() -> None:
    # half of the answers (.9, .1), half (.1, .9): q is uniform, KL = log 2 + .9 log .9 + .1 log .1
    logits = np.log(np.array([[0.9, 0.1], [0.1, 0.9]] * 10))
    expected = 2 * 0.9**0.9 * 0.1**0.1
    assert inception_score(logits, splits=1).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "splits"), [(500, 10), (503, 7), (60, 1)])
def test_agrees_with_torch_fidelity(n: int, splits: int) -> None:
    logits = np.random.default_rng(n).normal(0, 3, size=(n, 30))
    expected = isc_features_to_metric(torch.from_numpy(logits), splits, True, 9)
    estimate = inception_score(logits, splits=splits, seed=9)
    assert estimate.value == pytest.approx(expected["inception_score_mean"], rel=1e-6)
    assert estimate.std == pytest.approx(expected["inception_score_std"], rel=1e-6, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 1000), offset=st.floats(-1e3, 1e3))
def test_lies_between_one_and_the_number_of_classes(seed: int, scale: float, offset: float) -> None:
    logits = np.random.default_rng(seed).normal(size=(30, 6)) * scale
    value = inception_score(logits, splits=3).value
    assert 1 - 1e-9 <= value <= 6 + 1e-9
    assert inception_score(logits + offset, splits=3).value == pytest.approx(value, rel=1e-9)


def test_fewer_samples_than_splits_are_refused() -> None:
    with pytest.raises(UserError, match="at least 10"):
        inception_score(np.zeros((9, 3)))
    with pytest.raises(UserError, match="splits=0"):
        inception_score(np.zeros((9, 3)), splits=0)

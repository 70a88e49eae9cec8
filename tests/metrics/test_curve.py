import numpy as np
import pytest

from ganbench.errors import UserError
from metrics import prd
from metrics.curve import _best, _curve


def test_discrete_distributions_have_their_closed_form() -> None:
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    precision, recall = _curve(p, q)
    assert precision.max() == pytest.approx(0.5)
    assert recall.max() == pytest.approx(0.5)
    np.testing.assert_allclose(precision[500] + recall[500], 1.0)  # λ = 1: both are Σ min(p, q)
    # α = min(λ, 1)/2, β = α/λ: F is largest where both are ½
    assert _best(precision, recall, 8) == pytest.approx(0.5)
    assert _best(precision, recall, 1 / 8) == pytest.approx(0.5)


def blobs(modes: int, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 100 * np.random.default_rng(0).normal(size=(20, 6))
    return (centres[np.arange(n) % modes] + rng.normal(size=(n, 6))).astype(np.float32)


def test_dropped_modes_cost_recall_and_invented_ones_precision() -> None:
    everything, some = blobs(20, 400, 1), blobs(5, 400, 2)
    dropped = prd(real=everything, fake=some)
    # precision 1 at recall ¼, and λ·¼ at recall ¼ before: F_β = (1 + β²)·¼/(β² + ¼)
    assert dropped.f1_8 == pytest.approx((1 + 1 / 64) * 0.25 / (1 / 64 + 0.25), abs=0.05)
    assert dropped.f8 == pytest.approx(65 * 0.25 / (64 + 0.25), abs=0.05)
    invented = prd(real=some, fake=everything)
    assert (invented.f8, invented.f1_8) == pytest.approx((dropped.f1_8, dropped.f8), abs=0.05)
    assert (np.diff(dropped.precision) >= -1e-12).all()
    assert (np.diff(dropped.recall) <= 1e-12).all()


def test_unequal_sizes_are_weighted_and_the_seed_is_all_that_is_random() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    equal = prd(real=blobs(20, 400, 1), fake=blobs(20, 400, 2))
    unequal = prd(real=blobs(20, 400, 1), fake=blobs(20, 80, 2))
    assert equal.f8 > 0.95
    assert unequal.f8 == pytest.approx(equal.f8, abs=0.05)
    assert prd(real=blobs(20, 400, 1), fake=blobs(20, 400, 2)) == equal
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_constant_features_and_mistakes() -> None:
    same = np.ones((30, 3))
    assert prd(real=same, fake=same).f8 == pytest.approx(1, abs=1e-3)
    with pytest.raises(UserError, match="at least 20"):
        prd(real=same, fake=same[:19])
    with pytest.raises(UserError, match="two clusters"):
        prd(real=same, fake=same, clusters=1)

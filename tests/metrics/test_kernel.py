import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from ganbench.errors import UserError
from metrics import kernel_distance


def test_by_hand() -> None:
    # d = 1, kernel (xy + 1)³: own pairs 0·1 → 1 and 1·2 → 27; cross pairs 0·1, 0·2, 1·1, 1·2 → 1, 1, 8, 27
    real, fake = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    estimate = kernel_distance(real=real, fake=fake, subsets=3, subset_size=2)
    assert estimate.value == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)
    assert estimate.std == pytest.approx(0, abs=1e-12)


def test_agrees_with_torch_fidelity_on_the_same_subsets() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(300, 24)), rng.normal(0.3, 1.1, size=(250, 24))
    expected = kid_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), kid_subsets=20, kid_subset_size=100, rng_seed=5, verbose=False
    )
    estimate = kernel_distance(real=real, fake=fake, subsets=20, subset_size=100, seed=5)
    assert estimate.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)
    assert estimate.std == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-6)


def test_equal_laws_are_at_zero_on_average() -> None:
    values = []
    for seed in range(30):
        real, fake = np.random.default_rng(seed).normal(size=(2, 200, 8))
        values.append(kernel_distance(real=real, fake=fake, subsets=1, subset_size=200).value)
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0 < max(values)


def test_rows_in_another_order_give_the_same_full_estimate() -> None:
    rng = np.random.default_rng(1)
    real, fake = rng.normal(size=(50, 4)), rng.normal(1, 1, size=(50, 4))
    value = kernel_distance(real=real, fake=fake, subsets=1, subset_size=50).value
    shuffled = kernel_distance(real=rng.permutation(real), fake=rng.permutation(fake), subsets=1, subset_size=50)
    assert shuffled.value == pytest.approx(value, rel=1e-12)


def test_too_few_samples_and_empty_settings_are_refused() -> None:
    x = np.zeros((9, 2))
    with pytest.raises(UserError, match="at least 10"):
        kernel_distance(real=x, fake=x, subset_size=10)
    with pytest.raises(UserError, match="at least one subset"):
        kernel_distance(real=x, fake=x, subset_size=1)

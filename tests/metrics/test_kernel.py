import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from ganbench.errors import UserError
from metrics import kernel_distance, kernel_distance_all


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


def test_all_pairs_are_one_full_subset_whatever_the_blocks(monkeypatch) -> None:
    rng = np.random.default_rng(2)
    real, fake = rng.normal(size=(50, 4)), rng.normal(1, 1, size=(50, 4))
    expected = kernel_distance(real=real, fake=fake, subsets=1, subset_size=50).value
    found = kernel_distance_all(real=real, fake=fake)
    assert found.value == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr("metrics.kernel.BLOCK", 7)
    blockwise = kernel_distance_all(real=real, fake=torch.from_numpy(fake))
    assert (blockwise.value, blockwise.std) == pytest.approx((found.value, found.std), rel=1e-12)


def test_the_standard_error_is_the_delete_one_jackknife() -> None:
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(12, 3)), rng.normal(0.5, 1, size=(9, 3))
    variance = 0.0
    for side in ("real", "fake"):
        n = len(real if side == "real" else fake)
        without = [
            kernel_distance_all(
                real=np.delete(real, i, axis=0) if side == "real" else real,
                fake=np.delete(fake, i, axis=0) if side == "fake" else fake,
            ).value
            for i in range(n)
        ]
        variance += (n - 1) * np.var(without)
    assert kernel_distance_all(real=real, fake=fake).std == pytest.approx(np.sqrt(variance), rel=1e-9)


@pytest.mark.parametrize(("shift", "largest"), [(0.0, 1.6), (0.5, 1.2)])
def test_the_standard_error_is_the_deviation_of_fresh_estimates_or_somewhat_more(shift: float, largest: float) -> None:
    found = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        found.append(kernel_distance_all(real=rng.normal(size=(60, 3)), fake=rng.normal(shift, 1, size=(80, 3))))
    ratio = np.mean([one.std for one in found]) / np.std([one.value for one in found])
    assert 0.85 < ratio < largest

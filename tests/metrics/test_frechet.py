import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from ganbench.errors import UserError
from metrics import FrechetReference, frechet_distance


def features(seed: int, n: int, d: int, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * scale / np.sqrt(d) + rng.normal(size=d)


def with_moments(rng: np.random.Generator, mean: np.ndarray, covariance: np.ndarray, n: int) -> np.ndarray:
    """A sample with exactly this mean and covariance."""
    x = rng.normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x @ np.linalg.cholesky(covariance).T + mean


def test_toy_of_the_compared_frameworks() -> None:
    real = np.ones((100, 2))
    real[:50, 0] = 2
    fake = np.full((100, 2), 9.0)
    fake[50:, 0] = 2
    assert frechet_distance(real=real, fake=fake) == pytest.approx(980 / 11, rel=1e-12)


def test_diagonal_gaussians() -> None:
    rng = np.random.default_rng(0)
    a, b, shift = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 2.25]), np.array([0.5, -2.0, 1.0])
    real = with_moments(rng, np.zeros(3), np.diag(a), 50)
    fake = with_moments(rng, shift, np.diag(b), 70)
    expected = shift @ shift + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert frechet_distance(real=real, fake=fake) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (40, 500, 64), (500, 40, 64), (30, 20, 64), (65, 64, 64)])
def test_every_route_agrees_with_the_matrix_square_root(n: int, m: int, d: int) -> None:
    real, fake = features(1, n, d), features(2, m, d, 1.5)
    root = scipy.linalg.sqrtm(np.cov(real.T) @ np.cov(fake.T) + 1e-13 * np.eye(d))
    difference = real.mean(axis=0) - fake.mean(axis=0)
    expected = difference @ difference + np.trace(np.cov(real.T) + np.cov(fake.T)) - 2 * np.trace(root).real
    assert frechet_distance(real=real, fake=fake) == pytest.approx(expected, rel=1e-5)
    assert FrechetReference.of(real).rank_deficient == (n <= d)


def test_agrees_with_torch_fidelity() -> None:
    real, fake = features(3, 600, 48), features(4, 400, 48, 1.2)
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (fake, real)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(real=real, fake=fake) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(real=torch.from_numpy(real), fake=torch.from_numpy(fake)) == frechet_distance(
        real=real, fake=fake
    )


def test_same_features_are_at_distance_zero() -> None:
    for n, d in [(200, 32), (20, 32)]:
        x = features(5, n, d)
        assert abs(frechet_distance(real=x, fake=x)) < 1e-9 * np.trace(np.cov(x.T)) * d


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), offset=st.floats(-1e3, 1e3))
def test_invariant_under_translation_rotation_and_permutation_and_symmetric(seed: int, offset: float) -> None:
    real, fake = features(seed, 60, 8), features(seed + 1, 50, 8)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    expected = frechet_distance(real=real, fake=fake)
    moved = frechet_distance(real=(real @ rotation + offset), fake=rng.permutation(fake @ rotation + offset))
    assert moved == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert frechet_distance(real=fake, fake=real) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert expected >= 0


@pytest.mark.parametrize(
    ("real", "fake", "said"),
    [
        (np.zeros((5, 2)), np.zeros((5, 3)), "same feature network"),
        (np.zeros((1, 2)), np.zeros((5, 2)), "real has 1 samples"),
        (np.zeros((5, 2)), np.zeros(5), "one row of features per sample"),
        (np.zeros((5, 2)), np.full((5, 2), np.nan), "fake holds NaN"),
    ],
)
def test_unfit_features_are_named(real: np.ndarray, fake: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        frechet_distance(real=real, fake=fake)

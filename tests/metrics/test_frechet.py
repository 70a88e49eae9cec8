import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from ganbench.errors import UserError
from metrics import FrechetReference, Moments, frechet_audit, frechet_distance, frechet_infinity


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
    assert frechet_distance(real=real, fake=fake) == pytest.approx(frechet_audit(real=real, fake=fake), rel=1e-7)
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


def test_few_samples_are_a_hundred_times_closer_to_the_audit_than_torch_fidelity() -> None:
    real, fake = (np.maximum(features(seed, 120, 300), 0) for seed in (6, 7))
    audit = frechet_audit(real=real, fake=fake)
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (fake, real)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert abs(frechet_distance(real=real, fake=fake) - audit) < abs(theirs - audit) / 100


def test_float32_features_are_averaged_in_float64() -> None:
    real, fake = ((features(seed, 4000, 16) + 100).astype(np.float32) for seed in (8, 9))
    audit = frechet_audit(real=real, fake=fake)
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (fake, real)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    ours = frechet_distance(real=real, fake=fake)
    assert ours == pytest.approx(audit, rel=1e-9)
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert abs(ours - audit) < abs(theirs - audit)


@pytest.mark.parametrize("constant", [3, 15])
def test_constant_and_dependent_features_add_nothing(constant: int) -> None:
    real, fake = features(10, 400, 16), features(11, 300, 16)
    padded = [np.concatenate([x[:, :constant], x[:, :2], np.ones((len(x), 5))], axis=1) for x in (real, fake)]
    reference = FrechetReference.of(padded[0])
    assert reference.factor.shape == (constant + 7, constant)
    assert reference.distance(padded[1]) == pytest.approx(frechet_audit(real=padded[0], fake=padded[1]), rel=1e-6)
    same = np.ones((40, 3))
    assert frechet_distance(real=same, fake=same + 2) == pytest.approx(12)


def test_moments_and_stored_references_give_the_same_distance() -> None:
    real, fake = features(12, 200, 16), features(13, 150, 16)
    expected = frechet_distance(real=real, fake=fake)
    streamed = Moments()
    for part in np.array_split(fake, 7):
        streamed.update(part)
    assert frechet_distance(real=Moments.of(real), fake=streamed) == pytest.approx(expected, rel=1e-10)
    for n in (200, 10):
        reference = FrechetReference.of(real[:n])
        stored = FrechetReference.from_arrays(reference.arrays())
        assert stored.distance(fake) == reference.distance(fake)
        assert stored.rank_deficient == (n == 10)


def test_infinity_removes_the_bias_of_few_fakes() -> None:
    real = np.random.default_rng(0).normal(size=(50_000, 16))
    found = [
        (frechet_infinity(real=FrechetReference.of(real), fake=fake), frechet_distance(real=real, fake=fake))
        for fake in (np.random.default_rng(seed).normal(size=(1000, 16)) for seed in range(1, 9))
    ]
    plain, extrapolated = np.mean([one for _, one in found]), np.mean([one.value for one, _ in found])
    assert plain > 0.05
    assert abs(extrapolated) < plain / 4
    assert all(one.std > 0 for one, _ in found)
    again = frechet_infinity(real=real[:500], fake=real[500:800], seed=3)
    assert again == frechet_infinity(real=real[:500], fake=real[500:800], seed=3)
    with pytest.raises(UserError, match="at least 30"):
        frechet_infinity(real=real, fake=real[:29])
    with pytest.raises(UserError, match="at least three"):
        frechet_infinity(real=real, fake=real, points=2)

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

from ganbench.errors import UserError
from metrics import Neighbours, RealManifold, neighbours


def clouds(seed: int, n: int = 80, m: int = 60, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(0.5, 0.8, size=(m, d))


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> Neighbours:
    """Sample by sample, with exact differences."""

    def radius(x: np.ndarray, i: int) -> float:
        others = np.delete(x, i, axis=0)
        return float(np.sort(((others - x[i]) ** 2).sum(axis=1))[k - 1])

    across = ((real[:, None] - fake[None]) ** 2).sum(axis=2)
    in_real = across <= np.array([radius(real, i) for i in range(len(real))])[:, None]
    in_fake = across <= np.array([radius(fake, j) for j in range(len(fake))])[None]
    p, r = float(in_real.any(axis=0).mean()), float(in_fake.any(axis=1).mean())
    density, coverage = float(in_real.sum()) / (k * len(fake)), float(in_real.any(axis=1).mean())
    distances = np.sqrt(across.min(axis=0))
    return Neighbours(p, r, 2 * p * r / (p + r) if p + r else 0.0, density, coverage, across.argmin(axis=0), distances)


def shares(found: Neighbours) -> list[float]:
    return [found.precision, found.recall, found.f1, found.density, found.coverage]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 5), block=st.integers(1, 100), copies=st.integers(0, 20))
def test_equals_the_definition_for_every_block_size_with_copies_and_duplicates(
    seed: int, k: int, block: int, copies: int
) -> None:
    real, fake = clouds(seed, n=40, m=30)
    fake[:copies] = real[:copies]
    real[-copies:] = real[0] if copies else real[-copies:]
    found = neighbours(real=real, fake=fake, k=k, block=block)
    expected = by_definition(real, fake, k)
    assert shares(found) == pytest.approx(shares(expected), abs=1e-12)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(fake - real[found.nearest], axis=1), expected.distances, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize("block", [7, 64, 2048])
def test_wide_features_in_float32_are_exact_where_it_is_close(block: int, offset: float) -> None:
    rng = np.random.default_rng(0)
    real = (rng.normal(size=(90, 200)) + offset).astype(np.float32)
    fake = (real[rng.integers(0, 90, 70)] + rng.normal(size=(70, 200)) * 0.9).astype(np.float32)
    fake[:20] = real[:20]  # copies
    fake[20:30] = fake[30]  # a collapsed mode
    real[80:] = real[0]  # duplicates
    real[70:75] = np.nextafter(real[60:65], np.inf)  # closer together than float32 distances can tell
    expected = by_definition(real.astype(np.float64), fake.astype(np.float64), 3)
    for x, y in [(real, fake), (real.astype(np.float64), fake), (real, fake.astype(np.float64))]:
        found = neighbours(real=x, fake=y, k=3, block=block)
        assert shares(found) == pytest.approx(shares(expected), rel=1e-12)
        np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-12)


def test_many_close_calls_are_settled_tile_by_tile_in_float64(monkeypatch) -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(60, 150))
    fake = real[rng.integers(0, 60, 50)]
    expected = by_definition(real, fake, 2)
    monkeypatch.setattr("metrics.search.RECHECK", 0)
    assert shares(neighbours(real=real, fake=fake, k=2)) == pytest.approx(shares(expected), rel=1e-12)


@pytest.mark.parametrize("d", [10, 300])
def test_agrees_with_prdc(d: int, capsys) -> None:
    real, fake = (side.astype(np.float32) for side in clouds(8, n=400, m=300, d=d))
    expected = compute_prdc(real, fake, 5)
    found = neighbours(real=real, fake=fake, k=5)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(found, name) == pytest.approx(expected[name], rel=1e-12)


def test_a_manifold_from_its_arrays_is_the_same() -> None:
    real, fake = clouds(9)
    manifold = RealManifold.of(real, k=3)
    assert RealManifold.from_arrays(real, manifold.arrays()).compare(fake) == manifold.compare(fake)
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in manifold.arrays().values())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), offset=st.floats(-1e4, 1e4))
def test_invariant_under_translation_rotation_and_permutation(seed: int, offset: float) -> None:
    real, fake = clouds(seed)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    moved = neighbours(real=rng.permutation(real @ rotation + offset), fake=rng.permutation(fake @ rotation + offset))
    assert moved == neighbours(real=real, fake=fake)


def test_agrees_with_torch_fidelity() -> None:
    real, fake = clouds(7, n=500, m=400, d=12)
    expected = prc_features_to_metric(torch.from_numpy(fake), torch.from_numpy(real), verbose=False)
    found = neighbours(real=real, fake=fake, k=3)
    assert found.precision == pytest.approx(expected["precision"], rel=1e-6)
    assert found.recall == pytest.approx(expected["recall"], rel=1e-6)
    assert found.f1 == pytest.approx(expected["f_score"], rel=1e-6)


def test_copies_score_one_and_a_collapsed_generator_recalls_nothing() -> None:
    real, _ = clouds(3)
    copied = neighbours(real=real, fake=real.copy(), k=3)
    assert (copied.precision, copied.recall, copied.f1, copied.coverage) == (1, 1, 1, 1)
    collapsed = neighbours(real=real, fake=np.tile(real[5], (50, 1)))
    assert collapsed.precision == 1
    assert collapsed.recall == pytest.approx(1 / len(real))
    far = neighbours(real=real, fake=real + 1e6)
    assert shares(far) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_density_and_coverage_of_equal_laws(k: int) -> None:
    n, m, repeats = 150, 200, 60
    found = []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        found.append(neighbours(real=rng.normal(size=(n, 3)), fake=rng.normal(size=(m, 3)), k=k))
    # a real ball holds no fake if the k nearest of the n − 1 + m others are all real
    uncovered = np.prod([(n - 1 - j) / (n + m - 1 - j) for j in range(k)])
    assert np.mean([one.coverage for one in found]) == pytest.approx(1 - uncovered, abs=0.01)
    assert np.mean([one.density for one in found]) == pytest.approx(1, abs=0.04)


def test_too_few_samples_for_k_are_refused() -> None:
    with pytest.raises(UserError, match="fake has 3 samples and at least 4"):
        neighbours(real=np.zeros((9, 2)), fake=np.zeros((3, 2)), k=3)
    with pytest.raises(UserError, match="k=0"):
        neighbours(real=np.zeros((9, 2)), fake=np.zeros((9, 2)), k=0)

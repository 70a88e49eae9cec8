import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_prc import prc_features_to_metric

from ganbench.errors import UserError
from metrics import Neighbours, neighbours


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
    return Neighbours(p, r, 2 * p * r / (p + r) if p + r else 0.0, density, coverage)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 5), block=st.integers(1, 100), copies=st.integers(0, 20))
def test_equals_the_definition_for_every_block_size_with_copies_and_duplicates(
    seed: int, k: int, block: int, copies: int
) -> None:
    real, fake = clouds(seed, n=40, m=30)
    fake[:copies] = real[:copies]
    real[-copies:] = real[0] if copies else real[-copies:]
    found = neighbours(real=real, fake=fake, k=k, block=block)
    assert dataclasses.asdict(found) == pytest.approx(dataclasses.asdict(by_definition(real, fake, k)), abs=1e-12)


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
    assert dataclasses.astuple(far) == (0, 0, 0, 0, 0)


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

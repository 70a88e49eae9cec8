import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.errors import UserError
from metrics import Moments


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), parts=st.integers(1, 9), offset=st.sampled_from([0.0, 1e3, -1e6]))
def test_streams_and_merges_are_the_whole_however_far_from_the_origin(seed: int, parts: int, offset: float) -> None:
    x = np.random.default_rng(seed).normal(size=(60, 4)) + offset
    streamed = Moments()
    merged = Moments()
    for part in np.array_split(x, parts):
        streamed.update(part)
        merged = merged.merge(Moments().update(part))
    for moments in (streamed, merged, Moments.of(x), Moments.from_arrays(streamed.arrays())):
        assert moments.n == 60
        np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(moments.covariance, np.cov(x.T), rtol=1e-8, atol=1e-12)


def test_merging_changes_neither_side_and_blocks_do_not_matter(monkeypatch) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    first, second = Moments.of(x[:20]), Moments.of(x[20:])
    before = first.covariance.copy()
    both = first.merge(second)
    both.update(x)
    np.testing.assert_array_equal(first.covariance, before)
    monkeypatch.setattr("metrics.moments.BLOCK", 7)
    np.testing.assert_allclose(Moments.of(x).covariance, np.cov(x.astype(float).T), rtol=1e-12)


def test_unfit_batches_and_too_few_samples_are_told() -> None:
    moments = Moments().update(np.zeros((1, 3)))
    with pytest.raises(UserError, match="hold 1 samples and at least 2"):
        _ = moments.covariance
    with pytest.raises(UserError, match="3 features per sample"):
        moments.update(np.zeros((2, 4)))
    with pytest.raises(UserError, match="3 features per sample"):
        moments.merge(Moments().update(np.zeros((2, 4))))
    with pytest.raises(UserError, match="NaN"):
        moments.update(np.full((2, 3), np.nan))
    with pytest.raises(UserError, match="hold 0 samples"):
        _ = Moments().mean

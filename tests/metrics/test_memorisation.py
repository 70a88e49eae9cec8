import numpy as np
import pytest

from ganbench.errors import UserError
from metrics import authenticity, duplicates, gallery
from metrics.memorisation import TrainingSet


@pytest.mark.parametrize("d", [3, 150])
def test_authenticity_is_its_definition(d: int) -> None:
    rng = np.random.default_rng(0)
    train, fake = rng.normal(size=(60, d)), rng.normal(size=(40, d))
    between = np.linalg.norm(fake[:, None] - train, axis=2)
    own = np.linalg.norm(train[:, None] - train, axis=2) + np.diag(np.full(60, np.inf))
    nearest = between.argmin(axis=1)
    expected = 100 * np.mean(between.min(axis=1) > own.min(axis=1)[nearest])
    assert authenticity(train=train, fake=fake) == pytest.approx(expected)
    stored = TrainingSet.from_arrays(train, TrainingSet.of(train).arrays())
    assert stored.authenticity(fake) == pytest.approx(expected)


def test_copies_are_not_authentic_and_strangers_are() -> None:
    train = np.random.default_rng(1).normal(size=(100, 8))
    assert authenticity(train=train, fake=train[:30]) == 0
    assert authenticity(train=train, fake=train[:30] + 1e-6) == 0
    assert authenticity(train=train, fake=train + 100) == 100


def test_duplicates_are_counted_to_the_last_bit() -> None:
    rng = np.random.default_rng(2)
    train = rng.integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    fake = rng.integers(0, 256, (20, 3, 4, 4), dtype=np.uint8)
    assert duplicates(train=train, fake=fake) == 0
    fake[:3], fake[3:5] = train[7], train[:2]
    assert duplicates(train=train, fake=fake) == 5
    fake[0, 0, 0, 0] ^= 1
    assert duplicates(train=train[::-1], fake=fake) == 4
    with pytest.raises(UserError, match="same type and size"):
        duplicates(train=train, fake=fake.astype(np.float32))
    with pytest.raises(UserError, match="same type and size"):
        duplicates(train=train, fake=fake[:, :1])


def test_the_gallery_shows_the_closest_pairs_first() -> None:
    rng = np.random.default_rng(3)
    train, fake = rng.normal(size=(80, 5)), rng.normal(size=(30, 5))
    fake[11] = train[42]
    shown = gallery(train=train, fake=fake, k=2, top=4)
    between = np.linalg.norm(fake[:, None] - train, axis=2)
    assert (shown.fake[0], shown.train[0, 0], shown.distances[0, 0]) == (11, 42, 0)
    np.testing.assert_array_equal(shown.fake, between.min(axis=1).argsort()[:4])
    np.testing.assert_array_equal(shown.train, between[shown.fake].argsort(axis=1)[:, :2])
    np.testing.assert_allclose(shown.distances, np.sort(between[shown.fake], axis=1)[:, :2], atol=1e-12)
    with pytest.raises(UserError, match="at least one neighbour"):
        gallery(train=train, fake=fake, k=0)
    with pytest.raises(UserError, match="train has 1 samples"):
        gallery(train=train[:1], fake=fake, k=2)

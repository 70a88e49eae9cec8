import numpy as np
import pytest

from ganbench.errors import UserError
from metrics import class_scores, mode_scores


def test_perfect_generator(ring) -> None:
    scores = mode_scores(ring.sample(40_000, 0), centres=ring.centres, std=ring.std)
    assert scores.covered == 8
    assert scores.high_quality == pytest.approx(1 - np.exp(-4.5), abs=0.002)
    assert scores.kl == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("modes", [1, 2, 4])
def test_dropped_modes(ring, modes: int) -> None:
    scores = mode_scores(ring.sample(2000, 1, modes), centres=ring.centres, std=ring.std)
    assert scores.covered == modes
    assert scores.kl == pytest.approx(np.log(8 / modes), rel=1e-9)


def test_a_tenth_of_the_fair_share_covers_a_mode(ring) -> None:
    for stray, covered in [(9, 1), (10, 2)]:  # of 800 points, the fair share is 100
        points = np.repeat(ring.centres[:2], [800 - stray, stray], axis=0)
        assert mode_scores(points, centres=ring.centres, std=ring.std).covered == covered


def test_three_sigmas_bound_the_high_quality(ring) -> None:
    points = ring.centres[[0, 0]] + ring.std * np.array([[2.999, 0], [3.001, 0]])
    assert mode_scores(points, centres=ring.centres, std=ring.std).high_quality == 0.5


def test_junk_covers_nothing(ring) -> None:
    scores = mode_scores(np.zeros((100, 2)), centres=ring.centres, std=ring.std)
    assert (scores.covered, scores.high_quality) == (0, 0)


def test_unequal_dimensions_and_senseless_deviations_are_refused(ring) -> None:
    with pytest.raises(UserError, match="3 coordinates"):
        mode_scores(np.zeros((5, 3)), centres=ring.centres, std=0.1)
    with pytest.raises(UserError, match="std=0"):
        mode_scores(np.zeros((5, 2)), centres=ring.centres, std=0)


def test_classes_are_covered_from_a_tenth_of_their_fair_share() -> None:
    def logits(*counts: int) -> np.ndarray:
        return np.repeat(np.eye(4), counts, axis=0)

    even = class_scores(logits(50, 50, 50, 50))
    assert (even.covered, even.kl) == (4, pytest.approx(0, abs=1e-12))
    assert class_scores(logits(191, 5, 4, 0)).covered == 2  # a tenth of 50 is 5
    assert class_scores(logits(200, 0, 0, 0)).kl == pytest.approx(np.log(4))
    assert class_scores(logits(1, 1, 0, 0)).covered == 2  # one sample at least, however few there are


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(UserError):
        class_scores(np.full((3, 4), np.nan))

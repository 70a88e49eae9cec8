"""Scores class by class, against closed forms and against the scores of each class by itself."""

from __future__ import annotations

import numpy as np
import pytest

import metrics
from ganbench import digits
from ganbench.errors import UserError
from metrics.by_class import LEAST
from metrics.catalogue import BY_CLASS


@pytest.fixture(scope="module")
def two_sides():
    """Three classes of normal points in four dimensions, of unequal sizes."""
    rng = np.random.default_rng(0)
    real_labels, fake_labels = (np.repeat([4, 7, 9], sizes) for sizes in ([60, 40, 50], [30, 70, 45]))
    centres = {4: 0.0, 7: 3.0, 9: -5.0}

    def points(labels, shift):
        return rng.normal(size=(len(labels), 4)) + np.array([centres[label] for label in labels])[:, None] + shift

    return points(real_labels, 0), points(fake_labels, 0.3), real_labels, fake_labels


def by_hand(measure, sides):
    real, fake, real_labels, fake_labels = sides
    return [measure(real=real[real_labels == c], fake=fake[fake_labels == c]) for c in (4, 7, 9)]


def given(sides):
    return dict(zip(("real", "fake", "real_labels", "fake_labels"), sides, strict=True))


def test_intra_class_fid_is_the_mean_of_the_classes_own(two_sides):
    expected = by_hand(metrics.frechet_distance, two_sides)
    found = metrics.intra_frechet(**given(two_sides))
    assert found.value == pytest.approx(np.mean(expected), rel=1e-12)
    assert found.std == pytest.approx(np.std(expected), rel=1e-12)
    each = metrics.per_class(metrics.frechet_distance, **given(two_sides))
    assert list(each) == [4, 7, 9]
    assert list(each.values()) == pytest.approx(expected, rel=1e-12)


def test_intra_class_fid_of_moved_classes_is_the_mean_squared_move():
    labels = np.repeat([0, 1], 30)
    real = np.random.default_rng(1).normal(size=(60, 2))
    fake = real + np.where(labels == 0, 1.0, 3.0)[:, None] * np.array([0.6, 0.8])
    found = metrics.intra_frechet(real=real, fake=fake, real_labels=labels, fake_labels=labels)
    assert found.value == pytest.approx((1 + 9) / 2, abs=1e-9)
    assert found.std == pytest.approx(4, abs=1e-9)


def test_exchanged_labels_show_class_by_class_alone():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 100)
    real, fake = (rng.normal(size=(200, 2)) + 10 * labels[:, None] for _ in range(2))
    right = metrics.intra_frechet(real=real, fake=fake, real_labels=labels, fake_labels=labels)
    wrong = metrics.intra_frechet(real=real, fake=fake, real_labels=labels, fake_labels=1 - labels)
    assert right.value < 0.5
    assert wrong.value == pytest.approx(200, rel=0.1)  # both classes are 10·√2 away
    assert metrics.frechet_distance(real=real, fake=fake) < 1  # which sees no labels


def test_precision_and_recall_within_classes(two_sides):
    expected = by_hand(metrics.neighbours, two_sides)
    precision, recall = metrics.class_neighbours(**given(two_sides), k=3)
    assert precision.value == pytest.approx(np.mean([one.precision for one in expected]), rel=1e-12)
    assert recall.value == pytest.approx(np.mean([one.recall for one in expected]), rel=1e-12)


@pytest.mark.parametrize(("side", "whose"), [("real_labels", "real"), ("fake_labels", "generated")])
def test_too_few_samples_of_a_class_are_a_reason(two_sides, side, whose):
    sides = given(two_sides)
    few = sides[side].copy()
    few[np.flatnonzero(few == 7)[LEAST - 1 :]] = 4
    with pytest.raises(UserError, match=f"class 7 has {LEAST - 1} {whose} samples and {LEAST} are needed"):
        metrics.intra_frechet(**{**sides, side: few})


def test_label_accuracy_is_a_share_and_needs_a_classifier_that_knows_the_classes():
    real = np.arange(100) % 10
    asked = np.array([0, 1, 2, 3])
    given = {"labels": asked, "real_labels": real}
    assert metrics.label_accuracy(given=np.array([0, 1, 9, 3]), real_given=real, **given) == 0.75
    mostly = np.where(np.arange(100) < 11, 10, real)
    with pytest.raises(UserError, match="right about 89% of the real samples"):
        metrics.label_accuracy(given=asked, real_given=mostly, **given)


# --- the judge


@pytest.fixture(scope="module")
def digit_sides():
    images, labels = digits.load()
    rows = digits.split()
    return (images[rows["test"]], labels[rows["test"]]), (images[rows["train"]], labels[rows["train"]])


def test_a_judge_scores_digits_class_by_class(digit_sides):
    (real, real_labels), (fake, fake_labels) = digit_sides
    judge = metrics.Judge(real, labels=real_labels)
    assert set(BY_CLASS) <= set(judge.metrics)
    found = judge.score(fake, labels=fake_labels)
    assert found["label_accuracy"].value > 0.98  # real training digits, which the network has learnt
    assert found["intra_fid"].value > found["fid"].value > 0
    assert found["intra_fid"].spread_over == "classes"
    shuffled = judge.score(fake, labels=np.roll(fake_labels, 1))
    assert shuffled["label_accuracy"].value < 0.3
    assert shuffled["intra_fid"].value > 5 * found["intra_fid"].value
    assert shuffled["class_precision"].value < found["class_precision"].value
    assert shuffled["fid"] == found["fid"]
    few = judge.score(fake[:100], labels=fake_labels[:100])
    assert few["intra_fid"].value is None
    assert "generated samples and 20 are needed of each class" in few["intra_fid"].reason
    assert few["label_accuracy"].value is not None


def test_labels_add_to_their_own_protocol_and_to_no_other(digit_sides):
    (real, labels), _ = digit_sides
    plain, told, other = metrics.Judge(real), metrics.Judge(real, labels=labels), metrics.Judge(real, labels=9 - labels)
    assert plain.protocol == told.protocol == other.protocol
    assert plain.class_protocol is None
    assert told.class_protocol != other.class_protocol
    assert told.class_protocol["classes"] == 10
    assert not set(BY_CLASS) & set(plain.metrics)


def test_modes_tell_points_apart():
    centres = np.array([[0.0, 0.0], [10.0, 0.0]])
    labels = np.repeat([0, 1], 30)
    points = (centres[labels] + np.random.default_rng(0).normal(size=(60, 2)) * 0.1).astype(np.float32)
    judge = metrics.Judge(
        points, features="identity", metrics=["label_accuracy"], mixture=(centres, 0.1), labels=labels
    )
    assert judge.score(points, labels=labels)["label_accuracy"].value == 1
    assert judge.score(points, labels=1 - labels)["label_accuracy"].value == 0


def test_mistakes_with_labels_are_one_sentence(digit_sides):
    (real, labels), _ = digit_sides
    with pytest.raises(UserError, match="it needs the labels of a conditional generator's samples"):
        metrics.Judge(real, metrics=["intra_fid"])
    with pytest.raises(UserError, match="it needs a classifier of the data's 2 classes"):
        metrics.Judge(real, metrics=["label_accuracy"], labels=labels % 2)
    with pytest.raises(UserError, match="give one integer for each of the 360"):
        metrics.Judge(real, labels=labels[:-1])
    with pytest.raises(UserError, match="needs the labels of the generated samples"):
        metrics.Judge(real, metrics=["intra_fid"], labels=labels).score(real)
    score = metrics.Judge(real, metrics=["label_accuracy"], labels=(labels + 1) % 10).score(real, labels=labels)
    assert "its classes are not these data's" in score["label_accuracy"].reason

"""What a trial leaves to look at for copies of training images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from harness import data
from harness.config import EvaluationConfig
from harness.scoring.evaluation import Evaluation
from harness.scoring.gallery import nearest_picture
from harness.store import TrialFolder


@pytest.fixture(scope="module")
def evaluation():
    return Evaluation(data.load("digits"), EvaluationConfig(features="digits"))


def test_copies_come_first_beside_what_they_copy(evaluation):
    train = evaluation.dataset.train
    noise = np.random.default_rng(0).integers(0, 256, (20, *train.shape[1:]), dtype=np.uint8)
    fake = np.concatenate([noise, train[[5, 9]]])
    picture = nearest_picture(evaluation, fake)
    side, columns = train.shape[-1] + 2, 4  # a sample, and the nearest three
    assert picture.shape == (16 * side + 2, columns * side + 2, 1)
    rows = [picture[2 + row * side : 2 + row * side + train.shape[-1]] for row in (0, 1)]
    for row in rows:
        assert np.array_equal(row[:, 2:side], row[:, 2 + side : 2 * side])
    shown = {row[:, 2:side].tobytes() for row in rows}
    assert shown == {np.ascontiguousarray(train[index].transpose(1, 2, 0)).tobytes() for index in (5, 9)}


def test_a_trial_ends_with_its_gallery(trained):
    with Image.open(TrialFolder(trained).gallery_file) as picture:
        assert picture.format == "PNG"
        assert picture.size[1] > picture.size[0] > 0


def test_the_same_trial_has_the_same_gallery(trained, tiny, train, tmp_path):
    train(tiny(), tmp_path / "again")
    ours, theirs = (TrialFolder(folder).gallery_file.read_bytes() for folder in (trained, tmp_path / "again"))
    assert ours == theirs


def test_points_have_none(tiny, train, tmp_path):
    train(tiny(dataset="ring8"), tmp_path / "points")
    assert not TrialFolder(tmp_path / "points").gallery_file.exists()

"""The digits network on each channel: a thousand classes out of three times ten."""

import numpy as np
import pytest
from scipy.special import log_softmax

from ganbench import digits
from ganbench.errors import UserError
from metrics import Judge
from metrics.features import load


def stacks(count: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = digits.load()
    chosen = np.random.default_rng(0).choice(digits.split()["test"], (count, 3))
    return images[chosen, 0], labels[chosen]


def test_a_stack_is_read_channel_by_channel() -> None:
    images, labels = stacks(120)
    extractor, single = load("stacked-digits"), load("digits")
    features, logits = extractor(images)
    assert (
        (features.shape, logits.shape) == ((120, extractor.dim), (120, extractor.classes)) == ((120, 192), (120, 1000))
    )
    assert features.dtype == logits.dtype == np.float32
    parts = [single(images[:, channel : channel + 1]) for channel in range(3)]
    np.testing.assert_allclose(features, np.concatenate([part for part, _ in parts], axis=1), rtol=1e-5, atol=1e-6)
    red, green, blue = (log_softmax(part, axis=1) for _, part in parts)
    np.testing.assert_allclose(logits[:, 427], red[:, 4] + green[:, 2] + blue[:, 7], rtol=1e-4, atol=1e-4)
    assert (logits.argmax(axis=1) == labels @ [100, 10, 1]).mean() > 0.95
    assert extractor.weights_sha256 == single.weights_sha256


def test_modes_of_stacks_are_counted_and_dropped_ones_missed() -> None:
    images, _ = stacks(400)
    judge = Judge(images, features="stacked-digits", metrics=["class_modes", "class_kl"])
    whole, same = judge.score(images), judge.score(np.repeat(images[:1], 400, axis=0))
    assert same["class_modes"].value == 1
    assert same["class_kl"].value == pytest.approx(np.log(1000), rel=1e-6)
    assert 280 < whole["class_modes"].value < 1000 * (1 - np.exp(-0.4)) + 40
    assert whole["class_kl"].value < same["class_kl"].value


def test_grey_images_are_refused() -> None:
    with pytest.raises(UserError, match="one digit in each of 3 channels"):
        load("stacked-digits")(np.zeros((2, 1, 8, 8), np.uint8))

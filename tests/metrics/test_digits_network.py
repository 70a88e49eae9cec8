import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from ganbench import digits
from ganbench.errors import UserError
from metrics.features import load
from metrics.features.digits import WEIGHTS, prepare
from metrics.features.train_digits import main

TEST_PART = "b642182fa234496049af096d63b62e602e4306c979230704e0a50cb4399d261b"


def test_split_is_fixed_stratified_and_complete() -> None:
    _, labels = digits.load()
    parts = digits.split()
    assert {name: len(part) for name, part in parts.items()} == {"train": 1197, "selection": 240, "test": 360}
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(1797))
    for part in parts.values():
        expected = np.bincount(labels) * len(part) / len(labels)
        assert np.abs(np.bincount(labels[part]) - expected).max() <= 1.5
    digest = hashlib.sha256(parts["test"].astype("<i8").tobytes()).hexdigest()
    assert digest == TEST_PART, "the shipped network may have been trained on images of another test part"


def test_images_keep_the_original_levels() -> None:
    images, labels = digits.load()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == np.uint8
    assert set(np.unique(images)) == {round(level * 255 / 16) for level in range(17)}
    assert not images.flags.writeable
    assert not labels.flags.writeable


def test_shipped_weights_name_unseen_digits_and_say_so_themselves() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    with safe_open(WEIGHTS, "np") as file:
        facts = json.loads(file.metadata()["ganbench"])
    images, labels = digits.load()
    extractor = load("digits")
    for part, indices in digits.split().items():
        features, logits = extractor(images[indices])
        found = float((logits.argmax(axis=1) == labels[indices]).mean())
        assert found == pytest.approx(facts["accuracy"][part], abs=1e-6)
        assert found >= 0.98
        assert features.shape == (len(indices), extractor.dim)
        assert features.dtype == logits.dtype == np.float32
    assert facts["split"] == digits.SIZES
    assert facts["trained_on"] == "train"
    assert extractor.weights_sha256 == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()


def test_features_have_unit_scale_on_the_train_part() -> None:
    images, _ = digits.load()
    features, _ = load("digits")(images[digits.split()["train"]])
    assert np.mean(features.astype(np.float64) ** 2) == pytest.approx(1, abs=0.01)


def test_batches_do_not_matter() -> None:
    images, _ = digits.load()
    extractor = load("digits")
    together, _ = extractor(images[:301])
    apart = np.concatenate([extractor(images[i : i + 7])[0] for i in range(0, 301, 7)])
    assert together == pytest.approx(apart, abs=1e-5)


def test_grey_rgb_and_larger_digits_look_alike() -> None:
    images, labels = digits.load()
    images, labels = images[digits.split()["test"]], labels[digits.split()["test"]]
    extractor = load("digits")
    grey, _ = extractor(images)
    rgb, _ = extractor(images.repeat(3, axis=1))
    assert rgb == pytest.approx(grey, abs=1e-4)
    _, logits = extractor(images.repeat(4, axis=2).repeat(4, axis=3))
    assert (logits.argmax(axis=1) == labels).mean() >= 0.98


def test_luma_weighs_the_channels() -> None:
    red = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    red[:, 0] = 255
    assert prepare(red) == pytest.approx(torch.full((1, 1, 16, 16), 2 * 0.299 - 1), abs=1e-5)


def test_takes_no_other_weights(tmp_path) -> None:
    with pytest.raises(UserError, match="bring their own weights"):
        load("digits", tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="have no weights"):
        load("identity", tmp_path / "other.safetensors")


@pytest.mark.slow
def test_training_script_makes_the_weights_again(tmp_path, capsys) -> None:
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    try:
        main(["--out", str(tmp_path / "digits.safetensors")])
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    assert torch.equal(torch.get_rng_state(), state)
    facts = json.loads(capsys.readouterr().out)
    assert facts["accuracy"]["test"] >= 0.98
    with safe_open(tmp_path / "digits.safetensors", "np") as again, safe_open(WEIGHTS, "np") as shipped:
        assert json.loads(again.metadata()["ganbench"]) == facts
        assert {name: again.get_tensor(name).shape for name in again.keys()} == {  # noqa: SIM118
            name: shipped.get_tensor(name).shape
            for name in shipped.keys()  # noqa: SIM118
        }

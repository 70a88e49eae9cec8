"""Trained generators and other people's samples."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ganbench.errors import UserError
from harness import data, images
from harness.trial.generators import evaluate_source, load_generator, save_samples

ALL = {"metrics": None, "features": "auto", "weights": None, "size": None}


@pytest.fixture(scope="module")
def points(tiny, train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("points") / "trial"
    train(tiny(dataset="ring8", images=64), folder)
    return folder


def write_pngs(folder, pictures) -> None:
    for index, picture in enumerate(pictures):
        images.save_picture(picture.transpose(1, 2, 0), folder / f"{index}.png")


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


# --- samples


def test_a_trial_and_its_checkpoint_are_the_same_generator(trained):
    one, config = load_generator(trained)
    other, _ = load_generator(trained / "checkpoints" / "last.pt")
    assert config.gan.name == "vanilla"
    assert torch.equal(one.sample(5, seed=3), other.sample(5, seed=3))
    assert not torch.equal(one.sample(5, seed=3), one.sample(5, seed=4))
    assert not torch.equal(one.sample(5), one.sample(5, weights="raw"))


def test_samples_as_grid_array_and_folder_are_the_same_images(trained, tmp_path):
    gan, config = load_generator(trained)
    samples = gan.sample(10)
    for name in ("grid.png", "array.npz", "folder"):
        save_samples(samples, tmp_path / name, config)
    with np.load(tmp_path / "array.npz", allow_pickle=False) as file:
        array = file["images"]
    np.testing.assert_array_equal(array, images.to_uint8(samples))
    files = sorted((tmp_path / "folder").iterdir())
    assert [file.name for file in files] == [f"{i:06d}.png" for i in range(10)]
    np.testing.assert_array_equal(np.stack([pixels(file) for file in files]), array[:, 0])
    np.testing.assert_array_equal(pixels(tmp_path / "grid.png"), images.grid(array, 8)[:, :, 0])


def test_points_are_a_scatter_or_an_array_and_no_folder(points, tmp_path):
    gan, config = load_generator(points)
    save_samples(gan.sample(10), tmp_path / "p.npz", config)
    with np.load(tmp_path / "p.npz", allow_pickle=False) as file:
        assert file["points"].shape == (10, 2)
    save_samples(gan.sample(10), tmp_path / "p.png", config)
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size == (256, 256)
    with pytest.raises(UserError, match="points, not images"):
        save_samples(gan.sample(10), tmp_path / "folder", config)


def test_a_folder_that_holds_something_is_not_written_to(trained, tmp_path):
    gan, config = load_generator(trained)
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="is not an empty folder"):
        save_samples(gan.sample(2), tmp_path, config)
    with pytest.raises(UserError, match="is not an empty folder"):
        save_samples(gan.sample(2), tmp_path / "mine.txt", config)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


# --- scores


def test_training_images_as_fakes_are_near_the_floor_and_an_early_generator_is_not(trained, tmp_path):
    real = data.load("digits")
    write_pngs(tmp_path / "pngs", real.train[:300])
    np.savez(tmp_path / "fakes.npz", images=real.train[:300])
    folder = evaluate_source(real="digits", fake=str(tmp_path / "pngs"), **ALL)
    npz = evaluate_source(real="digits", fake=str(tmp_path / "fakes.npz"), **ALL)
    gan = evaluate_source(real="digits", fake=str(trained), **{**ALL, "n": 300})
    assert folder["protocol"]["n_fake"] == 300
    assert folder["protocol"]["generation_seeds"] == 1
    fid = folder["scores"]["fid"]["value"]
    assert fid < 2
    assert gan["scores"]["fid"]["value"] > 10 * fid
    assert folder["scores"]["precision"]["value"] > 0.8
    assert npz["scores"]["fid"]["value"] == pytest.approx(fid)


def test_a_trial_is_scored_as_its_own_scores_say(trained):
    """`evaluate` on a run repeats what the run reported, protocol and all, where the settings are the same."""
    result = evaluate_source(real="digits", fake=str(trained), **{**ALL, "metrics": ["fid"], "n": 32})
    reported = json.loads((trained / "scores.json").read_text())["results"][0]
    different = {name for name in reported["protocol"] if reported["protocol"][name] != result["protocol"].get(name)}
    assert different == {"generation_seeds", "splits"}  # the tiny trial's own settings
    assert result["scores"]["fid"]["value"] == pytest.approx(reported["scores"]["fid"]["value"], rel=0.2)


def test_one_source_of_other_images_is_another_protocol(tmp_path):
    real = data.load("digits")
    ids = set()
    for name, part in (("a", real.train[:50]), ("b", real.train[50:100])):
        np.savez(tmp_path / f"{name}.npz", images=part)
        quick = {**ALL, "metrics": ["fid"]}
        ids.add(evaluate_source(real="digits", fake=str(tmp_path / f"{name}.npz"), **quick)["protocol_id"])
    assert len(ids) == 2


def test_size_brings_both_sides_together(trained, tmp_path):
    larger = data.load("digits", size=16).train[:40]
    np.savez(tmp_path / "large.npz", images=larger)
    with pytest.raises(UserError, match=r"samples of shape \(1, 16, 16\), digits of \(1, 8, 8\): give --size"):
        evaluate_source(real="digits", fake=str(tmp_path / "large.npz"), **ALL)
    result = evaluate_source(real="digits", fake=str(tmp_path / "large.npz"), **{**ALL, "size": 16, "metrics": ["fid"]})
    assert result["scores"]["fid"]["value"] is not None


def test_points_against_images(points):
    with pytest.raises(UserError, match=r"samples of shape \(2,\)"):
        evaluate_source(real="digits", fake=str(points), **ALL, n=40)
    result = evaluate_source(real="ring8", fake=str(points), **{**ALL, "metrics": ["modes"]}, n=40)
    assert result["scores"]["modes"]["value"] is not None

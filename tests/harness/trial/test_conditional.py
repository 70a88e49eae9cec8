"""Trials of conditional games: labels from the data to the players, to pictures, to files and to scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ganbench.errors import UserError
from harness import data, images
from harness.config import trial_id
from harness.data.sampler import Sampler
from harness.listing import score_table
from harness.precheck import check_ensemble, check_names, check_sweep
from harness.scoring.evaluation import Evaluation, generator_draw
from harness.store import load_checkpoint
from harness.trial.generators import evaluate_source, load_generator
from metrics.catalogue import BY_CLASS

LARGE_ENOUGH = {"evaluation.n_fake": 400, "evaluation.metrics": ["fid", *BY_CLASS]}


@pytest.fixture(scope="module")
def conditional(tiny, train, tmp_path_factory):
    """The folder of a finished trial; for reading only."""
    folder = tmp_path_factory.mktemp("conditional") / "trial"
    train(tiny("cgan", **LARGE_ENOUGH), folder)
    return folder


# --- scores


def test_scores_by_class_have_a_protocol_of_their_own(conditional, tiny, train, tmp_path):
    results = json.loads((conditional / "scores.json").read_text())["results"]
    whole = [result for result in results if "by_class" not in result["protocol"]]
    told = [result for result in results if "by_class" in result["protocol"]]
    assert results == whole + told
    about = [(result["checkpoint"], result["weights"]) for result in whole]
    assert about == [(result["checkpoint"], result["weights"]) for result in told]
    assert all(set(result["scores"]) == set(BY_CLASS) for result in told)
    assert all(set(result["scores"]) == {"fid"} for result in whole)
    assert all(result["protocol"]["by_class"]["classes"] == 10 for result in told)
    floor = told[-1]["scores"]
    assert floor["label_accuracy"]["value"] > 0.95
    assert told[0]["scores"]["label_accuracy"]["value"] < 0.5  # a sixteenth of a second of training

    train(tiny(**{**LARGE_ENOUGH, "evaluation.metrics": ["fid"]}), tmp_path / "plain")
    plain = json.loads((tmp_path / "plain" / "scores.json").read_text())["results"]
    assert [result["protocol_id"] for result in plain] == [result["protocol_id"] for result in whole]


def test_scores_by_class_may_be_all_that_is_asked_for(tiny, train, tmp_path):
    train(tiny("cgan", **{**LARGE_ENOUGH, "evaluation.metrics": ["label_accuracy"]}), tmp_path / "trial")
    results = json.loads((tmp_path / "trial" / "scores.json").read_text())["results"]
    assert results
    assert all(set(result["scores"]) == {"label_accuracy"} for result in results)
    assert score_table(results).startswith("  ")  # no empty table before it


@pytest.mark.parametrize("options", [{"evaluation.n_fake": 199}, {"dataset": "stacked-digits"}])
def test_too_few_samples_of_a_class_are_seen_before_anything_is_trained(tiny, options):
    trial = tiny("cgan", **{**LARGE_ENOUGH, "evaluation.metrics": ["intra_fid"], **options})
    with pytest.raises(UserError, match="of each class"):
        check_sweep([trial])
    check_sweep([tiny("cgan", **{**LARGE_ENOUGH, "evaluation.metrics": ["label_accuracy"], "evaluation.n_fake": 199})])


def test_a_command_line_evaluation_says_the_same(conditional):
    found = evaluate_source(real="digits", fake=str(conditional), n=400, seeds=3, bare=True)
    assert set(found["by_class"]["scores"]) == set(BY_CLASS)
    assert not set(found["scores"]) & set(BY_CLASS)
    assert found["by_class"]["protocol_id"] != found["protocol_id"]
    assert found["by_class"]["protocol"]["by_class"]["fake_labels"] == "drawn by the training split's shares"


def test_generated_samples_come_with_the_labels_they_were_asked_for(conditional):
    gan, _ = load_generator(conditional)
    samples, labels = generator_draw(gan, "ema")(70, 5)
    assert labels.tolist() == gan.sample_labels(70, seed=5)
    np.testing.assert_array_equal(samples, images.to_uint8(gan.sample(70, seed=5, labels=labels.tolist())))


def test_an_unconditional_game_is_not_scored_class_by_class(tiny):
    config = tiny(**{"evaluation.metrics": ["fid"]})
    evaluation = Evaluation(data.load_for(config.data), config.evaluation)
    assert evaluation.judge("selection").class_protocol is None


# --- samples


def test_a_look_shows_a_row_for_each_class(conditional):
    picture = np.asarray(Image.open(max((conditional / "samples").glob("*.png"))))
    gan, _ = load_generator(conditional)
    labels = [label for label in range(10) for _ in range(8)]
    expected = images.grid(images.to_uint8(gan.sample(80, seed=0, labels=labels)), columns=8)
    np.testing.assert_array_equal(picture, expected[:, :, 0])


def test_a_class_can_be_asked_for(conditional, ganbench, tmp_path):
    assert ganbench("sample", conditional, "-n", 5, "--class", 3, "--out", "three.npz").code == 0
    gan, _ = load_generator(conditional)
    with np.load(tmp_path / "three.npz", allow_pickle=False) as file:
        assert file["labels"].tolist() == [3] * 5
        np.testing.assert_array_equal(file["images"], images.to_uint8(gan.sample(5, labels=3)))
    assert ganbench("sample", conditional, "-n", 21, "--out", "grid.png").code == 0
    labels = sorted(i % 10 for i in range(21))
    expected = images.class_rows(images.to_uint8(gan.sample(21, labels=labels)), labels)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "grid.png")), expected[:, :, 0])
    assert ganbench("sample", conditional, "-n", 6, "--out", "folder").code == 0
    drawn = gan.sample_labels(6)
    assert sorted(
        str(path.relative_to(tmp_path / "folder")) for path in (tmp_path / "folder").rglob("*.png")
    ) == sorted(f"{label}/{index:06d}.png" for index, label in enumerate(drawn))


def test_classes_that_cannot_be_sampled_are_a_mistake(conditional, trained, ganbench):
    said = ganbench("sample", conditional, "--class", 12, "--out", "a.png").mistake()
    assert said.startswith("class 12 is none of the 10 that were trained on")
    said = ganbench("sample", trained, "--class", 1, "--out", "a.png").mistake()
    assert "--class is for generators that know classes" in said


def test_rows_begin_with_each_class():
    white, ink = np.full((1, 2, 2), 255, np.uint8), np.zeros((1, 2, 2), np.uint8)
    picture = images.class_rows(np.stack([ink, ink, ink]), [5, 9, 5])
    expected = images.grid(np.stack([ink, ink, ink, white]), columns=2)
    np.testing.assert_array_equal(picture, expected)


def test_points_are_coloured_by_class():
    points = np.array([[0.5, 0.5], [-0.5, -0.5]], np.float32)
    one, two = images.scatter(points), images.scatter(points, labels=[0, 1])
    assert len(np.unique(two.reshape(-1, 3), axis=0)) > len(np.unique(one.reshape(-1, 3), axis=0))


# --- data


def test_labels_travel_with_their_samples():
    points = np.arange(40, dtype=np.float32).reshape(20, 2)
    labels = np.arange(20) * 3
    sampler = Sampler(points, batch_size=6, seed=1, labels=labels)
    plain = Sampler(points, batch_size=6, seed=1)
    for step in (0, 1, 2, 3, 7):
        samples, told = sampler.batch(step)
        assert torch.equal(samples, plain.batch(step))
        assert torch.equal(told, (samples[:, 0] / 2 * 3).long())


def test_a_shard_has_its_own_rows_labels():
    from gans.shards import Shard

    points, labels = np.arange(40, dtype=np.float32).reshape(20, 2), np.arange(20)
    whole, *parts = (
        Sampler(points, batch_size=6, seed=1, labels=labels, shard=shard)
        for shard in (Shard(), Shard(0, 2), Shard(1, 2))
    )
    for part, mine in zip(parts, (slice(0, None, 2), slice(1, None, 2)), strict=True):
        assert torch.equal(part.batch(4).labels, whole.batch(4).labels[mine])
        assert torch.equal(part.batch(4).samples, whole.batch(4).samples[mine])


@pytest.mark.parametrize("name", ["ring8", "grid25"])
def test_points_are_labelled_by_the_mode_they_were_drawn_around(name):
    dataset = data.load(name, n=1000)
    for split, points in dataset.splits().items():
        own = dataset.mixture.centres[dataset.labels[split]]
        assert np.linalg.norm(points - own, axis=1).max() < 6 * dataset.mixture.std


# --- trials


def test_a_trial_of_points_by_class(tiny, train, tmp_path):
    few = {**LARGE_ENOUGH, "evaluation.metrics": ["fid", "label_accuracy"], "data.n": 2000}
    train(tiny("projection", "ring8", **few), tmp_path / "trial")
    results = json.loads((tmp_path / "trial" / "scores.json").read_text())["results"]
    assert results[-1]["scores"]["label_accuracy"]["value"] > 0.99
    assert load_checkpoint(tmp_path / "trial" / "checkpoints" / "last.pt")["classes"]["labels"] == tuple(range(8))


def test_labels_need_not_count_from_zero(tiny, train, tmp_path, ganbench):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "set.npz", images=rng.integers(0, 256, (80, 8, 8), dtype=np.uint8), labels=np.arange(80) % 2 * 7 + 3
    )
    config = tiny(
        "acgan",
        str(tmp_path / "set.npz"),
        **{"evaluation.metrics": ["fid"], "evaluation.n_fake": 16, "gan.batch_size": 8},
    )
    train(config, tmp_path / "trial")
    gan, _ = load_generator(tmp_path / "trial")
    assert set(gan.sample_labels(50)) == {3, 10}
    assert ganbench("sample", tmp_path / "trial", "--class", 10, "--out", "a.npz").code == 0


def test_data_without_labels_are_refused_before_anything_is_trained(tiny, tmp_path, train):
    np.savez(tmp_path / "set.npz", images=np.zeros((80, 8, 8), np.uint8))
    config = tiny("cgan", str(tmp_path / "set.npz"))
    expected = "gan.condition=concatenate .gan cgan. needs data of two or more classes and .* has no labels: choose"
    with pytest.raises(UserError, match=expected):
        check_sweep([config])
    with pytest.raises(UserError, match=expected):
        train(config, tmp_path / "trial")
    assert not (tmp_path / "trial").exists()
    np.savez(tmp_path / "set.npz", images=np.zeros((80, 8, 8), np.uint8), labels=np.ones(80, np.int64))
    with pytest.raises(UserError, match="has a single class"):
        check_sweep([tiny("cgan", str(tmp_path / "set.npz"), **{"evaluation.metrics": ["fid"]})])


def test_what_cannot_be_asked_for_is_refused_from_the_config(tiny):
    with pytest.raises(UserError, match=r"metric 'intra_fid' in evaluation.metrics compares class by class"):
        check_names(tiny(**{"evaluation.metrics": ["intra_fid"]}))
    with pytest.raises(UserError, match=r"gan.condition=auxiliary gives its networks labels: give gan.condition=none"):
        check_ensemble(tiny("acgan"))
    with pytest.raises(UserError, match=r"gan.condition=projection does not go with gan.network=progressive"):
        tiny("projection", **{"gan.network": "progressive"})


def test_a_game_without_a_condition_keeps_its_id(tiny):
    plain = tiny()
    said = plain.model_dump()
    assert said["gan"]["condition"] == "none"
    assert trial_id(tiny(**{"gan.condition": "none", "gan.class_weight": 1.0})) == trial_id(plain)
    assert trial_id(tiny(**{"gan.condition": "concatenate"})) != trial_id(plain)

"""Scoring under one protocol: what makes two scores comparable, and that scoring leaves no trace."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

import gans
from ganbench.errors import UserError
from harness import data
from harness.config import EvaluationConfig
from harness.scoring.evaluation import Drawn, Evaluation, combine, generator_draw, resolve_features
from metrics import METRICS, Protocol, Score

QUICK = {"n_fake": 40, "generation_seeds": 2, "splits": 2, "metrics": ["fid", "precision"]}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def untrained(digits):
    return gans.build("vanilla", image_shape=digits.shape, seed=0)


def evaluation(dataset, **changes) -> Evaluation:
    return Evaluation(dataset, EvaluationConfig.model_validate({**QUICK, **changes}))


# --- protocols


def test_generators_of_any_variant_and_seed_are_scored_under_one_protocol(digits, untrained):
    scored = evaluation(digits)
    other = gans.build("sngan", image_shape=digits.shape, seed=5)
    ids = {scored.report(gan).protocol_id for gan in (untrained, other)}
    assert len(ids) == 1
    assert ids == {evaluation(data.load("digits")).report(untrained).protocol_id}


def test_protocols_of_other_sizes_settings_or_data_differ(digits, untrained):
    protocols = [
        evaluation(digits).report(untrained),
        evaluation(digits).report(untrained, weights="raw"),
        evaluation(digits).floor(),
        evaluation(digits, n_fake=41).report(untrained),
        evaluation(digits, k=4).report(untrained),
        evaluation(digits, generation_seeds=1).report(untrained),
        evaluation(digits, splits=4).report(untrained),
        evaluation(replace(digits, test=digits.test[:-1], labels=None)).report(untrained),
        evaluation(replace(digits, test=digits.test ^ 1)).report(untrained),
        evaluation(replace(digits, name="numbers")).report(untrained),
    ]
    assert len({scored.protocol_id for scored in protocols}) == len(protocols)
    points = data.load("ring8")
    on_points = evaluation(points, metrics=["fid"]).report(gans.build("vanilla", data_dim=2, seed=0))
    assert on_points.protocol.conditions["features"] == "identity"
    assert on_points.protocol_id not in {scored.protocol_id for scored in protocols}


def test_asking_for_more_metrics_changes_no_id(digits, untrained):
    ring = data.load("ring8", n=200)
    points, on_points = replace(ring, test=ring.test[:200], labels=None), gans.build("vanilla", data_dim=2, seed=0)
    for dataset, gan in ((digits, untrained), (points, on_points)):
        kind = "points" if dataset.kind == "points" else "images"
        rows = [row for row in METRICS if row.judges(kind) and not row.by_class]
        fitting = [row.name for row in rows if row.needs not in ("polygons", "mixture")]
        for result in (lambda scored, gan: scored.report(gan), lambda scored, _: scored.floor()):
            ids = {
                result(evaluation(dataset, metrics=metrics, generation_seeds=1), gan).protocol_id
                for metrics in (["fid"], ["fid", "authpct"], fitting)
            }
            assert len(ids) == 1


# --- what a training need not be started for


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_fake": 3}, ["'precision'", "at least 4 generated", "there are 3", "raise evaluation.n_fake"]),
        ({"n_fake": 9, "metrics": ["is"], "splits": 10}, ["'is'", "at least 10 generated", "there are 9"]),
        ({"n_fake": 3, "metrics": ["kid"]}, ["'kid'", "at least 4 generated"]),
        ({"n_fake": 29, "metrics": ["fid_inf"]}, ["'fid_inf'", "at least 30 generated"]),
        ({"n_fake": 400, "k": 239}, []),
        ({"n_fake": 400, "k": 240}, ["'precision'", "at least 241 real", "there are 240"]),
        ({"n_fake": 30, "k": 30}, ["at least 31 generated", "there are 30"]),
    ],
)
def test_sets_too_small_for_a_metric_are_refused_with_the_first_judge(digits, changes, words):
    asked = evaluation(digits, **changes)
    if not words:
        asked.judge("selection")
        return
    with pytest.raises(UserError) as caught:
        asked.judge("selection")
    assert [word for word in words if word not in str(caught.value)] == [], caught.value


def test_so_are_a_small_test_split_and_a_small_floor(digits):
    few = replace(digits, test=digits.test[:5], labels=None)
    with pytest.raises(UserError, match=r"at least 11 real samples .* there are 5: give digits a larger test split"):
        evaluation(few, k=10).judge("selection")
    evaluation(few, k=4).judge("selection")
    with pytest.raises(
        UserError, match=r"at least 11 generated samples .* there are 8: the floor has digits's training"
    ):
        evaluation(data.load("digits", n=8), k=10).judge("selection")


def test_a_protocol_says_what_a_reader_needs_and_is_json(digits, untrained):
    scored = evaluation(digits).report(untrained)
    conditions = scored.protocol.conditions
    assert json.loads(json.dumps(scored.as_json()))["protocol"] == conditions
    expected = {
        "features": "digits", "n_real": 360, "n_fake": 40, "generation_seeds": 2, "split": "test", "k": 3,
        "dataset": "digits", "weights": "ema", "fingerprint": digits.fingerprint,
    }  # fmt: skip
    assert {name: conditions[name] for name in expected} == expected
    assert len(conditions["weights_sha256"]) == 64
    assert conditions["preprocessing"]["size"] == 16  # the network's, beside the data's own


def test_the_id_is_that_of_the_protocol(digits, untrained):
    scored = evaluation(digits).report(untrained)
    assert scored.protocol_id == scored.as_json()["protocol_id"] == Protocol(scored.as_json()["protocol"]).id


# --- scores


def test_a_score_is_the_mean_over_generation_seeds_with_their_deviation(digits, untrained):
    scored = evaluation(digits, generation_seeds=3)
    sums = [evaluation(digits, generation_seeds=n).report(untrained).scores["fid"].value * n for n in (1, 2, 3)]
    draws = [sums[0], sums[1] - sums[0], sums[2] - sums[1]]
    fid = scored.report(untrained).scores["fid"]
    assert fid.value == pytest.approx(np.mean(draws))
    assert fid.spread == pytest.approx(np.std(draws, ddof=1), rel=1e-4)
    assert fid.spread_over == "3 generation seeds"


def test_the_floor_is_far_below_an_untrained_generator(digits, untrained):
    scored = evaluation(digits, n_fake=300, metrics=["fid", "precision", "recall"])
    floor, start = scored.floor().scores, scored.report(untrained).scores
    assert floor["fid"].value < start["fid"].value / 10
    assert floor["precision"].value > 0.8
    assert floor["recall"].value > 0.8


def test_the_floor_of_little_training_data_uses_what_there_is(digits):
    scored = evaluation(data.load("digits", n=30)).floor()
    assert scored.protocol.conditions["n_fake"] == 30


def test_the_gap_to_the_training_set_shows_what_was_memorised():
    few = data.load("digits", n=300)
    scored = evaluation(few, n_fake=300)
    copier = scored.gap(lambda n, seed: Drawn(few.train))
    assert copier.n_real == 300
    assert copier.train.value == pytest.approx(0, abs=1e-6)
    assert copier.value.value > 0.5
    assert copier.value.value == pytest.approx(copier.test.value - copier.train.value)
    assert copier.value.spread_over == "2 generation seeds"
    fresh = scored.gap(lambda n, seed: Drawn(few.selection))
    assert abs(fresh.value.value) < copier.value.value / 2


def test_copies_of_training_data_are_no_floor_of_memorisation(digits):
    scored = evaluation(digits, metrics=["fid", "authpct", "duplicates"])
    assert set(scored.floor().scores) == {"fid"}
    assert set(scored.floor(split="train").scores) == {"fid", "authpct", "duplicates"}


def test_polygons_are_scored_against_the_truth():
    scored = evaluation(data.load("polygons", n=60, size=8), metrics=None, n_fake=40, generation_seeds=1)
    assert scored.floor().scores["polygon_precision"].value == 1
    assert "polygon_precision" not in scored.judge("selection").metrics


def test_selection_and_test_are_other_images_and_other_latents(digits, untrained):
    scored = evaluation(digits, generation_seeds=1)
    assert scored.selection(untrained)["fid"].value != scored.report(untrained).scores["fid"].value
    assert scored.judge("selection").protocol["n_real"] == 240


def test_one_failed_draw_fails_the_score():
    good, bad = Score(1.0, "lower", notes=("beware",)), Score(None, "lower", reason="3 samples are NaN")
    assert combine([good, bad, good]) == bad
    assert combine([good]) == good
    assert combine([good, good]).notes == ("beware",)


def test_draws_are_uint8_images_or_float_points(untrained):
    images = generator_draw(untrained, "ema")(3, 0).samples
    assert (images.dtype, images.shape) == (np.uint8, (3, 1, 8, 8))
    points = generator_draw(gans.build("wgan", data_dim=2, seed=0), "raw")(3, 0).samples
    assert (points.dtype, points.shape) == (np.float32, (3, 2))


# --- no trace


def test_scoring_leaves_generator_and_global_random_states_alone(digits, untrained):
    scored = evaluation(digits, metrics=None)
    untrained.train()
    weights = {name: value.clone() for name, value in untrained.state_dict().items() if torch.is_tensor(value)}
    modes = [module.training for module in untrained.modules()]
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first = scored.report(untrained)
    scored.selection(untrained)
    scored.floor()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    assert [module.training for module in untrained.modules()] == modes
    assert all(torch.equal(value, untrained.state_dict()[name]) for name, value in weights.items())
    assert scored.report(untrained) == first


# --- features


def test_auto_features_fit_the_data(digits, monkeypatch, tmp_path):
    from metrics.features import inception

    photos = replace(digits, name="photos")
    weights = tmp_path / "inception.pth"
    monkeypatch.setattr(inception, "default_weights", lambda: weights)
    assert resolve_features("auto", digits) == "digits"
    assert resolve_features("auto", data.load("ring8")) == "identity"
    assert resolve_features("auto", photos) == "digits"
    weights.touch()
    assert resolve_features("auto", photos) == "inception"
    assert resolve_features("auto", digits) == "digits"


@pytest.mark.parametrize(("name", "features"), [("digits", "identity"), ("ring8", "digits")])
def test_features_that_do_not_fit_are_refused(name, features):
    with pytest.raises(UserError, match=f"features={features} does not fit {name}"):
        resolve_features(features, data.load(name))

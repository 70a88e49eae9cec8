import json
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import metrics
from ganbench.errors import UserError
from metrics import (
    METRICS,
    Estimate,
    Judge,
    Score,
    evaluate,
    frechet_distance,
    inception_score,
    kernel_distance,
    neighbours,
)
from metrics.catalogue import Metric, label_for, metric
from metrics.features import FEATURES, load

IMAGE_SCORES = ("fid", "kid", "precision", "recall", "f1", "is")
POINT_SCORES = ("modes", "high_quality", "mode_kl", "fid", "kid", "precision", "recall", "f1")


def test_images_get_every_default_score_computed_from_the_networks_features(real_images, fake_images) -> None:
    judge = Judge(real_images, k=4, splits=5, kid_subsets=7, seed=3)
    scores = judge.score(fake_images)
    assert tuple(scores) == judge.metrics == IMAGE_SCORES
    real, _ = load("digits")(real_images)
    fake, logits = load("digits")(fake_images)
    bare = {name: replace(score, notes=()) for name, score in scores.items()}
    assert bare["fid"] == Score(frechet_distance(real=real, fake=fake), "lower")
    kid = kernel_distance(real=real, fake=fake, subsets=7, subset_size=60, seed=3)
    assert bare["kid"] == Score(kid.value, "lower", kid.std, "subsets")
    sure = inception_score(logits, splits=5, seed=3)
    assert bare["is"] == Score(sure.value, "higher", sure.std, "splits")
    near = neighbours(real=real, fake=fake, k=4)
    assert [scores[name].value for name in ("precision", "recall", "f1")] == [near.precision, near.recall, near.f1]
    again = judge.score(torch.from_numpy(fake_images))
    assert again == scores


def test_scores_rank_real_above_distorted_above_noise(real_images, fake_images) -> None:
    judge = Judge(real_images[:180])
    noise = np.random.default_rng(0).integers(0, 256, fake_images.shape, dtype=np.uint8)
    best, middle, worst = (judge.score(images) for images in (real_images[180:], fake_images, noise))
    for name in ("fid", "kid"):
        assert best[name].value < middle[name].value < worst[name].value
    for name in ("is", "f1"):
        assert best[name].value > middle[name].value > worst[name].value


def test_points_are_judged_by_coordinates_and_mixture(ring) -> None:
    scores = evaluate(
        real=ring.sample(800, 0), fake=ring.sample(600, 1, modes=4), features="identity", mixture=ring.mixture
    )
    assert tuple(scores) == POINT_SCORES
    assert scores["modes"] == Score(4.0, "higher")
    assert scores["mode_kl"].value == pytest.approx(np.log(2))
    assert scores["recall"].value < 0.7 < 0.9 < scores["precision"].value
    plain = evaluate(real=ring.sample(800, 0), fake=ring.sample(600, 1), features="identity")
    assert tuple(plain) == POINT_SCORES[3:]


def test_asked_for_scores_come_alone_and_in_order(real_images, fake_images) -> None:
    scores = evaluate(real=real_images, fake=fake_images, metrics=["coverage", "fid", "density", "fid"])
    assert list(scores) == ["coverage", "fid", "density"]
    assert all(score.value is not None for score in scores.values())


def test_global_randomness_is_untouched(real_images, fake_images) -> None:
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    first = evaluate(real=real_images, fake=fake_images)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), before[1], strict=True))  # noqa: NPY002
    assert random.getstate() == before[2]
    torch.rand(3)
    assert evaluate(real=real_images, fake=fake_images) == first


def test_protocol_says_all_that_the_scores_depend_on(real_images, fake_images, ring) -> None:
    judge = Judge(real_images, kid_subset_size=50)
    protocol = json.loads(json.dumps(judge.protocol, allow_nan=False))
    assert protocol == judge.protocol
    judge.score(fake_images)
    assert judge.protocol == protocol
    assert protocol["features"] == "digits"
    assert protocol["weights_sha256"] == load("digits").weights_sha256
    assert protocol["preprocessing"]["size"] == 16
    assert (protocol["n_real"], protocol["k"], protocol["splits"], protocol["kid_subset_size"]) == (360, 3, 10, 50)
    others = [
        Judge(real_images[::-1], kid_subset_size=50),
        Judge(real_images),
        Judge(real_images, kid_subset_size=50, k=5),
        Judge(real_images, kid_subset_size=50, seed=1),
    ]
    assert all(other.protocol != protocol for other in others)
    points = Judge(ring.sample(50, 0), features="identity", mixture=ring.mixture).protocol
    assert points["mixture"]["modes"] == 8
    assert points["quantisation"] is None
    json.dumps(points, allow_nan=False)


def test_diverged_samples_fail_with_a_reason(ring) -> None:
    fake = ring.sample(100, 1)
    fake[:7, 0] = np.nan
    scores = Judge(ring.sample(100, 0), features="identity", mixture=ring.mixture).score(fake)
    assert tuple(scores) == POINT_SCORES
    assert {score.value for score in scores.values()} == {None}
    assert scores["fid"].reason == "7 of 100 generated samples have non-finite features"
    assert scores["fid"].direction == "lower"


def test_one_failing_metric_does_not_cost_the_others(ring, monkeypatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise np.linalg.LinAlgError("eigenvalues did not converge")

    monkeypatch.setattr("metrics.comparison.RealManifold.compare", broken)
    scores = Judge(ring.sample(100, 0), features="identity").score(ring.sample(100, 1))
    assert scores["recall"] == Score(None, "higher", reason="LinAlgError: eigenvalues did not converge")
    assert scores["fid"].value is not None


def test_overflows_are_reasons_and_no_numbers(monkeypatch) -> None:
    points = np.random.default_rng(0).normal(size=(40, 2))
    judge = Judge(points, features="identity")
    assert all(score.value is not None for score in judge.score(points * 1e30).values())
    assert judge.score(points * 1e300)["kid"] == Score(
        None, "lower", reason="40 of 40 generated samples have non-finite features"
    )
    monkeypatch.setattr("metrics.scorers.kernel_distance", lambda **_: Estimate(np.inf, np.nan))
    assert judge.score(points)["kid"] == Score(None, "lower", reason="the computation ended in inf")


def test_a_score_has_a_value_or_a_reason() -> None:
    with pytest.raises(ValueError, match="either a value or the reason"):
        Score(None, "higher")
    with pytest.raises(ValueError, match="either a value or the reason"):
        Score(1.0, "higher", reason="why")


IMAGES = np.zeros((20, 1, 8, 8), dtype=np.uint8)
POINTS = np.zeros((20, 2), dtype=np.float32)


@pytest.mark.parametrize(
    ("real", "options", "said"),
    [
        (IMAGES, {"features": "digit"}, "did you mean 'digits'"),
        (IMAGES, {"metrics": ["fidd"]}, "did you mean 'fid'"),
        (IMAGES, {"metrics": ["modes"]}, "'modes' does not fit features 'digits' of images: it needs points"),
        (POINTS, {"features": "identity", "metrics": ["is"]}, "it needs images"),
        (POINTS, {"features": "identity", "metrics": ["modes"]}, "it needs the mixture"),
        (IMAGES.astype(np.float32), {}, "real samples are float32 .* give images as uint8"),
        (IMAGES.repeat(2, axis=1), {}, "1 or 3"),
        (IMAGES[:, 0], {}, "1 or 3, height, width"),
        (IMAGES, {"features": "identity"}, "give points as floats"),
        (IMAGES[:0], {}, "no real samples"),
        (IMAGES[:3], {}, "'kid' needs at least 4 real samples"),
        (IMAGES, {"k": 20}, "'precision' needs at least 21 real samples"),
        (IMAGES, {"kid_subset_size": 30}, "'kid' needs at least 30 real samples"),
        (IMAGES, {"k": 0}, "k=0"),
        (IMAGES, {"splits": 0}, "splits=0"),
        (IMAGES, {"kid_subset_size": 1}, "kid_subset_size=1"),
        (np.full((9, 2), np.inf), {"features": "identity"}, "real samples have NaN or infinite"),
        (POINTS, {"features": "identity", "mixture": (np.zeros((4, 3)), 1.0)}, "3 coordinates"),
    ],
)
def test_mistakes_in_what_was_asked_are_told_before_anything_is_computed(real, options, said) -> None:
    with pytest.raises(UserError, match=said):
        Judge(real, **options)


@pytest.mark.parametrize(
    ("fake", "said"),
    [
        (np.zeros((20, 3, 8, 8), dtype=np.uint8), "bring both to the same channels and size"),
        (np.zeros((20, 1, 16, 16), dtype=np.uint8), "bring both to the same channels and size"),
        (np.zeros((20, 1, 8, 8)), "generated samples are float64"),
        (IMAGES[:9], "'is' needs at least 10 generated samples"),
    ],
)
def test_unfit_generated_samples_are_told(fake, said) -> None:
    with pytest.raises(UserError, match=said):
        Judge(IMAGES).score(fake)


def test_catalogue_labels_and_targets() -> None:
    assert label_for("fid", "inception") == "FID"
    assert label_for("is", "digits") == "Inception Score (digits)"
    assert label_for("mode_kl", "identity") == "Mode KL (nats)"
    assert [metric(row.name) for row in METRICS] == list(METRICS)
    with pytest.raises(UserError, match="did you mean 'recall'"):
        label_for("recal", "digits")
    assert {"digits", "inception", "identity"} <= set(FEATURES.names())


def test_a_plug_ins_metric_is_scored_like_ours(ring, monkeypatch) -> None:
    row = Metric(
        name="span",
        label="Span",
        direction="higher",
        summary="largest coordinate",
        paper="",
        domain="points",
        compute="plug_in:span",
        needs="samples",
    )
    module = type(sys)("plug_in")
    module.ROW, module.span = row, lambda comparison: comparison.fake.samples.max()
    monkeypatch.setitem(sys.modules, "plug_in", module)

    class Point:
        name, value, dist = "span", "plug_in:ROW", None

    monkeypatch.setattr("ganbench.registry.entry_points", lambda group: [Point] if group == "ganbench.metrics" else [])
    monkeypatch.delitem(metrics.catalogue.REGISTRY.__dict__, "_entries", raising=False)
    try:
        fake = ring.sample(50, 1)
        scores = evaluate(real=ring.sample(50, 0), fake=fake, features="identity", metrics=["span"])
        assert scores == {"span": Score(float(fake.max()), "higher")}
        assert label_for("span", "identity") == "Span"
    finally:
        metrics.catalogue.REGISTRY.__dict__.pop("_entries", None)


def test_importing_the_package_and_its_catalogue_is_light() -> None:
    code = "import sys, metrics, metrics.catalogue, metrics.features; print({'numpy', 'torch'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
    assert all(getattr(metrics, name) is not None for name in metrics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = metrics.nothing


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "TypeError"),
        ("many", "ValueError"),
        (Estimate(float("inf"), 1.0), "the computation ended in inf"),
    ],
)
def test_whatever_another_packages_metric_gives_becomes_a_reason_and_costs_no_other_score(
    monkeypatch, real_images, fake_images, given, said
):
    monkeypatch.setattr("metrics.scorers.kernel", lambda comparison: given)
    scores = Judge(real_images, metrics=["kid", "fid"]).score(fake_images)
    assert scores["kid"].value is None
    assert said in scores["kid"].reason
    assert scores["fid"].value > 0


def test_numbers_of_another_packages_metric_become_plain_floats(monkeypatch, real_images, fake_images):
    monkeypatch.setattr("metrics.scorers.kernel", lambda comparison: Estimate(np.float32(0.5), torch.tensor(0.25)))
    score = Judge(real_images, metrics=["kid"]).score(fake_images)["kid"]
    assert (type(score.value), type(score.spread)) == (float, float)
    assert (score.value, score.spread) == (0.5, 0.25)


def test_a_deviation_that_is_no_number_is_none(monkeypatch, real_images, fake_images):
    monkeypatch.setattr("metrics.scorers.kernel", lambda comparison: Estimate(1.0, float("nan")))
    assert Judge(real_images, metrics=["kid"]).score(fake_images)["kid"] == Score(1.0, "lower", notes=())

"""What a judge may be given beside the real samples, and what it says beside the scores."""

import json

import numpy as np
import pytest

from ganbench.errors import UserError
from harness.data import polygons as drawn
from metrics import Judge, PolygonFamily, Protocol, authenticity, frechet_infinity, kernel_distance_all, prd
from metrics.features import load


@pytest.fixture(scope="module")
def parts(real_images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return real_images[:140], real_images[140:260], real_images[260:]


def test_metrics_of_memorisation_judge_against_the_training_split(parts) -> None:
    real, train, fake = parts
    fake = np.concatenate([fake, train[:7]])
    judge = Judge(real, metrics=["authpct", "duplicates"], train=train)
    scores = judge.score(fake)
    features = {name: load("digits")(images)[0] for name, images in {"train": train, "fake": fake}.items()}
    assert scores["authpct"].value == authenticity(**features)
    assert scores["duplicates"].value == 7
    assert judge.protocol["n_train"] == 120
    assert judge.protocol["train_sha256"] != Judge(real, metrics=["duplicates"], train=fake).protocol["train_sha256"]
    assert judge.score(train)["authpct"].value == 0
    for name in ("authpct", "duplicates"):
        with pytest.raises(UserError, match=r"it needs the training samples \(train=\)"):
            Judge(real, metrics=[name])
    with pytest.raises(UserError, match="the training samples have shape"):
        Judge(real, metrics=["duplicates"], train=train[:, :, ::2])


def test_rarer_metrics_run_when_asked_for(parts) -> None:
    real, other, fake = parts
    names = ["fid_inf", "kid_all", "prd_f8", "prd_f1_8"]
    judge = Judge(real, metrics=names, seed=4)
    scores = judge.score(fake)
    sides = {"real": load("digits")(real)[0], "fake": load("digits")(fake)[0]}
    infinity, pairs, curve = frechet_infinity(**sides, seed=4), kernel_distance_all(**sides), prd(**sides, seed=4)
    assert [scores[name].value for name in names] == [infinity.value, pairs.value, curve.f8, curve.f1_8]
    assert scores["kid_all"].spread == pairs.std
    assert scores["kid_all"].spread_over == "standard error"
    assert scores["fid_inf"].spread == infinity.std
    assert judge.protocol["prd"]["clusters"] == 20
    with pytest.raises(UserError, match="'fid_inf' needs at least 30 generated samples"):
        judge.score(other[:29])
    assert not set(names) & set(Judge(real).metrics)


def test_polygons_are_scored_beside_what_estimates_them() -> None:
    data = drawn.load(n=400)
    judge = Judge(data.test[:400], polygons=PolygonFamily())
    assert judge.metrics[:2] == ("polygon_precision", "polygon_recall")
    triangles = data.train[data.labels["train"] == 3]
    scores = judge.score(triangles)
    assert scores["polygon_precision"].value == 1
    assert scores["polygon_recall"].value == pytest.approx(1 / 3, abs=0.05)
    assert scores["precision"].value > scores["recall"].value
    assert json.loads(json.dumps(judge.protocol))["polygons"]["vertices"] == [3, 4, 5]
    with pytest.raises(UserError, match="it needs the family of polygons"):
        Judge(data.test, metrics=["polygon_recall"])


class Memory:
    """A store in a dictionary, which counts what it has to compute."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, np.ndarray]] = {}
        self.computed: list[str] = []

    def fetch(self, key, compute):
        text = json.dumps(key, sort_keys=True)
        if text not in self.kept:
            self.computed.append(key["what"])
            self.kept[text] = dict(compute())
        return self.kept[text]


def test_a_store_spares_the_real_side(parts) -> None:
    real, train, fake = parts
    store = Memory()
    options = {"metrics": ["fid", "precision", "authpct"], "train": train, "store": store}
    expected = Judge(real, metrics=options["metrics"], train=train).score(fake)
    assert Judge(real, **options).score(fake) == expected
    assert sorted(store.computed) == ["features", "features", "frechet", "manifold", "training"]
    assert Judge(real, **options).score(fake) == expected
    assert len(store.computed) == 5
    assert Judge(real, **options, k=4).score(fake)["fid"] == expected["fid"]
    assert store.computed[5:] == ["manifold"]
    Judge(real[::-1], **options)
    assert store.computed[6:] == ["features"]
    assert all(array.dtype != object for arrays in store.kept.values() for array in arrays.values())


def test_an_extractor_may_be_given_in_the_place_of_its_name(parts, tmp_path) -> None:
    real, _, fake = parts
    extractor = load("digits")
    judge = Judge(real, features=extractor)
    assert judge.protocol == Judge(real).protocol
    assert judge.score(fake) == Judge(real).score(fake)
    with pytest.raises(UserError, match="has its weights already"):
        Judge(real, features=extractor, weights=tmp_path / "weights")


def said(judge: Judge, *words: str) -> bool:
    return any(all(word in sentence for word in words) for sentence in judge.warnings)


def test_what_is_easily_misread_is_said_once(parts, real_images) -> None:
    real, train, fake = parts
    judge = Judge(real[:50], kid_subset_size=50)
    assert said(judge, "copies its training set")
    scores = judge.score(fake)
    assert said(judge, "fid: n_real=50 at 64 features", "prefer kid")
    assert said(judge, "kid: subsets of 50")
    assert said(judge, "is:", "not ImageNet's")
    assert said(judge, "is: 10 samples a split")
    assert said(judge, "precision: n_real=50 and n_fake=100 differ")
    before = judge.warnings
    judge.score(fake)
    assert judge.warnings == before
    assert len(set(before)) == len(before)
    assert set(before) - {judge.warnings[0]} == {note for score in scores.values() for note in score.notes}
    assert scores["kid"].notes == tuple(note for note in before if note.startswith("kid"))

    better = Judge(real_images[:200], metrics=["fid", "kid", "precision", "duplicates"], train=train)
    better.score(real_images[160:])
    assert better.warnings == (next(note for note in better.warnings if "n_real=200 is little for 64" in note),)
    assert said(Judge(real, metrics=["is"]), "never looks at the real data")


def test_neighbourhoods_and_constants_are_explained(parts) -> None:
    real, _, _ = parts
    judge = Judge(real, metrics=["precision", "coverage"], k=5)
    judge.score(real)
    assert said(judge, "precision: k=5", "k=3")
    assert not said(judge, "coverage: k=5")
    assert said(judge, "coverage: a perfect generator has 0.970")


def test_against_one_point_there_are_distances_and_no_manifold(parts) -> None:
    real, _, _ = parts
    names = ["fid", "kid", "precision", "recall", "f1", "density", "coverage", "prd_f8", "prd_f1_8", "is"]
    constant = Judge(np.zeros((40, 1, 8, 8), np.uint8), metrics=names)
    scores = constant.score(real)
    void = {name for name, score in scores.items() if score.value is None}
    assert void == set(names) - {"fid", "kid", "is"}
    assert {scores[name].reason for name in void} == {
        "all real samples have the same features, so there is no manifold to be precise about or to recall"
    }
    point = load("digits")(np.zeros((1, 1, 8, 8), np.uint8))[0].astype(np.float64)
    features = load("digits")(real)[0].astype(np.float64)
    distance = ((features.mean(axis=0) - point) ** 2).sum() + features.var(axis=0, ddof=1).sum()
    assert scores["fid"].value == pytest.approx(distance)
    assert said(constant, "fid: all real samples have the same features", "a single point")
    assert not said(constant, "is: all real")


def test_one_class_for_everything_is_pointed_out(parts) -> None:
    real, _, _ = parts
    judge = Judge(real, metrics=["is", "fid"])
    judge.score(real)
    assert not said(judge, "one class is given")
    judge.score(real[:1].repeat(40, axis=0))
    assert said(judge, "is: one class is given to every generated sample")


def test_the_protocol_does_not_depend_on_the_metrics_asked_for(parts) -> None:
    real, train, _ = parts
    one, more = (
        Judge(real, metrics=metrics, train=train).protocol
        for metrics in (["fid"], ["authpct", "duplicates", "prd_f8", "fid_inf", "is", "fid"])
    )
    assert one == more
    assert one["train_sha256"] != Judge(real, metrics=["fid"], train=train[1:]).protocol["train_sha256"]


def test_a_judges_protocol_and_the_split_make_a_comparable_object(parts) -> None:
    real, _, _ = parts
    judge = Judge(real)
    with pytest.raises(ValueError, match="does not say n_fake, split"):
        Protocol(judge.protocol)
    one = Protocol({**judge.protocol, "n_fake": 100, "split": "test"})
    other = Protocol({**judge.protocol, "n_fake": 100, "split": "selection"})
    assert one.differences(other) == ('split: "test" here, "selection" there',)

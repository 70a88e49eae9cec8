"""Each check of a metric catches the fault that it is meant for."""

from __future__ import annotations

import numpy as np
import pytest

from harness.conformance.metrics import CHECKS
from metrics import Estimate, Metric


def row(**options):
    facts = {
        "name": "gap",
        "label": "Gap of means",
        "direction": "lower",
        "summary": "distance of the features' means",
        "paper": "–",
        "domain": "both",
        "compute": "somebodys:compute",
    }
    return Metric(**{**facts, **options})


def gap(comparison):
    return float(np.linalg.norm(comparison.real.features.mean(0) - comparison.fake.features.mean(0)))


def estimate(comparison):
    return Estimate(np.float32(gap(comparison)), np.float32(0.1))


@pytest.fixture
def judged(offer, failures):
    def run(function, **options):
        offer(function, "compute")
        return failures(row(**options))

    return run


@pytest.mark.parametrize(
    ("compute", "options"), [(gap, {}), (gap, {"domain": "points"}), (estimate, {"spread_over": "nothing"})]
)
def test_a_sound_metric_passes_every_check(judged, compute, options):
    assert judged(compute, **options) == {}


def nothing(comparison):
    return None


def not_a_number(comparison):
    return float("nan")


def always_the_same(comparison):
    return 1.0


def of_the_global_generator(comparison):
    rows = np.random.permutation(len(comparison.fake.features))[:50]  # noqa: NPY002
    return float(np.linalg.norm(comparison.real.features.mean(0) - comparison.fake.features[rows].mean(0)))


def centring_in_place(comparison):
    value = gap(comparison)
    comparison.fake.features[:] -= comparison.fake.features.mean(0)
    return value


def emptying_others_samples(comparison):
    value = gap(comparison)
    comparison.fake.samples[:] = 0
    return value


def sorting_the_real_samples(comparison):
    value = gap(comparison)
    comparison.real.samples.sort(axis=0)
    return value


def scaling_the_logits(comparison):
    value = gap(comparison)
    comparison.real.logits[:] /= 2
    return value


def centring_what_was_trained_on(comparison):
    apart = comparison.train.features[:, None] - comparison.fake.features[:5]
    comparison.train.features[:] -= 1
    return float(np.abs(apart).sum(-1).min(0).mean())


def forgetting_the_classes(comparison):
    value = gap(comparison)
    comparison.fake.labels[:] = 0
    return value


def minus_one_for_what_fails(comparison):
    value = gap(comparison)
    return value if np.isfinite(value) else -1.0


BROKEN = [
    (gap, {"direction": "best"}, "row"),
    (gap, {"compute": "somebodys:elsewhere"}, "row"),
    (nothing, {}, "finite"),
    (not_a_number, {}, "finite"),
    (gap, {"direction": "higher"}, "direction"),
    (always_the_same, {}, "direction"),
    (of_the_global_generator, {}, "determinism"),
    (centring_in_place, {}, "features"),
    (minus_one_for_what_fails, {}, "reason"),
]


@pytest.mark.parametrize(("compute", "options", "meant"), BROKEN)
def test_a_fault_is_caught_by_the_check_that_is_meant_for_it(judged, compute, options, meant):
    assert meant in judged(compute, **options)


@pytest.mark.parametrize(
    ("compute", "options", "changed"),
    [
        (emptying_others_samples, {}, "fake.samples"),
        (emptying_others_samples, {"domain": "points"}, "fake.samples"),
        (sorting_the_real_samples, {}, "real.samples"),
        (scaling_the_logits, {}, "real.logits"),
        (centring_what_was_trained_on, {"needs": "train features", "direction": "higher"}, "train.features"),
        (forgetting_the_classes, {"by_class": True}, "fake.labels"),
    ],
)
def test_what_a_metric_changes_is_named_and_spoils_no_other_check(judged, compute, options, changed):
    failed = judged(compute, **options)
    assert list(failed) == ["features"]
    assert f"it changes {changed}" in failed["features"]


def test_every_check_has_caught_something():
    assert {meant for *_, meant in BROKEN} == {name for name, _ in CHECKS}


def test_what_is_no_row_is_told_so(failures):
    assert "register a metrics.Metric row" in failures(gap, "metric")["row"]

"""Conformance of a metric: a `metrics.Metric` row and the function that it names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cached_property
from typing import get_args

import numpy as np

from ganbench.registry import resolve
from harness import data
from harness.conformance.finding import Broken, Check, Finding, generators_at, walk
from harness.conformance.target import Target
from harness.data import Dataset
from metrics import Judge, Metric, Score
from metrics import features as feature_networks
from metrics.catalogue import metric
from metrics.comparison import Comparison, KnownSide, Settings, Side
from metrics.score import Direction, Estimate

POINTS = 1000
"""Points per side that scores are taken of."""

COMPANION = "fid"
"""The metric beside which another is scored, to see whether it leaves the shared features alone."""


class Row:
    """A metric under its name, and scores of it on embedded data that have what it needs."""

    def __init__(self, target: Target) -> None:
        self.name = target.name
        self.registered = target.registered

    @cached_property
    def row(self) -> Metric:
        """What is registered."""
        return metric(self.name)

    @cached_property
    def dataset(self) -> Dataset:
        """The cheapest embedded data that it can judge."""
        if self.row.needs == "polygons":
            return data.load("polygons", size=8, n=200)
        points = self.row.needs == "mixture" or self.row.domain == "points"
        return data.load("ring8", n=4000) if points else data.load("digits")

    @cached_property
    def real(self) -> np.ndarray:
        """The side that is compared with."""
        return self.dataset.test[:POINTS]

    @cached_property
    def perfect(self) -> np.ndarray:
        """Other real samples, in the place of generated ones."""
        samples: np.ndarray = getattr(self.dataset, self.split)
        return samples[: len(self.real)]

    @property
    def split(self) -> str:
        """Where these come from: of what was trained on, a metric of memorisation would say that it was copied."""
        return "selection" if self.row.needs in ("train", "train features") else "train"

    def labels(self, split: str) -> np.ndarray | None:
        """Of as many samples of a split as are scored, for a metric by class; None for others."""
        if not self.row.by_class or self.dataset.labels is None:
            return None
        return self.dataset.labels[split][: len(self.real)].copy()

    @cached_property
    def bad(self) -> dict[str, np.ndarray]:
        """Samples that no generator should be praised for, the most telling first."""
        if self.row.needs in ("train", "train features"):
            return {"copies of training samples": self.dataset.train[: len(self.real)]}
        drawn, shape = np.random.default_rng(0), self.perfect.shape
        noise: np.ndarray
        if self.dataset.kind == "image":
            noise = drawn.integers(0, 256, shape, dtype=np.uint8)
        else:
            noise = drawn.standard_normal(shape, dtype=np.float32) * 3
        return {"noise": noise, "one sample, repeated": np.repeat(self.perfect[:1], len(self.perfect), axis=0)}

    @property
    def network(self) -> str:
        """The name of the features that it is tried on."""
        return "identity" if self.dataset.kind == "points" else "digits"

    def comparison(self) -> Comparison:
        """What its function is handed for other real samples, made of copies: what it spoils is nobody else's."""
        extractor, mixture = feature_networks.load(self.network), self.dataset.mixture

        def embedded(samples: np.ndarray, labels: np.ndarray | None = None) -> KnownSide:
            copied = samples.copy()
            return KnownSide(copied, *extractor(copied), labels)

        centres = (np.array(mixture.centres, np.float64), mixture.std) if mixture else None
        return Comparison(
            embedded(self.real, self.labels("test")),
            embedded(self.perfect, self.labels(self.split)),
            Settings(3, 10, 100, None, 0, centres, self.dataset.polygons),
            embedded(self.dataset.train),
        )

    def score(self, fake: np.ndarray, *, beside: tuple[str, ...] = (), draws: int = 0) -> dict[str, Score]:
        """By name, where the global random generators stand at `draws`, which are put back.

        By class, the fakes are as if asked for with the labels of the real ones in their place.
        """
        mixture = self.dataset.mixture
        judge = Judge(
            self.real.copy(),
            features=self.network,
            metrics=[self.name, *beside],
            mixture=(mixture.centres, mixture.std) if mixture else None,
            polygons=self.dataset.polygons,
            train=self.dataset.train.copy(),
            labels=self.labels("test"),
        )
        with generators_at(draws):
            return judge.score(fake.copy(), labels=self.labels(self.split))

    @cached_property
    def on_real(self) -> float:
        """The score of real samples in the place of generated ones."""
        score = self.score(self.perfect)[self.row.name]
        if score.value is None:
            raise Broken(
                f"real samples have no score: {score.reason}",
                where=f"{len(self.real)} of {self.dataset.name} against {len(self.perfect)} others",
                remedy="give a finite float or an Estimate for good samples",
            )
        return score.value


def _row(subject: Row) -> str:
    row = subject.row
    if not isinstance(row, Metric):
        raise Broken(f"it is a {type(row).__name__}", where=subject.name, remedy="register a metrics.Metric row")
    if subject.registered and row.name != subject.name:
        raise Broken(
            f"it calls itself {row.name!r}", where="Metric.name", remedy=f"give the registered name {subject.name!r}"
        )
    if row.direction not in get_args(Direction):
        raise Broken(
            f"its direction is {row.direction!r}", where="Metric.direction", remedy='say "higher" or "lower" is better'
        )
    if not callable(resolve(row.compute)):
        raise Broken(
            "what computes it cannot be called", where=row.compute, remedy="name a function as module:function"
        )
    return f"{row.label}: the {row.direction} the better, of {row.domain}, from {row.needs}"


def _finite(subject: Row) -> str:
    return f"{subject.on_real:.4g} for real samples of {subject.dataset.name}"


def _direction(subject: Row) -> str:
    good, lower = subject.on_real, subject.row.direction == "lower"
    for what, fake in subject.bad.items():
        bad = subject.score(fake)[subject.row.name]
        if bad.value is None or bad.value == good:
            continue
        told = f"{good:.4g} for real samples, {bad.value:.4g} for {what}"
        if (bad.value > good) != lower:
            raise Broken(told, where=f'Metric.direction "{subject.row.direction}"', remedy="turn the direction round")
        return told
    raise Broken(
        f"{good:.4g} for real samples and no other score for {' or '.join(subject.bad)}",
        where=subject.row.compute,
        remedy="let it tell good samples from bad ones",
    )


def _determinism(subject: Row) -> str:
    first, second = (subject.score(subject.perfect, draws=draws)[subject.row.name].value for draws in (1, 2))
    if first != second:
        raise Broken(
            f"{first} and {second} for the same samples",
            where=subject.row.compute,
            remedy="draw from numpy.random.default_rng(comparison.settings.seed), not from the global generator",
        )
    return "the same samples have the same score to the bit"


def _features(subject: Row) -> str:
    remedy = "copy what it changes: other metrics look at the same arrays"
    comparison = subject.comparison()
    before = {name: array.copy() for name, array in _reachable(comparison)}
    with generators_at(0), np.errstate(over="ignore", invalid="ignore"):  # as a judge has it
        resolve(subject.row.compute)(comparison)
    after = dict(_reachable(comparison))
    changed = [name for name, array in before.items() if not np.array_equal(array, after[name])]
    if changed:
        raise Broken(f"it changes {', '.join(changed)}", where=f"{subject.row.compute}, in comparison", remedy=remedy)
    if subject.row.name == COMPANION:
        return "it leaves all arrays as they were; the others are scored beside it"
    alone = Judge(subject.real, features=subject.network, metrics=[COMPANION]).score(subject.perfect)[COMPANION]
    beside = subject.score(subject.perfect, beside=(COMPANION,))[COMPANION]
    if alone.value != beside.value:  # what several metrics share is more than arrays
        raise Broken(
            f"{COMPANION} beside it is {beside.value}, and {alone.value} without it",
            where=subject.row.compute,
            remedy=remedy,
        )
    return "it leaves what other metrics look at as it was"


def _reachable(comparison: Comparison) -> Iterator[tuple[str, np.ndarray]]:
    """Every array that a metric is handed, by the name that it has there."""
    for name, side in (("real", comparison.real), ("fake", comparison.fake), ("train", comparison.train)):
        for part in fields(Side):
            array = getattr(side, part.name)
            if array is not None:
                yield f"{name}.{part.name}", array
    if comparison.settings.mixture is not None:
        yield "settings.mixture", comparison.settings.mixture[0]


def _reason(subject: Row) -> str:
    """Hand the function what nothing can be computed from. A judge refuses such features, but not all that may fail."""
    if subject.dataset.kind == "image" and subject.row.needs in ("samples", "train", "polygons"):
        return "images of 8 bits cannot be broken"
    n, width = 64, 4
    kept = np.random.default_rng(0).standard_normal((3, n, width)).astype(np.float32)
    broken = np.full((n, width), np.nan, np.float32)
    points = subject.dataset.kind == "points"
    samples = broken[:, :2] if points else subject.perfect[:n].copy()
    mixture = subject.dataset.mixture
    classes = np.arange(n) % 2
    comparison = Comparison(
        KnownSide(subject.real[:n].copy(), kept[0], kept[1], classes),
        Side(samples, broken, broken, classes),
        Settings(3, 2, 10, None, 0, (mixture.centres, mixture.std) if mixture else None, None),
        KnownSide(subject.dataset.train[:n].copy(), kept[2], None),
    )
    try:
        with np.errstate(all="ignore"):
            result = resolve(subject.row.compute)(comparison)
            value = float(result.value if isinstance(result, Estimate) else result)
    except Exception as error:  # whatever it raises becomes the score's reason
        return f"NaN features raise {type(error).__name__}, a reason instead of a number"
    if np.isfinite(value):
        raise Broken(
            f"{value:g} for features that are all NaN",
            where=subject.row.compute,
            remedy="raise, or return NaN, where there is nothing to compute: that becomes the score's reason",
        )
    return f"NaN features give {value}, a reason instead of a number"


CHECKS: tuple[Check[Row], ...] = (
    ("row", _row),
    ("finite", _finite),
    ("direction", _direction),
    ("determinism", _determinism),
    ("features", _features),
    ("reason", _reason),
)


def findings(target: Target) -> Iterator[Finding]:
    """Each check's finding on a metric."""
    return walk(target.kind, target.name, Row(target), CHECKS)

"""What a metric's function gets to see: both sides' samples and features, and the passes that several share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from metrics.by_class import class_neighbours
from metrics.curve import prd
from metrics.frechet import FrechetReference
from metrics.manifolds import RealManifold
from metrics.memorisation import TrainingSet
from metrics.modes import mode_scores, nearest_modes
from metrics.polygons import PolygonFamily, polygon_scores
from metrics.score import PRD, Estimate, ModeScores, Neighbours, PolygonScores

Arrays = Mapping[str, np.ndarray]


class Store(Protocol):
    """Keeps what was computed from real samples between judges.

    `fetch` returns the arrays kept under `key`, or those of `compute()`, which it may keep. A key is JSON-able
    and names all that the arrays depend on but the versions of libraries: samples' hash, extractor,
    weights' hash, preprocessing, and `what` of it.
    """

    def fetch(self, key: Mapping[str, object], compute: Callable[[], Arrays], /) -> Arrays:
        """The arrays of `key`."""


class NoStore:
    """Computes everything anew."""

    def fetch(self, key: Mapping[str, object], compute: Callable[[], Arrays], /) -> Arrays:  # noqa: ARG002
        """What `compute` says."""
        return compute()


@dataclass(frozen=True)
class Settings:
    """The judge's choices. `kid_subset_size` None means min(1000, half of the smaller side)."""

    k: int
    splits: int
    kid_subsets: int
    kid_subset_size: int | None
    seed: int
    mixture: tuple[np.ndarray, float] | None
    polygons: PolygonFamily | None


@dataclass(frozen=True)
class Side:
    """Real or generated samples (uint8 NCHW or float points), features float32 (n, d), logits (n, C) or None.

    `labels` int64 (n,) are what the samples are, or were asked to be, where that is known.
    """

    samples: np.ndarray
    features: np.ndarray
    logits: np.ndarray | None
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class KnownSide(Side):
    """Samples that many comparisons share; what they need of it is computed when first asked for, or fetched.

    `key` names the samples and how their features came about.
    """

    key: Mapping[str, object] = field(default_factory=dict)
    store: Store = field(default_factory=NoStore)

    @cached_property
    def frechet(self) -> FrechetReference:
        """Mean and covariance factor."""
        key = {**self.key, "what": "frechet"}
        return FrechetReference.from_arrays(self.store.fetch(key, lambda: FrechetReference.of(self.features).arrays()))

    def manifold(self, k: int) -> RealManifold:
        """The balls around the features: their radii cost as much as half a comparison."""
        if k not in self._manifolds:
            arrays = self.store.fetch(
                {**self.key, "what": "manifold", "k": k}, lambda: RealManifold.of(self.features, k=k).arrays()
            )
            self._manifolds[k] = RealManifold.from_arrays(self.features, arrays)
        return self._manifolds[k]

    @cached_property
    def _manifolds(self) -> dict[int, RealManifold]:
        return {}

    @cached_property
    def training(self) -> TrainingSet:
        """These samples as a training set, with each one's distance to its nearest other."""
        key = {**self.key, "what": "training"}
        arrays = self.store.fetch(key, lambda: TrainingSet.of(self.features).arrays())
        return TrainingSet.from_arrays(self.features, arrays)


class Comparison:
    """One set of generated samples beside the real ones, and the training ones where the judge has them.

    Passes shared by several metrics run once.
    """

    def __init__(self, real: KnownSide, fake: Side, settings: Settings, train: KnownSide | None = None) -> None:
        self.real = real
        self.fake = fake
        self.settings = settings
        self._train = train

    @property
    def train(self) -> KnownSide:
        """The training samples."""
        assert self._train is not None, "the judge refuses metrics of memorisation without training samples"
        return self._train

    @cached_property
    def neighbours(self) -> Neighbours:
        """Precision, recall, f1, density and coverage."""
        return self.real.manifold(self.settings.k).compare(self.fake.features)

    @cached_property
    def prd(self) -> PRD:
        """The precision–recall curve of shared clusters."""
        return prd(real=self.real.features, fake=self.fake.features, seed=self.settings.seed)

    @cached_property
    def modes(self) -> ModeScores:
        """Scores against the mixture that the real points were drawn from."""
        assert self.settings.mixture is not None, "the judge refuses mode metrics without a mixture"
        centres, std = self.settings.mixture
        return mode_scores(self.fake.samples, centres=centres, std=std)

    @cached_property
    def by_class(self) -> dict[str, np.ndarray]:
        """Both sides' features and labels, as the functions of `metrics.by_class` take them."""
        real, fake = self.real, self.fake
        assert real.labels is not None, "the judge refuses scores by class without labels"
        assert fake.labels is not None
        return {
            "real": real.features,
            "fake": fake.features,
            "real_labels": real.labels,
            "fake_labels": fake.labels,
        }

    @cached_property
    def class_neighbours(self) -> tuple[Estimate, Estimate]:
        """Precision and recall within each class."""
        return class_neighbours(**self.by_class, k=self.settings.k)

    def classified(self, side: Side) -> np.ndarray:
        """The class int64 (n,) of each sample: its nearest mode where these are known, else its largest logit."""
        if self.settings.mixture is not None:
            return nearest_modes(side.samples, centres=self.settings.mixture[0])
        assert side.logits is not None, "the judge refuses this metric for features without a classifier"
        largest: np.ndarray = side.logits.argmax(axis=1)
        return largest

    @cached_property
    def polygons(self) -> PolygonScores:
        """Scores against the family that the real polygons were drawn from."""
        return polygon_scores(self.fake.samples, family=self.settings.polygons)

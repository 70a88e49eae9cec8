"""What a metric's function gets to see: both sides' samples and features, and the passes that several share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metrics.frechet import FrechetReference
from metrics.manifolds import RealManifold
from metrics.modes import mode_scores
from metrics.score import ModeScores, Neighbours


@dataclass(frozen=True)
class Settings:
    """The judge's choices. `kid_subset_size` None means min(1000, half of the smaller side)."""

    k: int
    splits: int
    kid_subsets: int
    kid_subset_size: int | None
    seed: int
    mixture: tuple[np.ndarray, float] | None


@dataclass(frozen=True)
class Side:
    """Real or generated samples (uint8 NCHW or float points), features float32 (n, d), logits (n, C) or None."""

    samples: np.ndarray
    features: np.ndarray
    logits: np.ndarray | None


@dataclass(frozen=True)
class RealSide(Side):
    """The reference, which keeps what every comparison with it needs; `k` neighbours make a ball."""

    k: int

    @cached_property
    def frechet(self) -> FrechetReference:
        """Mean and covariance factor, computed when first asked for."""
        return FrechetReference.of(self.features)

    @cached_property
    def manifold(self) -> RealManifold:
        """The balls around the real features: their radii cost as much as a whole comparison."""
        return RealManifold.of(self.features, k=self.k)


class Comparison:
    """One set of generated samples beside the real ones; passes shared by several metrics run once."""

    def __init__(self, real: RealSide, fake: Side, settings: Settings) -> None:
        self.real = real
        self.fake = fake
        self.settings = settings

    @cached_property
    def neighbours(self) -> Neighbours:
        """Precision, recall, f1, density and coverage."""
        return self.real.manifold.compare(self.fake.features)

    @cached_property
    def modes(self) -> ModeScores:
        """Scores against the mixture that the real points were drawn from."""
        assert self.settings.mixture is not None, "the judge refuses mode metrics without a mixture"
        centres, std = self.settings.mixture
        return mode_scores(self.fake.samples, centres=centres, std=std)

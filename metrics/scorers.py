"""One function per metric of the catalogue: a comparison in, a number (with its deviation, if it has one) out."""

from __future__ import annotations

from metrics import classifier
from metrics.comparison import Comparison
from metrics.kernel import kernel_distance
from metrics.score import Estimate

KID_SUBSET_SIZE = 1000


def inception_score(comparison: Comparison) -> Estimate:
    """Of the generated samples' logits."""
    logits, settings = comparison.fake.logits, comparison.settings
    assert logits is not None, "the judge refuses this metric for features without a classifier"
    return classifier.inception_score(logits, splits=settings.splits, seed=settings.seed)


def frechet(comparison: Comparison) -> float:
    """With the reference's mean and factor computed once."""
    return comparison.real.frechet.distance(comparison.fake.features)


def kernel(comparison: Comparison) -> Estimate:
    """With subsets of half the smaller side by default: whole sides would be the same subset every time."""
    real, fake, settings = comparison.real.features, comparison.fake.features, comparison.settings
    return kernel_distance(
        real=real,
        fake=fake,
        subsets=settings.kid_subsets,
        subset_size=settings.kid_subset_size or min(KID_SUBSET_SIZE, len(real) // 2, len(fake) // 2),
        seed=settings.seed,
    )


def precision(comparison: Comparison) -> float:
    """From the shared neighbour pass."""
    return comparison.neighbours.precision


def recall(comparison: Comparison) -> float:
    """From the shared neighbour pass."""
    return comparison.neighbours.recall


def f1(comparison: Comparison) -> float:
    """From the shared neighbour pass."""
    return comparison.neighbours.f1


def density(comparison: Comparison) -> float:
    """From the shared neighbour pass."""
    return comparison.neighbours.density


def coverage(comparison: Comparison) -> float:
    """From the shared neighbour pass."""
    return comparison.neighbours.coverage


def modes(comparison: Comparison) -> float:
    """Number of covered modes."""
    return float(comparison.modes.covered)


def high_quality(comparison: Comparison) -> float:
    """Share within 3σ of a mode."""
    return comparison.modes.high_quality


def mode_kl(comparison: Comparison) -> float:
    """Nats from uniform shares of the modes."""
    return comparison.modes.kl

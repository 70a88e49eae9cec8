"""One function per metric of the catalogue: a comparison in, a number (with its deviation, if it has one) out."""

from __future__ import annotations

from metrics import by_class, classifier, memorisation
from metrics import frechet as gaussians
from metrics.comparison import Comparison
from metrics.kernel import kernel_distance, kernel_distance_all
from metrics.modes import class_scores
from metrics.score import ClassScores, Estimate

KID_SUBSET_SIZE = 1000


def inception_score(comparison: Comparison) -> Estimate:
    """Of the generated samples' logits."""
    logits, settings = comparison.fake.logits, comparison.settings
    assert logits is not None, "the judge refuses this metric for features without a classifier"
    return classifier.inception_score(logits, splits=settings.splits, seed=settings.seed)


def frechet(comparison: Comparison) -> float:
    """With the reference's mean and factor computed once."""
    return comparison.real.frechet.distance(comparison.fake.features)


def frechet_infinity(comparison: Comparison) -> Estimate:
    """With the reference's mean and factor computed once."""
    return gaussians.frechet_infinity(
        real=comparison.real.frechet, fake=comparison.fake.features, seed=comparison.settings.seed
    )


def kid_subset_size(chosen: int | None, n_real: int, n_fake: int) -> int:
    """Half the smaller side by default: whole sides would be the same subset every time."""
    return chosen or min(KID_SUBSET_SIZE, n_real // 2, n_fake // 2)


def kernel(comparison: Comparison) -> Estimate:
    """Over random subsets."""
    real, fake, settings = comparison.real.features, comparison.fake.features, comparison.settings
    return kernel_distance(
        real=real,
        fake=fake,
        subsets=settings.kid_subsets,
        subset_size=kid_subset_size(settings.kid_subset_size, len(real), len(fake)),
        seed=settings.seed,
    )


def kernel_all(comparison: Comparison) -> Estimate:
    """Over every pair."""
    return kernel_distance_all(real=comparison.real.features, fake=comparison.fake.features)


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


def prd_f1_8(comparison: Comparison) -> float:
    """From the shared curve."""
    return comparison.prd.f1_8


def prd_f8(comparison: Comparison) -> float:
    """From the shared curve."""
    return comparison.prd.f8


def authpct(comparison: Comparison) -> float:
    """Against the training set, with its own distances computed once."""
    return comparison.train.training.authenticity(comparison.fake.features)


def duplicates(comparison: Comparison) -> float:
    """Against the training set."""
    return float(memorisation.duplicates(train=comparison.train.samples, fake=comparison.fake.samples))


def polygon_precision(comparison: Comparison) -> float:
    """From the shared fits."""
    return comparison.polygons.precision


def polygon_recall(comparison: Comparison) -> float:
    """From the shared fits."""
    return comparison.polygons.recall


def modes(comparison: Comparison) -> float:
    """Number of covered modes."""
    return float(comparison.modes.covered)


def high_quality(comparison: Comparison) -> float:
    """Share within 3σ of a mode."""
    return comparison.modes.high_quality


def class_modes(comparison: Comparison) -> float:
    """Number of classes covered."""
    return float(_classes(comparison).covered)


def class_kl(comparison: Comparison) -> float:
    """Nats from uniform shares of the classes."""
    return _classes(comparison).kl


def _classes(comparison: Comparison) -> ClassScores:
    logits = comparison.fake.logits
    assert logits is not None, "the judge refuses this metric for features without a classifier"
    return class_scores(logits)


def intra_frechet(comparison: Comparison) -> Estimate:
    """Class by class."""
    return by_class.intra_frechet(**comparison.by_class)


def class_precision(comparison: Comparison) -> Estimate:
    """From the classes' neighbour passes."""
    return comparison.class_neighbours[0]


def class_recall(comparison: Comparison) -> Estimate:
    """From the classes' neighbour passes."""
    return comparison.class_neighbours[1]


def label_accuracy(comparison: Comparison) -> float:
    """By the features' classifier, or by the nearest mode."""
    labels = comparison.by_class
    return by_class.label_accuracy(
        given=comparison.classified(comparison.fake),
        labels=labels["fake_labels"],
        real_given=comparison.classified(comparison.real),
        real_labels=labels["real_labels"],
    )


def mode_kl(comparison: Comparison) -> float:
    """Nats from uniform shares of the modes."""
    return comparison.modes.kl

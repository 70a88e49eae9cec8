"""Scores class by class: samples of one label against the real samples of that label, and whether labels are obeyed.

Intra-class FID: Miyato & Koyama 2018, "cGANs with Projection Discriminator" (arXiv:1802.05637). Label accuracy: Odena
et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs" (arXiv:1610.09585).

A score over classes is the plain mean of the classes' own, as in the first paper, however many samples each has; its
deviation is over classes. A class that either side has too few samples of leaves no score at all: a mean over the
others would be another measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_numpy, as_pair
from metrics.frechet import frechet_distance
from metrics.manifolds import neighbours
from metrics.score import Estimate

LEAST = 20
"""Samples that each class needs on either side."""
AGREEMENT = 0.9
"""Share of real samples that a classifier must give their own label, to be asked about generated ones."""


def rows_by_class(real_labels: Array, fake_labels: Array) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Rows of the real and of the generated samples of each label that either side has, by rising label.

    Raises `UserError` where a class has fewer than `LEAST` samples on a side.
    """
    real, fake = as_numpy(real_labels), as_numpy(fake_labels)
    rows = {}
    for label in np.union1d(real, fake).tolist():
        sides = np.flatnonzero(real == label), np.flatnonzero(fake == label)
        for whose, side in zip(("real", "generated"), sides, strict=True):
            if len(side) < LEAST:
                raise UserError(
                    f"class {label} has {len(side)} {whose} samples and {LEAST} are needed of each class: give more "
                    "samples, or fewer classes"
                )
        rows[label] = sides
    return rows


def per_class(
    measure: Callable[..., float], *, real: Array, fake: Array, real_labels: Array, fake_labels: Array
) -> dict[int, float]:
    """`measure(real=…, fake=…)` of the features (n, d) of each class's samples, by rising label.

    >>> import numpy as np
    >>> labels = np.repeat([0, 1], 20)
    >>> real = np.random.default_rng(0).normal(size=(40, 1))
    >>> fake = real + np.where(labels == 1, 3.0, 0.0)[:, None]  # the second class is moved by 3
    >>> found = per_class(frechet_distance, real=real, fake=fake, real_labels=labels, fake_labels=labels)
    >>> {label: abs(round(value, 6)) for label, value in found.items()}
    {0: 0.0, 1: 9.0}
    """
    first, second = as_pair(real, fake)
    rows = rows_by_class(real_labels, fake_labels)
    return {label: measure(real=first[mine], fake=second[theirs]) for label, (mine, theirs) in rows.items()}


def over_classes(values: Mapping[int, float]) -> Estimate:
    """The mean over classes, and their deviation."""
    found = list(values.values())
    return Estimate(float(np.mean(found)), float(np.std(found)))


def intra_frechet(*, real: Array, fake: Array, real_labels: Array, fake_labels: Array) -> Estimate:
    """The mean over classes of the Fréchet distance between a class's real and its generated features."""
    return over_classes(
        per_class(frechet_distance, real=real, fake=fake, real_labels=real_labels, fake_labels=fake_labels)
    )


def class_neighbours(
    *, real: Array, fake: Array, real_labels: Array, fake_labels: Array, k: int = 3
) -> tuple[Estimate, Estimate]:
    """Precision and recall within each class, averaged over classes; see `metrics.neighbours`."""
    first, second = as_pair(real, fake)
    rows = rows_by_class(real_labels, fake_labels)
    found = {label: neighbours(real=first[mine], fake=second[theirs], k=k) for label, (mine, theirs) in rows.items()}
    return (
        over_classes({label: score.precision for label, score in found.items()}),
        over_classes({label: score.recall for label, score in found.items()}),
    )


def label_accuracy(*, given: Array, labels: Array, real_given: Array, real_labels: Array) -> float:
    """The share of generated samples that a classifier gives the label which they were asked for.

    Args:
        given: int64 (m,), what the classifier says of them.
        labels: int64 (m,), what they were asked for.
        real_given: int64 (n,), what it says of real samples.
        real_labels: int64 (n,), what those are.

    Raises:
        UserError: it is right about less than `AGREEMENT` of the real samples: its classes are not the data's.
    """
    right = float((as_numpy(real_given) == as_numpy(real_labels)).mean())
    if right < AGREEMENT:
        raise UserError(
            f"the classifier is right about {right:.0%} of the real samples and {AGREEMENT:.0%} are asked for: its "
            "classes are not these data's, so choose other features"
        )
    return float((as_numpy(given) == as_numpy(labels)).mean())

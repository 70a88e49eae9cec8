"""Precision and recall of distributions: the curve between quality and variety.

Sajjadi et al. 2018, "Assessing Generative Models via Precision and Recall" (arXiv:1806.00035).
"""

from __future__ import annotations

import warnings

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_pair
from metrics.score import PRD

CLUSTERS = 20
RUNS = 10
ANGLES = 1001
BETA = 8.0


def prd(*, real: Array, fake: Array, clusters: int = CLUSTERS, runs: int = RUNS, seed: int = 0) -> PRD:
    """The curve of features real (n, d) and fake (m, d), n and m ≥ `clusters`, with F_8 (recall) and F_1/8 (precision).

    Both sides are clustered together by mini-batch k-means, each side weighing the same in total, and their
    shares of the clusters are compared over 1001 slopes; the curve is the average over `runs` seeded
    clusterings. The paper demands n = m: here unequal sides are weighted, yet their values still differ from
    equal ones by sampling noise, so compare equal n only.

    Raises `UserError` for unequal d, non-finite values, fewer rows than clusters, or fewer than two clusters.
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    if clusters < 2 or runs < 1:
        raise UserError(f"clusters={clusters} in runs={runs}: ask for at least two clusters and one run")
    first, second = as_pair(real, fake, at_least=clusters)
    union = np.concatenate([first, second])
    union -= union.mean(axis=0, dtype=np.float64).astype(union.dtype)
    weights = np.repeat([len(union) / (2 * len(first)), len(union) / (2 * len(second))], [len(first), len(second)])
    curves = []
    for run in range(runs):
        means = MiniBatchKMeans(clusters, n_init=3, random_state=np.random.RandomState([seed, run]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters leave some empty
            labels = means.fit(union, sample_weight=weights).labels_
        shares = [np.bincount(side, minlength=clusters) / len(side) for side in np.split(labels, [len(first)])]
        curves.append(_curve(*shares))
    precision, recall = np.mean(curves, axis=0)
    return PRD(precision, recall, _best(precision, recall, BETA), _best(precision, recall, 1 / BETA))


def _curve(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """α(λ) = Σ min(λ·p, q) and β(λ) = α/λ for slopes λ between 0 and ∞, of shares p real and q fake."""
    slopes = np.tan(np.linspace(1e-6, np.pi / 2 - 1e-6, ANGLES))
    precision = np.minimum(slopes[:, None] * real, fake).sum(axis=1)
    return precision.clip(0, 1), (precision / slopes).clip(0, 1)


def _best(precision: np.ndarray, recall: np.ndarray, beta: float) -> float:
    """The largest F_β along the curve."""
    return float(((1 + beta**2) * precision * recall / (beta**2 * precision + recall + 1e-300)).max())

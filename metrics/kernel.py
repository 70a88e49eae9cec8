"""Kernel distance: KID when the features are Inception's.

Bińkowski et al. 2018, "Demystifying MMD GANs" (arXiv:1801.01401).
"""

from __future__ import annotations

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_pair
from metrics.score import Estimate


def kernel_distance(
    *, real: Array, fake: Array, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> Estimate:
    """Unbiased MMD² with the kernel (x·y/d + 1)³ between features real (n, d) and fake (m, d).

    Mean and standard deviation over `subsets` random subsets of `subset_size` rows of each side, drawn as
    torch-fidelity draws them, computed in float64. The subsets overlap, so the deviation is no standard
    error; at `subset_size` = n it is zero. Values slightly below 0 are right: the estimator is unbiased.

    Raises `UserError` for unequal d, non-finite values, or fewer rows than `subset_size`.
    """
    if subsets < 1 or subset_size < 2:
        raise UserError(f"subsets={subsets} of subset_size={subset_size}: ask for at least one subset of two or more")
    first, second = as_pair(real, fake, at_least=subset_size)
    rng = np.random.RandomState(seed)  # torch-fidelity's generator: same seed, same subsets
    values = np.empty(subsets)
    for i in range(subsets):
        x = second[rng.choice(len(second), subset_size, replace=False)]
        y = first[rng.choice(len(first), subset_size, replace=False)]
        values[i] = _mmd2(x, y)
    return Estimate(float(values.mean()), float(values.std()))


def _mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate for two sets of m rows: own pairs without the diagonal, all cross pairs."""
    m = len(x)
    own_x, own_y, cross = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    own = own_x.sum() - own_x.trace() + own_y.sum() - own_y.trace()
    return float(own / (m * (m - 1)) - 2 * cross.mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T / x.shape[1] + 1
    cube: np.ndarray = base * base * base  # numpy's ** 3 calls pow() per element
    return cube

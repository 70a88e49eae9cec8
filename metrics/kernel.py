"""Kernel distance: KID when the features are Inception's.

Bińkowski et al. 2018, "Demystifying MMD GANs" (arXiv:1801.01401).
"""

from __future__ import annotations

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_pair, blocks
from metrics.score import Estimate

BLOCK = 1024


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
        x = second[rng.choice(len(second), subset_size, replace=False)].astype(np.float64)
        y = first[rng.choice(len(first), subset_size, replace=False)].astype(np.float64)
        values[i] = _mmd2(x, y)
    return Estimate(float(values.mean()), float(values.std()))


def kernel_distance_all(*, real: Array, fake: Array) -> Estimate:
    """The same unbiased MMD² from every pair of rows, real (n ≥ 3, d) and fake (m ≥ 3, d), with its standard error.

    The U-statistic's value does not depend on a seed. Its error is the two-sample delete-one jackknife:
    with U₍ᵢ₎ the estimate without row i, Σ over both sides of (n−1)/n · Σᵢ(U₍ᵢ₎ − mean)², rooted. It is
    conservative (Efron & Stein 1981): for equal laws up to √2 too large. Blockwise in float64: memory
    grows with n, not n².

    Raises `UserError` for unequal d, non-finite values or fewer rows.
    """
    first, second = as_pair(real, fake, at_least=3)
    n, m = len(first), len(second)
    own_real, own_fake = _own_sums(first), _own_sums(second)
    cross_fake, cross_real = _cross_sums(second, first)
    within = own_real.sum() / (n * (n - 1)), own_fake.sum() / (m * (m - 1))
    across = cross_real.sum() / (n * m)
    # each sample's row sums say what the estimate would be without it
    no_real = (own_real.sum() - 2 * own_real) / ((n - 1) * (n - 2)) - 2 * (cross_real.sum() - cross_real) / (
        (n - 1) * m
    )
    no_fake = (own_fake.sum() - 2 * own_fake) / ((m - 1) * (m - 2)) - 2 * (cross_real.sum() - cross_fake) / (
        (m - 1) * n
    )
    variance = (n - 1) * no_real.var() + (m - 1) * no_fake.var()
    return Estimate(float(sum(within) - 2 * across), float(np.sqrt(variance)))


def _own_sums(x: np.ndarray) -> np.ndarray:
    """For each row, the sum of its kernel with every other row; each pair is computed once."""
    sums = np.zeros(len(x))
    for rows in blocks(len(x), BLOCK):
        mine = x[rows].astype(np.float64)
        for others in blocks(len(x), BLOCK):
            if others.start < rows.start:
                continue
            kernel = _kernel(mine, x[others].astype(np.float64))
            if others == rows:
                np.fill_diagonal(kernel, 0)
            else:
                sums[others] += kernel.sum(axis=0)
            sums[rows] += kernel.sum(axis=1)
    return sums


def _cross_sums(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of either side, the sum of its kernel with every row of the other."""
    x_sums, y_sums = np.zeros(len(x)), np.zeros(len(y))
    for rows in blocks(len(x), BLOCK):
        mine = x[rows].astype(np.float64)
        for others in blocks(len(y), BLOCK):
            kernel = _kernel(mine, y[others].astype(np.float64))
            x_sums[rows] += kernel.sum(axis=1)
            y_sums[others] += kernel.sum(axis=0)
    return x_sums, y_sums


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

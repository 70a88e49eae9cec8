"""Inception Score: how sure and how varied a classifier's answers are; it never sees a real image.

Salimans et al. 2016, "Improved Techniques for Training GANs" (arXiv:1606.03498).
"""

from __future__ import annotations

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_matrix
from metrics.score import Estimate


def inception_score(logits: Array, *, splits: int = 10, seed: int = 0) -> Estimate:
    """exp(E KL(p(y|x) ‖ p(y))) of class logits (n ≥ splits, C), mean and deviation over `splits` parts.

    Between 1 (every answer alike) and C (one-hot, all classes alike often). The rows are shuffled first,
    as torch-fidelity does. The score grows with n/splits: compare equal n and splits only.

    >>> import numpy as np
    >>> round(inception_score(np.eye(4) * 1000, splits=1).value, 9)
    4.0
    """
    if splits < 1:
        raise UserError(f"splits={splits}: ask for at least one split")
    matrix = as_matrix(logits, "logits", at_least=splits)
    n = len(matrix)
    matrix = matrix[np.random.RandomState(seed).permutation(n)]  # torch-fidelity's order
    matrix -= matrix.max(axis=1, keepdims=True)
    log_p = matrix - np.log(np.exp(matrix).sum(axis=1, keepdims=True))
    parts = [_score(log_p[i * n // splits : (i + 1) * n // splits]) for i in range(splits)]
    return Estimate(float(np.mean(parts)), float(np.std(parts)))


def _score(log_p: np.ndarray) -> float:
    p = np.exp(log_p)
    q = p.mean(axis=0, keepdims=True)
    # beyond a gap of 745 nats p underflows to 0, and 0·log 0 is 0 rather than NaN
    log_q = np.log(q, where=q > 0, out=np.zeros_like(q))
    return float(np.exp((p * (log_p - log_q)).sum(axis=1).mean()))

"""Arrays at the border: numpy or torch in, float64 matrices inside, one content hash."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ganbench.errors import UserError

if TYPE_CHECKING:
    import torch

Array: TypeAlias = "np.ndarray | torch.Tensor"


def as_numpy(values: Array) -> np.ndarray:
    """The same values on the host; torch tensors leave their device and graph."""
    return values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()


def as_matrix(values: Array, name: str, *, at_least: int = 1) -> np.ndarray:
    """`values` as float64 (n, d); raises `UserError` for another shape, non-finite values or n < `at_least`."""
    matrix = as_numpy(values).astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise UserError(f"{name} has shape {matrix.shape}: give one row of features per sample, (n, d) with d ≥ 1")
    if len(matrix) < at_least:
        raise UserError(f"{name} has {len(matrix)} samples and at least {at_least} are needed: give more samples")
    if not np.isfinite(matrix).all():
        raise UserError(f"{name} holds NaN or infinity: drop the run or find out why its samples diverged")
    return matrix


def as_pair(real: Array, fake: Array, *, at_least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as float64 matrices of one width; raises `UserError` as `as_matrix` does, or if widths differ."""
    first, second = as_matrix(real, "real", at_least=at_least), as_matrix(fake, "fake", at_least=at_least)
    check_widths(first, second)
    return first, second


def check_widths(real: np.ndarray, fake: np.ndarray) -> None:
    """Raise `UserError` unless both matrices have the same number of features per sample."""
    if real.shape[1] != fake.shape[1]:
        raise UserError(
            f"real has {real.shape[1]} features per sample and fake {fake.shape[1]}: "
            "compute both with the same feature network"
        )


def fingerprint(values: np.ndarray) -> str:
    """Sha256 of dtype, shape and content."""
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()

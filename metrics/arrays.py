"""Arrays at the border: numpy or torch in, checked matrices inside, one content hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ganbench.errors import UserError

if TYPE_CHECKING:
    import torch

Array: TypeAlias = "np.ndarray | torch.Tensor"

BLOCK = 2048
"""Rows that are converted or multiplied at a time, so that working memory does not grow with n."""


def as_numpy(values: Array) -> np.ndarray:
    """The same values on the host; torch tensors leave their device and graph."""
    return values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()


def as_rows(values: Array, name: str, *, at_least: int = 1) -> np.ndarray:
    """`values` as a float32 or float64 matrix (n, d), not copied if it is one already.

    Raises `UserError` for another shape, non-finite values or n < `at_least`.
    """
    matrix = as_numpy(values)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise UserError(f"{name} has shape {matrix.shape}: give one row of features per sample, (n, d) with d ≥ 1")
    if len(matrix) < at_least:
        raise UserError(f"{name} has {len(matrix)} samples and at least {at_least} are needed: give more samples")
    if not all(np.isfinite(matrix[rows]).all() for rows in blocks(len(matrix))):
        raise UserError(f"{name} holds NaN or infinity: drop the run or find out why its samples diverged")
    return matrix


def as_matrix(values: Array, name: str, *, at_least: int = 1) -> np.ndarray:
    """A float64 copy (n, d) of `values`; raises `UserError` as `as_rows` does."""
    return as_rows(values, name, at_least=at_least).astype(np.float64)


def as_pair(real: Array, fake: Array, *, at_least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as matrices of one width; raises `UserError` as `as_rows` does, or if widths differ."""
    first, second = as_rows(real, "real", at_least=at_least), as_rows(fake, "fake", at_least=at_least)
    check_widths(first, second)
    return first, second


def check_widths(real: np.ndarray, fake: np.ndarray) -> None:
    """Raise `UserError` unless both have the same number of features per sample (their last axis)."""
    if real.shape[-1] != fake.shape[-1]:
        raise UserError(
            f"real has {real.shape[-1]} features per sample and fake {fake.shape[-1]}: "
            "compute both with the same feature network"
        )


def blocks(n: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices that cover 0…n, `size` rows each but the last."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def fingerprint(values: np.ndarray) -> str:
    """Sha256 of dtype, shape and content."""
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()

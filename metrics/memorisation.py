"""Is it copied? Generated samples beside the training set.

Alaa et al. 2022, "How Faithful is your Synthetic Data?" (arXiv:2102.08921), for AuthPct.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ganbench.errors import UserError
from metrics.arrays import Array, as_numpy, as_rows, check_widths
from metrics.score import Gallery
from metrics.search import Cloud, search, search_own


@dataclass(frozen=True)
class TrainingSet:
    """Training features (n, d) as given, and each row's squared distance (n,) to its nearest other row."""

    cloud: Cloud
    own: np.ndarray

    @classmethod
    def of(cls, train: Array) -> TrainingSet:
        """From features (n ≥ 2, d); raises `UserError` for other shapes or non-finite values."""
        rows = as_rows(train, "train", at_least=2)
        cloud = Cloud(rows, rows.mean(axis=0, dtype=np.float64))
        return cls(cloud, search_own(cloud, 1)[0][:, 0])

    def authenticity(self, fake: Array) -> float:
        """AuthPct of fake features (m, d); see the function."""
        rows = as_rows(fake, "fake")
        check_widths(self.cloud.rows, rows)
        squares, nearest = search(Cloud(rows, self.cloud.centre), self.cloud, 1)
        return 100 * float((squares[:, 0] > self.own[nearest[:, 0]]).mean())

    def arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays from which, with the features, `from_arrays` makes the same set."""
        return {"centre": self.cloud.centre, "own": self.own}

    @classmethod
    def from_arrays(cls, features: np.ndarray, arrays: Mapping[str, np.ndarray]) -> TrainingSet:
        """The inverse of `arrays`."""
        return cls(Cloud(features, arrays["centre"]), arrays["own"])


def authenticity(*, train: Array, fake: Array) -> float:
    """AuthPct in percent: the share of fakes that are further from their nearest training row than it is from its own.

    Features train (n ≥ 2, d) and fake (m, d). Copies of the training set score 0, and so does a generator
    whose samples hug it; a fresh sample of the same law scores near 50, depending on the law and n:
    read it beside the value of the test split. Raises `UserError` for other shapes or non-finite values.
    """
    return TrainingSet.of(train).authenticity(fake)


def duplicates(*, train: Array, fake: Array) -> int:
    """How many of the fakes equal a training sample to the last bit; both of one dtype, (n, …) and (m, …).

    Raises `UserError` for different dtypes or shapes: the comparison would mean nothing.
    """
    theirs, ours = as_numpy(train), as_numpy(fake)
    if theirs.dtype != ours.dtype or theirs.shape[1:] != ours.shape[1:]:
        raise UserError(
            f"the training samples are {theirs.dtype} {theirs.shape[1:]} and the generated ones {ours.dtype} "
            f"{ours.shape[1:]}: bring both to the same type and size"
        )
    seen = {_digest(one) for one in theirs}
    return sum(_digest(one) in seen for one in ours)


def gallery(*, train: Array, fake: Array, k: int = 3, top: int = 16) -> Gallery:
    """The `top` fakes closest to the training set and their `k` nearest training rows: what to look at for copies.

    Features train (n ≥ k, d) and fake (m, d). Raises `UserError` for other shapes, non-finite values or k < 1.
    """
    if k < 1 or top < 1:
        raise UserError(f"k={k} and top={top}: ask for at least one neighbour and one sample")
    theirs, ours = as_rows(train, "train", at_least=k), as_rows(fake, "fake")
    check_widths(theirs, ours)
    centre = theirs.mean(axis=0, dtype=np.float64)
    squares, nearest = search(Cloud(ours, centre), Cloud(theirs, centre), k)
    closest = np.argsort(squares[:, 0], kind="stable")[:top]
    return Gallery(closest, nearest[closest], np.sqrt(squares[closest]))


def _digest(sample: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(sample).data, digest_size=16).digest()

"""The classes of the training data of a conditional game. Free of torch until something is computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ganbench.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SHOWN = 12
"""Labels that an error message lists."""


@dataclass(frozen=True)
class Classes:
    """The classes of the training data: their labels, ascending, and how many samples each has.

    >>> classes = Classes((3, 4, 5), (20, 10, 10))
    >>> classes.places([5, 3]), classes.cumulative
    (tensor([2, 0]), tensor([0.5000, 0.7500, 1.0000], dtype=torch.float64))
    """

    labels: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, labels: np.ndarray) -> Classes:
        """The classes of int64 labels (N,)."""
        found, counts = np.unique(labels, return_counts=True)
        return cls(tuple(found.tolist()), tuple(counts.tolist()))

    @classmethod
    def equal(cls, count: int) -> Classes:
        """Labels 0 … count−1, equally likely."""
        return cls(tuple(range(count)), (1,) * count)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def cumulative(self) -> Tensor:
        """float64 (K,): each class's share of the training data, added to those before it."""
        import torch

        counts = torch.tensor(self.counts, dtype=torch.float64)
        return counts.cumsum(0) / counts.sum()

    def places(self, labels: Iterable[int]) -> Tensor:
        """Where the labels are among the classes, int64; raises `UserError` for one that is not."""
        import torch

        place = {label: index for index, label in enumerate(self.labels)}
        try:
            return torch.tensor([place[int(label)] for label in labels], dtype=torch.int64)
        except KeyError as error:
            known = ", ".join(map(str, self.labels[:SHOWN])) + (", …" if len(self) > SHOWN else "")
            raise UserError(
                f"class {error.args[0]} is none of the {len(self)} that were trained on: give one of {known}"
            ) from None

    def places_of(self, labels: np.ndarray) -> np.ndarray:
        """The same of the training data's labels int64 (N,)."""
        return np.searchsorted(self.labels, labels)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Places of `n` classes drawn by their shares; the first m of them are those of a draw of m."""
        import torch

        drawn = torch.rand(n, generator=generator, dtype=torch.float64)
        return torch.searchsorted(self.cumulative, drawn, right=True).clamp(max=len(self) - 1)

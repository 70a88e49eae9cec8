"""What every loader returns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from ganbench.errors import UserError

if TYPE_CHECKING:
    from metrics.polygons import PolygonFamily

SPLITS = ("train", "selection", "test")


@dataclass(frozen=True, eq=False)
class Mixture:
    """An equal-weight mixture of isotropic Gaussians: what the points of a toy dataset were drawn from."""

    centres: np.ndarray
    """float32 (M, 2)."""
    std: float


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images uint8 (N, C, H, W) in 0…255, or points float32 (N, 2), in three disjoint parts.

    Raises `UserError` when the parts do not agree in shape and type, or are empty.
    """

    name: str
    train: np.ndarray
    """What the GANs see."""
    selection: np.ndarray
    """Held out to choose the best checkpoint by."""
    test: np.ndarray
    """Held out for the reported scores."""
    _: KW_ONLY
    mixture: Mixture | None = None
    """The true distribution, where it is a known mixture."""
    polygons: PolygonFamily | None = None
    """The true distribution, where it is a known family of drawn polygons."""
    labels: dict[str, np.ndarray] | None = None
    """int64 (N,) for each of the parts, where the data have classes."""
    preprocessing: dict[str, str] = field(default_factory=dict)
    """What was done to the images on loading, for the protocol."""
    summary: str = ""
    """One line for people."""
    known_fingerprint: str | None = None
    """Where the loader knows it, and need not read all images for it; see `fingerprint`."""

    def __post_init__(self) -> None:
        for split, array in self.splits().items():
            good = array.ndim == 4 if array.dtype == np.uint8 else array.ndim == 2 and array.dtype == np.float32
            if not good:
                raise UserError(
                    f"the {split} part of dataset {self.name} is {array.dtype} of shape {array.shape}: "
                    "it must be uint8 (N, C, H, W) or float32 (N, 2)"
                )
            if len(array) < 2 or array.shape[1:] != self.train.shape[1:] or array.dtype != self.train.dtype:
                raise UserError(
                    f"the {split} part of dataset {self.name} has shape {array.shape} beside {self.train.shape}: "
                    "every part needs at least 2 samples of one shape and type"
                )
            if self.labels is not None and self.labels[split].shape != (len(array),):
                raise UserError(f"the {split} part of dataset {self.name} needs one label for each of its {len(array)}")

    def splits(self) -> dict[str, np.ndarray]:
        """The parts by name, in the order of `SPLITS`."""
        return {"train": self.train, "selection": self.selection, "test": self.test}

    @property
    def kind(self) -> Literal["image", "points"]:
        """Images are uint8, points float32."""
        return "image" if self.train.dtype == np.uint8 else "points"

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image, or (2,) of one point."""
        return tuple(self.train.shape[1:])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the parts' names, shapes, types and bytes: equal exactly when the data are."""
        return self.known_fingerprint or fingerprint(self.splits())


def fingerprint(parts: Mapping[str, np.ndarray]) -> str:
    """As `Dataset.fingerprint` has it, of parts by name."""
    digest = hashlib.sha256()
    for part, array in parts.items():
        digest.update(f"{part} {array.shape} {array.dtype.name}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

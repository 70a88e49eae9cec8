"""Feature networks: samples in, features and class logits out.

To add one, write a class with `Extractor`'s attributes whose constructor takes `weights` (a path or None)
and put it into `FEATURES`; other packages use the entry-point group `ganbench.features`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ganbench.registry import Entry, Registry

if TYPE_CHECKING:
    import numpy as np


class Extractor(Protocol):
    """A frozen network with all that a score's protocol has to say about it.

    `name` appears in labels and protocols, `kind` is what it accepts: "images" (uint8 NCHW, 1 or 3
    channels, any size) or "points" (floats (n, D)). `layer` names the features, `dim` their width (None:
    that of the data), `classes` the number of logits (None: no classifier). `preprocessing` is JSON-able.
    """

    name: str
    kind: Literal["images", "points"]
    weights_sha256: str | None
    layer: str
    preprocessing: Mapping[str, object]
    dim: int | None
    classes: int | None

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float32 (n, dim) and logits float32 (n, classes) or None; draws no random number."""


FEATURES = Registry(
    "ganbench.features",
    "feature network",
    [
        Entry("digits", "metrics.features.digits:Digits", "small classifier of handwritten digits, weights included"),
        Entry(
            "inception",
            "metrics.features.inception:Inception",
            "Inception v3 of the original FID, weights from a local file",
            "Szegedy et al. 2016, arXiv:1512.00567",
        ),
        Entry("identity", "metrics.features.identity:Identity", "points in the plane are their own features"),
    ],
)


def load(name: str, weights: Path | None = None) -> Extractor:
    """The feature network `name`, its weights from `weights` or, for None, from its usual place.

    Raises `UserError` for an unknown name, or missing or unfit weights.
    """
    extractor: Extractor = FEATURES.load(name)(weights)
    return extractor

"""Points are their own features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from ganbench.errors import UserError


class Identity:
    """Points (n, D) as they are, in float32; no network, no logits."""

    name = "identity"
    kind: Literal["images", "points"] = "points"
    weights_sha256: str | None = None
    layer = "coordinates"
    preprocessing: Mapping[str, object] = {}
    dim: int | None = None
    classes: int | None = None

    def __init__(self, weights: Path | None = None) -> None:
        if weights is not None:
            raise UserError(f"features 'identity' have no weights: leave out {str(weights)!r}")

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, None]:
        """The points themselves."""
        with np.errstate(over="ignore"):  # beyond float32 they become infinite, which the judge reports
            return samples.astype(np.float32), None

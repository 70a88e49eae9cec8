"""Two interleaved spirals in the plane, one class each: a curved, connected law, unlike a ring of separate modes."""

from __future__ import annotations

import numpy as np

from ganbench.errors import UserError
from ganbench.seeds import derive
from harness.data import Dataset

SIZES = {"train": 20_000, "selection": 2_000, "test": 2_000}
TURNS = 1.5
STD = 0.02


def load(*, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """`n` (20,000) training points, 2,000 for selection and 2,000 for the test; labels 0 and 1 are the arms.

    Raises `UserError` for a `size`, which points do not have.
    """
    if size is not None:
        raise UserError(f"spirals holds points, which have no size: leave data.size={size} out")
    drawn = {
        split: _draw(n if n and split == "train" else count, derive(seed, f"spirals/{split}"))
        for split, count in SIZES.items()
    }
    return Dataset(
        "spirals",
        *(points for points, _ in drawn.values()),
        labels={split: labels for split, (_, labels) in drawn.items()},
        summary=f"two spirals of {TURNS} turns in the plane",
    )


def _draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 (n, 2) in about [−1, 1]², evenly along the arms' angle, and their arms int64 (n,)."""
    rng = np.random.default_rng(seed)
    arms = rng.integers(2, size=n)
    along = np.sqrt(rng.uniform(0.02, 1.0, size=n))
    angle = 2 * np.pi * TURNS * along + np.pi * arms
    points = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (points + STD * rng.standard_normal((n, 2))).astype(np.float32), arms.astype(np.int64)

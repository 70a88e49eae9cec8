"""Two mixtures of Gaussians in the plane, on which dropped modes can be counted.

ring8: 8 centres evenly on the circle of radius 1, std 0.05 (Metz et al., "Unrolled GANs", 2017, and others
use the harder 0.01…0.02). grid25: 5×5 centres at −1, −½, 0, ½, 1 in both coordinates, std 0.025 (Dumoulin
et al., "Adversarially Learned Inference", 2017, and PacGAN use spacing 2 and std 0.05, twice as tight for its
spacing). The 3σ discs of neighbouring centres do not touch.
"""

from __future__ import annotations

import numpy as np

from ganbench.errors import UserError
from ganbench.seeds import derive
from harness.data.dataset import SPLITS, Dataset, Mixture

RING_MODES, RING_RADIUS, RING_STD = 8, 1.0, 0.05
GRID_SIDE, GRID_SPACING, GRID_STD = 5, 0.5, 0.025
SIZES = {"train": 50_000, "selection": 10_000, "test": 10_000}


def ring8() -> Mixture:
    """The ring's centres, counter-clockwise from (1, 0)."""
    angles = 2 * np.pi * np.arange(RING_MODES) / RING_MODES
    centres = RING_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Mixture(centres.astype(np.float32), RING_STD)


def grid25() -> Mixture:
    """The grid's centres, row by row from (−1, −1)."""
    line = GRID_SPACING * (np.arange(GRID_SIDE) - (GRID_SIDE - 1) / 2)
    return Mixture(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype(np.float32), GRID_STD)


def modes(mixture: Mixture, n: int, *, seed: int) -> np.ndarray:
    """The centre int64 (n,) that each point of `draw` was drawn around."""
    return np.random.default_rng(derive(seed, "modes")).integers(len(mixture.centres), size=n)


def draw(mixture: Mixture, n: int, *, seed: int) -> np.ndarray:
    """`n` points float32 (n, 2); the first m of them are the points of a draw of m."""
    noise = np.random.default_rng(derive(seed, "noise")).standard_normal((n, 2), dtype=np.float32)
    points: np.ndarray = mixture.centres[modes(mixture, n, seed=seed)] + np.float32(mixture.std) * noise
    return points


def load_ring8(*, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """`n` (50,000) training points of the ring, 10,000 for selection and for the test; labels are the centres'."""
    return _load("ring8", ring8(), size=size, n=n, seed=seed)


def load_grid25(*, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """`n` (50,000) training points of the grid, 10,000 for selection and for the test; labels are the centres'."""
    return _load("grid25", grid25(), size=size, n=n, seed=seed)


def _load(name: str, mixture: Mixture, *, size: int | None, n: int | None, seed: int) -> Dataset:
    if size is not None:
        raise UserError(f"{name} holds points, which have no size: leave data.size={size} out")
    sizes = SIZES if n is None else {**SIZES, "train": n}
    seeds = {split: derive(seed, f"{name}/{split}") for split in SPLITS}
    return Dataset(
        name,
        *(draw(mixture, sizes[split], seed=seeds[split]) for split in SPLITS),
        mixture=mixture,
        labels={split: modes(mixture, sizes[split], seed=seeds[split]) for split in SPLITS},
        summary=f"{len(mixture.centres)} Gaussians of std {mixture.std:g} in the plane",
    )

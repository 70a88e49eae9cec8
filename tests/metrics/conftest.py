"""Shared by the metrics' tests: digits as real images, a ring of Gaussians as real points."""

from dataclasses import dataclass

import numpy as np
import pytest

from ganbench import digits


@pytest.fixture(scope="session")
def real_images() -> np.ndarray:
    images, _ = digits.load()
    return images[digits.split()["test"]]


@pytest.fixture(scope="session")
def fake_images() -> np.ndarray:
    images, _ = digits.load()
    noise = np.random.default_rng(1).integers(-120, 121, (120, 1, 8, 8))
    return np.clip(images[digits.split()["train"][:120]] + noise, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Ring:
    centres: np.ndarray
    std: float = 0.02

    @property
    def mixture(self) -> tuple[np.ndarray, float]:
        return self.centres, self.std

    def sample(self, n: int, seed: int, modes: int | None = None) -> np.ndarray:
        """Float32 points, equally many of the first `modes` modes (None: of all)."""
        rng = np.random.default_rng(seed)
        centres = self.centres[np.arange(n) % (modes or len(self.centres))]
        return (centres + rng.normal(0, self.std, (n, 2))).astype(np.float32)


@pytest.fixture(scope="session")
def ring() -> Ring:
    angles = np.arange(8) * np.pi / 4
    return Ring(np.stack([np.cos(angles), np.sin(angles)], axis=1))

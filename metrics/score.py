"""What a judge hands back: plain records, torch-free and numpy-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class Score:
    """One metric's outcome. A failed score has `value` None and says why in `reason`; it is never a number.

    `spread` is a standard deviation over `spread_over` ("splits" or "subsets" of one sample set): it shows
    how stable the estimate is, and is neither a standard error nor a variance over training seeds.
    """

    value: float | None
    direction: Direction
    spread: float | None = None
    spread_over: str | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a score has either a value or the reason why it has none")


@dataclass(frozen=True)
class Estimate:
    """A mean and the population standard deviation (ddof = 0) over splits or subsets."""

    value: float
    std: float


@dataclass(frozen=True)
class Neighbours:
    """Improved precision and recall with their harmonic mean, density and coverage; all in [0, 1] but density (≥ 0)."""

    precision: float
    recall: float
    f1: float
    density: float
    coverage: float


@dataclass(frozen=True)
class ModeScores:
    """How samples fall on a known mixture of Gaussians: `covered` modes of all, `high_quality` share, `kl` in nats."""

    covered: int
    high_quality: float
    kl: float

"""What a judge hands back: plain records, torch-free and numpy-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class Score:
    """One metric's outcome. A failed score has `value` None and says why in `reason`; it is never a number.

    `spread` is a standard deviation over `spread_over` ("splits" or "subsets" of one sample set, or generation
    seeds): it shows how stable the estimate is, and is neither a standard error (unless `spread_over` says so) nor
    a variance over training seeds. `notes` are sentences that belong beside the number wherever it is shown.
    """

    value: float | None
    direction: Direction
    spread: float | None = None
    spread_over: str | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a score has either a value or the reason why it has none")


@dataclass(frozen=True)
class Estimate:
    """A value and its deviation: the population's (ddof = 0) over splits or subsets, or a standard error."""

    value: float
    std: float


@dataclass(frozen=True)
class Neighbours:
    """Improved precision and recall with their harmonic mean, density and coverage; all in [0, 1] but density (≥ 0).

    `nearest` int64 (m,) is a real row nearest to each fake (one of them where several are equally near) and
    `distances` float64 (m,) how far it is.
    """

    precision: float
    recall: float
    f1: float
    density: float
    coverage: float
    nearest: np.ndarray = field(repr=False, compare=False)
    distances: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class ModeScores:
    """How samples fall on a known mixture of Gaussians: `covered` modes of all, `high_quality` share, `kl` in nats."""

    covered: int
    high_quality: float
    kl: float


@dataclass(frozen=True)
class ClassScores:
    """How samples fall on a classifier's classes: `covered` of all, and `kl` of their shares to uniform, in nats."""

    covered: int
    kl: float


@dataclass(frozen=True)
class PRD:
    """A precision–recall curve of distributions, from recall's end to precision's, and two summaries; all in [0, 1]."""

    precision: np.ndarray = field(repr=False, compare=False)
    recall: np.ndarray = field(repr=False, compare=False)
    f8: float
    f1_8: float


@dataclass(frozen=True)
class Gallery:
    """The fakes closest to the training set, nearest first: their numbers (t,), and their k nearest training rows.

    `train` int64 (t, k) with `distances` float64 (t, k), ascending.
    """

    fake: np.ndarray
    train: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class PolygonScores:
    """True precision and recall of drawn polygons, and each image's fit.

    `distances` float64 (n,) is the root mean square pixel error of the nearest drawable polygon, of `vertices`
    (n,) and `parameters` (n, 4): radius, x, y, rotation.
    """

    precision: float
    recall: float
    distances: np.ndarray = field(repr=False, compare=False)
    vertices: np.ndarray = field(repr=False, compare=False)
    parameters: np.ndarray = field(repr=False, compare=False)

"""What a comparison consists of: metrics as columns, recipes as rows, cells with what may be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reports.effects import Effects
from reports.ranks import Outcome, Ranks
from reports.statistics import Interval, Proportion, proportion

COSTS = ("images", "g_steps", "d_steps", "seconds", "parameters", "peak_memory_mb")
"""What a trial costs: columns of the trials, of which a row has the means."""


@dataclass(frozen=True)
class Metric:
    """A column: the metric's name, the label printed, and which way is better."""

    name: str
    label: str
    direction: Literal["higher", "lower"]

    @property
    def lower_is_better(self) -> bool:
        """The direction as the statistics take it."""
        return self.direction == "lower"

    @property
    def header(self) -> str:
        """The label with its arrow."""
        return f"{self.label} {'↑' if self.direction == 'higher' else '↓'}"


@dataclass(frozen=True)
class Cell:
    """One metric of one row.

    "Surely" is after Holm's correction for all pairs of recipes of the column, at 95 % (`ranks.surely_better`).
    """

    interval: Interval | None = None
    """Of the mean over seeds; None when no seed has the score."""
    scores: dict[int, float] = field(default_factory=dict)
    """Training seed → its finite score."""
    best: bool = False
    """Surely better than every other recipe; prints bold."""
    ranks: Ranks | None = None
    """1 + the number of recipes surely better … the number of recipes with a score − those surely worse."""
    tied: bool = False
    """The best mean of its column, or not surely worse than it; False where fewer than 3 seeds allow no test."""
    difference: Interval | None = None
    """This mean − the baseline's, at 95 %; None of the baseline itself, and without one."""
    against: Outcome | None = None
    """What the difference says after Holm's correction for the comparisons with the baseline; None: no test."""


@dataclass(frozen=True)
class Row:
    """One recipe (or reference) under one protocol; numbers but the counts of trials are means per finished trial."""

    recipe: str
    kind: Literal["recipe", "reference"]
    cells: dict[str, Cell]
    n: int
    """Trials (of a reference: draws) with scores."""
    trials: int = 0
    failed: int = 0
    diverged: int = 0
    flagged: int = 0
    """Trials with scores in which the health checks flagged a problem."""
    pruned: int = 0
    unfinished: int = 0
    together: int = 0
    """Trials with scores that were trained as ensembles of seeds."""
    ranks: Ranks | None = None
    """By the block's first metric; None without a score of it."""
    images: float | None = None
    g_steps: float | None = None
    d_steps: float | None = None
    seconds: float | None = None
    parameters: float | None = None
    peak_memory_mb: float | None = None
    seeds: tuple[int, ...] = ()
    """Training seeds with scores, ascending."""
    n_real: int | None = None
    n_fake: int | None = None
    """Real and generated samples behind each score, as the protocol says."""
    variant: str = ""
    """What recipes are grouped by where their failures are counted, and published figures are filed under."""

    @property
    def lost(self) -> int:
        """Trials that have no score because they failed or diverged."""
        return self.failed + self.diverged

    @property
    def given_up(self) -> bool:
        """Whether every trial was pruned: there is nothing to show but that."""
        return 0 < self.trials == self.pruned

    @property
    def failures(self) -> Proportion | None:
        """The share of ended trials that failed, diverged or were flagged; None before any has ended.

        A pruned trial is none of them, since nobody knows how it would have ended.
        """
        ended = self.n + self.lost
        return proportion(self.lost + self.flagged, ended) if ended else None


@dataclass(frozen=True)
class Block:
    """Rows that share a protocol, ranked among themselves only; the first block has the most trials."""

    protocol_id: str
    protocol: dict[str, Any]
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    references: tuple[Row, ...]
    trials: frozenset[str] = field(repr=False)
    effects: Effects | None = None
    """What the recipes' factors do to the scores; None where the results were not made to show it."""

    @property
    def shown(self) -> tuple[Row, ...]:
        """The rows of a table of scores."""
        return tuple(row for row in self.rows if not row.given_up)

    @property
    def variants(self) -> list[Row]:
        """How the trials of each variant ended that has several recipes."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.variant, []).append(row)
        return [
            summed(f"{variant}, {len(rows)} recipes", rows, variant=variant)
            for variant, rows in groups.items()
            if len(rows) > 1
        ]


def summed(name: str, rows: Sequence[Row], *, variant: str = "") -> Row:
    """The counts of several recipes' trials, under a name of their own."""
    counts = ("n", "trials", "failed", "diverged", "flagged", "pruned", "unfinished")
    total = {count: sum(getattr(row, count) for row in rows) for count in counts}
    return Row(name, "recipe", {}, variant=variant, **total)


@dataclass(frozen=True)
class Searched:
    """What was tried of a variant before the comparison."""

    row: Row
    """How the trials ended."""
    best: float | None
    """The value of the chosen configuration."""
    chosen: str | None
    """The settings of the chosen configuration."""


@dataclass(frozen=True)
class Failure:
    """A trial or one of its scores that failed, and why.

    `what` is how the trial ended ("failed", "diverged"), the kind of a problem ("collapse" …), or a metric's label.
    """

    recipe: str
    seed: int
    what: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """All a table says: blocks of rows, failures, and the notes that belong under it."""

    title: str
    blocks: tuple[Block, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    baseline: str | None = None
    """The recipe that the others' differences are taken to."""
    rule: str = ""
    """What the search chose by."""
    searched: tuple[Searched, ...] = ()
    """Empty where nothing was searched."""

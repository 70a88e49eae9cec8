"""What goes wrong in a training without ending it: detectors that read the history's rows, and nothing else.

A row is what `history.jsonl` holds, so that a resumed trial comes to the same findings by reading its own history
again. The thresholds are options (`health.*` in the config); what each rests on is said at its detector. "Healthy"
below are the 59 trials of the shipped sweeps `quickstart` (eight variants on digits, three seeds) and `modes` (seven
variants on the ring of eight Gaussians, five seeds), in none of which a detector fires.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gans.growth import full_after

if TYPE_CHECKING:
    from gans.recipe import Recipe
    from harness.config import HealthConfig

Kind = Literal["nan", "vanished-gradient", "collapse", "critic-wins"]

DECIDES_AT_ZERO = frozenset({"minimax", "nonsaturating", "hinge"})
"""Objectives whose discriminator calls a positive logit real, and whose loss it can bring to zero."""


BEGINNER_STEPS = 100
"""Generator steps before which nobody has collapsed: a trial this short has not learnt anything that it could lose."""


@dataclass(frozen=True)
class Problem:
    """One thing that went wrong, as `status.json` has it."""

    kind: Kind
    images: int
    """Real images shown when it was found."""
    detail: str
    """A clause for people, with the number that was found."""

    def __str__(self) -> str:
        """One line: what a person reads."""
        return f"{self.detail} at {self.images:,} images"

    def as_json(self) -> dict[str, Any]:
        """A plain mapping."""
        return asdict(self)


class Detector(Protocol):
    """Reads the rows in order."""

    kind: Kind

    def observe(self, row: Mapping[str, Any]) -> str | None:
        """The finding as a clause, at each row that bears it out; None at the others."""


class VanishedGradient:
    """The generator's gradient norm is below `floor` at `window` readings in a row.

    Minimax's generator gets −σ(l) per sample, nothing once the discriminator is sure of every fake (METHODS.md §1).
    Adam and RMSprop cancel a gradient's scale, but not below their ε of 1e-8 per weight: for the 10⁴ to 10⁷ weights of
    a generator, that is a norm of 1e-6 to 3e-5 if all weights share it equally. The default floor, 1e-7, lies under
    all of that; healthy trials stay above 1e-5, which is WGAN's, whose clipped critic is nearly flat, and else 1e-2.
    A single healthy reading of WGAN's may lie at 1e-6, so the floor is not raised: a minimax generator that starves
    above it, at 1e-5 to 1e-7, is named by `CriticWins`.
    """

    kind: Kind = "vanished-gradient"

    def __init__(self, *, floor: float, window: int) -> None:
        self._floor = floor
        self._norms: deque[float] = deque(maxlen=window)

    def observe(self, row: Mapping[str, Any]) -> str | None:
        """Looks at the rows that have `health/gradient_generator`."""
        norm = row.get("health/gradient_generator")
        if norm is None:
            return None
        self._norms.append(norm)
        if len(self._norms) < (self._norms.maxlen or 0) or max(self._norms) >= self._floor:
            return None
        return (
            f"the generator's gradient norm was at most {max(self._norms):.2g} at {len(self._norms)} readings in a row"
        )


class CriticWins:
    """The discriminator is right about nearly all of both sides and its loss is nearly zero, `window` times in a row.

    It has then nothing more to learn and, under minimax, nothing to teach. Only for objectives that decide at a logit
    of zero and whose loss has zero as its floor: a Wasserstein critic is meant to be as good as it can be, and its
    logits, like those of least squares, have no zero that means anything. The default loss of 0.02 is both logits
    beyond ±4.6 on average; in healthy trials, the loss stays above 0.8 and the accuracies are never both at 0.99.
    """

    kind: Kind = "critic-wins"

    def __init__(self, *, accuracy: float, loss: float, window: int) -> None:
        self._accuracy = accuracy
        self._loss = loss
        self._window = window
        self._wins = 0

    def observe(self, row: Mapping[str, Any]) -> str | None:
        """Looks at the rows that have `health/accuracy_real`, `health/accuracy_fake` and `loss/discriminator`."""
        real, fake, loss = (
            row.get(name) for name in ("health/accuracy_real", "health/accuracy_fake", "loss/discriminator")
        )
        if real is None or fake is None or loss is None:
            return None
        self._wins = self._wins + 1 if min(real, fake) >= self._accuracy and loss <= self._loss else 0
        if self._wins < self._window:
            return None
        return (
            f"the discriminator was right about {min(real, fake):.1%} of either side, with a loss of {loss:.2g}, "
            f"at {self._wins} readings in a row"
        )


class Collapse:
    """Recall, or the number of modes covered, is below its floor at `looks` looks in a row after the grace.

    The floors are what a generator reaches that draws next to nothing of the data's variety: a recall of 0.01, a
    quarter of the modes. A beginner is not collapsed, so looks before `grace` images and before `BEGINNER_STEPS`
    generator steps do not count: WGAN, the slowest
    of the healthy, has a recall of 0.01 at a fifth of its budget and 0.24 at two fifths; progressive growing has 0.01
    up to half of its own and 0.75 at the end, as its images are coarse until the last stage has faded in.
    """

    kind: Kind = "collapse"

    def __init__(self, floors: Mapping[str, float], *, looks: int, grace: float) -> None:
        self._floors = floors
        self._looks = looks
        self._grace = grace
        self._low: dict[str, int] = dict.fromkeys(floors, 0)
        self._steps = 0

    def observe(self, row: Mapping[str, Any]) -> str | None:
        """Looks at the scores of the rows of kind "scores", and at the generator's steps in the others."""
        self._steps = row.get("g_steps", self._steps)
        if row["kind"] != "scores" or row["images"] < self._grace or self._steps < BEGINNER_STEPS:
            return None
        values = {name: score["value"] for name, score in row["scores"].items()}
        for name, floor in self._floors.items():
            value = values.get(name)
            if value is not None:
                self._low[name] = self._low[name] + 1 if value < floor else 0
                if self._low[name] >= self._looks:
                    return f"{name} was below {floor:g} at {self._low[name]} looks in a row (now {value:.3g})"
        return None


class Monitor:
    """All detectors that apply to a trial; each kind of problem is named once.

    Args:
        config: the thresholds.
        recipe: the game; its objective says which detectors mean anything.
        total_images: the budget.
        grown_side: the images' side if the networks grow to it, else None.
        modes: how many the data are known to have; None where nobody knows.
    """

    def __init__(
        self, config: HealthConfig, recipe: Recipe, *, total_images: int, grown_side: int | None, modes: int | None
    ) -> None:
        grace = config.grace * total_images
        if grown_side is not None:
            grace = max(grace, full_after(recipe, total_images=total_images, final_size=grown_side))
        floors = {"recall": config.recall_floor}
        if modes is not None:
            floors["modes"] = config.modes_floor * modes
        self._detectors: list[Detector] = [
            VanishedGradient(floor=config.gradient_floor, window=config.window),
            Collapse(floors, looks=config.looks, grace=grace),
        ]
        if recipe.objective in DECIDES_AT_ZERO:
            self._detectors.append(CriticWins(accuracy=config.accuracy, loss=config.loss_floor, window=config.window))
        self.problems: list[Problem] = []

    def observe(self, row: Mapping[str, Any]) -> list[Problem]:
        """Read one more row of the history; the problems that it brings to light and that were not named before."""
        new = [Problem(kind, row["images"], detail) for kind, detail in self._findings(row)]
        self.problems += new
        return new

    def _findings(self, row: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
        named = {problem.kind for problem in self.problems}
        for detector in self._detectors:
            detail = detector.observe(row)
            if detail is not None and detector.kind not in named:
                yield detector.kind, detail

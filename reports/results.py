"""What a report is made from: three tidy frames, the sample grids, the protocols and the commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganbench.errors import UserError, unknown_name

if TYPE_CHECKING:
    from pandas import DataFrame

SCORES = (
    "recipe", "trial", "seed", "checkpoint", "weights", "protocol_id",
    "metric", "label", "direction", "value", "spread", "reason",
)  # fmt: skip
TRIALS = (
    "variant", "recipe", "trial", "seed", "status", "reason", "problems",
    "images", "d_steps", "g_steps", "seconds", "parameters", "peak_memory_mb", "config",
)  # fmt: skip
OPTIONAL = ("ensemble",)
"""Columns of trials that may be missing."""
SEARCH = ("variant", "settings", "trial", "seed", "status", "reason", "problems", "value", "chosen")
STUDIES = ("mode-dropping", "critic-loss", "sensitivity", "effects")
"""What a sweep may be made to show beyond its comparison (`reports.studies`, `reports.effects`)."""
CURVES = ("recipe", "trial", "seed", "images", "name", "value")


@dataclass(frozen=True)
class Grid:
    """A picture of one trial's samples: a PNG file, drawn after `images` real images were shown."""

    recipe: str
    seed: int
    images: int
    path: Path


@dataclass(frozen=True, eq=False)
class Search:
    """The trials by which configurations were chosen. Their scores are not compared: the best of many are lucky.

    Attributes:
        rule: what was chosen by, as a column's head.
        trials: one row per trial: variant, settings (what tells it from the variant's others), trial, seed, status,
            reason and problems as in `Results.trials`, value (what it was judged by, or NaN), chosen (whether its
            configuration was).
        direction: which values are better.
    """

    rule: str
    trials: DataFrame
    direction: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True, eq=False)
class Results:
    """The tidy results of one or several sweeps, as files tell them.

    Attributes:
        title: heading of the report.
        scores: one row per trial × result × metric: recipe (display label), trial (id), seed (of training),
            checkpoint ("last", "best", "untrained" or "floor"), weights ("ema", "raw" or None), protocol_id,
            metric (name), label (as printed, e.g. "FID (digits)"), direction ("higher" or "lower" is better),
            value (NaN where scoring failed), spread (inside the trial, or NaN), reason (why value is NaN, or None).
            The order of metrics is the order of columns in tables.
        trials: one row per trial: variant (what recipes are grouped by), recipe, trial, seed, status ("done", "failed",
            "diverged", "pruned"; any other has not ended), reason (why it did not end as done), problems (a list of
            {"kind", "images", "detail"}: what the health checks flagged), images (real images shown to the
            discriminator), d_steps, g_steps, seconds (of the device, training only), parameters (of both networks),
            peak_memory_mb (of the process, in MiB), config (everything the trial was asked for, a nested mapping; None
            where it is not known) and, as an option, ensemble (with how many seeds, its own included, it was trained
            as one; NaN for alone). The order of recipes decides their colours.
        curves: recipe, trial, seed, images, name, value; name is a metric (scored on the selection split while
            training, with the EMA weights), a loss ("loss/discriminator") or a sign of health
            ("health/gradient_generator").
        grids: sample grids; the last one of each trial is shown.
        protocols: protocol_id → what the protocol says (JSON-able).
        commands: shell lines that made these results.
        environment: what the trials ran on: name of a fact → its values, several where trials differ.
        gallery: pictures of the samples that are nearest to the training set, one a row, each beside its nearest
            training images.
        search: the trials that chose what is compared; None where all trials are compared.
        study: what the sweep was made to show beyond its comparison, one of `STUDIES`, or None.

    Raises:
        UserError: a frame lacks columns, holds no trial, names a direction that is none, or has two trials of the
            same recipe and seed (their mean would pass off two configurations, or one trial twice, as two seeds).
    """

    title: str
    scores: DataFrame
    trials: DataFrame
    curves: DataFrame
    grids: list[Grid]
    protocols: dict[str, dict[str, Any]]
    commands: list[str]
    environment: dict[str, list[str]] = field(default_factory=dict)
    gallery: list[Grid] = field(default_factory=list)
    search: Search | None = None
    study: str | None = None

    def __post_init__(self) -> None:
        for name, frame, columns in (
            ("scores", self.scores, SCORES),
            ("trials", self.trials, TRIALS),
            ("curves", self.curves, CURVES),
            *([("search", self.search.trials, SEARCH)] if self.search else []),
        ):
            if missing := [column for column in columns if column not in frame.columns]:
                raise UserError(f"the frame of {name} lacks the column(s) {', '.join(missing)}: add them")
        if self.trials.empty and self.search is None:
            raise UserError("there is nothing to report: no trial was found; train one or name another folder")
        if self.study is not None and self.study not in STUDIES:
            raise unknown_name("study", self.study, STUDIES)
        twice = self.trials[self.trials.duplicated(["recipe", "seed"])]
        for recipe, seed in zip(twice["recipe"], twice["seed"], strict=True):
            raise UserError(
                f"two trials are called {recipe!r} with seed {seed}: give each configuration a name of its own"
            )
        if wrong := set(self.scores["direction"]) - {"higher", "lower"}:
            raise UserError(f"direction {min(map(repr, wrong))} of a score is none: use 'higher' or 'lower'")

    @property
    def recipes(self) -> list[str]:
        """Display labels in the order of the trials."""
        return list(dict.fromkeys(self.trials["recipe"]))

"""What can be refused before anything is trained, from the configs and the data alone: no torch is imported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness import data
from metrics.catalogue import METRICS

if TYPE_CHECKING:
    from harness.config import DataConfig, EvaluationConfig, TrialConfig
    from harness.data import Dataset

CLASSIFIERS = ("auto", "digits", "inception", "inception-reference")
"""Feature networks known to have the logits that the Inception Score needs; others say so only when loaded."""


def check_sweep(trials: Iterable[TrialConfig]) -> None:
    """Read each data set once and refuse what would fail every trial on it.

    Raises:
        UserError: data that cannot be read, or too few samples for a metric (`check_sizes`).
    """
    wanted: dict[DataConfig, dict[str, EvaluationConfig]] = defaultdict(dict)
    for trial in trials:
        wanted[trial.data][trial.evaluation.model_dump_json()] = trial.evaluation
    for source, evaluations in wanted.items():
        dataset = data.load(source.name, size=source.size, n=source.n, seed=source.seed)
        for evaluation in evaluations.values():
            check_sizes(evaluation.metrics or _defaults(dataset, evaluation.features), evaluation, dataset)


def check_sizes(metrics: Sequence[str], evaluation: EvaluationConfig, dataset: Dataset) -> None:
    """Refuse sets that are too small for a metric: the held-out ones, the generated one and the floor's.

    Raises:
        UserError: naming the first such metric and what to change.
    """
    from metrics import sizes

    def check(n: int, whose: sizes.Whose, remedy: str) -> None:
        sizes.check_sizes(metrics, n, whose, k=evaluation.k, splits=evaluation.splits, remedy=remedy)

    otherwise, name = "or leave it out of evaluation.metrics", dataset.name
    for split in ("selection", "test"):
        check(len(getattr(dataset, split)), "real", f"give {name} a larger {split} split {otherwise}")
    check(evaluation.n_fake, "generated", f"raise evaluation.n_fake {otherwise}")
    floor = min(evaluation.n_fake, len(dataset.train))
    check(floor, "generated", f"the floor has {name}'s training samples in their place, so give more {otherwise}")


def _defaults(dataset: Dataset, features: str) -> list[str]:
    kind = "points" if dataset.kind == "points" else "images"
    return [
        row.name
        for row in METRICS
        if row.default and row.judges(kind) and (row.needs != "logits" or features in CLASSIFIERS)
    ]

"""The judges: arrays in, scores out. They know nothing of GANs, Lightning or experiment tracking.

`Judge` and `evaluate` turn samples into scores; the functions below them take features that you computed
yourself. `metrics.catalogue` lists the metrics and `metrics.features` the feature networks.
Importing this package is cheap: numpy and torch come with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from metrics.catalogue import METRICS, Metric, label_for
from metrics.score import Estimate, ModeScores, Neighbours, Score

if TYPE_CHECKING:
    from metrics.classifier import inception_score
    from metrics.engine import Judge, evaluate
    from metrics.frechet import FrechetReference, frechet_distance
    from metrics.kernel import kernel_distance
    from metrics.manifolds import neighbours
    from metrics.modes import mode_scores

__all__ = [
    "METRICS",
    "Estimate",
    "FrechetReference",
    "Judge",
    "Metric",
    "ModeScores",
    "Neighbours",
    "Score",
    "evaluate",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "label_for",
    "mode_scores",
    "neighbours",
]

_HOMES = {
    "FrechetReference": "metrics.frechet",
    "Judge": "metrics.engine",
    "evaluate": "metrics.engine",
    "frechet_distance": "metrics.frechet",
    "inception_score": "metrics.classifier",
    "kernel_distance": "metrics.kernel",
    "mode_scores": "metrics.modes",
    "neighbours": "metrics.manifolds",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

"""The judges: arrays in, scores out. They know nothing of GANs, Lightning or experiment tracking.

`Judge` and `evaluate` turn samples into scores; the functions below them take features that you computed
yourself. `metrics.catalogue` lists the metrics and `metrics.features` the feature networks.
Importing this package is cheap: numpy and torch come with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from metrics.catalogue import METRICS, Metric, label_for
from metrics.score import PRD, ClassScores, Estimate, Gallery, ModeScores, Neighbours, PolygonScores, Score

if TYPE_CHECKING:
    from metrics.by_class import class_neighbours, intra_frechet, label_accuracy, per_class
    from metrics.classifier import inception_score
    from metrics.curve import prd
    from metrics.engine import Judge, evaluate
    from metrics.frechet import FrechetReference, frechet_audit, frechet_distance, frechet_infinity
    from metrics.kernel import kernel_distance, kernel_distance_all
    from metrics.manifolds import RealManifold, neighbours
    from metrics.memorisation import authenticity, duplicates, gallery
    from metrics.modes import class_scores, mode_scores
    from metrics.moments import Moments
    from metrics.polygons import PolygonFamily, polygon_scores
    from metrics.protocol import Protocol
    from metrics.selftest import self_test

__all__ = [
    "METRICS",
    "PRD",
    "ClassScores",
    "Estimate",
    "FrechetReference",
    "Gallery",
    "Judge",
    "Metric",
    "ModeScores",
    "Moments",
    "Neighbours",
    "PolygonFamily",
    "PolygonScores",
    "Protocol",
    "RealManifold",
    "Score",
    "authenticity",
    "class_neighbours",
    "class_scores",
    "duplicates",
    "evaluate",
    "frechet_audit",
    "frechet_distance",
    "frechet_infinity",
    "gallery",
    "inception_score",
    "intra_frechet",
    "kernel_distance",
    "kernel_distance_all",
    "label_accuracy",
    "label_for",
    "mode_scores",
    "neighbours",
    "per_class",
    "polygon_scores",
    "prd",
    "self_test",
]

_HOMES = {
    "authenticity": "metrics.memorisation",
    "class_neighbours": "metrics.by_class",
    "class_scores": "metrics.modes",
    "duplicates": "metrics.memorisation",
    "evaluate": "metrics.engine",
    "frechet_audit": "metrics.frechet",
    "frechet_distance": "metrics.frechet",
    "frechet_infinity": "metrics.frechet",
    "FrechetReference": "metrics.frechet",
    "gallery": "metrics.memorisation",
    "inception_score": "metrics.classifier",
    "intra_frechet": "metrics.by_class",
    "Judge": "metrics.engine",
    "kernel_distance": "metrics.kernel",
    "kernel_distance_all": "metrics.kernel",
    "label_accuracy": "metrics.by_class",
    "mode_scores": "metrics.modes",
    "Moments": "metrics.moments",
    "neighbours": "metrics.manifolds",
    "per_class": "metrics.by_class",
    "polygon_scores": "metrics.polygons",
    "PolygonFamily": "metrics.polygons",
    "prd": "metrics.curve",
    "Protocol": "metrics.protocol",
    "RealManifold": "metrics.manifolds",
    "self_test": "metrics.selftest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

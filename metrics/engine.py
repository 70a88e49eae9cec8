"""The judge: real samples once, then every requested score of each set of generated samples."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganbench.errors import UserError
from metrics import features as feature_networks
from metrics.arrays import Array, as_matrix, as_numpy, fingerprint
from metrics.catalogue import METRICS, Metric, metric
from metrics.comparison import Comparison, RealSide, Settings, Side
from metrics.modes import COVERED_SHARE, HIGH_QUALITY_SIGMAS
from metrics.score import Estimate, Score
from metrics.scorers import KID_SUBSET_SIZE

Mixture = tuple[Array, float]


class Judge:
    """Scores generated samples against `real` under one protocol. No global random state is touched.

    Args:
        real: images uint8 (n, 1 or 3, H, W), or points (n, D) for features "identity"; numpy or torch.
        features: a name of `metrics.features.FEATURES`.
        metrics: names of `metrics.catalogue`; None for every default one that fits the samples.
        weights: the feature network's file, where it takes one.
        k: neighbours that make a ball (precision, recall, f1, density, coverage).
        splits: parts over which the Inception Score is averaged.
        kid_subsets: random subsets over which the kernel distance is averaged.
        kid_subset_size: their size; None for min(1000, half of the smaller side).
        seed: of the subsets and of the shuffle before splitting.
        mixture: centres (M, D) and standard deviation that the points come from, for the mode metrics.

    Attributes:
        metrics: the names that `score` returns, in order.
        protocol: all that the scores depend on but the generated samples; JSON-able.

    Raises:
        UserError: a name, setting, dtype or shape that cannot work, or too few samples.
    """

    def __init__(
        self,
        real: Array,
        *,
        features: str = "digits",
        metrics: Sequence[str] | None = None,
        weights: Path | None = None,
        k: int = 3,
        splits: int = 10,
        kid_subsets: int = 100,
        kid_subset_size: int | None = None,
        seed: int = 0,
        mixture: Mixture | None = None,
    ) -> None:
        _check_settings(k=k, splits=splits, kid_subsets=kid_subsets, kid_subset_size=kid_subset_size)
        self._extractor = feature_networks.load(features, weights)
        centres = None if mixture is None else (as_matrix(mixture[0], "the mixture's centres"), float(mixture[1]))
        self._settings = Settings(k, splits, kid_subsets, kid_subset_size, seed, centres)
        self._rows = self._choose(metrics)
        self.metrics = tuple(row.name for row in self._rows)
        side = self._side(real, "real")
        if not np.isfinite(side.features).all():
            raise UserError("the real samples have NaN or infinite features: repair the data set")
        self._real = RealSide(side.samples, side.features, side.logits, k)
        self.protocol = self._protocol()

    def score(self, fake: Array) -> dict[str, Score]:
        """Every metric's score of the generated samples, shaped as the real ones.

        A metric that fails has `value` None and a reason; the others are unaffected. Raises `UserError`
        for samples of another dtype or shape than the real ones, or too few of them.
        """
        side = self._side(fake, "generated", like=self._real.samples)
        broken = int((~np.isfinite(side.features).all(axis=1)).sum())
        if broken:
            reason = f"{broken} of {len(side.features)} generated samples have non-finite features"
            return {row.name: Score(None, row.direction, reason=reason) for row in self._rows}
        comparison = Comparison(self._real, side, self._settings)
        return {row.name: _score(row, comparison) for row in self._rows}

    def _choose(self, names: Sequence[str] | None) -> list[Metric]:
        kind, name = self._extractor.kind, self._extractor.name
        if names is None:
            return [row for row in METRICS if row.default and self._obstacle(row) is None]
        rows = [metric(name) for name in dict.fromkeys(names)]
        for row in rows:
            obstacle = self._obstacle(row)
            if obstacle:
                raise UserError(f"metric {row.name!r} does not fit features {name!r} of {kind}: it needs {obstacle}")
        return rows

    def _obstacle(self, row: Metric) -> str | None:
        """What `row` would need and does not have here."""
        if not row.judges(self._extractor.kind):
            return str(row.domain)
        if row.needs == "logits" and self._extractor.classes is None:
            return "a classifier's logits"
        if row.needs == "mixture" and self._settings.mixture is None:
            return "the mixture that the points come from"
        return None

    def _side(self, values: Array, whose: str, like: np.ndarray | None = None) -> Side:
        samples = _samples(values, self._extractor.kind, whose)
        if like is not None and samples.shape[1:] != like.shape[1:]:
            raise UserError(
                f"the generated samples have shape {samples.shape[1:]} and the real ones {like.shape[1:]}: "
                "bring both to the same channels and size"
            )
        for row in self._rows:
            needed = self._needed(row.name, whose)
            if len(samples) < needed:
                raise UserError(
                    f"metric {row.name!r} needs at least {needed} {whose} samples under these settings "
                    f"and there are {len(samples)}: give more samples or leave it out"
                )
        mixture = self._settings.mixture
        if mixture is not None and samples.shape[1:] != mixture[0].shape[1:]:
            raise UserError(f"the mixture has {mixture[0].shape[1]} coordinates and the samples {samples.shape[1:]}")
        return Side(samples, *self._extractor(samples))

    def _needed(self, name: str, whose: str) -> int:
        settings = self._settings
        if name == "is":
            return settings.splits if whose == "generated" else 1
        if name == "kid":
            return settings.kid_subset_size or 4
        if name in ("precision", "recall", "f1", "density", "coverage"):
            return settings.k + 1
        return 2 if name == "fid" else 1

    def _protocol(self) -> dict[str, Any]:
        extractor, settings = self._extractor, self._settings
        protocol: dict[str, Any] = {
            "features": extractor.name,
            "weights_sha256": extractor.weights_sha256,
            "layer": extractor.layer,
            "dim": int(self._real.features.shape[1]),
            "preprocessing": dict(extractor.preprocessing),
            "quantisation": "uint8: round(clamp((x+1)*127.5, 0, 255))" if extractor.kind == "images" else None,
            "n_real": len(self._real.samples),
            "real_sha256": fingerprint(self._real.samples),
            "k": settings.k,
            "splits": settings.splits,
            "kid_kernel": "(x.y/d + 1)^3",
            "kid_subsets": settings.kid_subsets,
            "kid_subset_size": settings.kid_subset_size or f"min({KID_SUBSET_SIZE}, n_real//2, n_fake//2)",
            "seed": settings.seed,
        }
        if settings.mixture is not None:
            protocol["mixture"] = {
                "centres_sha256": fingerprint(settings.mixture[0]),
                "modes": len(settings.mixture[0]),
                "std": settings.mixture[1],
                "high_quality_sigmas": HIGH_QUALITY_SIGMAS,
                "covered_share": COVERED_SHARE,
            }
        return protocol


def evaluate(
    *,
    real: Array,
    fake: Array,
    features: str = "digits",
    metrics: Sequence[str] | None = None,
    weights: Path | None = None,
    mixture: Mixture | None = None,
) -> dict[str, Score]:
    """Scores of one set of generated samples under `Judge`'s default settings; its arguments, returns and errors."""
    return Judge(real, features=features, metrics=metrics, weights=weights, mixture=mixture).score(fake)


def _score(row: Metric, comparison: Comparison) -> Score:
    module, _, function = row.compute.partition(":")
    try:
        compute: Callable[[Comparison], float | Estimate] = getattr(importlib.import_module(module), function)
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the result, as a reason
            result = compute(comparison)
    except Exception as error:  # whatever one metric stumbles over must not cost the others
        return Score(None, row.direction, reason=f"{type(error).__name__}: {error}")
    value, spread = (result.value, result.std) if isinstance(result, Estimate) else (float(result), None)
    if not math.isfinite(value):
        return Score(None, row.direction, reason=f"the computation ended in {value}")
    return Score(value, row.direction, spread, None if spread is None else row.spread_over)


def _samples(values: Array, kind: str, whose: str) -> np.ndarray:
    """The samples on the host, checked against what the feature network accepts."""
    samples = as_numpy(values)
    described = f"the {whose} samples are {samples.dtype} {samples.shape}"
    if kind == "images":
        if samples.dtype != np.uint8 or samples.ndim != 4 or samples.shape[1] not in (1, 3):
            raise UserError(f"{described}: give images as uint8 (n, 1 or 3, height, width)")
    elif samples.ndim != 2 or not np.issubdtype(samples.dtype, np.floating):
        raise UserError(f"{described}: give points as floats (n, coordinates)")
    if len(samples) == 0:
        raise UserError(f"there are no {whose} samples: give some")
    return samples


def _check_settings(*, k: int, splits: int, kid_subsets: int, kid_subset_size: int | None) -> None:
    lowest = {"k": (k, 1), "splits": (splits, 1), "kid_subsets": (kid_subsets, 1)}
    if kid_subset_size is not None:
        lowest["kid_subset_size"] = (kid_subset_size, 2)
    for name, (value, least) in lowest.items():
        if value < least:
            raise UserError(f"{name}={value}: give at least {least}")

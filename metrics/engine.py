"""The judge: real samples once, then every requested score of each set of generated samples."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganbench.errors import UserError
from metrics import features as feature_networks
from metrics.arrays import Array, as_matrix, as_numpy, fingerprint
from metrics.by_class import AGREEMENT, LEAST
from metrics.catalogue import METRICS, Metric, metric
from metrics.cautions import Situation, cautions
from metrics.comparison import Comparison, KnownSide, NoStore, Settings, Side, Store
from metrics.curve import ANGLES, CLUSTERS, RUNS
from metrics.features import Extractor
from metrics.frechet import POINTS
from metrics.modes import COVERED_SHARE, HIGH_QUALITY_SIGMAS
from metrics.polygons import TOLERANCE, PolygonFamily
from metrics.score import Estimate, Score
from metrics.scorers import KID_SUBSET_SIZE, kid_subset_size
from metrics.sizes import BALLS, Whose, check_sizes

Mixture = tuple[Array, float]

MEMORISED = "a generator that copies its training set scores as if perfect: add authpct and duplicates with train="
OF_A_MANIFOLD = (*BALLS, "prd_f8", "prd_f1_8")
NO_MANIFOLD = "all real samples have the same features, so there is no manifold to be precise about or to recall"
ALONE = "is: it never looks at the real data, so read it beside a score that does"


class Judge:
    """Scores generated samples against `real` under one protocol. No global random state is touched.

    Args:
        real: images uint8 (n, 1 or 3, H, W), or points (n, D) for features "identity"; numpy or torch.
        features: a name of `metrics.features.FEATURES`, or an extractor that is one already.
        metrics: names of `metrics.catalogue`; None for every default one that fits the samples.
        weights: the feature network's file, where it takes one.
        k: neighbours that make a ball (precision, recall, f1, density, coverage).
        splits: parts over which the Inception Score is averaged.
        kid_subsets: random subsets over which the kernel distance is averaged.
        kid_subset_size: their size; None for min(1000, half of the smaller side).
        seed: of the subsets and of the shuffle before splitting.
        mixture: centres (M, D) and standard deviation that the points come from, for the mode metrics.
        polygons: the family that the images are drawn from, for the polygon metrics.
        train: the samples that the generator was trained on, shaped as `real`, for authpct and duplicates; part of
            the protocol, whatever the metrics.
        labels: integers (n,), what the real samples are, for the metrics by class.
        store: keeps what is computed from `real` and `train` between judges.

    Attributes:
        metrics: the names that `score` returns, in order.
        protocol: all that the scores depend on but the generated samples, whichever were asked for; JSON-able.
        warnings: sentences on what is easily misread in the scores so far, each once.

    Raises:
        UserError: a name, setting, dtype or shape that cannot work, or too few samples.
    """

    def __init__(
        self,
        real: Array,
        *,
        features: str | Extractor = "digits",
        metrics: Sequence[str] | None = None,
        weights: Path | None = None,
        k: int = 3,
        splits: int = 10,
        kid_subsets: int = 100,
        kid_subset_size: int | None = None,
        seed: int = 0,
        mixture: Mixture | None = None,
        polygons: PolygonFamily | None = None,
        train: Array | None = None,
        labels: Array | None = None,
        store: Store | None = None,
    ) -> None:
        _check_settings(k=k, splits=splits, kid_subsets=kid_subsets, kid_subset_size=kid_subset_size)
        if weights is not None and not isinstance(features, str):
            raise UserError(f"the extractor {features.name!r} has its weights already: leave out {str(weights)!r}")
        self._extractor = feature_networks.load(features, weights) if isinstance(features, str) else features
        centres = None if mixture is None else (as_matrix(mixture[0], "the mixture's centres"), float(mixture[1]))
        self._settings = Settings(k, splits, kid_subsets, kid_subset_size, seed, centres, polygons)
        self._given_train = train
        self._labels = None if labels is None else _labels(labels, len(real), "real")
        self._rows = self._choose(metrics)
        self.metrics = tuple(row.name for row in self._rows)
        self._store = store or NoStore()
        self._real = self._known(real, "real")
        uses_train = any(row.needs in ("train", "train features") for row in self._rows)
        self._train = self._known(train, "training") if train is not None and uses_train else None
        self._distinct = bool((self._real.features != self._real.features[:1]).any())
        self._warnings: dict[str, None] = {}
        if not uses_train and any(row.needs == "features" for row in self._rows):
            self._warnings[MEMORISED] = None
        if self.metrics == ("is",):
            self._warnings[ALONE] = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on what is easily misread in the scores so far, each once."""
        return tuple(self._warnings)

    def score(self, fake: Array, *, labels: Array | None = None) -> dict[str, Score]:
        """Every metric's score of the generated samples, shaped as the real ones.

        A metric that fails has `value` None and a reason; the others are unaffected.

        Args:
            fake: the generated samples.
            labels: integers (n,), what they were asked to be, for the metrics by class.

        Raises:
            UserError: samples of another dtype or shape than the real ones, too few of them, or no labels.
        """
        asked = next((row.name for row in self._rows if row.by_class), None)
        if asked and labels is None:
            raise UserError(
                f"metric {asked!r} needs the labels of the generated samples: give labels=, or leave it out"
            )
        side = self._side(fake, "generated", like=self._real.samples)
        if labels is not None:
            side = replace(side, labels=_labels(labels, len(side.samples), "generated"))
        broken = int((~np.isfinite(side.features).all(axis=1)).sum())
        if broken:
            reason = f"{broken} of {len(side.features)} generated samples have non-finite features"
            return {row.name: Score(None, row.direction, reason=reason) for row in self._rows}
        comparison = Comparison(self._real, side, self._settings, self._train)
        return {row.name: self._outcome(row, comparison) for row in self._rows}

    def _outcome(self, row: Metric, comparison: Comparison) -> Score:
        if row.name in OF_A_MANIFOLD and not self._distinct:
            return Score(None, row.direction, reason=NO_MANIFOLD)
        return replace(_score(row, comparison), notes=self._notes(row, comparison.fake))

    def _notes(self, row: Metric, fake: Side) -> tuple[str, ...]:
        n_real, n_fake = len(self._real.samples), len(fake.samples)
        size = kid_subset_size(self._settings.kid_subset_size, n_real, n_fake)
        dim = self._real.features.shape[1]
        one_class = row.needs == "logits" and fake.logits is not None and len(np.unique(fake.logits.argmax(1))) == 1
        situation = Situation(
            self._settings, self._extractor.name, dim, n_real, n_fake, size, self._distinct, one_class
        )
        notes = cautions(row.name, situation)
        self._warnings.update(dict.fromkeys(notes))
        return notes

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
        if row.needs == "polygons" and self._settings.polygons is None:
            return "the family of polygons that the images are drawn from"
        if row.needs in ("train", "train features") and self._given_train is None:
            return "the training samples (train=)"
        if row.by_class and self._labels is None:
            return "the labels of a conditional generator's samples and of the real ones (labels=)"
        if row.needs == "classifier" and self._labels is not None:
            classes = len(np.unique(self._labels))
            return None if classes == self._classes else f"a classifier of the data's {classes} classes"
        return None

    @property
    def _classes(self) -> int | None:
        """How many classes the samples are told apart by: modes where these are known, else the classifier's."""
        mixture = self._settings.mixture
        return self._extractor.classes if mixture is None else len(mixture[0])

    def _known(self, values: Array, whose: Whose) -> KnownSide:
        """Real or training samples, whose features may be in the store."""
        extractor = self._extractor
        samples = self._checked(values, whose, None if whose == "real" else self._real.samples)
        key = {
            "samples_sha256": fingerprint(samples),
            "features": extractor.name,
            "weights_sha256": extractor.weights_sha256,
            "layer": extractor.layer,
            "preprocessing": dict(extractor.preprocessing),
        }

        def extract() -> dict[str, np.ndarray]:
            features, logits = extractor(samples)
            if not np.isfinite(features).all():
                raise UserError(f"the {whose} samples have NaN or infinite features: repair the data set")
            return {"features": features} if logits is None else {"features": features, "logits": logits}

        arrays = self._store.fetch({**key, "what": "features"}, extract)
        labels = self._labels if whose == "real" else None
        return KnownSide(samples, arrays["features"], arrays.get("logits"), labels, key, self._store)

    def _side(self, values: Array, whose: Whose, like: np.ndarray) -> Side:
        samples = self._checked(values, whose, like)
        return Side(samples, *self._extractor(samples))

    def _checked(self, values: Array, whose: Whose, like: np.ndarray | None) -> np.ndarray:
        samples = _samples(values, self._extractor.kind, whose)
        if like is not None and samples.shape[1:] != like.shape[1:]:
            raise UserError(
                f"the {whose} samples have shape {samples.shape[1:]} and the real ones {like.shape[1:]}: "
                "bring both to the same channels and size"
            )
        settings = self._settings
        check_sizes(
            self.metrics, len(samples), whose, k=settings.k, splits=settings.splits,
            kid_subset_size=settings.kid_subset_size,
        )  # fmt: skip
        mixture = settings.mixture
        if mixture is not None and samples.shape[1:] != mixture[0].shape[1:]:
            raise UserError(f"the mixture has {mixture[0].shape[1]} coordinates and the samples {samples.shape[1:]}")
        return samples

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """All that the scores depend on but the generated samples, whichever were asked for; JSON-able."""
        extractor, settings = self._extractor, self._settings
        protocol: dict[str, Any] = {
            "features": extractor.name,
            "weights_sha256": extractor.weights_sha256,
            "layer": extractor.layer,
            "dim": int(self._real.features.shape[1]),
            "preprocessing": dict(extractor.preprocessing),
            "quantisation": "uint8: round(clamp((x+1)*127.5, 0, 255))" if extractor.kind == "images" else None,
            "n_real": len(self._real.samples),
            "real_sha256": self._real.key["samples_sha256"],
            "k": settings.k,
            "splits": settings.splits,
            "kid_kernel": "(x.y/d + 1)^3",
            "kid_subsets": settings.kid_subsets,
            "kid_subset_size": settings.kid_subset_size or f"min({KID_SUBSET_SIZE}, n_real//2, n_fake//2)",
            "prd": {"clusters": CLUSTERS, "runs": RUNS, "angles": ANGLES},
            "fid_inf": {"points": POINTS, "smallest": "n_fake//10"},
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
        if settings.polygons is not None:
            protocol["polygons"] = {**asdict(settings.polygons), "tolerance": TOLERANCE}
        if self._given_train is not None:
            train = as_numpy(self._given_train)
            protocol["train_sha256"] = fingerprint(train)
            protocol["n_train"] = len(train)
        return protocol

    @property
    def class_protocol(self) -> dict[str, Any] | None:
        """What the scores by class depend on besides, and no other; JSON-able. None: without labels."""
        if self._labels is None:
            return None
        return {
            "classes": len(np.unique(self._labels)),
            "real_labels_sha256": fingerprint(self._labels),
            "least_of_a_class": LEAST,
            "classifier_agreement": AGREEMENT,
        }


def evaluate(
    *,
    real: Array,
    fake: Array,
    features: str | Extractor = "digits",
    metrics: Sequence[str] | None = None,
    weights: Path | None = None,
    mixture: Mixture | None = None,
    polygons: PolygonFamily | None = None,
    train: Array | None = None,
) -> dict[str, Score]:
    """Scores of one set of generated samples under `Judge`'s default settings; its arguments, returns and errors."""
    judge = Judge(
        real, features=features, metrics=metrics, weights=weights, mixture=mixture, polygons=polygons, train=train
    )
    return judge.score(fake)


def _score(row: Metric, comparison: Comparison) -> Score:
    module, _, function = row.compute.partition(":")
    try:
        compute: Callable[[Comparison], float | Estimate] = getattr(importlib.import_module(module), function)
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the result, as a reason
            result = compute(comparison)
            value, spread = _as_numbers(result)
    except Exception as error:  # whatever one metric stumbles over must not cost the others
        return Score(None, row.direction, reason=f"{type(error).__name__}: {error}")
    if not math.isfinite(value):
        return Score(None, row.direction, reason=f"the computation ended in {value}")
    return Score(value, row.direction, spread, None if spread is None else row.spread_over)


def _as_numbers(result: float | Estimate) -> tuple[float, float | None]:
    """Value and spread as plain floats: another package's metric may give numpy's or torch's numbers, or none at all.

    A deviation that has overflowed is none.
    """
    if not isinstance(result, Estimate):
        return float(result), None
    spread = float(result.std)
    return float(result.value), spread if math.isfinite(spread) else None


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


def _labels(values: Array, n: int, whose: str) -> np.ndarray:
    labels = as_numpy(values)
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"the labels of the {whose} samples are {labels.dtype} {labels.shape}: give one integer for each of the {n}"
        )
    return np.ascontiguousarray(labels, dtype=np.int64)


def _check_settings(*, k: int, splits: int, kid_subsets: int, kid_subset_size: int | None) -> None:
    lowest = {"k": (k, 1), "splits": (splits, 1), "kid_subsets": (kid_subsets, 1)}
    if kid_subset_size is not None:
        lowest["kid_subset_size"] = (kid_subset_size, 2)
    for name, (value, least) in lowest.items():
        if value < least:
            raise UserError(f"{name}={value}: give at least {least}")

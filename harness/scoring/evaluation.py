"""Scoring a generator under one protocol: who is compared with what, from which seeds, and what came out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ganbench.errors import UserError
from ganbench.seeds import derive
from harness.images import to_points, to_uint8
from harness.precheck import check_sizes
from harness.scoring.feature_store import Advance, FeatureStore, StoredExtractor
from metrics import Judge, Protocol, Score, features
from metrics.catalogue import BY_CLASS, metric

if TYPE_CHECKING:
    from gans import GAN
    from harness.config import EvaluationConfig
    from harness.data import Dataset
    from metrics import PolygonFamily

Split = Literal["train", "selection", "test"]


class Drawn(NamedTuple):
    """uint8 (n, C, H, W) images or float32 (n, D) points, and the labels int64 (n,) that were asked for, if any."""

    samples: np.ndarray
    labels: np.ndarray | None = None


Draw = Callable[[int, int], Drawn]
"""(n, seed) → n samples."""

FAKE_LABELS = "drawn by the training split's shares"

SELECTION_METRIC = "fid"
"""What the best checkpoint is chosen by: on the selection split and its own latents, never on what is reported."""


@dataclass(frozen=True)
class ScoreSet:
    """Scores of one subject, and the protocol under which they were taken."""

    scores: Mapping[str, Score]
    protocol: Protocol
    by_class: ScoreSet | None = None
    """Those that compare class by class, of a conditional game: they depend on labels too, and so say more. Apart, so
    that the others compare with games that know no classes."""

    @property
    def protocol_id(self) -> str:
        """Twelve hexadecimal digits: equal ids mean that two numbers may be compared."""
        return self.protocol.id

    def as_json(self) -> dict[str, Any]:
        """As `scores.json` and `evaluate --json` have it."""
        return {
            "protocol_id": self.protocol.id,
            "protocol": dict(self.protocol.conditions),
            "scores": {name: asdict(score) for name, score in self.scores.items()},
        }


@dataclass(frozen=True)
class Gap:
    """FID against held-out and against training samples, `n_real` of each: equal for a generator that has generalised.

    `value` is test minus train: positive where generated samples are nearer to what was trained on.
    """

    test: Score
    train: Score
    value: Score
    n_real: int


class Evaluation:
    """The judges of one dataset: each split's real features are computed once, and kept for other processes.

    Args:
        dataset: supplies the real side, and the truth where it is known.
        config: metrics, features, sizes and seeds.
        labelled: the generators are told of classes: they are scored class by class as well.
        download: fetch the feature network's published weights if they are missing.
        store: where features are kept; None for the user's cache folder.
        advance: hears how far the features of a set of samples are.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: EvaluationConfig,
        *,
        labelled: bool = False,
        download: bool = False,
        store: FeatureStore | None = None,
        advance: Advance = lambda *_: None,
    ) -> None:
        self.dataset = dataset
        self.config = config
        self.labels = dataset.labels if labelled else None
        self.features = resolve_features(config.features, dataset)
        weights = Path(config.weights) if config.weights else None
        network = features.load(self.features, weights, download=download)
        self.store = store or FeatureStore()
        self.extractor = StoredExtractor(network, self.store, advance)
        self._judges: dict[Split, Judge] = {}

    def judge(self, split: Split) -> Judge:
        """The judge who knows that split's real side, made on first use.

        Who asks for that of the selection split is about to train: what would only show at the end is refused then.
        """
        if split not in self._judges:
            # fitting polygons takes longer than all else: too long for the curve on the way
            polygons = None if split == "selection" else self.dataset.polygons
            labels = self.labels[split] if self.labels else None
            judge = self._judge(getattr(self.dataset, split), self.config.metrics, polygons, labels)
            if split == "selection":
                check_sizes(judge.metrics, self.config, self.dataset)
            self._judges[split] = judge
        return self._judges[split]

    def _judge(
        self,
        real: np.ndarray,
        metrics: Sequence[str] | None,
        polygons: PolygonFamily | None = None,
        labels: np.ndarray | None = None,
    ) -> Judge:
        mixture = self.dataset.mixture
        return Judge(
            real,
            features=self.extractor,
            metrics=metrics,
            k=self.config.k,
            splits=self.config.splits,
            mixture=(mixture.centres, mixture.std) if mixture else None,
            polygons=polygons,
            train=self.dataset.train,
            labels=labels,
            store=self.extractor,
        )

    def selection(self, gan: GAN) -> dict[str, Score]:
        """One draw against the selection split: the curve on the way, and what the best checkpoint is chosen by."""
        judge, draw = self.judge("selection"), generator_draw(gan, "ema")
        with self.extractor.generated(keep=False):
            samples, labels = draw(self.config.n_fake, derive(0, "evaluation/selection"))
            return judge.score(samples, labels=labels)

    def report(self, gan: GAN, *, weights: Literal["ema", "raw"] = "ema", split: Split = "test") -> ScoreSet:
        """Several draws against the test split: the mean of each score, and its spread over the draws."""
        return self.score(generator_draw(gan, weights), by_generator(weights), split=split)

    def floor(self, *, n: int | None = None, split: Split = "test") -> ScoreSet:
        """Real against real: training data in the place of fakes, the score of a perfect generator at this size.

        Against the training split itself, held-out data take that place.
        """
        other: Split = "test" if split == "train" else "train"
        samples = getattr(self.dataset, other)
        n = min(n or self.config.n_fake, len(samples))
        whose = {"train": "training", "test": "test", "selection": "selection"}[other]

        def draw(n: int, seed: int) -> Drawn:
            labels = subset(self.labels[other], n, seed) if self.labels else None
            return Drawn(subset(samples, n, seed), labels)

        scored = self.score(draw, {"weights": None, "fake": f"{whose} split"}, n=n, split=split)
        if other != "train":
            return scored
        # training data would all be copies of training data
        kept = {name: score for name, score in scored.scores.items() if not _needs_train(name)}
        return ScoreSet(kept, scored.protocol, scored.by_class)

    def score(self, draw: Draw, subject: Mapping[str, Any], *, n: int | None = None, split: Split = "test") -> ScoreSet:
        """Scores of `generation_seeds` draws of `n` samples; `subject` says what they were drawn from."""
        n = n or self.config.n_fake
        judge = self.judge(split)
        draws = self._draws(judge, draw, n)
        protocol = {
            **judge.protocol,
            "dataset": self.dataset.name,
            "dataset_preprocessing": self.dataset.preprocessing,
            "split": split,
            "fingerprint": self.dataset.fingerprint,
            "n_fake": n,
            "generation_seeds": len(draws),
            **subject,
        }
        scores = {name: combine([d[name] for d in draws]) for name in draws[0]}
        by_class = {name: score for name, score in scores.items() if name in BY_CLASS}
        others = {name: score for name, score in scores.items() if name not in BY_CLASS}
        if not by_class:
            return ScoreSet(others, Protocol(protocol))
        told = {**protocol, "by_class": {**(judge.class_protocol or {}), "fake_labels": FAKE_LABELS}}
        return ScoreSet(others, Protocol(protocol), ScoreSet(by_class, Protocol(told)))

    def gap(self, draw: Draw, *, n: int | None = None) -> Gap:
        """FID against as many held-out as training samples, by the same draws."""
        n_real = min(len(self.dataset.train), len(self.dataset.test))
        sides = {}
        for side in ("test", "train"):
            real = getattr(self.dataset, side)
            real = real if len(real) == n_real else subset(real, n_real, derive(0, "evaluation/gap"))
            draws = self._draws(self._judge(real, ["fid"]), draw, n or self.config.n_fake)
            sides[side] = [scores["fid"] for scores in draws]
        return Gap(
            test=combine(sides["test"]),
            train=combine(sides["train"]),
            value=combine([_difference(*pair) for pair in zip(sides["test"], sides["train"], strict=True)]),
            n_real=n_real,
        )

    def _draws(self, judge: Judge, draw: Draw, n: int) -> list[dict[str, Score]]:
        with self.extractor.generated(keep=True):
            return [
                judge.score(drawn.samples, labels=drawn.labels)
                for drawn in (draw(n, derive(0, "evaluation/report", k)) for k in range(self.config.generation_seeds))
            ]

    def forget(self) -> None:
        """Remove the features of generated samples, kept in case of an interruption: their scores are written."""
        self.extractor.forget()


def by_generator(weights: Literal["ema", "raw"]) -> dict[str, Any]:
    """What the protocol says of samples that a generator drew."""
    return {"weights": weights, "batchnorm": "running statistics"}


def subset(samples: np.ndarray, n: int, seed: int) -> np.ndarray:
    """`n` of the samples in random order, a function of the seed."""
    return samples[np.random.default_rng(seed).permutation(len(samples))[:n]]


def combine(scores: Sequence[Score]) -> Score:
    """The mean over generation seeds, with their standard deviation; one failed draw fails the score."""
    failed = next((score for score in scores if score.value is None), None)
    if failed is not None or len(scores) == 1:
        return failed or scores[0]
    values = [score.value for score in scores if score.value is not None]
    return Score(
        value=math.fsum(values) / len(values),
        direction=scores[0].direction,
        spread=statistics.stdev(values),
        spread_over=f"{len(values)} generation seeds",
        notes=tuple(dict.fromkeys(note for score in scores for note in score.notes)),
    )


def _needs_train(name: str) -> bool:
    return metric(name).needs.startswith("train")


def _difference(test: Score, train: Score) -> Score:
    if test.value is None or train.value is None:
        return test if test.value is None else train
    return Score(test.value - train.value, test.direction)


def generator_draw(gan: GAN, weights: Literal["ema", "raw"]) -> Draw:
    """Samples of a GAN as the metrics take them: uint8 images through one conversion, points as they are."""

    def draw(n: int, seed: int) -> Drawn:
        samples, labels = gan.sample(n, seed=seed, weights=weights), gan.sample_labels(n, seed=seed)
        return Drawn(
            to_uint8(samples) if samples.ndim == 4 else to_points(samples),
            None if labels is None else np.array(labels, dtype=np.int64),
        )

    return draw


def resolve_features(name: str, dataset: Dataset) -> str:
    """The feature network that `auto` stands for: one name, so that the protocol can say it.

    Points need none (identity). The drawn and handwritten shapes that we ship have the embedded network;
    other images have Inception when its weights are on this machine, else the embedded network as well.
    """
    if name != "auto":
        if (name == "identity") != (dataset.kind == "points"):
            raise UserError(f"evaluation.features={name} does not fit {dataset.name}: its samples are {dataset.kind}")
        return name
    if dataset.kind == "points":
        return "identity"
    from metrics.features.inception import default_weights

    if dataset.name == "stacked-digits":
        return dataset.name
    embedded = dataset.name in {"digits", "polygons"}
    return "digits" if embedded or not default_weights().is_file() else "inception"

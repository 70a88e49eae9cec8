"""Scoring a generator under one protocol: who is compared with what, from which seeds, and what came out."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ganbench.errors import UserError
from ganbench.seeds import derive
from harness.images import to_points, to_uint8
from metrics import Judge, Score

if TYPE_CHECKING:
    from gans import GAN
    from harness.config import EvaluationConfig
    from harness.data import Dataset

Split = Literal["selection", "test"]
Draw = Callable[[int, int], np.ndarray]
"""(n, seed) → n samples: uint8 (n, C, H, W) images or float32 (n, D) points."""

SELECTION_METRIC = "fid"
"""What the best checkpoint is chosen by: on the selection split and its own latents, never on what is reported."""


@dataclass(frozen=True)
class ScoreSet:
    """Scores of one subject, and the protocol under which they were taken."""

    scores: Mapping[str, Score]
    protocol: Mapping[str, Any]

    @property
    def protocol_id(self) -> str:
        """Twelve hexadecimal digits: equal ids mean that two numbers may be compared."""
        text = json.dumps(self.protocol, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, Any]:
        """As `scores.json` and `evaluate --json` have it."""
        return {
            "protocol_id": self.protocol_id,
            "protocol": dict(self.protocol),
            "scores": {name: asdict(score) for name, score in self.scores.items()},
        }


class Evaluation:
    """The judges of one dataset: each split's real features are computed once.

    Args:
        dataset: supplies the real side, and the mixture's truth for points.
        config: metrics, features, sizes and seeds.
    """

    def __init__(self, dataset: Dataset, config: EvaluationConfig) -> None:
        self.dataset = dataset
        self.config = config
        self.features = resolve_features(config.features, dataset)
        self._judges: dict[Split, Judge] = {}

    def judge(self, split: Split) -> Judge:
        """The judge who knows that split's real side, made on first use."""
        if split not in self._judges:
            mixture = self.dataset.mixture
            self._judges[split] = Judge(
                getattr(self.dataset, split),
                features=self.features,
                metrics=self.config.metrics,
                weights=Path(self.config.weights) if self.config.weights else None,
                k=self.config.k,
                splits=self.config.splits,
                mixture=(mixture.centres, mixture.std) if mixture else None,
            )
        return self._judges[split]

    def selection(self, gan: GAN) -> dict[str, Score]:
        """One draw against the selection split: the curve on the way, and what the best checkpoint is chosen by."""
        draw = generator_draw(gan, "ema")
        return self.judge("selection").score(draw(self.config.n_fake, derive(0, "evaluation/selection")))

    def report(self, gan: GAN, *, weights: Literal["ema", "raw"] = "ema") -> ScoreSet:
        """Several draws against the test split: the mean of each score, and its spread over the draws."""
        return self.score(generator_draw(gan, weights), {"weights": weights, "batchnorm": "running statistics"})

    def floor(self) -> ScoreSet:
        """Real against real: training data in the place of fakes, the score of a perfect generator at this size."""
        train = self.dataset.train
        n = min(self.config.n_fake, len(train))

        def draw(n: int, seed: int) -> np.ndarray:
            return train[np.random.default_rng(seed).permutation(len(train))[:n]]

        return self.score(draw, {"weights": None, "fake": "training split"}, n=n)

    def score(self, draw: Draw, subject: Mapping[str, Any], *, n: int | None = None) -> ScoreSet:
        """Scores of `generation_seeds` draws of `n` samples; `subject` says what they were drawn from."""
        n = n or self.config.n_fake
        seeds = range(self.config.generation_seeds)
        judge = self.judge("test")
        draws = [judge.score(draw(n, derive(0, "evaluation/report", k))) for k in seeds]
        protocol = {
            **judge.protocol,
            "dataset": self.dataset.name,
            "preprocessing": self.dataset.preprocessing,
            "split": "test",
            "fingerprint": self.dataset.fingerprint,
            "n_fake": n,
            "generation_seeds": len(seeds),
            **subject,
        }
        return ScoreSet({name: combine([d[name] for d in draws]) for name in draws[0]}, protocol)


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
    )


def generator_draw(gan: GAN, weights: Literal["ema", "raw"]) -> Draw:
    """Samples of a GAN as the metrics take them: uint8 images through one conversion, points as they are."""

    def draw(n: int, seed: int) -> np.ndarray:
        samples = gan.sample(n, seed=seed, weights=weights)
        return to_uint8(samples) if samples.ndim == 4 else to_points(samples)

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

    embedded = dataset.name in {"digits", "polygons"}
    return "digits" if embedded or not default_weights().is_file() else "inception"

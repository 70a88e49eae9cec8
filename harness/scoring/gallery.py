"""Generated samples beside their nearest training images: what to look at for copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganbench.seeds import derive
from harness.images import grid
from harness.scoring.evaluation import Evaluation, generator_draw, subset
from metrics import gallery

if TYPE_CHECKING:
    from gans import GAN

TRAINING = 5000
"""Training images that a trial's samples are compared with: features of a large set would take longer than scores."""


def nearest_picture(evaluation: Evaluation, fake: np.ndarray, train: np.ndarray | None = None) -> np.ndarray:
    """The samples nearest to training images by their features, one a row, each followed by the nearest three.

    Args:
        evaluation: has the feature network, and the training split.
        fake: uint8 images (n, C, H, W).
        train: the training images that are looked at; None: the whole split.

    Returns:
        uint8 (height, width, C).
    """
    train = evaluation.dataset.train if train is None else train
    found = gallery(train=evaluation.extractor(train)[0], fake=evaluation.extractor(fake)[0], k=min(3, len(train)))
    rows = [[fake[one], *train[near]] for one, near in zip(found.fake, found.train, strict=True)]
    return grid(np.stack([image for row in rows for image in row]), columns=len(rows[0]))


def trial_picture(evaluation: Evaluation, gan: GAN) -> np.ndarray:
    """The same of a trained generator's first reported draw, against at most `TRAINING` training images."""
    fake = generator_draw(gan, "ema")(evaluation.config.n_fake, derive(0, "evaluation/report", 0)).samples
    return nearest_picture(
        evaluation, fake, subset(evaluation.dataset.train, TRAINING, derive(0, "evaluation/gallery"))
    )

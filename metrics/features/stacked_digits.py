"""The embedded digits network on each colour channel: a thousand classes for three digits in one image.

The stacked digits of Metz et al. 2017, "Unrolled GANs" (arXiv:1611.02163), and Srivastava et al. 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.special import log_softmax

from ganbench.errors import UserError
from metrics.features import digits

CHANNELS = 3


class StackedDigits:
    """Features of red, green and blue side by side; logit 100·r + 10·g + b is the sum of theirs, as log-probabilities.

    The softmax over the thousand is then the product of the three channels' answers.
    """

    name = "stacked-digits"
    kind: Literal["images", "points"] = "images"
    layer = digits.Digits.layer
    dim: int | None = CHANNELS * digits.WIDTH
    classes: int | None = digits.CLASSES**CHANNELS
    preprocessing: Mapping[str, object] = {**digits.Digits.preprocessing, "channels": "each by itself, as a grey image"}

    def __init__(self, weights: Path | None = None) -> None:
        if weights is not None:
            raise UserError(f"features {self.name!r} bring their own weights: leave out {str(weights)!r}")
        self._digits = digits.Digits()
        self.weights_sha256 = self._digits.weights_sha256

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float32 (n, 192) and logits float32 (n, 1000) of images uint8 (n, 3, H, W)."""
        if samples.shape[1] != CHANNELS:
            raise UserError(f"features {self.name!r} read one digit in each of 3 channels: got {samples.shape[1]}")
        features, logits = zip(*(self._digits(samples[:, c : c + 1]) for c in range(CHANNELS)), strict=True)
        red, green, blue = (log_softmax(channel, axis=1) for channel in logits)
        joined = red[:, :, None, None] + green[:, None, :, None] + blue[:, None, None, :]
        return np.concatenate(features, axis=1), joined.reshape(len(samples), -1).astype(np.float32)

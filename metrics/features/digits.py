"""The embedded feature network: a small classifier of handwritten digits whose weights come with the package.

`python -m metrics.features.train_digits` made the weights and makes them again. Its scores need no
download and tell digit GANs apart; they are no Inception scores and are never labelled as such.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load as load_safetensors
from torch import nn

from ganbench.errors import UserError
from metrics.features import batches

WEIGHTS = Path(__file__).with_name("digits.safetensors")
SIDE = 16
WIDTH = 64
CLASSES = 10
BATCH = 256
LUMA = (0.299, 0.587, 0.114)


class DigitsNetwork(nn.Module):
    """Grey images (n, 1, 16, 16) in [−1, 1] to features (n, 64) and logits (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(32, 32, 4, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
        )
        self.last = nn.Linear(64 * (SIDE // 4) ** 2, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Penultimate activations and class logits."""
        features = F.leaky_relu(self.last(self.body(images)), 0.1)
        return features, self.head(features)


def prepare(images: torch.Tensor) -> torch.Tensor:
    """uint8 (n, 1 or 3, H, W) to the network's float input (n, 1, 16, 16) in [−1, 1]."""
    x = images.to(torch.float32) / 127.5 - 1
    if x.shape[1] == 3:
        x = torch.einsum("nchw,c->nhw", x, torch.tensor(LUMA))[:, None]
    return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)


class Digits:
    """The extractor; runs on the CPU, where its scores are the same on every machine with or without a GPU."""

    name = "digits"
    kind: Literal["images", "points"] = "images"
    layer = "penultimate"
    dim: int | None = WIDTH
    classes: int | None = CLASSES
    preprocessing: Mapping[str, object] = {
        "channels": "grey as it is, RGB to ITU-R 601 luma (0.299, 0.587, 0.114)",
        "resize": "bilinear, half-pixel centres, antialiased",
        "size": SIDE,
        "range": "x/127.5 - 1",
    }

    def __init__(self, weights: Path | None = None) -> None:
        if weights is not None:
            raise UserError(f"features 'digits' bring their own weights: leave out {str(weights)!r}")
        content = WEIGHTS.read_bytes()
        self.weights_sha256: str | None = hashlib.sha256(content).hexdigest()
        with torch.random.fork_rng(devices=[]):  # a layer draws its initial weights from the global generator
            self._network = DigitsNetwork()
        self._network.load_state_dict(load_safetensors(content))
        self._network.eval().requires_grad_(False)

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float32 (n, 64) and logits float32 (n, 10) of images uint8 (n, 1 or 3, H, W)."""
        return batches.run(lambda images: self._network(prepare(images)), samples, BATCH)

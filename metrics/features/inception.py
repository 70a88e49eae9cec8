"""Inception v3 as torch-fidelity ported it from the original TensorFlow graph: the network that "FID" means.

There are two ways through it. `reference` is torch-fidelity's module as it is, to the bit. `folded`
(`metrics.features.folded`) is nearly twice as fast on a CPU, and no score moves by 1e-4 of its value
(`tests/metrics/test_inception_paths.py`, `tests/benchmarks/inception.py`). That has been shown on CPUs only, so
other devices take the reference. The path is part of every score's protocol.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from metrics.features import batches, states
from metrics.features import folded as fast
from metrics.features.weights import published, read, usual_place

LAYER = "2048"
BATCH = 64
"""Of the reference, as torch-fidelity's."""
PATHS = {
    "folded": f"BatchNorm folded into the convolutions, channels-last, batches of {fast.BATCH}",
    "reference": "torch-fidelity's module as it is",
}


class Inception:
    """The extractor; on a CUDA device where there is one.

    Its name is "inception" for the well-known weights, whichever path, and "inception-" with the digest's first
    eight digits for any other file, so that scores from other weights are never labelled plain FID.

    Args:
        weights: the state dict's file; None for the published one in its usual place.
        reference: never take the faster path.

    Raises:
        UserError: the file is missing, damaged, no plain state dict, or belongs to another network.
    """

    kind: Literal["images", "points"] = "images"
    layer = f"{LAYER} (pool3), logits_unbiased"
    dim: int | None = 2048
    classes: int | None = 1008

    def __init__(self, weights: Path | None = None, *, reference: bool = False) -> None:
        content, digest = read("inception", weights)
        self.weights_sha256: str | None = digest
        self.name = states.label("inception", digest, published("inception").sha256)
        self._device = batches.best_device()
        network = _network(content, weights)
        folded = not reference and self._device.type == "cpu"
        self._network = fast.FoldedInception(network) if folded else network.to(self._device)
        self._batch = fast.BATCH if folded else BATCH
        self.preprocessing: Mapping[str, object] = {
            "channels": "grey repeated to RGB, RGB as it is",
            "resize": "bilinear as in TensorFlow 1: corners aligned at the top left, no antialias",
            "size": 299,
            "range": "(x - 128)/128",
            "path": PATHS["folded" if folded else "reference"],
        }

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float32 (n, 2048) and logits float32 (n, 1008) of images uint8 (n, 1 or 3, H, W)."""
        return batches.run(lambda images: self._network(batches.as_rgb(images)), samples, self._batch, self._device)


REFERENCE = partial(Inception, reference=True)


def default_weights() -> Path:
    """Where torch.hub, and so torch-fidelity, would keep the weights; the file may not be there."""
    return usual_place("inception")


def _network(content: bytes, path: Path | None) -> nn.Module:
    """torch-fidelity's network with the weights in `content`, which are unpickled as plain tensors only."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with states.unfit_weights(path, "torch-fidelity's Inception weights"):
        # its constructor unpickles whatever it is given, so it is given our own copy of the vetted tensors
        vetted = io.BytesIO()
        torch.save(states.state_dict(content), vetted)
        vetted.seek(0)
        with torch.random.fork_rng(devices=[]):  # layers draw their initial weights from the global generator
            network: nn.Module = FeatureExtractorInceptionV3(
                "inception", [LAYER, "logits_unbiased"], feature_extractor_weights_path=vetted
            )
    return network

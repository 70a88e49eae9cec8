"""Inception v3 as torch-fidelity ported it from the original TensorFlow graph: the network that "FID" means."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ganbench.errors import UserError
from metrics.features import batches

WEIGHTS_NAME = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS_NAME}"
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
LAYER = "2048"
BATCH = 64


class Inception:
    """The extractor; on a CUDA device where there is one. Weights are read from a local file, never downloaded.

    Its name is "inception" for the well-known weights and "inception-" with the digest's first eight digits
    for any other file, so that scores from other weights are never labelled plain FID.

    Args:
        weights: the state dict's file; None for torch.hub's checkpoint folder ($TORCH_HOME/hub/checkpoints).

    Raises:
        UserError: the file is missing, is no plain state dict, or belongs to another network.
    """

    kind: Literal["images", "points"] = "images"
    layer = f"{LAYER} (pool3), logits_unbiased"
    dim: int | None = 2048
    classes: int | None = 1008
    preprocessing: Mapping[str, object] = {
        "channels": "grey repeated to RGB, RGB as it is",
        "resize": "bilinear as in TensorFlow 1: corner-aligned, no antialias",
        "size": 299,
        "range": "(x - 128)/128",
    }

    def __init__(self, weights: Path | None = None) -> None:
        path = default_weights() if weights is None else Path(weights)
        if not path.is_file():
            raise UserError(
                f"no Inception weights at {str(path)!r} and nothing is downloaded: "
                f"put {WEIGHTS_URL} there, or name its place with weights"
            )
        content = path.read_bytes()
        self.weights_sha256: str | None = hashlib.sha256(content).hexdigest()
        known = self.weights_sha256 == WEIGHTS_SHA256
        self.name = "inception" if known else f"inception-{self.weights_sha256[:8]}"
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = _network(content, path).to(self._device)

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 (n, 2048) and logits float32 (n, 1008) of images uint8 (n, 1 or 3, H, W)."""
        return batches.run(self._batch, samples, BATCH)

    def _batch(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # TF32 convolutions would move the score in its third digit
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False, deterministic=True):
            features, logits = self._network(images.expand(-1, 3, -1, -1).to(self._device))
        return features.cpu(), logits.cpu()


def default_weights() -> Path:
    """Where torch.hub, and so torch-fidelity, would keep the weights; the file may not be there."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_NAME


def _network(content: bytes, path: Path) -> torch.nn.Module:
    """torch-fidelity's network with the weights in `content`, which are unpickled as plain tensors only."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        # its constructor unpickles whatever it is given, so it is given our own copy of the vetted tensors
        vetted = io.BytesIO()
        torch.save(state, vetted)
        vetted.seek(0)
        with torch.random.fork_rng(devices=[]):  # layers draw their initial weights from the global generator
            network: torch.nn.Module = FeatureExtractorInceptionV3(
                "inception", [LAYER, "logits_unbiased"], feature_extractor_weights_path=vetted
            )
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{str(path)!r} does not hold torch-fidelity's Inception weights ({reason})") from error
    return network

"""CLIP's image encoders through torch-fidelity, from OpenAI's TorchScript archives.

The embedding is not normalised and images are resized as TensorFlow 1 did: these are torch-fidelity's CLIP scores,
not those of CMMD, which resizes bicubically and normalises.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from metrics.features import batches, states
from metrics.features.weights import published, read

BATCH = 64


class Clip:
    """The extractor; on a CUDA device where there is one. Radford et al. 2021, arXiv:2103.00020.

    Its name is the model's for the published archive, else with the digest's first eight digits.

    Args:
        model: torch-fidelity's name, such as "clip-vit-b-32".
        weights: the TorchScript archive; None for the published one in its usual place.

    Raises:
        UserError: the file is missing, damaged, or holds no CLIP model.
    """

    kind: Literal["images", "points"] = "images"
    layer = "image embedding, not normalised"
    classes: int | None = None

    def __init__(self, model: str, weights: Path | None = None) -> None:
        content, digest = read(model, weights)
        self.weights_sha256: str | None = digest
        self.name = states.label(model, digest, published(model).sha256)
        self._device = batches.best_device()
        self._network = _network(model, content, weights).to(self._device)
        self.dim: int | None = self._network.model.visual.output_dim
        self.preprocessing: Mapping[str, object] = {
            "channels": "grey repeated to RGB, RGB as it is",
            "resize": "bilinear as in TensorFlow 1: corners aligned at the top left, no antialias",
            "size": self._network.resolution,
            "range": "CLIP's mean and deviation per channel",
        }

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float32 (n, dim) of images uint8 (n, 1 or 3, H, W); no logits."""
        return batches.run(lambda images: self._network(batches.as_rgb(images)), samples, BATCH, self._device)


RN50 = partial(Clip, "clip-rn50")
RN101 = partial(Clip, "clip-rn101")
RN50X4 = partial(Clip, "clip-rn50x4")
RN50X16 = partial(Clip, "clip-rn50x16")
RN50X64 = partial(Clip, "clip-rn50x64")
VIT_B_32 = partial(Clip, "clip-vit-b-32")
VIT_B_16 = partial(Clip, "clip-vit-b-16")
VIT_L_14 = partial(Clip, "clip-vit-l-14")
VIT_L_14_336PX = partial(Clip, "clip-vit-l-14-336px")


def _network(model: str, content: bytes, path: Path | None) -> Any:
    from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP

    with (
        states.unfit_weights(path, f"OpenAI's TorchScript archive of {model}"),
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[]),  # layers draw their initial weights from the global generator
    ):
        warnings.simplefilter("ignore", FutureWarning)  # torch would have people move to torch.export
        return FeatureExtractorCLIP(model, ["clip"], feature_extractor_weights_path=io.BytesIO(content))

"""DINOv2 through torch-fidelity: its preprocessing, facebookresearch's network code, weights from a local file.

torch-fidelity has torch.hub fetch code and weights from the network and takes no file of weights. Here both must be
on the machine: the code, which is ordinary Python and is run, as a checkout of the repository in torch.hub's folder,
and the weights, which are read as plain tensors.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ganbench.errors import UserError
from metrics.features import batches, states
from metrics.features.weights import published, read

REPOSITORY = "https://github.com/facebookresearch/dinov2"
FOLDER = "facebookresearch_dinov2_main"
"""What torch.hub calls its copy of the repository's main branch."""
BATCH = 64


class Dinov2:
    """The extractor; on a CUDA device where there is one. Oquab et al. 2023, arXiv:2304.07193.

    Its name is the model's for the published weights, else with the digest's first eight digits; the protocol
    holds a digest of the code as well.

    Args:
        model: torch-fidelity's name, such as "dinov2-vit-b-14".
        weights: the state dict's file; None for the published one in its usual place.

    Raises:
        UserError: code or weights are missing, damaged, or do not fit each other.
    """

    kind: Literal["images", "points"] = "images"
    layer = "class token"
    classes: int | None = None

    def __init__(self, model: str, weights: Path | None = None) -> None:
        code = code_folder()
        if not (code / "hubconf.py").is_file():
            raise UserError(
                f"no DINOv2 code at {str(code)!r} and nothing is downloaded, torch-fidelity's own loading being "
                f"online only: put a checkout of {REPOSITORY} there"
            )
        content, digest = read(model, weights)
        self.weights_sha256: str | None = digest
        self.name = states.label(model, digest, published(model).sha256)
        self._device = batches.best_device()
        backbone = _backbone(model, code)
        with states.unfit_weights(weights, f"the weights of {model}"):
            backbone.load_state_dict(states.state_dict(content))
        self._network = _network(model, backbone).to(self._device)
        self.dim: int | None = getattr(backbone, "embed_dim", None)
        self.preprocessing: Mapping[str, object] = {
            "channels": "grey repeated to RGB, RGB as it is",
            "resize": "bilinear as in TensorFlow 1: corners aligned at the top left, no antialias",
            "size": self._network.INPUT_IMAGE_SIZE,
            "range": "ImageNet's mean and deviation per channel",
            "code_sha256": _code_digest(code),
        }

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float32 (n, dim) of images uint8 (n, 1 or 3, H, W); no logits."""
        return batches.run(lambda images: self._network(batches.as_rgb(images)), samples, BATCH, self._device)


VIT_S_14 = partial(Dinov2, "dinov2-vit-s-14")
VIT_B_14 = partial(Dinov2, "dinov2-vit-b-14")
VIT_L_14 = partial(Dinov2, "dinov2-vit-l-14")
VIT_G_14 = partial(Dinov2, "dinov2-vit-g-14")


def code_folder() -> Path:
    """Where torch.hub would keep the repository's code; it may not be there."""
    return Path(torch.hub.get_dir()) / FOLDER


def _backbone(model: str, code: Path) -> nn.Module:
    from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA

    try:
        with _without_xformers(), torch.random.fork_rng(devices=[]):
            backbone = torch.hub.load(str(code), MODEL_METADATA[model], source="local", pretrained=False)  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever other people's code raises
        raise UserError(
            f"the DINOv2 code at {str(code)!r} does not build {model} ({states.reason(error)}): "
            f"put a checkout of {REPOSITORY} there"
        ) from error
    if not isinstance(backbone, nn.Module):
        raise UserError(f"the DINOv2 code at {str(code)!r} gives no network: put a checkout of {REPOSITORY} there")
    return backbone


@contextmanager
def _without_xformers() -> Iterator[None]:
    """As torch-fidelity does: its kernels would make scores depend on what else is installed."""
    name = "XFORMERS_DISABLED"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="xFormers is")
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _network(model: str, backbone: nn.Module) -> Any:
    """torch-fidelity's extractor around `backbone`."""
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

    class Local(FeatureExtractorDinoV2):  # type: ignore[misc]
        def __init__(self) -> None:  # torch-fidelity's would go online
            FeatureExtractorBase.__init__(self, model, ["dinov2"])
            self.feature_extractor_internal_dtype = torch.float32
            self.model = backbone

    return Local().float().requires_grad_(False).eval()


def _code_digest(code: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(code.rglob("*.py")):
        digest.update(f"{file.relative_to(code).as_posix()}\n".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()

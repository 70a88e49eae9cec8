"""Feature networks: samples in, features and class logits out.

To add one, write a class with `Extractor`'s attributes whose constructor takes `weights` (a path or None)
and put it into `FEATURES`; other packages use the entry-point group `ganbench.features`. A network of one's own needs
neither: `module:object` and TorchScript files are taken by that name (`metrics.features.own`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ganbench.registry import Entry, Registry

if TYPE_CHECKING:
    import numpy as np


TORCHSCRIPT = (".pt", ".ts")
"""How the file of a user's own network ends."""


class Extractor(Protocol):
    """A frozen network with all that a score's protocol has to say about it.

    `name` appears in labels and protocols, `kind` is what it accepts: "images" (uint8 NCHW, 1 or 3
    channels, any size) or "points" (floats (n, D)). `layer` names the features, `dim` their width (None:
    that of the data, or known only after a run), `classes` the number of logits (None: no classifier, 0: known only
    after a run). `preprocessing` is JSON-able and says all else that moves the features.
    """

    name: str
    kind: Literal["images", "points"]
    weights_sha256: str | None
    layer: str
    preprocessing: Mapping[str, object]
    dim: int | None
    classes: int | None

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float32 (n, dim) and logits float32 (n, classes) or None; draws no random number."""


FEATURES = Registry(
    "ganbench.features",
    "feature network",
    [
        Entry("digits", "metrics.features.digits:Digits", "small classifier of handwritten digits, weights included"),
        Entry(
            "inception",
            "metrics.features.inception:Inception",
            "Inception v3 of the original FID",
            "Szegedy et al. 2016, arXiv:1512.00567",
        ),
        Entry(
            "inception-reference",
            "metrics.features.inception:REFERENCE",
            "the same on the slower path that is torch-fidelity's to the bit",
            "Szegedy et al. 2016, arXiv:1512.00567",
        ),
        *(
            Entry(
                f"clip-{model.lower()}",
                f"metrics.features.clip:{model.replace('-', '_').upper()}",
                f"CLIP's image encoder {model}",
                "Radford et al. 2021, arXiv:2103.00020",
            )
            for model in (
                *("RN50", "RN101", "RN50x4", "RN50x16", "RN50x64"),
                *("ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336px"),
            )
        ),
        *(
            Entry(
                f"dinov2-{model.lower()}",
                f"metrics.features.dinov2:{model.replace('-', '_').upper()}",
                f"DINOv2 {model}",
                "Oquab et al. 2023, arXiv:2304.07193",
            )
            for model in ("ViT-S-14", "ViT-B-14", "ViT-L-14", "ViT-G-14")
        ),
        Entry(
            "stacked-digits",
            "metrics.features.stacked_digits:StackedDigits",
            "the digits network on each colour channel: 1,000 classes",
            "Metz et al. 2017, arXiv:1611.02163",
        ),
        Entry("identity", "metrics.features.identity:Identity", "points in the plane are their own features"),
    ],
)


def check(name: str) -> None:
    """Raise `UserError` unless `name` is registered or has the form of a user's own network; imports nothing heavy."""
    if not is_own(name):
        FEATURES.entry(name)


def load(name: str, weights: Path | None = None, *, download: bool = False) -> Extractor:
    """The feature network `name`, its weights from `weights` or, for None, from its usual place.

    Args:
        name: of `FEATURES`, or the user's own network: `module:object` or a TorchScript file ending in .pt or .ts.
        weights: the file of weights; None for the usual place, `$TORCH_HOME/hub/checkpoints`.
        download: fetch published weights that are not in their usual place; nothing is fetched unasked.

    Raises:
        UserError: an unknown name, or missing, damaged or unfit weights.
    """
    if is_own(name):
        from metrics.features.own import Own  # imports torch

        return Own(name, weights)
    factory = FEATURES.load(name)
    if download and weights is None:
        from metrics.features import weights as files  # imports the network's modules

        if name in files.PUBLISHED:
            files.download(name)
    extractor: Extractor = factory(weights)
    return extractor


def is_own(name: str) -> bool:
    """Whether `name` has the form of a user's own network rather than that of a registered one.

    >>> is_own("my_nets:Encoder"), is_own("encoder.pt"), is_own("inception")
    (True, True, False)
    """
    return ":" in name or name.endswith(TORCHSCRIPT)

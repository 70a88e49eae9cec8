"""`ganbench doctor`: what this machine has, and whether the metrics still tell the truth on it."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ganbench import __version__


def diagnose() -> tuple[bool, str]:
    """(everything healthy?, the text): device, versions, weights, W&B mode, disk and the metrics' self-test."""
    lines = [*_machine(), *_weights(), *_tracking(), *_disk()]
    failures = []
    for name, passed in self_test():
        lines.append(f"self-test   {'ok  ' if passed else 'FAIL'} {name}")
        failures += [] if passed else [name]
    return not failures, "\n".join(lines)


def _machine() -> Iterator[str]:
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield f"ganbench    {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield f"device      {', '.join(cuda) or 'no GPU'}; {os.cpu_count()} CPU cores"
    packages = ("torch", "torchvision", "pytorch-lightning", "torch-fidelity", "wandb", "scipy", "pandas")
    yield "versions    " + ", ".join(f"{name} {version(name)}" for name in packages)


def _weights() -> Iterator[str]:
    from metrics.features.digits import WEIGHTS
    from metrics.features.inception import default_weights

    yield f"features    digits: embedded, sha256 {_sha256(WEIGHTS)}"
    inception = default_weights()
    if inception.is_file():
        yield f"features    inception: {inception}, sha256 {_sha256(inception)}"
    else:
        yield f"features    inception: no file at {inception} (or give evaluation.weights=FILE)"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tracking() -> Iterator[str]:
    from harness.config import TrackingConfig
    from harness.tracking import resolve_mode

    yield f"W&B         {resolve_mode(TrackingConfig())} (mode auto; `wandb login` or WANDB_API_KEY makes it online)"


def _disk() -> Iterator[str]:
    usage = shutil.disk_usage(Path.cwd())
    yield f"disk        {usage.free / 2**30:.0f} GiB free here"


def self_test() -> Iterator[tuple[str, bool]]:
    """Closed forms that need no weights: (what is checked, whether it holds)."""
    from metrics import frechet_distance, inception_score, kernel_distance, neighbours

    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 8))
    shifted = features + 3.0
    yield "FID of a set with itself is 0", abs(frechet_distance(real=features, fake=features)) < 1e-9
    moved = frechet_distance(real=features, fake=shifted)
    yield "FID of a shift is its squared length", bool(np.isclose(moved, 8 * 9.0, rtol=1e-9))
    one_hot = np.tile(np.eye(10) * 100, (10, 1))
    yield "IS of ten certain, equal classes is 10", bool(np.isclose(inception_score(one_hot, splits=1).value, 10))
    same_law = kernel_distance(real=features[:250], fake=features[250:], subsets=20, subset_size=200)
    yield "KID of one law is 0 within its noise", abs(same_law.value) < 0.5
    copies = neighbours(real=features, fake=features)
    yield "precision and recall of copies are 1", (copies.precision, copies.recall) == (1.0, 1.0)
    far = neighbours(real=features, fake=features + 1000)
    yield "precision and recall of disjoint sets are 0", (far.precision, far.recall) == (0.0, 0.0)

"""`ganbench doctor`: what this machine has, and whether the metrics still tell the truth on it."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from ganbench import __version__


def diagnose() -> tuple[bool, str]:
    """(everything healthy?, the text): device, versions, weights, W&B mode, disk and the metrics' self-test."""
    healthy, test = _self_test()
    return healthy, "\n".join([*_machine(), *_weights(), *_stored(), *_datasets(), *_tracking(), *_disk(), *test])


def _self_test() -> tuple[bool, list[str]]:
    from metrics import self_test

    start = time.perf_counter()
    outcomes = list(self_test())
    seconds = time.perf_counter() - start
    lines = [f"self-test   {'ok  ' if passed else 'FAIL'} {name}" for name, passed in outcomes]
    held = sum(passed for _, passed in outcomes)
    lines.append(f"self-test   {held} of {len(outcomes)} closed forms hold, without any weights in {seconds:.1f} s")
    return held == len(outcomes), lines


def _machine() -> Iterator[str]:
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield f"ganbench    {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield f"device      {', '.join(cuda) or 'no GPU'}; {os.cpu_count()} CPU cores"
    packages = ("torch", "torchvision", "pytorch-lightning", "torch-fidelity", "wandb", "scipy", "pandas")
    yield "versions    " + ", ".join(f"{name} {version(name)}" for name in packages)


def _weights() -> Iterator[str]:
    from metrics.features.digits import WEIGHTS
    from metrics.features.weights import PUBLISHED, usual_place

    yield f"features    digits: embedded, sha256 {_sha256(WEIGHTS)}"
    for name, published in PUBLISHED.items():
        place = usual_place(name)
        if place.is_file():
            digest = _sha256(place)
            verdict = "" if digest == published.sha256 else f", which is NOT the published {published.sha256}"
            yield f"features    {name}: {place}, sha256 {digest}{verdict}"
        elif name == "inception":
            yield f"features    {name}: no file at {place} (`ganbench evaluate --download` fetches it)"


def _stored() -> Iterator[str]:
    from harness.places import cache_folder
    from harness.scoring.feature_store import entries

    found = entries(cache_folder())
    size = sum(entry.bytes for entry in found) / 2**20
    yield f"cache       {cache_folder()}: {len(found)} entries, {size:.1f} MiB (`ganbench cache` shows them)"


def _datasets() -> Iterator[str]:
    from harness.data.published import present
    from harness.places import data_folder

    yield f"data        {data_folder()}: {', '.join(present()) or 'no published set'} (--data-dir, --download)"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tracking() -> Iterator[str]:
    from harness.config import TrackingConfig
    from harness.tracking.tracker import resolve_mode

    yield f"W&B         {resolve_mode(TrackingConfig())} (mode auto; `wandb login` or WANDB_API_KEY makes it online)"


def _disk() -> Iterator[str]:
    usage = shutil.disk_usage(Path.cwd())
    yield f"disk        {usage.free / 2**30:.0f} GiB free here"

"""What a trial ran on, for its status: never for its results."""

from __future__ import annotations

import platform
import resource
import sys
from importlib.metadata import version
from typing import Any

import torch

from ganbench import __version__


def environment() -> dict[str, Any]:
    """What may change the bits of a result: versions, processor, threads and device."""
    return {
        "ganbench": __version__,
        **{name: version(name) for name in ("torch", "pytorch-lightning", "torch-fidelity", "numpy")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
    }


def peak_memory_mb() -> int:
    """The most memory that this process has had so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)

"""Running a network over many images: without holding all their activations, and in full float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

CPU = torch.device("cpu")


@torch.inference_mode()
def run(
    network: Callable[[torch.Tensor], tuple[torch.Tensor, ...]],
    images: np.ndarray,
    size: int,
    device: torch.device = CPU,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Features and logits, float32 on the host, of uint8 images (n, C, H, W) taken `size` at a time.

    `network` gives (features, logits), or (features,) where it is no classifier: the logits are then None.
    """
    with full_precision(device):
        # copies, since torch warns of read-only arrays and refuses negative strides
        batches = (torch.from_numpy(images[start : start + size].copy()) for start in range(0, len(images), size))
        outputs = [tuple(output.to("cpu", torch.float32) for output in network(batch.to(device))) for batch in batches]
    features, *logits = (torch.cat(parts).numpy() for parts in zip(*outputs, strict=True))
    return features, logits[0] if logits else None


def best_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Whatever training has set: no TF32 or bfloat16, which move a score in its third digit, and no autocast."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False, deterministic=True),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def as_rgb(images: torch.Tensor) -> torch.Tensor:
    """Grey images (n, 1, H, W) repeated to (n, 3, H, W); RGB as it is."""
    return images.expand(-1, 3, -1, -1)

"""Running a network over many images without holding all their activations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


@torch.inference_mode()
def run(
    network: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]], images: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features and logits, float32 on the host, of uint8 images (n, C, H, W) taken `size` at a time."""
    # copies, since torch warns of read-only arrays and refuses negative strides
    batches = (torch.from_numpy(images[start : start + size].copy()) for start in range(0, len(images), size))
    features, logits = zip(*(network(batch) for batch in batches), strict=True)
    return torch.cat(features).cpu().numpy(), torch.cat(logits).cpu().numpy()

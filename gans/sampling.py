"""Samples of a generator: each a function of the seed and its own place (and label) alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganbench.errors import UserError
from ganbench.seeds import derive

if TYPE_CHECKING:
    from gans.classes import Classes

SAMPLE_BLOCK = 64
"""Samples are always drawn and generated in whole blocks, so that sample i depends on (seed, i) alone."""


def latents(n: int, *, seed: int, dim: int) -> Iterator[Tensor]:
    """Standard normal latents of `n` samples in blocks (`SAMPLE_BLOCK`, dim), the last one with some too many."""
    for block in range(-(-n // SAMPLE_BLOCK)):
        yield torch.randn(SAMPLE_BLOCK, dim, generator=_stream(seed, "sample", block))


def drawn_places(classes: Classes, n: int, *, seed: int) -> Tensor:
    """Places among the classes of `n` samples, int64, drawn by their shares of the training data."""
    count = -(-n // SAMPLE_BLOCK)
    blocks = [classes.draw(SAMPLE_BLOCK, _stream(seed, "sample labels", block)) for block in range(count)]
    return torch.cat(blocks)[:n] if blocks else torch.empty(0, dtype=torch.int64)


def places(classes: Classes, n: int, labels: int | Iterable[int] | None, *, seed: int) -> Tensor:
    """The same of given labels: one for all, or one for each; None draws them. Raises `UserError` for others."""
    if labels is None:
        return drawn_places(classes, n, seed=seed)
    if not isinstance(labels, Iterable):  # numpy's integers are none of Python's
        return classes.places([int(labels)]).expand(n)
    found = classes.places(labels)
    if len(found) != n:
        raise UserError(f"{len(found)} labels are given for {n} samples: give one for each, or one for all")
    return found


@torch.no_grad()
def generate(network: nn.Module, blocks: Iterable[Tensor], labels: Tensor | None, device: torch.device) -> list[Tensor]:
    """What the network makes of each block of latents, in evaluation mode, which is undone; `labels` are places.

    BatchNorm uses its running statistics, so that the rest of a block has no say in a sample.
    """
    was_training = network.training
    network.eval()
    try:
        if labels is None:
            return [network(latent.to(device)) for latent in blocks]
        told = labels.new_zeros(-(-len(labels) // SAMPLE_BLOCK) * SAMPLE_BLOCK)
        told[: len(labels)] = labels
        pairs = zip(blocks, told.to(device).view(-1, SAMPLE_BLOCK), strict=True)
        return [network(latent.to(device), own) for latent, own in pairs]
    finally:
        network.train(was_training)


def _stream(seed: int, purpose: str, block: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, purpose, block))

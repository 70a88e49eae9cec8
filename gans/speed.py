"""How a game is computed: choices that change its speed and, at most, the rounding of its numbers.

What each is worth, measured, is told in docs/speed.md.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ganbench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

Pass = Callable[..., "Tensor"]
"""A player's forward pass: of latents or samples, and of their labels in a game with a condition."""

Compile = Literal["none", "default", "cuda-graphs"]


@dataclass(frozen=True)
class Speed:
    """The defaults are what every game is played with unless the trial's config says otherwise."""

    compile: Compile = "none"
    """default: the players' passes go through `torch.compile`; cuda-graphs: and are replayed as CUDA graphs."""
    fused: bool = True
    """Adam moves all weights in one kernel."""
    shared_pass: bool = False
    """The critic sees real and fake samples as one batch, where it does not mix a batch's samples."""


def check_compiler(mode: Compile, device: str) -> None:
    """Refuse a `Speed.compile` that cannot work on a device of type "cpu" or "cuda".

    Raises:
        UserError: CUDA graphs without CUDA; no C++ compiler for a CPU, or no Triton for a GPU.
    """
    if mode == "none":
        return
    if mode == "cuda-graphs" and device != "cuda":
        raise UserError("trainer.compile=cuda-graphs needs a GPU: choose trainer.compile=default or none")
    if device == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise UserError(
                f"trainer.compile={mode} needs Triton on a GPU: pip install triton, or trainer.compile=none"
            )
    elif not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++")))):
        raise UserError(f"trainer.compile={mode} needs a C++ compiler on a CPU: install g++, or trainer.compile=none")


def compiled(players: tuple[nn.Module, nn.Module], mode: Compile) -> tuple[Pass, Pass]:
    """Compiled forward and backward passes of a generator and a discriminator, which stay as they are."""
    import torch

    torch.compiler.reset()  # torch compiles a function so many times only, and the games before this count as well
    how: dict[str, Any] = {"mode": "reduce-overhead"} if mode == "cuda-graphs" else {}
    generator, discriminator = (torch.compile(player, dynamic=False, **how) for player in players)
    return generator, discriminator

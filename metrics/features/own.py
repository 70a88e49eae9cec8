"""A network of the user's own: `module:object` in Python, or a TorchScript file.

It takes images uint8 (n, C, H, W) as they are and returns features float (n, d), or (features, logits) with logits
float (n, c). A Python module that returns logits says how many in an integer attribute `classes`.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ganbench.errors import UserError
from ganbench.seeds import derive
from metrics.features import TORCHSCRIPT, batches, states

BATCH = 64


class Own:
    """The extractor; on a CUDA device where there is one, in evaluation mode, on a copy of the user's object.

    Its name is the given one with the first eight digits of a sha256: of the TorchScript file, or of all tensors
    in the module's state dict. For a Python module the protocol also holds the sha256 of the file that defines it.

    Args:
        name: `module:object`, where the object is an `nn.Module`, or a class or function that returns one when
            called without arguments (initial weights, if it draws any, are always the same); or the path of a
            file that `torch.jit.save` wrote, ending in .pt or .ts. No pickled module is ever loaded.
        weights: for `module:object`, a state dict's file to load; None to take the module as it is.

    Raises:
        UserError: nothing of that name, no module, or unfit weights.
    """

    kind: Literal["images", "points"] = "images"
    layer = "as returned"
    dim: int | None = None

    def __init__(self, name: str, weights: Path | None = None) -> None:
        self._given = name
        self._device = batches.best_device()
        if name.endswith(TORCHSCRIPT):
            self._network, digest = _archived(Path(name), weights)
            name = Path(name).name
            result = str(self._network.forward.schema.returns[0].type)
            self.classes: int | None = 0 if result.startswith("Tuple") else None  # how many, only a run will tell
            source: Mapping[str, object] = {}
        else:
            self._network, source = _imported(name)
            if weights is not None:
                _load(self._network, Path(weights))
            digest = state_digest(self._network)
            self.classes = getattr(self._network, "classes", None)
        self.weights_sha256: str | None = digest
        self.name = f"{name}-{digest[:8]}"
        self._network = self._network.to(self._device).eval()
        self.preprocessing: Mapping[str, object] = {"input": "uint8 as it is", **source}

    def __call__(self, samples: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Features float32 (n, d) and, of a classifier, logits float32 (n, c).

        Raises `UserError` where the network fails on the images or returns anything else.
        """
        return batches.run(self._batch, samples, BATCH, self._device)

    def _batch(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        try:
            output = self._network(images)
        except Exception as error:  # whatever the user's code raises
            raise UserError(
                f"features {self._given!r} fail on uint8 images {tuple(images.shape)} ({states.reason(error)}): "
                "make the network take them as they are"
            ) from error
        parts = output if isinstance(output, tuple) else (output,)
        if not all(_is_matrix(part, len(images)) for part in parts) or len(parts) > 2:
            raise UserError(
                f"features {self._given!r} returned {_describe(output)} for {len(images)} images: "
                "return float features (n, d), or a tuple of them and float logits (n, c)"
            )
        announced, given = self.classes, parts[1].shape[1] if len(parts) == 2 else None
        if announced != given and not (announced == 0 and given):
            raise UserError(
                f"features {self._given!r} returned {_describe(output)} and announce classes={announced}: "
                "let the module's attribute `classes` be the number of logits that it returns, or None"
            )
        self.classes = given
        return parts


def state_digest(module: nn.Module) -> str:
    """Sha256 of the names, dtypes, shapes and bytes of all tensors in the module's state dict, in order of name."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _archived(path: Path, weights: Path | None) -> tuple[Any, str]:
    if weights is not None:
        raise UserError(f"the TorchScript file {str(path)!r} has its own weights: leave out {str(weights)!r}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the TorchScript file {str(path)!r} ({error.strerror}): check the path") from error
    try:
        network = states.torchscript(content)
    except RuntimeError as error:
        raise UserError(
            f"{str(path)!r} is no TorchScript archive ({states.reason(error)}): write it with torch.jit.save, "
            "since pickled modules are never loaded"
        ) from error
    return network, hashlib.sha256(content).hexdigest()


def _imported(name: str) -> tuple[nn.Module, Mapping[str, object]]:
    """The network behind `module:object`, our own copy of it, and what the protocol should say of its code."""
    home, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(home)
    except Exception as error:  # whatever the user's code raises
        raise UserError(
            f"cannot import {home!r} for features {name!r} ({states.reason(error)}): "
            "check the name, and that its folder is on PYTHONPATH"
        ) from error
    if not hasattr(module, attribute):
        raise UserError(f"features {name!r}: {home} has no {attribute!r}, check the name")
    found = getattr(module, attribute)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive(0, "own feature network"))
            network = copy.deepcopy(found) if isinstance(found, nn.Module) else found()
    except Exception as error:  # whatever the user's code raises
        raise UserError(
            f"features {name!r} could not be built ({states.reason(error)}): "
            "give a function without arguments that returns the module"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(f"features {name!r} are a {type(network).__name__}: give a torch.nn.Module or what returns one")
    file = getattr(module, "__file__", None)
    code = None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return network.requires_grad_(False), {"code_sha256": code}


def _load(network: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise UserError(f"no weights at {str(path)!r}: check the path")
    with states.unfit_weights(path, "a state dict of the given module"):
        network.load_state_dict(states.state_dict(path.read_bytes()))


def _is_matrix(value: object, rows: int) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim == 2 and len(value) == rows


def _describe(output: object) -> str:
    if isinstance(output, torch.Tensor):
        return f"{str(output.dtype).removeprefix('torch.')} {tuple(output.shape)}"
    if isinstance(output, tuple):
        return f"({', '.join(map(_describe, output))})"
    return f"a {type(output).__name__}"

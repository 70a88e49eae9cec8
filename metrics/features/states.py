"""State dicts and TorchScript archives from files of any origin, read without Python's unpickler running their code."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ganbench.errors import UserError

_UNFIT = (RuntimeError, ValueError, EOFError, LookupError, AttributeError, TypeError)
"""What torch, and networks given another's tensors, raise."""


def label(name: str, digest: str, published: str) -> str:
    """`name` for the published weights, else with the digest's first digits: no score is labelled as another's."""
    return name if digest == published else f"{name}-{digest[:8]}"


def state_dict(content: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a file that `torch.save` wrote; raises `ValueError` for anything but plain data."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of odd pickle protocols: what matters is whether it loads
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own words advise to unpickle whatever there is
        raise ValueError("it is damaged or no plain file of tensors, and nothing else is unpickled") from error
    if not isinstance(state, Mapping):
        raise ValueError(f"it holds one {type(state).__name__}, not a state dict")
    return dict(state)


def torchscript(content: bytes) -> Any:
    """The module in an archive of `torch.jit.save`, on the CPU.

    Its program runs in TorchScript's interpreter and reaches no Python, but its operators can open files: an
    archive of unknown origin is safer than a pickle, and no sandbox. Raises `RuntimeError` for any other content.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would have people move to torch.export
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]


@contextmanager
def unfit_weights(path: Path | None, what: str) -> Iterator[None]:
    """Turns what loading raises into the sentence that the file does not hold `what`."""
    try:
        yield
    except _UNFIT as error:
        where = "the usual file" if path is None else repr(str(path))
        raise UserError(f"{where} does not hold {what} ({reason(error)}): give the right file with weights") from error


def reason(error: BaseException) -> str:
    """The first sentence of the error's text, or its type where it says nothing."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.split(". ")[0].rstrip(".:")

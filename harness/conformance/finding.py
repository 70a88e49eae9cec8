"""What a check found, one line each, and how checks are run so that one failure does not hide the others."""

from __future__ import annotations

import contextlib
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from ganbench.errors import UserError

Subject = TypeVar("Subject")

Check = tuple[str, Callable[[Subject], str]]
"""A name, and a function that says what it saw or raises `Broken`."""


class Broken(Exception):  # noqa: N818 (a finding, no error of ours)
    """A contract that is not kept: what is wrong, where, and the remedy."""

    def __init__(self, what: str, *, where: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy


@dataclass(frozen=True)
class Finding:
    """One check's outcome. `what` is what was seen, or what is wrong; `where` and `remedy` are told of the latter."""

    kind: str
    name: str
    check: str
    ok: bool
    what: str
    where: str = ""
    remedy: str = ""

    def line(self) -> str:
        """As the terminal shows it."""
        said = f"{'ok    ' if self.ok else 'FAILED'}  {self.kind} {self.name}: {self.check} – {_one_line(self.what)}"
        return said if self.ok else f"{said} ({self.where}); {self.remedy}"

    def as_json(self) -> dict[str, Any]:
        """As `ganbench check --json` has it."""
        return asdict(self)


def walk(kind: str, name: str, subject: Subject, checks: Sequence[Check[Subject]]) -> Iterator[Finding]:
    """Each check's finding, as soon as it is known. The first one is what the others stand on: they need it kept."""
    for number, (check, look) in enumerate(checks):
        try:
            yield Finding(kind, name, check, True, look(subject))
            continue
        except Broken as broken:
            yield Finding(kind, name, check, False, broken.what, broken.where, broken.remedy)
        except UserError as error:
            yield Finding(kind, name, check, False, str(error), place(error), "see to that, then check again")
        except Exception as error:  # whatever another package's code raises
            what = f"{type(error).__name__}: {error}"
            yield Finding(
                kind, name, check, False, what, place(error), "docs/extending.md tells what it is called with"
            )
        if number == 0:
            return


@contextlib.contextmanager
def generators_at(seed: int) -> Iterator[None]:
    """Within, the global random generators of Python, numpy and torch stand at `seed`; then where they stood before.

    Whoever draws from them is found out by another seed.
    """
    python, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpys)  # noqa: NPY002
        torch.set_rng_state(torchs)


def place(error: BaseException) -> str:
    """File and line where an exception was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "no line is known"


def _one_line(text: str) -> str:
    return " ".join(text.split())

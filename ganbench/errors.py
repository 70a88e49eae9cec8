"""The one exception for mistakes in what was asked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what was asked, told in one sentence: what, where, and the remedy.

    The command line prints the message without a traceback and ends with exit code 2.
    """


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UserError:
    """The error for a name that is not in `known`, with the nearest known one when there is one.

    >>> str(unknown_name("variant", "wgna", ["wgan", "lsgan"]))
    "unknown variant 'wgna': did you mean 'wgan'? Known: lsgan, wgan"
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names)}")

"""The two newest checkpoints of a trial, so that one damaged file loses minutes and not the trial."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganbench.errors import UserError
from harness.store import TrialFolder, load_checkpoint, write_checkpoint

NEEDED = frozenset({"optimizers", "best", "best_model", "history", "looked", "flushed", "pending"})
"""What a resume takes from a checkpoint, besides the weights."""


def save(folder: TrialFolder, state: Mapping[str, Any]) -> None:
    """Make `state` the newest checkpoint, `last.pt`, and the one that was, `previous.pt`.

    A kill at any moment leaves `last.pt` whole: the new file is complete before either name changes, and the old one
    has both names before the new one takes the first. Raises `OSError` as the disk gives it; nothing is then lost.
    """
    last, previous = folder.checkpoint_file("last"), folder.checkpoint_file("previous")
    write_checkpoint(last, state, before_rename=lambda: _also_call(last, previous))


def _also_call(path: Path, name: Path) -> None:
    """Give the file at `path` the name `name` too, atomically."""
    if not path.exists():
        return
    link = name.with_name(f".{name.name}.link")
    link.unlink(missing_ok=True)
    try:
        link.hardlink_to(path)
    except OSError:  # a file system without hard links: for a moment, `previous.pt` is the only whole one
        path.replace(name)
        return
    link.replace(name)
    link.unlink(missing_ok=True)  # renaming does nothing where both names are one file already


def newest(folder: TrialFolder) -> dict[str, Any] | None:
    """The newest checkpoint that can be continued, or None where there is none.

    A damaged one, one of another version, and one whose history is lost are passed over, with a line on stderr.
    What is returned is called `last.pt` from then on, so that the next `save` does not keep the damaged one.
    """
    last, previous = folder.checkpoint_file("last"), folder.checkpoint_file("previous")
    for path in (last, previous):
        if not path.exists():
            continue
        try:
            state = load_checkpoint(path)
            if missing := sorted(NEEDED - state.keys()):
                raise UserError(f"{path} cannot be continued: it has no {', '.join(missing)}")
            if not folder.holds_history(state["history"]):
                raise UserError(f"{path} cannot be continued: {folder.history_file} has lost rows since it was saved")
        except UserError as error:
            before = "the one before it" if path == last and previous.exists() else "the start"
            print(f"ganbench: {error}; the trial goes on from {before}", file=sys.stderr, flush=True)
            continue
        if path == previous:
            previous.replace(last)
        return state
    return None

"""The two newest checkpoints of a trial, so that one damaged file loses minutes and not the trial."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganbench.errors import UserError
from harness.store import TrialFolder, load_checkpoint, write_checkpoint

NEEDED = frozenset({"optimizers", "best", "best_model", "history", "looked", "flushed", "pending"})
"""What a resume takes from a checkpoint, besides the weights."""


def save(folder: TrialFolder, state: Mapping[str, Any], *, again: bool = False) -> None:
    """Make `state` the newest checkpoint, `last.pt`, and the one that was, `previous.pt`.

    `again`: the one that was stands at the same place of the game, and the one before it stays `previous.pt`.
    A kill at any moment leaves `last.pt` whole: the new file is complete before either name changes, and the old one
    has both names before the new one takes the first. Raises `OSError` as the disk gives it; nothing is then lost.
    """
    last, previous = folder.checkpoint_file("last"), folder.checkpoint_file("previous")
    write_checkpoint(last, state, before_rename=lambda: None if again else _also_call(last, previous))


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

    What is returned is called `last.pt` from then on, so that the next `save` does not keep a damaged one.
    """
    for path, state in whole(folder):
        choose(folder, path)
        return state
    return None


def newest_common(folders: Sequence[TrialFolder]) -> list[dict[str, Any] | None] | None:
    """For each trial, its checkpoint at the place that all have reached; None where they have no place in common.

    Trials that are trained together save one after another, so that a kill in between leaves some a checkpoint ahead.
    A trial without any stands at the start.
    """
    found = [{rounds_played(state): (path, state) for path, state in whole(folder)} for folder in folders]
    reached = [set(places) or {0} for places in found]
    common = set.intersection(*reached)
    if not common:
        return None
    states = []
    for folder, places in zip(folders, found, strict=True):
        path, state = places.get(max(common), (None, None))
        if path is not None:
            choose(folder, path)
        states.append(state)
    return states


def rounds_played(state: Mapping[str, Any] | None) -> int:
    """Where in the game a checkpoint stands: the rounds before it."""
    return state["model"]["_extra_state"]["g_steps"] if state else 0


def whole(folder: TrialFolder) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The checkpoints that can be continued, the newest first, with their files.

    A damaged one, one of another version, and one whose history is lost are passed over, with a line on stderr.
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
        yield path, state


def choose(folder: TrialFolder, path: Path) -> None:
    """Call a checkpoint `last.pt` from now on, whichever of the two it was."""
    last = folder.checkpoint_file("last")
    if path != last:
        path.replace(last)

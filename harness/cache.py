"""What the cache folder holds, whoever keeps it there: features, decoded images, and what files are known to hold."""

from __future__ import annotations

from pathlib import Path

from ganbench.errors import UserError
from harness.places import Entry


def entries(folder: Path) -> list[Entry]:
    """Everything that can be removed, last used first; what killed processes left half-written too."""
    from harness.data import content, pixel_store
    from harness.scoring import feature_store

    found = [*feature_store.entries(folder), *pixel_store.entries(folder), *content.entries(folder)]
    return sorted(found, key=lambda entry: (entry.seconds_unused, entry.path))


def prune(folder: Path, *, unused_days: float | None = None, everything: bool = False) -> list[Entry]:
    """Remove what this version can no longer use, what was not used for `unused_days`, or everything; returns it."""
    if unused_days is not None and unused_days < 0:
        raise UserError(f"--older-than {unused_days:g}: give a number of days, 0 or more")
    limit = float("inf") if unused_days is None else unused_days * 86_400
    removed = [entry for entry in entries(folder) if everything or not entry.usable or entry.seconds_unused > limit]
    for entry in removed:
        entry.remove()
    return removed

"""`ganbench compare`: what its two arguments name, read from files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ganbench.errors import UserError
from harness.results import collect

if TYPE_CHECKING:
    from reports import Results
    from reports.versus import Side


def find_side(text: str) -> Side:
    """What FOLDER or FOLDER:RECIPE names: a sweep, a trial, or a report with the data beside it.

    A recipe's name may hold colons: the longest folder that exists is taken. Raises `UserError` where there is none.
    """
    from reports.versus import Side

    for path, recipe in _readings(text):
        if path.is_dir():
            return Side(_results(path), str(path), recipe)
    raise UserError(
        f"no folder at {text.partition(':')[0]}: name a sweep, a trial or a report, as FOLDER or FOLDER:RECIPE"
    )


def _readings(text: str) -> Iterator[tuple[Path, str | None]]:
    yield Path(text), None
    for place in reversed([i for i, character in enumerate(text) if character == ":"]):
        if text[:place] and text[place + 1 :]:
            yield Path(text[:place]), text[place + 1 :]


def _results(path: Path) -> Results:
    from reports.frames import FOLDER, load

    kept = (path / FOLDER / "scores.csv").is_file()
    run = any((path / name).is_file() for name in ("manifest.json", "config.yaml"))
    return load(path) if kept and not run else collect([path])

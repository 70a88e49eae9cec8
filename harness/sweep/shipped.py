"""The sweeps that come with ganbench: YAML files beside the rooms, or in the environment's share folder."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from ganbench.errors import UserError, unknown_name


def folder() -> Path:
    """`sweeps/` of the checkout that this runs from, else where the installed package put its copy."""
    checkout = Path(__file__).resolve().parents[2] / "sweeps"
    return checkout if checkout.is_dir() else Path(sysconfig.get_path("data")) / "share" / "ganbench" / "sweeps"


def specs() -> list[Path]:
    """The shipped files, by name; those in folders come after the others."""
    return sorted(folder().rglob("*.yaml"), key=lambda path: (len(path.parts), path))


def name_of(path: Path) -> str:
    """What a shipped file is called: its place without its ending, such as quickstart or theory/bilinear."""
    return path.relative_to(folder()).with_suffix("").as_posix()


def find(name_or_path: Path) -> Path:
    """The file at that path, or the shipped one of that name; raises `UserError` naming the nearest."""
    if name_or_path.is_file():
        return name_or_path
    named = {name_of(path): path for path in specs()}
    if name_or_path.as_posix() in named:
        return named[name_or_path.as_posix()]
    if name_or_path.is_dir():
        raise UserError(f"{name_or_path} is a folder: name a sweep's YAML file")
    if name_or_path.suffix or len(name_or_path.parts) > 1:
        raise UserError(f"there is no file {name_or_path}: name a sweep's YAML, or one of {', '.join(named)}")
    raise unknown_name("sweep", name_or_path.name, named)

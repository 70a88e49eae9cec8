"""Where things are kept that belong to no run: what can be made again, and the published datasets; a cache's entry."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

LEFTOVER_SECONDS = 3600
"""Age from which what is half-written is that of a process which was killed."""


@dataclass(frozen=True)
class Entry:
    """One file or folder of the cache. `content` tells people what it is; `usable` whether this version reads it."""

    path: Path
    content: str
    bytes: int
    seconds_unused: float
    usable: bool

    def remove(self) -> None:
        """From the disk; who has it mapped keeps it until they end."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """`$GANBENCH_CACHE`, else `ganbench` in the user's cache folder."""
    given = os.environ.get("GANBENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "ganbench"


def data_folder() -> Path:
    """What torchvision calls a dataset's root: `$GANBENCH_DATA` (`--data-dir`), else `data` in the cache folder."""
    given = given_data_folder()
    return Path(given) if given else cache_folder() / "data"


def given_data_folder() -> str | None:
    """The absolute `$GANBENCH_DATA`, if it is set."""
    given = os.environ.get("GANBENCH_DATA")
    return _absolute(given) if given else None


def use_data_folder(folder: str | Path | None) -> None:
    """Make `folder`, where one is given, the data folder of this process and of those that it starts."""
    if folder is not None:
        os.environ["GANBENCH_DATA"] = _absolute(folder)


def _absolute(folder: str | Path) -> str:
    return str(Path(os.path.expanduser(folder)).absolute())  # noqa: PTH111 (Path.expanduser raises for an unknown ~user)

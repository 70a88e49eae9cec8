"""A trial's files on their way between machines that share no folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ganbench.files import write_atomic
from harness.sweep.folder import log_file, trial_folder


@dataclass(frozen=True)
class Parcel:
    """What has changed among a trial's files, by path below the sweep's folder."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    """Paths of files that were removed."""

    def __bool__(self) -> bool:
        return bool(self.files or self.gone)


class Packer:
    """Packs a trial's files again and again, each time what is new."""

    def __init__(self, sweep: Path, key: str) -> None:
        self.sweep = sweep
        self.key = key
        self._packed: dict[str, tuple[int, int]] = {}

    def pack(self) -> Parcel:
        """What has changed since the last call; at the first, every file there is.

        The trial may be at work: files are read so that none can tell of another which is older than it says (a status
        is never newer than the scores, nor a checkpoint than the history that it continues).
        """
        files: dict[str, bytes] = {}
        found: set[str] = set()
        for path in self._paths():
            name = path.relative_to(self.sweep).as_posix()
            try:
                facts = path.stat()
                version = facts.st_mtime_ns, facts.st_size
                if self._packed.get(name) != version:
                    files[name] = path.read_bytes()
            except FileNotFoundError:  # replaced or removed in between
                continue
            found.add(name)
            self._packed[name] = version
        gone = frozenset(self._packed.keys() - found)
        for name in gone:
            del self._packed[name]
        return Parcel(files, gone)

    def _paths(self) -> Iterator[Path]:
        folder = trial_folder(self.sweep, self.key)
        paths = [
            path
            for path in folder.path.rglob("*")
            if not path.name.startswith(".") and not path.is_symlink() and path.is_file()
        ]
        yield from sorted(paths, key=lambda path: _rank(path.relative_to(folder.path).as_posix()))
        if (log := log_file(self.sweep, self.key)).is_file():
            yield log


def _rank(name: str) -> int:
    """The order in which a trial's files are read; they are written in the reverse one."""
    if name in ("status.json", "scores.json"):
        return ("status.json", "scores.json").index(name)
    return 2 if name.startswith("checkpoints/") else 3


def unpack(parcel: Parcel, sweep: Path, key: str) -> None:
    """Bring a sweep's folder up to date with a trial's files, each atomically.

    Raises:
        ValueError: a path in the parcel is none of the trial's; nothing has been written then.
        OSError: the folder cannot be written to.
    """
    targets = {name: _confined(name, sweep, key) for name in [*parcel.files, *parcel.gone]}
    for name in reversed(list(parcel.files)):
        content = parcel.files[name]
        write_atomic(targets[name], lambda file, content=content: file.write(content))  # type: ignore[misc]
    for name in parcel.gone:
        targets[name].unlink(missing_ok=True)


def _confined(name: str, sweep: Path, key: str) -> Path:
    """Where a file of the parcel goes; nothing that another machine says may lead out of the trial's own places."""
    path = PurePosixPath(name)
    target = sweep / path
    folder = trial_folder(sweep, key).path
    ours = target == log_file(sweep, key) or (folder in target.parents and ".." not in path.parts)
    if not ours or not target.parent.resolve().is_relative_to(sweep.resolve()):
        raise ValueError(f"{name!r} is no file of trial {key}")
    return target


def remove(sweep: Path, key: str) -> None:
    """Remove a trial's files from a scratch folder."""
    shutil.rmtree(trial_folder(sweep, key).path, ignore_errors=True)
    log_file(sweep, key).unlink(missing_ok=True)

"""Named things that can be built: our own table plus what other packages add through entry points."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from ganbench.errors import UserError, unknown_name


@dataclass(frozen=True)
class Entry:
    """One registered name. `target` is `module:object`, imported only when it is asked for."""

    name: str
    target: str
    summary: str
    paper: str = ""


class Registry:
    """Entries by name; an installed package adds its own under the entry-point group `group`.

    Our own names win over an entry point of the same name, so that a result's name keeps its meaning.
    """

    def __init__(self, group: str, kind: str, entries: Sequence[Entry]) -> None:
        self.group = group
        self.kind = kind
        self._own = {entry.name: entry for entry in entries}

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        installed = {
            point.name: Entry(point.name, point.value, f"from {point.dist.name if point.dist else 'a plug-in'}")
            for point in entry_points(group=self.group)
        }
        return {**installed, **self._own}

    def names(self) -> list[str]:
        """Every known name, ours first and in the table's order."""
        return [*self._own, *(name for name in self._entries if name not in self._own)]

    def entries(self) -> list[Entry]:
        """Every entry, in the order of `names`."""
        return [self._entries[name] for name in self.names()]

    def entry(self, name: str) -> Entry:
        """The entry called `name`; raises `UserError` naming the nearest known one."""
        if name in self._own:  # spares the scan of installed packages
            return self._own[name]
        try:
            return self._entries[name]
        except KeyError:
            raise unknown_name(self.kind, name, self.names()) from None

    def load(self, name: str) -> Any:
        """The object behind `name`, imported now; raises `UserError` where another package's cannot be."""
        entry = self.entry(name)
        try:
            return resolve(entry.target)
        except Exception as error:  # whatever another package's code raises
            if name in self._own:
                raise
            raise UserError(
                f"{self.kind} {name!r} ({entry.summary}) cannot be loaded from {entry.target} "
                f"({type(error).__name__}: {error}): mend that package or uninstall it"
            ) from error

    @contextmanager
    def including(self, entry: Entry) -> Iterator[None]:
        """Within, this process knows `entry` as well: what is not installed, tried in a notebook or a check.

        Raises `UserError` where its name is taken.
        """
        if entry.name in self._entries:
            raise UserError(f"there is a {self.kind} called {entry.name!r} already: choose another name")
        self._entries[entry.name] = entry
        try:
            yield
        finally:
            del self._entries[entry.name]


def resolve(target: str) -> Any:
    """The object that `module:object` names, imported now; the object may be an attribute of another (`a.b`).

    >>> resolve("ganbench.registry:Registry.load").__name__
    'load'
    """
    module, _, attributes = target.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found

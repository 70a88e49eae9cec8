"""Ctrl-C and SIGTERM, answered at a place of the trial's choosing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self


class Interruption:
    """While it is entered, the first SIGINT or SIGTERM raises at once, or inside `deferred` is noted until `leave`.

    What is raised is `KeyboardInterrupt` or `SystemExit(143)`. A second signal raises at once, wherever it comes.
    A signal that this process ignores stays ignored, and outside the main thread, where Python delivers none, nothing
    is done.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first signal, once it has come."""
        self._patient = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.getsignal(number)
            self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def listen(self) -> None:
        """Take the signals (again: Lightning puts its own handler before ours)."""
        for number in self._before:
            signal.signal(number, self._hear)

    def _hear(self, number: int, _: FrameType | None) -> None:
        first = self.signal is None
        self.signal = self.signal or number
        if not (first and self._patient):
            _leave(number)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within, the first signal is only noted."""
        before, self._patient = self._patient, True
        try:
            yield
        finally:
            self._patient = before

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Within, a signal raises at once, as does one that has been noted."""
        before, self._patient = self._patient, False
        try:
            self.leave()
            yield
        finally:
            self._patient = before

    def leave(self) -> None:
        """Raise for the signal that has come, if one has."""
        if self.signal is not None:
            _leave(self.signal)


def _leave(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)

"""Who is at which trial: a claim that its holder cannot leave behind, on one machine or on several.

<sweep>/claims/<id>   "host pid" of the holder, who keeps an flock on the file; its time of change is the heartbeat

The kernel frees an flock when its holder ends, however it ends. Where a file system does not pass the lock on to other
machines, a heartbeat younger than `LAPSE` counts as a claim too, by clocks that agree to some seconds.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.context import assert_spawning
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BEAT = 5.0
"""Seconds between two heartbeats."""

LAPSE = 60.0
"""Seconds after which a holder on another machine that has given no sign of life is taken for dead."""


def claim_file(sweep: Path, key: str) -> Path:
    """Where the claim on the trial with the id `key` is held."""
    return sweep / "claims" / key


class Claim:
    """The right to work on one trial, held by whoever has its descriptor: this process, or one that was handed it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        self._ended = threading.Event()

    def __reduce__(self) -> tuple[object, ...]:
        """As an argument of a `multiprocessing` process that is being started, the claim is handed to it."""
        assert_spawning(self)
        return _adopt, (self.path, DupFd(self.fileno()))

    def fileno(self) -> int:
        """The locked file's descriptor."""
        if self._descriptor is None:
            raise ValueError("this claim has been given up")
        return self._descriptor

    def keep_alive(self) -> None:
        """Give a sign of life every `BEAT` seconds, from a thread, until the claim is given up or the process ends."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):  # the folder is gone, or its disk: the training finds out by itself
                os.utime(self.path)

    def _sign(self) -> None:
        os.ftruncate(self.fileno(), 0)
        os.pwrite(self.fileno(), f"{socket.gethostname()} {os.getpid()}\n".encode(), 0)

    def hand_over(self) -> None:
        """Close this process's descriptor: the claim is that of the process which was handed it, if there is one."""
        self._ended.set()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def release(self) -> None:
        """Give the claim up; the file goes with it. A second call does nothing."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)  # while it is locked: whoever waits for it sees that it is another file
            self.hand_over()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Claims:
    """The claims on trials that one process works on together; used as one `Claim` is."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self.claims = list(claims)

    def keep_alive(self) -> None:
        """As `Claim.keep_alive`, of each."""
        for claim in self.claims:
            claim.keep_alive()

    def hand_over(self) -> None:
        """As `Claim.hand_over`, of each."""
        for claim in self.claims:
            claim.hand_over()

    def release(self) -> None:
        """As `Claim.release`, of each."""
        for claim in self.claims:
            claim.release()


def _adopt(path: Path, handle: Any) -> Claim:
    descriptor: int = handle.detach()
    os.set_inheritable(descriptor, False)  # a process that this one starts must not hold it longer than we do
    claim = Claim(path, descriptor)
    claim._sign()
    return claim


def take(sweep: Path, key: str) -> Claim | None:
    """The claim on a trial for this process, or None while another holds it.

    What the trial's files say is to be read again once it is held: its last holder may have finished the trial.
    """
    path = claim_file(sweep, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _same_file(descriptor, path):  # its last holder removed it in between
                os.close(descriptor)
                continue
            if _beats_elsewhere(descriptor):
                os.close(descriptor)
                return None
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        claim = Claim(path, descriptor)
        claim._sign()
        return claim


def take_all(sweep: Path, keys: Iterable[str]) -> dict[str, Claim]:
    """The claims on all of these trials by id, or none while another holds one of them."""
    claims: dict[str, Claim] = {}
    try:
        for key in keys:
            claim = take(sweep, key)
            if claim is None:
                Claims(claims.values()).release()
                return {}
            claims[key] = claim
    except BaseException:
        Claims(claims.values()).release()
        raise
    return claims


def held(sweep: Path, key: str) -> bool:
    """Whether a process is at the trial; asking disturbs nobody who asks too."""
    try:
        descriptor = os.open(claim_file(sweep, key), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return _beats_elsewhere(descriptor)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _beats_elsewhere(descriptor: int) -> bool:
    """Whether a holder on another machine, whose lock is not seen from here, has given a recent sign of life."""
    host = os.pread(descriptor, 512, 0).decode(errors="replace").partition(" ")[0]
    return host not in ("", socket.gethostname()) and time.time() - os.fstat(descriptor).st_mtime < LAPSE

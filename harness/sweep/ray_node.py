"""What runs on the nodes of a Ray cluster: a task that watches over one trial, and the bell that ends it.

The trial itself has a process of its own, started as on the scheduler's machine (`harness.sweep.local`): same
isolation, same fork server, same threads, so the same bits. Ray keeps a task's process for the next one: imports are
paid once per core. The task streams what happens to the executor (`harness.sweep.on_ray`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganbench import __version__
from ganbench.errors import UserError
from harness.sweep.executor import Ended, Report
from harness.sweep.folder import log_file, trial_folder
from harness.sweep.local import LocalExecutor
from harness.sweep.parcel import Packer, Parcel, remove, unpack
from harness.sweep.worker import Job

REPORT_EVERY = 1.0
"""Seconds between two reports of a trial's progress, scores apart: thousands of trials report to one process."""

SHIP_EVERY = 10.0
"""Seconds after which changed files are sent, where no score was the occasion before."""


@dataclass(frozen=True)
class Begun:
    """The trial's process has been started."""


@dataclass(frozen=True)
class Task:
    """One trial for one node."""

    job: Job
    preload: Sequence[str]
    mark: Path
    """A file in the sweep's folder: a node that sees it, and `token` in it, shares the folder."""
    token: str
    host: str
    """The executor's machine."""
    version: str
    """Of ganbench, there."""
    directory: Path
    """Working directory, there: data may be named by a relative path."""
    environment: Mapping[str, str]
    """W&B's variables, there."""
    ticket: str
    """What the bell rings for."""


class Bell:
    """A Ray actor. Tasks wait for their ticket to be rung: it ends the trial, and the waiting when that has ended."""

    def __init__(self) -> None:
        self._rung: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def heard(self, ticket: str) -> None:
        """Returns when the ticket is rung."""
        await self._rung[ticket].wait()
        self._rung.pop(ticket, None)

    async def ring(self, tickets: Sequence[str]) -> None:
        """End the trials with these tickets."""
        for ticket in tickets:
            self._rung[ticket].set()


def watch_over(task: Task, bell: Any, held: Sequence[Any]) -> Iterator[Begun | Report | Parcel | Ended]:
    """Run one trial to its end; a Ray task, streaming what happens, with `Ended` as the last.

    Args:
        task: the trial.
        bell: handle of a `Bell`.
        held: a reference to a `Parcel` of the files that the trial has already, or nothing if there are none.

    Raises:
        UserError: another version of ganbench on this node, or a sweep with pruning without a shared folder.
    """
    import ray

    if task.version != __version__:
        raise UserError(
            f"node {socket.gethostname()} has ganbench {__version__} and the sweep's machine {task.version}: "
            "install the same on every node"
        )
    os.environ.update(task.environment)
    if task.directory.is_dir():
        os.chdir(task.directory)
    job, packer = task.job, None
    if not _shared(task):
        if job.pruning is not None:
            raise UserError(
                "early_terminate compares each trial with the others' histories, so all nodes must share the sweep's "
                "folder: put it on a common file system with --out, or leave early_terminate out"
            )
        scratch = _scratch(task)
        remove(scratch, job.key)
        unpack(ray.get(held[0]) if held else Parcel(), scratch, job.key)
        packer = Packer(scratch, job.key)
        packer.pack()  # what came from there is there
        job = replace(job, sweep=scratch, folder=trial_folder(scratch, job.key).path, log=log_file(scratch, job.key))
    # multiprocessing would run Ray's main module again in each trial's process
    vars(sys.modules["__main__"]).pop("__file__", None)
    visible = os.environ.get(
        "CUDA_VISIBLE_DEVICES"
    )  # Ray's choice; the fork server may have been started under another
    with LocalExecutor(
        slots=1, threads=job.threads, preload=task.preload, gpus=() if visible is None else (visible,)
    ) as here:
        here.start(job.key, job, None)
        yield Begun()
        for message in _attend(here, bell.heard.remote(task.ticket), job.key):
            if packer and (isinstance(message, Ended) or message is None or "scores" in message.facts):
                parcel = packer.pack()
                if parcel:
                    yield parcel
                if isinstance(message, Ended):
                    remove(packer.sweep, job.key)
            if message is not None:
                yield message


def _attend(here: LocalExecutor, rung: Any, key: str) -> Iterator[Report | Ended | None]:
    """What the trial reports, thinned out; None when it is time to send files again."""
    import ray

    reported = shipped = time.monotonic()
    waiting = [rung]
    while True:
        if waiting and ray.wait(waiting, timeout=0)[0]:
            waiting = []
            try:
                ray.get(rung)
            except ray.exceptions.RayActorError:
                pass  # the bell's node is lost: the trial goes on, and can only be ended the hard way
            else:
                here.end(key)
        for news in here.attend(0.2):
            now = time.monotonic()
            if isinstance(news, Report) and "scores" not in news.facts and now < reported + REPORT_EVERY:
                continue
            reported = now
            yield news
            if isinstance(news, Ended):
                return
        if time.monotonic() > shipped + SHIP_EVERY:
            shipped = time.monotonic()
            yield None


def _shared(task: Task) -> bool:
    try:
        return task.mark.read_text() == task.token
    except OSError:
        return False


def _scratch(task: Task) -> Path:
    """A folder of this user's on this node, the same each time, since W&B knows a run by its trial's folder."""
    name = hashlib.sha256(f"{task.host} {task.job.sweep}".encode()).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"ganbench-{os.getuid()}-{name}"
    path.mkdir(mode=0o700, exist_ok=True)
    facts = path.lstat()
    if path.is_symlink() or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise UserError(f"{path} on {socket.gethostname()} belongs to somebody else: remove it, or set TMPDIR")
    return path

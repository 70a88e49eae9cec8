"""W&B's client, held to limits of ours: its settings, and an end to everything that it waits for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

    import wandb

TEARDOWN_SECONDS = 2.0
"""How long W&B's service has to end when it is asked to; it takes a hundredth of a second when it is well."""

PRIVATE: dict[str, Any] = {
    "host": "anon",
    "disable_code": True,
    "disable_git": True,
    "save_code": False,
    "x_disable_machine_info": True,  # host, arguments, paths, processor, memory
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""W&B settings that together keep the machine, the command line, git and the installed packages to ourselves."""


def settings(*, private: bool, init_seconds: float, finish_seconds: float) -> wandb.Settings:
    """Fresh settings: `wandb.init` writes the run's id and name into those it is given."""
    import wandb

    known = wandb.Settings.model_fields
    if private and (missing := sorted(PRIVATE.keys() - known.keys())):
        raise RuntimeError(f"this version of wandb cannot be private, it lacks {', '.join(missing)}")
    wanted: dict[str, Any] = {
        "silent": True,
        "console": "off",  # progress bars are no result, and stdout is for results
        "symlink": False,  # trials that run at the same time would race for `latest-run`
        "reinit": "create_new",  # the default hands back the previous run
        "init_timeout": init_seconds,
        "finish_timeout": finish_seconds,
        "finish_timeout_raises": True,
        "x_transaction_log_flush_interval": 1.0,  # seconds of history that a killed trial loses
        **(PRIVATE if private else {}),
    }
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})


def within(deadline: float, action: Callable[[], object]) -> None:
    """Do it, and raise what it raises, but wait no longer than until `deadline` (of `time.monotonic`).

    W&B's own limits do not hold: a finish waits for ever, whatever its timeout, behind an alert that the server does
    not take (seen in 0.31).

    Raises:
        TimeoutError: it is not done; it goes on in a thread that does not keep the process alive.
    """
    raised: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if thread.is_alive():
        raise TimeoutError("W&B did not answer in time")
    if raised:
        raise raised[0]


WANDB_THREADS = ("NetStatThr", "ChkStopThr", "IntMsgThr", "wandb-ServiceFinalizer", "wandb-AsyncioManager-main")
"""W&B's own threads, which raise what they cannot ask of a service that has ended under them (seen in 0.31)."""


class _Hushed:
    """A `threading.excepthook` that tells all but what W&B's own threads raise."""

    def __init__(self, tell: Callable[[threading.ExceptHookArgs], object]) -> None:
        self.tell = tell

    def __call__(self, raised: threading.ExceptHookArgs) -> None:
        if raised.thread is None or raised.thread.name not in WANDB_THREADS:
            self.tell(raised)


def hush_threads() -> None:
    """From here on, what W&B's own threads raise is no traceback on the user's screen: their service is gone.

    It may be ended by us, by the kernel for want of memory, or by whoever tears W&B down while a run is open.
    """
    if not isinstance(threading.excepthook, _Hushed):  # again where somebody has put another in its place
        threading.excepthook = _Hushed(threading.excepthook)


@dataclass
class _Holders:
    """This process's open runs, which share one service, and whether one of them ended badly."""

    runs: int = 0
    by_force: bool = False


_HOLDERS = _Holders()


def join_service() -> bool:
    """Before a run is opened: whether the service will be this process's own, to be left with `leave_service`."""
    ours = _HOLDERS.runs > 0 or "WANDB_SERVICE" not in os.environ
    _HOLDERS.runs += ours
    return ours


def leave_service(*, by_force: bool = False) -> None:
    """After a run has ended; with the last one of this process, the service is ended as `end_service` says."""
    _HOLDERS.runs -= 1
    _HOLDERS.by_force |= by_force
    if _HOLDERS.runs <= 0:
        end_service(by_force=_HOLDERS.by_force)


def end_service(*, by_force: bool = False) -> None:
    """End the service process that this process's runs share: asked to, or at once.

    Not left to the end of the process: W&B then waits for its service without limit, or, in a process of
    `multiprocessing`, not at all, so that the last rows may miss the disk.
    """
    import wandb

    hush_threads()
    _HOLDERS.runs, _HOLDERS.by_force = 0, False  # whoever held it holds nothing any more
    service = _service()
    if service and by_force:
        service.kill()
    with suppress(Exception, SystemExit):  # how it leaves is of no consequence
        within(time.monotonic() + TEARDOWN_SECONDS, wandb.teardown)
    if service and service.poll() is None:
        service.kill()
        service.wait()


def _service() -> subprocess.Popen[bytes] | None:
    """W&B's service process. Not public; where a version hides it elsewhere, it ends with this process."""
    from wandb.sdk import wandb_setup

    connection = getattr(wandb_setup.singleton(), "_connection", None)
    process: subprocess.Popen[bytes] | None = getattr(getattr(connection, "_proc", None), "_process", None)
    return process

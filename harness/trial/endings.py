"""How a trial ends that is not done, and what is said of it."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import ClassVar

from ganbench.errors import UserError
from ganbench.files import write_text
from harness.config import TrialConfig
from harness.store import State, TrialFolder
from harness.tracking.tracker import Tracker


class StoppedError(RuntimeError):
    """The trial ended before its budget: a result, and no fault of the program."""

    state: ClassVar[State]


class DivergedError(StoppedError):
    """A value became NaN or infinite, or another problem was found and `health.stop` is set."""

    state = "diverged"


class PrunedError(StoppedError):
    """The sweep gave up on the trial."""

    state = "pruned"


def record_end(error: BaseException, config: TrialConfig, folder: TrialFolder, tracker: Tracker) -> None:
    """Say in `status.json` and W&B how a trial ended that is not done."""
    state: State = "failed"
    if isinstance(error, StoppedError):
        state = error.state
    elif isinstance(error, KeyboardInterrupt | SystemExit):
        state = "interrupted"
    reason = reason_of(error)
    fault = state == "failed" and not isinstance(error, UserError)
    with suppress(OSError):  # a full disk may be what failed, and is what the caller is to hear of
        folder.write_status(state, reason=reason)
        if fault:
            write_text(folder.error_file, "".join(traceback.format_exception(error)))
    if fault:
        tracker.alert(f"{config.gan.name} seed {config.seed} failed", reason)
    tracker.finish(state, reason)


def reason_of(error: BaseException) -> str:
    """One line: what a person reads in the failures' list."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError | StoppedError) else f"{type(error).__name__}: {text}"[:500]

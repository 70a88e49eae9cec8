"""`python impatient.py ARGUMENTS`: the command `ganbench`, whose trials wait seconds for W&B instead of a minute."""

from __future__ import annotations

import functools
from typing import Any


def play(*arguments: Any, **options: Any) -> object:
    """A trial, in its own process."""
    from harness.tracking import tracker as tracking
    from harness.trial.experiment import run_trial

    tracking.INIT_SECONDS = 10.0
    tracking.FINISH_SECONDS = 10.0
    return run_trial(*arguments, **options)


if __name__ == "__main__":
    from harness import cli
    from harness.sweep import scheduler

    scheduler.run_sweep = functools.partial(scheduler.run_sweep, target="impatient:play")
    cli.main()

"""`python drive_ray.py FOLDER [apart]`: runs a prepared sweep on a Ray of its own.

apart: the nodes do not see the sweep's folder.
"""

import sys
from pathlib import Path

from harness.config import TrackingConfig
from harness.sweep.on_ray import RayExecutor
from harness.sweep.scheduler import run_sweep

if __name__ == "__main__":
    if "apart" in sys.argv:
        enter = RayExecutor.__enter__

        def enter_apart(self):
            enter(self)
            self._mark.unlink()
            return self

        RayExecutor.__enter__ = enter_apart
    print("ready for results")
    outcome = run_sweep(
        Path(sys.argv[1]),
        tracking=TrackingConfig(mode="disabled"),
        jobs=2,
        device="cpu",
        executor="ray",
        target="held_trials:train",
    )
    sys.exit(outcome.exit_code)

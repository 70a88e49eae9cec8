"""`python drive.py FOLDER [MODE]`: runs a prepared sweep as the command would; with a W&B mode, of real trials."""

import sys
from pathlib import Path

from harness.config import TrackingConfig
from harness.sweep.scheduler import run_sweep

FAKE = {"target": "fake_trials:play", "preload": ("harness.sweep.worker",)}

if __name__ == "__main__":
    options = {} if sys.argv[2:] else FAKE
    tracking = TrackingConfig(mode=(*sys.argv[2:], "disabled")[0])
    sys.exit(run_sweep(Path(sys.argv[1]), tracking=tracking, jobs=2, device="cpu", **options).exit_code)

"""`python drive.py FOLDER`: runs a prepared sweep of fake trials as the command line would."""

import sys
from pathlib import Path

from harness.config import TrackingConfig
from harness.sweep.scheduler import run_sweep

if __name__ == "__main__":
    tracking = TrackingConfig(mode="disabled")
    sys.exit(run_sweep(Path(sys.argv[1]), tracking=tracking, jobs=2, target="fake_trials:play", preload=()).exit_code)

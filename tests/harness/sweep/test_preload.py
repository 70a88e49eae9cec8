"""What the fork server imports for its trials."""

import os
import subprocess
import sys

import pytest

PRELOAD = """
import importlib, os, sys, threading
from harness.sweep.scheduler import PRELOAD, PRELOAD_TRACKED

for name in (*PRELOAD, *PRELOAD_TRACKED, "optuna"):
    importlib.import_module(name)
"""

HARMLESS = """
import torch

print(threading.active_count(), torch.cuda.is_initialized(), len(os.listdir("/proc/self/task")))
"""

TRIAL = """
from pathlib import Path
from harness.config import TrackingConfig, resolve
from harness.trial.experiment import run_trial

before = {name.partition(".")[0] for name in sys.modules}
config = resolve({"gan": "wgan", "dataset": "digits", "images": 640, "evaluation.n_fake": 100, "evaluation.k": 1})
run_trial(config, Path(sys.argv[1]), tracking=TrackingConfig(mode="offline", private=True), device="cpu")
print(*sorted({name.partition(".")[0] for name in sys.modules} - before))
"""


def run(script: str, *arguments: object) -> list[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # one of theirs is no thread more
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_preloading_starts_no_thread_and_touches_no_gpu():
    assert run(PRELOAD + HARMLESS) == ["1", "False", "1"]


@pytest.mark.slow
def test_a_tracked_trial_finds_what_is_slow_to_import(tmp_path):
    new = run(PRELOAD + TRIAL, tmp_path / "trial")
    slow = {"torch", "pytorch_lightning", "wandb", "pandas", "sklearn", "scipy", "matplotlib", "requests", "optuna"}
    assert not slow & set(new)

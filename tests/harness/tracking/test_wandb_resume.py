"""A trial that is killed again and again has, in the end, the W&B history of one that never was."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness.store import TrialFolder
from harness.tracking import tracker as tracking

DRIVER = """
import os, signal, sys, time
from pathlib import Path
import wandb  # else it is what most kills would meet, in a child that imports it
from harness.config import TrackingConfig, resolve
from harness.config_text import load_config_file
from harness.trial.experiment import run_trial

config = resolve(load_config_file(Path("config.yaml")))

def train(mode):
    run_trial(config, Path("trial"), tracking=TrackingConfig(mode=mode, project="p"), device="cpu")

for line in sys.stdin:
    mode, seconds = line.split()
    child = os.fork()
    if child == 0:
        try:
            train(mode)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if seconds != "-":
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Trains the trial of config.yaml in forks of itself, each killed after the seconds asked for, or not at all."""


@pytest.fixture
def train(tiny, tmp_path, monkeypatch, wandb_server):
    """Do attempts at one trial, each `(mode, seconds until it is killed, or "-")`; returns the exit codes."""
    (tmp_path / "config.yaml").write_text(
        json.dumps(
            tiny(
                images=16 * 640,
                **{"evaluation.every": 1024, "health.gradient_floor": 1e9, "health.window": 2},  # an alert for sure
            ).model_dump(mode="json")
        )
    )
    monkeypatch.setenv("WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL", "0.1")  # so that kills find rows on the server
    environment = {**os.environ, "PYTHONPATH": str(Path(tracking.__file__).parents[2])}

    def run(*attempts: tuple[str, float | str]) -> list[int]:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(DRIVER)],
            input="".join(f"{mode} {seconds}\n" for mode, seconds in attempts),
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            check=True,
            timeout=250,
        )
        return [int(code) for code in done.stdout.split()]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("modes", [["offline"], ["online"], ["offline", "online"]], ids=["offline", "online", "mixed"])
def test_a_trial_killed_at_random_moments_has_the_history_of_one_that_was_not(
    train, told, tmp_path, wandb_server, ganbench, modes
):
    trial = tmp_path / "trial"
    assert train(("offline", "-")) == [0]
    uninterrupted = told(trial)
    assert [row["_step"] for row in uninterrupted] == list(range(len(uninterrupted)))
    scores = (trial / "scores.json").read_bytes()
    shutil.rmtree(trial)

    dice = random.Random(f"{modes}")
    kills = [(dice.choice(modes), round(dice.uniform(0.2, 3.0), 2)) for _ in range(8)]
    last = (modes[-1], "-")
    codes = train(*kills, last)
    assert codes[-1] == 0
    assert -9 in codes  # those after the trial was done end by themselves
    assert (trial / "scores.json").read_bytes() == scores
    if modes == ["offline"]:
        (run_dir,) = trial.glob("wandb/offline-run-*")  # what plain `wandb sync` is given
        command = [sys.executable, "-m", "wandb", "sync", str(run_dir)]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert ganbench("sync", trial).code == 0

    (run,) = wandb_server.runs.values()
    assert run.values == uninterrupted
    pictures = [row for row in run.rows if "samples" in row]
    assert [row["images"] for row in pictures] == [row["images"] for row in uninterrupted if "scores/fid" in row]
    for row in pictures:
        uploaded = run.uploads[row["samples"]["path"]]
        assert uploaded == TrialFolder(trial).sample_file(row["images"]).read_bytes()
    assert run.summary["status"] == "done"
    assert run.summary["best/fid"] == min(row["scores/fid"] for row in uninterrupted if "scores/fid" in row)
    assert run.exit_code == 0
    assert {alert["title"] for alert in wandb_server.alerts} == {"vanilla seed 0: vanished-gradient"}
    if modes == ["offline"]:
        assert len(wandb_server.alerts) == 1

"""A real `wandb agent` runs what `ganbench sweep export` writes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.store import TrialFolder, trial_state
from harness.tracking import tracker as tracking

SPEC = """
name: tiny
method: grid
metric: {name: best/fid, goal: minimize}
parameters:
  gan: {values: [vanilla, lsgan, wgan]}
  dataset: {value: ring8}
  data.n: {value: null}
  gan.width: {value: 4}
  gan.batch_size: {value: 16}
  evaluation:
    parameters:
      every: {value: 160}
      n_fake: {value: 32}
      splits: {value: 2}
      metrics: {value: [fid, modes]}
benchmark: {seeds: [7], images: 320}
"""

BIN = Path(sys.executable).parent


@pytest.fixture
def agent(tmp_path: Path, wandb_server: Any, ganbench: Any) -> Any:
    """Export a spec, have the client register it, and start an agent for it; returns the agent and the sweep."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(tracking.__file__).parents[2]),
        "WANDB_DIR": str(tmp_path),
    }

    def client(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "wandb", *arguments]

    started: list[subprocess.Popen[bytes]] = []

    def start(text: str, *, count: int) -> tuple[subprocess.Popen[bytes], Any]:
        (tmp_path / "spec.yaml").write_text(text)
        exported = ganbench("sweep", "export", "spec.yaml")
        assert exported.code == 0, exported
        (tmp_path / "exported.yaml").write_text(exported.out)
        registered = subprocess.run(
            client("sweep", "--project", "benchmark", "exported.yaml"),
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        name = re.search(r"wandb agent (\S+)", registered.stderr + registered.stdout)
        assert name, registered
        with (tmp_path / "agent.log").open("w") as log:
            command = client("agent", "--count", str(count), name[1])
            started.append(
                subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )
        (sweep,) = wandb_server.sweeps.values()
        return started[-1], sweep

    yield start
    for process in started:
        process.kill()
        process.wait()


def printed(tmp_path: Path) -> str:
    return (tmp_path / "agent.log").read_text()


@pytest.mark.slow
def test_an_agent_trains_what_is_exported(tmp_path, wandb_server, agent, told):
    process, sweep = agent(SPEC, count=3)
    assert process.wait(240) == 0, printed(tmp_path)

    assert yaml.safe_load(sweep.config)["command"] == ["${env}", "ganbench", "train", "${args_no_hyphens}"]
    assert len(sweep.handed_out) == 3
    assert not sweep.points
    assert sorted(wandb_server.runs) == sorted(sweep.handed_out), printed(tmp_path)

    trials = {}
    for path in (tmp_path / "runs").iterdir():
        config = TrialFolder(path).config()
        trials[config.gan.name] = TrialFolder(path)
    assert sorted(trials) == ["lsgan", "vanilla", "wgan"]
    for run in wandb_server.runs.values():
        trial = trials.pop(run.config["gan"]["name"])
        assert run.config["seed"] == 7
        assert run.config["gan"]["width"] == 4  # nor has any other of the sweep's parameters taken a block's place
        assert run.config["gan.name"] == run.config["gan"]["name"]
        assert trial.status()["state"] == "done"
        assert trial.scores()["trial"]
        assert run.variables["sweep"] == next(iter(wandb_server.sweeps))
        assert run.variables["project"] == "benchmark"
        rows = told(trial.path)
        assert run.values == rows
        assert rows[-1]["images"] == 320
        assert run.summary["status"] == "done"
        assert run.summary["best/fid"] == min(row["scores/fid"] for row in rows if "scores/fid" in row)
        assert run.exit_code == 0
    assert trials == {}


@pytest.mark.slow
def test_a_run_that_its_sweep_stops_ends_in_good_order(tmp_path, wandb_server, agent):
    """As W&B does to those that hyperband gives up on, and as a person does on the sweep's page."""
    endless = SPEC.replace("images: 320", "images: 2000000")
    process, sweep = agent(endless.replace("every: {value: 160}", "every: {value: 1000000}"), count=1)
    (tmp_path / "runs").mkdir(exist_ok=True)
    deadline = time.monotonic() + 200
    while not any(TrialFolder(path).status().get("images") for path in (tmp_path / "runs").iterdir()):
        assert process.poll() is None, printed(tmp_path)
        assert time.monotonic() < deadline, printed(tmp_path)
        time.sleep(0.05)
    sweep.to_stop.update(sweep.handed_out)
    process.wait(90)
    (path,) = (tmp_path / "runs").iterdir()
    status = TrialFolder(path).status()
    assert trial_state(status) == "interrupted"
    assert TrialFolder(path).checkpoint_file("last").exists()
    (run,) = wandb_server.runs.values()
    assert run.summary["status"] == "interrupted"
    assert run.preempting

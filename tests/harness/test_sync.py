"""Offline runs on their way to a server that takes them, refuses them, or is not there."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from ganbench.errors import UserError
from harness import tracking
from harness.config import TrackingConfig
from harness.sync import sync
from harness.tracking import Tracker


@pytest.fixture
def record(read_offline_run):
    """Make a finished offline run of one row in the folder `trial`; returns the run's folder."""

    def make(trial: Path, *, images: int = 64) -> Path:
        tracker = start(trial, "offline")
        tracker.log({"loss/discriminator": 1.0}, images=images)
        tracker.finish(exit_code=0)
        return read_offline_run(trial).folder

    return make


def start(trial: Path, mode: str) -> Tracker:
    return Tracker.start(
        TrackingConfig(mode=mode, project="benchmark"),
        folder=trial,
        run_id=trial.name,
        name=trial.name,
        config={"seed": 0},
        tags=[],
    )


def images(server, run: str) -> list[int]:
    return [row["images"] for row in server.runs[run].rows]


def test_offline_runs_arrive_once(tmp_path, wandb_server, record):
    folders = [record(tmp_path / name) for name in ("trial-a", "trial-b")]
    results = sync(tmp_path, timeout=60)
    assert [(result.run_dir, result.arrived) for result in results] == [(folder, True) for folder in folders]
    assert results[0].message == f"{wandb_server.url}/tester/benchmark/runs/trial-a"
    assert images(wandb_server, "trial-a") == images(wandb_server, "trial-b") == [64]
    assert sync(tmp_path, timeout=60) == []


def test_a_refused_run_is_reported_and_sent_again(tmp_path, wandb_server, record):
    folder = record(tmp_path / "trial-a")
    wandb_server.behaviour = "refuses"
    (refused,) = sync(tmp_path, timeout=60)
    assert refused.run_dir == folder
    assert not refused.arrived
    assert "error while uploading" in refused.message

    wandb_server.behaviour = "works"
    (taken,) = sync(tmp_path, timeout=60)
    assert taken.arrived
    assert images(wandb_server, "trial-a") == [64]


def test_a_server_that_is_down_is_not_waited_for(tmp_path, wandb_server, record):
    record(tmp_path / "trial-a")
    wandb_server.behaviour = "dead"
    (result,) = sync(tmp_path, timeout=3)
    assert not result.arrived
    assert result.message == "the W&B server did not take it within 3 s"


def test_without_a_login_nothing_arrives(tmp_path, record):
    record(tmp_path / "trial-a")
    (result,) = sync(tmp_path, timeout=60)
    assert not result.arrived
    assert "wandb login" in result.message


def test_both_parts_of_an_interrupted_trial_become_one_run(tmp_path, wandb_server, record):
    for part, shown in (("a", 64), ("b", 128)):  # apart, because W&B names folders by the second
        record(tmp_path / part / "trial-a", images=shown)
    assert [result.arrived for result in sync(tmp_path, timeout=60)] == [True, True]
    rows = wandb_server.runs["trial-a"].rows
    assert [(row["_step"], row["images"]) for row in rows] == [(0, 64), (1, 128)]


def test_an_online_run_whose_server_died_arrives_later(tmp_path, wandb_server, monkeypatch):
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 1.0)
    tracker = start(tmp_path / "trial-a", "online")
    wandb_server.behaviour = "dead"
    tracker.log({"loss/discriminator": 1.0}, images=64)
    tracker.finish(exit_code=0)
    wandb_server.behaviour = "works"
    assert [result.arrived for result in sync(tmp_path, timeout=60)] == [True]
    assert images(wandb_server, "trial-a") == [64]
    assert sync(tmp_path, timeout=60) == []


def test_a_trial_that_is_still_training_is_left_alone(tmp_path, wandb_server, record):
    trial = tmp_path / "trial-a"
    record(trial)
    status = {"state": "running", "host": socket.gethostname(), "pid": os.getpid()}
    (trial / "status.json").write_text(json.dumps(status))
    (result,) = sync(tmp_path, timeout=60)
    assert not result.arrived
    assert "still training" in result.message
    assert wandb_server.runs == {}


def test_what_was_written_after_a_sync_is_not_held_to_have_arrived(tmp_path, wandb_server, record):
    folder = record(tmp_path / "trial-a")
    sync(tmp_path, timeout=60)
    (marker,) = folder.glob("*.synced")
    log = marker.with_suffix("")
    os.utime(log, ns=(0, marker.stat().st_mtime_ns + 1_000_000))
    assert [result.run_dir for result in sync(tmp_path, timeout=60)] == [folder]


def test_a_folder_that_is_not_there_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        sync(tmp_path / "nowhere")

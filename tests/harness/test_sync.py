"""Offline runs on their way to a server that takes them, refuses them, or is not there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganbench.errors import UserError
from harness.config import TrackingConfig
from harness.store import TrialFolder
from harness.sync import missing, sync
from harness.tracking import server as wandb_server_module
from harness.tracking import tracker as tracking
from harness.tracking.client import end_service
from harness.tracking.tracker import Tracker


@pytest.fixture
def record(read_offline_run):
    """Make a finished offline run of one row in the folder `trial`; returns the run's folder."""

    def make(trial: Path, *, images: int = 64) -> Path:
        tracker = start(trial, "offline")
        tracker.log(row(images))
        tracker.finish("done")
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


def row(images: int) -> dict[str, Any]:
    return {"kind": "train", "images": images, "loss/discriminator": images / 64}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def images(server, run: str) -> list[int]:
    return [row["images"] for row in server.runs[run].rows]


def test_offline_runs_arrive_once(tmp_path, wandb_server, record):
    folders = [record(tmp_path / name) for name in ("trial-a", "trial-b")]
    results = sync(tmp_path, timeout=240)
    assert [(result.run_dir, result.arrived) for result in results] == [(folder, True) for folder in folders]
    assert results[0].message == f"{wandb_server.url}/tester/benchmark/runs/trial-a"
    assert images(wandb_server, "trial-a") == images(wandb_server, "trial-b") == [64]
    assert sync(tmp_path, timeout=240) == []


def test_a_refused_run_is_reported_and_sent_again(tmp_path, wandb_server, record):
    folder = record(tmp_path / "trial-a")
    wandb_server.behaviour = "refuses"
    (refused,) = sync(tmp_path, timeout=240)
    assert refused.run_dir == folder
    assert not refused.arrived
    assert "error while uploading" in refused.message

    wandb_server.behaviour = "works"
    (taken,) = sync(tmp_path, timeout=240)
    assert taken.arrived
    assert images(wandb_server, "trial-a") == [64]


def test_a_server_that_is_down_is_not_waited_for(tmp_path, wandb_server, record, monkeypatch):
    record(tmp_path / "trial-a")
    record(tmp_path / "trial-b")
    wandb_server.behaviour = "dead"
    for result in sync(tmp_path, timeout=240):
        assert not result.arrived
        assert "cannot be reached" in result.message
    monkeypatch.setattr(wandb_server_module, "probe", lambda: None)  # it died just after that
    for result in sync(tmp_path, timeout=1):
        assert not result.arrived
        assert result.message == "the W&B server did not take it within 1 s"


def test_of_many_trials_none_waits_for_a_server_that_takes_nothing_any_more(tmp_path, wandb_server, monkeypatch):
    for name in ("trial-a", "trial-b", "trial-c"):
        tracker = start(tmp_path / name, "offline")
        keep(tmp_path / name, tracker, 64)
        end_service(by_force=True)  # as a kill ends it
    monkeypatch.setattr(tracking, "INIT_SECONDS", 2.0)
    monkeypatch.setattr(wandb_server_module, "probe", lambda: None)
    wandb_server.behaviour = "hangs"
    late = [result.message for result in sync(tmp_path, timeout=1.5)]
    assert late[1:] == ["the W&B server took too long for the others"] * 2


def test_without_a_login_nothing_arrives(tmp_path, record):
    record(tmp_path / "trial-a")
    (result,) = sync(tmp_path, timeout=240)
    assert not result.arrived
    assert "wandb login" in result.message


def keep(trial: Path, tracker: Tracker, *images: int) -> None:
    """Add rows to a trial's history, and tell its run of them."""
    for shown in images:
        TrialFolder(trial).append_history(row(shown))
        tracker.log(row(shown))


def whole(server, run: str) -> list[tuple[int, int]]:
    return [(row["_step"], row["images"]) for row in server.runs[run].rows]


@pytest.mark.slow
def test_an_online_run_whose_server_died_arrives_later_and_no_row_of_it_twice(tmp_path, wandb_server, monkeypatch):
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.5)
    monkeypatch.setenv("WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL", "0.05")
    trial = tmp_path / "trial-a"
    tracker = start(trial, "online")
    tracker.alert("arrived", "text")
    keep(trial, tracker, 64, 128)
    wait_until(lambda: len(images(wandb_server, "trial-a")) == 2)
    wandb_server.behaviour = "dead"
    keep(trial, tracker, 192)
    tracker.summarize({"best/fid": 12.5})
    TrialFolder(trial).write_status("diverged", reason="why")
    tracker.finish("diverged", "why")
    assert whole(wandb_server, "trial-a") == [(0, 64), (1, 128)]

    wandb_server.behaviour = "works"
    assert [result.arrived for result in sync(tmp_path, timeout=240)] == [True]
    assert whole(wandb_server, "trial-a") == [(0, 64), (1, 128), (2, 192)]
    run = wandb_server.runs["trial-a"]
    facts = {name: run.summary[name] for name in ("best/fid", "status", "reason")}
    assert facts == {"best/fid": 12.5, "status": "diverged", "reason": "why"}
    assert run.exit_code == 1
    assert run.config == {"seed": 0}
    assert sync(tmp_path, timeout=240) == []


def test_an_alert_that_the_server_may_not_have_is_sent_with_the_rest(tmp_path, wandb_server, monkeypatch):
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.5)
    trial = tmp_path / "trial-a"
    tracker = start(trial, "online")
    wandb_server.behaviour = "hangs"
    tracker.alert("title", "text")
    keep(trial, tracker, 64)
    tracker.finish("failed", "why")
    wandb_server.behaviour = "works"
    sync(tmp_path, timeout=240)
    assert [alert["title"] for alert in wandb_server.alerts] == ["title"]
    assert whole(wandb_server, "trial-a") == [(0, 64)]


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_trial_that_was_killed_is_sent_as_its_files_have_it(tmp_path, wandb_server, mode):
    trial = tmp_path / "trial-a"
    tracker = start(trial, mode)
    keep(trial, tracker, 64)
    TrialFolder(trial).append_history(row(128))  # W&B's service was killed before it wrote this down
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    status = {"state": "running", "host": socket.gethostname(), "pid": gone.pid}
    (trial / "status.json").write_text(json.dumps(status))
    end_service(by_force=True)

    (result,) = sync(tmp_path, timeout=240)
    assert result.arrived, result
    assert whole(wandb_server, "trial-a") == [(0, 64), (1, 128)]
    assert wandb_server.runs["trial-a"].summary["status"] == "interrupted"
    assert sync(tmp_path, timeout=240) == []


def test_attempts_of_which_none_is_whole_become_one_run(tmp_path, wandb_server):
    trial = tmp_path / "trial-a"
    for shown in (64, 128):  # no replay: the second was stopped before it knew of the first
        tracker = start(trial, "offline")
        keep(trial, tracker, shown)
        tracker.finish("interrupted")
    assert len(list(trial.glob("wandb/offline-run-*"))) == 2
    assert [result.arrived for result in sync(tmp_path, timeout=240)] == [True]
    assert whole(wandb_server, "trial-a") == [(0, 64), (1, 128)]


def test_what_was_synced_before_an_offline_trial_went_on_is_not_sent_twice(tmp_path, wandb_server):
    trial = tmp_path / "trial-a"
    for shown in (64, 128):
        tracker = start(trial, "offline")
        tracker.replay(TrialFolder(trial).history())
        tracker.alert("title", "text")
        keep(trial, tracker, shown)
        state = "interrupted" if shown == 64 else "done"
        TrialFolder(trial).write_status(state)
        tracker.finish(state)
        assert [result.arrived for result in sync(tmp_path, timeout=240)] == [True]
    assert whole(wandb_server, "trial-a") == [(0, 64), (1, 128)]
    assert len(wandb_server.alerts) == 1
    assert wandb_server.runs["trial-a"].exit_code == 0


@pytest.mark.parametrize("synced", [False, True])
def test_an_offline_run_whose_end_was_cut_short_is_sent_as_its_files_have_it(
    tmp_path, wandb_server, monkeypatch, synced
):
    """W&B's log of it lacks rows, and W&B's own sync, which does not know that, marks it as sent."""
    monkeypatch.setattr(tracking, "INTERRUPT_SECONDS", 0.01)
    trial = tmp_path / "trial-a"
    tracker = start(trial, "offline")
    tracker.alert("title", "text")
    keep(trial, tracker, 64, 128)
    TrialFolder(trial).write_status("interrupted")
    given_up = threading.Event()
    monkeypatch.setattr(tracker._run, "finish", lambda **_: given_up.wait())
    tracker.finish("interrupted")
    given_up.set()
    if synced:
        (run_dir,) = trial.glob("wandb/offline-run-*")
        command = [sys.executable, "-m", "wandb", "sync", str(run_dir)]
        subprocess.run(command, check=True, timeout=240, capture_output=True)
    assert missing(tmp_path) == [trial]
    assert [result.arrived for result in sync(tmp_path, timeout=240)] == [True]
    assert whole(wandb_server, "trial-a") == [(0, 64), (1, 128)]
    # rather twice than never: nobody knows what W&B's log of it had
    assert [alert["title"] for alert in wandb_server.alerts] in (["title"], ["title"] * 2 if synced else None)
    assert missing(tmp_path) == []
    assert sync(tmp_path, timeout=240) == []


def test_a_trial_that_is_still_training_is_left_alone(tmp_path, wandb_server, record):
    trial = tmp_path / "trial-a"
    record(trial)
    status = {"state": "running", "host": socket.gethostname(), "pid": os.getpid()}
    (trial / "status.json").write_text(json.dumps(status))
    (result,) = sync(tmp_path, timeout=240)
    assert not result.arrived
    assert "still training" in result.message
    assert wandb_server.runs == {}


def test_a_trial_that_another_machine_trains_is_left_alone(tmp_path, wandb_server, record):
    trial = tmp_path / "trials" / "trial-a"
    record(trial)
    (trial / "status.json").write_text(json.dumps({"state": "running", "host": "another", "pid": 1}))
    (tmp_path / "claims").mkdir()
    claim = tmp_path / "claims" / "trial-a"
    claim.write_text("another 1")
    (result,) = sync(tmp_path, timeout=240)
    assert "still training" in result.message
    os.utime(claim, (0, 0))  # that machine has given no sign of life for long
    assert [result.arrived for result in sync(tmp_path, timeout=240)] == [True]


def test_what_was_written_after_a_sync_is_not_held_to_have_arrived(tmp_path, wandb_server, record):
    folder = record(tmp_path / "trial-a")
    sync(tmp_path, timeout=240)
    (marker,) = folder.glob("*.synced")
    log = marker.with_suffix("")
    os.utime(log, ns=(0, marker.stat().st_mtime_ns + 1_000_000))
    assert [result.run_dir for result in sync(tmp_path, timeout=240)] == [folder]


def test_a_folder_that_is_not_there_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        sync(tmp_path / "nowhere")

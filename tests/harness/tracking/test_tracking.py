"""The tracker against the real W&B client: offline runs read back from disk, online ones from a loopback server."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganbench.errors import UserError
from harness.config import TrackingConfig
from harness.images import save_picture
from harness.store import TrialFolder
from harness.tracking import client as wandb_client
from harness.tracking import server as wandb_server
from harness.tracking import tracker as tracking
from harness.tracking.journal import Journal
from harness.tracking.tracker import Tracker, resolve_mode

CONFIG = {"gan": {"name": "wgan-gp", "n_critic": 5}, "seed": 0}


def start(folder: Path, mode: str = "auto", *, run_id: str = "0123456789ab", **options: Any) -> Tracker:
    return Tracker.start(
        TrackingConfig(mode=mode, project="benchmark", group="sweep-1", **options),
        folder=folder,
        run_id=run_id,
        name="wgan-gp seed 0",
        config=CONFIG,
        tags=["wgan-gp", "digits"],
    )


def row(images: int, loss: float = 1.0) -> dict[str, Any]:
    """One row of `history.jsonl`."""
    return {"kind": "train", "images": images, "seconds": 0.5, "loss/discriminator": loss}


def losses(rows: list[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(row["images"], row["loss/discriminator"]) for row in rows]


# --- offline


def test_an_offline_run_holds_everything_the_trial_said(tmp_path, read_offline_run, capfd):
    tracker = start(tmp_path, "offline")
    for images in (64, 128, 192):
        tracker.log({**row(images, images / 64), "gradient/norm": math.nan})
    tracker.log({"kind": "from a later version", "images": 192})
    tracker.summarize({"best/fid": 12.5, "final/fid": 13.0})
    tracker.alert("wgan-gp seed 0 failed", "the loss became nan at 192 images")
    tracker.finish("failed", "the loss became nan")

    run = read_offline_run(tmp_path)
    assert losses(run.history) == [(64, 1.0), (128, 2.0), (192, 3.0)]
    assert [(row["gradient/norm"], row["spent/seconds"]) for row in run.history] == [("NaN", 0.5)] * 3
    assert run.config == CONFIG
    assert {name: run.summary[name] for name in ("best/fid", "final/fid", "status", "reason")} == {
        "best/fid": 12.5,
        "final/fid": 13.0,
        "status": "failed",
        "reason": "the loss became nan",
    }
    assert run.exit_code == 1
    assert run.run["project"] == "benchmark"
    assert run.run["run_group"] == "sweep-1"
    assert run.run["job_type"] == "train"
    assert run.run["run_id"] == "0123456789ab"
    assert run.run["display_name"] == "wgan-gp seed 0"
    assert set(run.run["tags"]) == {"wgan-gp", "digits"}
    assert [(alert["title"], alert["level"]) for alert in run.of("alert")] == [("wgan-gp seed 0 failed", "ERROR")]
    assert capfd.readouterr() == ("", "")


def test_every_metric_is_drawn_over_the_images_shown(tmp_path, read_offline_run):
    tracker = start(tmp_path, "offline")
    tracker.finish("done")
    metrics = read_offline_run(tmp_path).of("metric")
    (everything,) = [metric for metric in metrics if metric.get("glob_name") == "*"]
    assert everything["step_metric"] == "images"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_arrives_pixel_for_pixel(tmp_path, read_offline_run, channels):
    picture = np.arange(16 * 16 * channels).reshape(16, 16, channels).astype(np.uint8)
    save_picture(picture, TrialFolder(tmp_path).sample_file(640))
    tracker = start(tmp_path, "offline")
    scores = {"fid": {"value": 12.5}, "is": {"value": None}}
    tracker.log({"kind": "scores", "images": 640, "split": "selection", "scores": scores})
    tracker.finish("done")

    run = read_offline_run(tmp_path)
    (look,) = run.history
    assert (look["images"], look["scores/fid"]) == (640, 12.5)
    assert "scores/is" not in look
    with Image.open(run.folder / "files" / look["samples.path"]) as stored:
        pixels = np.asarray(stored).reshape(picture.shape)
    np.testing.assert_array_equal(pixels, picture)
    assert pixels.max() == 255


def test_the_sync_command_names_the_run_folder(tmp_path):
    tracker = start(tmp_path / "a folder", "offline")
    tracker.finish("done")
    (folder,) = (tmp_path / "a folder" / "wandb").glob("offline-run-*")
    assert tracker.sync_command == f"wandb sync '{folder}'"
    assert tracker.mode == "offline"
    assert tracker.url is None


def test_private_leaves_no_trace_of_machine_command_or_git(tmp_path, read_offline_run, monkeypatch):
    repository = tmp_path / "repository"
    repository.mkdir()
    author = ["-c", "user.name=secret-author", "-c", "user.email=secret@example.invalid", "-c", "commit.gpgsign=false"]
    for command in (
        ["init", "--quiet"],
        ["remote", "add", "origin", "https://example.invalid/secret-remote.git"],
        [*author, "commit", "--quiet", "--allow-empty", "--message", "first"],
    ):
        subprocess.run(["git", *command], cwd=repository, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
    monkeypatch.chdir(repository)
    monkeypatch.setattr(sys, "argv", [sys.argv[0], "--token=secret-argument"])
    host = socket.gethostname()
    secrets = [
        text.encode()
        for text in ("secret-argument", "secret-remote", commit.stdout.strip(), sys.executable, chr(len(host)) + host)
    ]  # a short host name could be anywhere, so it comes with its length, as protobuf writes it

    found, patience = {}, 60.0
    for private in (False, True):
        began = time.monotonic()
        tracker = start(repository / f"private-{private}", "offline", private=private)
        (log,) = repository.glob(f"private-{private}/wandb/*/run-*.wandb")
        # the facts are collected in the background
        while time.monotonic() < began + patience and not all(secret in log.read_bytes() for secret in secrets):
            time.sleep(0.05)
        patience = 2 * (time.monotonic() - began)
        tracker.finish("done")
        run = read_offline_run(repository / f"private-{private}")
        found[private] = [secret for secret in secrets if secret in log.read_bytes()]
        assert (run.folder / "files" / "requirements.txt").exists() is not private
    assert found == {False: secrets, True: []}


def test_private_is_kept_or_nothing_is_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(wandb_client.PRIVATE, "x_hide_everything", True)
    tracker = start(tmp_path, "offline", private=True)
    assert tracker.mode == "disabled"
    assert "x_hide_everything" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.wandb"))


# --- the mode


def test_disabled_writes_nothing(tmp_path):
    tracker = start(tmp_path, "disabled")
    tracker.log(row(64))
    tracker.replay([row(64)])
    tracker.summarize({"best/fid": 1.0})
    tracker.alert("title", "text")
    tracker.finish("done")
    assert (tracker.mode, tracker.url, tracker.sync_command) == ("disabled", None, None)
    assert not list(tmp_path.iterdir())


def test_auto_without_a_login_is_offline_and_silent(capfd):
    assert resolve_mode(TrackingConfig()) == "offline"
    assert capfd.readouterr() == ("", "")


def test_auto_with_a_login_is_online(wandb_server):
    assert resolve_mode(TrackingConfig()) == "online"


def test_auto_finds_the_login_in_netrc(wandb_server, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    host = wandb_server.url.removeprefix("http://")
    Path(os.environ["NETRC"]).write_text(f"machine {host}\nlogin user\npassword {'a' * 40}\n")
    assert resolve_mode(TrackingConfig()) == "online"


@pytest.mark.parametrize(
    ("variable", "mode"), [("offline", "offline"), ("dryrun", "offline"), ("disabled", "disabled")]
)
def test_auto_respects_the_environment(wandb_server, monkeypatch, variable, mode):
    monkeypatch.setenv("WANDB_MODE", variable)
    assert resolve_mode(TrackingConfig()) == mode


def test_auto_with_an_unreachable_server_is_offline_and_says_so(monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(wandb_server, "PROBE_SECONDS", 1)
    assert resolve_mode(TrackingConfig()) == "offline"
    output = capsys.readouterr()
    assert output.out == ""
    assert "ganbench: the W&B server cannot be reached" in output.err


def test_a_process_that_found_no_server_ends(monkeypatch):
    # wandb.Api took its whole deadline and left W&B's service retrying, so that a teardown might never come back
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    script = """
        import wandb
        from harness.config import TrackingConfig
        from harness.tracking.tracker import resolve_mode
        for _ in range(8):
            assert resolve_mode(TrackingConfig()) == "offline"
            wandb.teardown()
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)


def test_auto_with_a_malformed_login_is_offline_and_says_so(wandb_server, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY")
    host = wandb_server.url.removeprefix("http://")
    Path(os.environ["NETRC"]).write_text(f"machine {host}\nlogin user\npassword short\n")
    assert resolve_mode(TrackingConfig()) == "offline"
    assert "refuses the login" in capsys.readouterr().err


def test_auto_with_a_login_that_the_server_does_not_know_is_offline_and_says_so(wandb_server, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "b" * 40)
    assert resolve_mode(TrackingConfig()) == "offline"
    assert "(401 Client Error: Unauthorized" in capsys.readouterr().err


def test_online_without_a_login_is_the_users_mistake():
    with pytest.raises(UserError, match="wandb login"):
        resolve_mode(TrackingConfig(mode="online"))


def test_online_falls_back_to_offline_when_the_server_is_down(tmp_path, read_offline_run, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    tracker = start(tmp_path, "online")
    assert tracker.mode == "offline"
    assert "no online W&B run could be opened" in capsys.readouterr().err
    tracker.log(row(64))
    tracker.finish("done")
    assert losses(read_offline_run(tmp_path).history) == [(64, 1.0)]


def test_a_server_that_hangs_is_asked_once_and_not_waited_for_by_wandb(tmp_path, wandb_server, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "INIT_SECONDS", 3600.0)
    monkeypatch.setattr("harness.tracking.server.PROBE_SECONDS", 0.5)
    wandb_server.behaviour = "hangs"
    tracker = start(tmp_path, "online")
    assert tracker.mode == "offline"
    assert "no online W&B run could be opened" in capsys.readouterr().err
    tracker.finish("done")


# --- online


def test_an_online_run_arrives_whole(tmp_path, wandb_server, capfd):
    tracker = start(tmp_path, "online")
    assert tracker.url == f"{wandb_server.url}/tester/benchmark/runs/0123456789ab"
    tracker.log(row(64))
    tracker.log(row(128, 2.0))
    save_picture(np.full((8, 8, 3), 255, np.uint8), TrialFolder(tmp_path).sample_file(128))
    tracker.log({"kind": "scores", "images": 128, "scores": {}})
    tracker.summarize({"best/fid": 12.5})
    tracker.alert("title", "text")
    tracker.finish("done")

    run = wandb_server.runs["0123456789ab"]
    assert losses(run.rows[:2]) == [(64, 1.0), (128, 2.0)]
    assert run.rows[2]["images"] == 128
    assert run.rows[2]["samples"]["path"] in run.uploads
    assert run.config == CONFIG
    assert run.summary["best/fid"] == 12.5
    assert run.summary["status"] == "done"
    assert run.variables["project"] == "benchmark"
    assert run.variables["groupName"] == "sweep-1"
    assert run.variables["jobType"] == "train"
    assert run.variables["displayName"] == "wgan-gp seed 0"
    assert set(run.variables["tags"]) == {"wgan-gp", "digits"}
    assert run.exit_code == 0
    assert [alert["title"] for alert in wandb_server.alerts] == ["title"]
    assert tracker.sync_command is None
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("state", "exit_code", "preempting"),
    [("done", 0, False), ("pruned", 0, False), ("failed", 1, False), ("diverged", 1, False), ("interrupted", 1, True)],
)
def test_how_a_trial_ended_is_how_its_run_ends(tmp_path, wandb_server, monkeypatch, state, exit_code, preempting):
    monkeypatch.setattr(tracking, "INTERRUPT_SECONDS", 60.0)  # what is sent, not how fast
    start(tmp_path, "online").finish(state, "why")
    run = wandb_server.runs["0123456789ab"]
    assert (run.exit_code, run.preempting) == (exit_code, preempting)
    assert (run.summary["status"], run.summary["reason"]) == (state, "why")


def test_the_same_trial_continues_its_run(tmp_path, wandb_server, monkeypatch):
    monkeypatch.setattr(tracking, "INTERRUPT_SECONDS", 60.0)  # the first attempt is to arrive
    history = [row(64), row(128), row(192)]
    for known, state in ((0, "interrupted"), (1, "failed"), (3, "done")):  # what was kept; the rest is made again
        tracker = start(tmp_path, "online")
        tracker.replay(history[:known])
        for new in history[known : known + 2]:
            tracker.log(new)
        tracker.summarize({f"after/{known}": True})
        tracker.alert("title", "text")
        tracker.finish(state, None if state == "done" else "a reason")
        assert len(list((tmp_path / "wandb").glob("run-*"))) == 1
    (run,) = wandb_server.runs.values()
    assert [(row["_step"], row["images"]) for row in run.rows] == [(0, 64), (1, 128), (2, 192)]
    assert run.summary.keys() >= {"after/0", "after/1", "after/3"}
    assert (run.summary["status"], run.summary.get("reason"), run.exit_code) == ("done", None, 0)
    assert len(wandb_server.alerts) == 1


def test_an_agents_own_run_is_used(tmp_path, wandb_server, monkeypatch):
    for name, value in {"SWEEP_ID": "sweep1", "RUN_ID": "agents-id", "PROJECT": "agents-project"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    start(tmp_path, "online").finish("done")
    assert list(wandb_server.runs) == ["agents-id"]
    assert wandb_server.runs["agents-id"].variables["project"] == "agents-project"


@pytest.mark.parametrize("alerted", [False, True])
@pytest.mark.parametrize("behaviour", ["refuses", "hangs", "dead"])
def test_a_server_that_misbehaves_holds_up_nobody_and_what_it_did_not_take_is_said(
    tmp_path, wandb_server, monkeypatch, capsys, behaviour, alerted
):
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.5)
    tracker = start(tmp_path, "online")
    wandb_server.behaviour = behaviour
    tracker.log(row(64))
    if alerted:  # W&B's service waits for the server to take it, beyond every limit that can be set
        tracker.alert("title", "text")
    began = time.monotonic()
    tracker.finish("done")
    assert time.monotonic() - began < 10

    assert tracker.sync_command == f"ganbench sync {tmp_path}"
    assert str(tmp_path) in capsys.readouterr().err
    assert Journal.read(tmp_path).is_unsent
    assert wandb_server.runs["0123456789ab"].rows == []
    assert "WANDB_SERVICE" not in os.environ  # nothing is left that the end of the process could wait for


def test_the_end_of_the_process_does_not_wait_for_a_server(tmp_path, wandb_server):
    script = """
        import sys
        from pathlib import Path
        from harness.tracking import tracker as tracking
        from harness.config import TrackingConfig
        tracking.FINISH_SECONDS = 1.5
        tracker = tracking.Tracker.start(
            TrackingConfig(mode="online"), folder=Path("trial"), run_id="run", name="run", config={}, tags=[]
        )
        print("open", flush=True)
        sys.stdin.readline()
        tracker.alert("title", "text")
        tracker.finish("interrupted")
        """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = {**os.environ, "PYTHONPATH": str(Path(tracking.__file__).parents[2])}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "open\n"
        wandb_server.behaviour = "hangs"
        process.communicate("\n", timeout=120)
    assert process.returncode == 0


def test_resolving_the_mode_leaves_no_service_behind(wandb_server):
    assert resolve_mode(TrackingConfig()) == "online"
    assert "WANDB_SERVICE" not in os.environ  # a sweep's trials would all share it, and one could end it for all


def test_a_failing_wandb_is_reported_once_and_stops_nothing(tmp_path, capsys):
    import wandb

    tracker = start(tmp_path, "offline")
    wandb.teardown()  # as if its service had died
    for images in (64, 128):
        tracker.log(row(images))
    tracker.summarize({"best/fid": 1.0})
    tracker.alert("title", "text")
    tracker.finish("done")
    assert capsys.readouterr().err.count("W&B failed, the training goes on") == 1

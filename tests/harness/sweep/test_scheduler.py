from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ganbench.errors import UserError
from harness.config import TrackingConfig, resolve
from harness.sweep import scheduler
from harness.sweep.folder import load_manifest, locked, log_file, prepare, status, trial_folder
from harness.sweep.scheduler import SweepOutcome, run_sweep
from harness.sweep.spec import SweepSpec

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "s"


def lay_out(folder: Path, *behaviours: str) -> dict[str, str]:
    """A sweep with one trial per behaviour, seeds counting up; ids by behaviour."""
    configs = [
        resolve({"gan": "wgan", "dataset": behaviour, "seed": seed}) for seed, behaviour in enumerate(behaviours)
    ]
    manifest = prepare(folder, SweepSpec("s", "", "x: 1\n", {}, None, configs))
    return {config.data.name: key for key, config in manifest.trials.items()}


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))  # the children are given it too

    def run_fakes(**options) -> SweepOutcome:
        options = {"jobs": 2, **options}
        tracking = TrackingConfig(mode="disabled")
        return run_sweep(folder, tracking=tracking, target="fake_trials:play", preload=(), **options)

    return run_fakes


def begun(folder: Path) -> list[str]:
    return (folder / "begun.txt").read_text().splitlines()


def test_every_end_is_recorded_and_stops_no_other(folder, run, capsys):
    ids = lay_out(folder, "raise", "record", "exit", "kill", "quiet", "ok")
    outcome = run()
    assert outcome.done == (ids["ok"],)
    assert outcome.skipped == ()
    assert not outcome.interrupted
    assert outcome.exit_code == 1
    reasons = {behaviour: outcome.failed[key] for behaviour, key in ids.items() if key in outcome.failed}
    assert reasons == {
        "raise": "RuntimeError: no luck",
        "record": "loss became nan",
        "exit": "ended with exit code 3 before it was done",
        "kill": "killed by signal 9 (SIGKILL, perhaps for want of memory)",
        "quiet": "ended with exit code 0 before it was done",
    }
    assert {row.label: (row.state, row.reason) for row in status(folder)} == {
        **{
            f"wgan data.name={behaviour} seed {seed}": ("failed", reason)
            for seed, (behaviour, reason) in enumerate(reasons.items())
        },
        "wgan data.name=ok seed 5": ("done", None),
    }
    log = log_file(folder, ids["raise"]).read_text()
    assert "printed by wgan data.name=raise seed 0" in log
    assert "Traceback" in log
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 6
    assert [line.split()[0] for line in lines] == [f"[{number}/6]" for number in range(1, 7)]
    assert any("data.name=ok seed 5: done in" in line and line.endswith("s · FID (digits) 8.12") for line in lines)
    assert any("data.name=kill seed 3: failed after" in line and "signal 9" in line for line in lines)


def test_as_many_at_once_as_asked_for(folder, run):
    lay_out(folder, *["meet"] * 6)
    assert len(run(jobs=2).done) == 6
    together = [int((folder / "come" / str(seed)).read_text()) for seed in range(6)]
    assert max(together) == 2


def test_one_at_a_time_keeps_the_manifests_order(folder, run):
    lay_out(folder, "ok", "raise", "ok", "ok")
    run(jobs=1)
    assert begun(folder) == ["wgan 0", "wgan 1", "wgan 2", "wgan 3"]


def test_what_is_done_is_not_run_again_and_what_failed_only_when_asked(folder, run, capsys):
    ids = lay_out(folder, "ok", "flaky")
    first = run()
    assert (first.done, first.failed) == ((ids["ok"],), {ids["flaky"]: "RuntimeError: no luck"})
    (folder / "lucky").touch()
    second = run()
    assert (second.done, second.skipped) == ((), (ids["ok"],))
    assert second.failed == first.failed
    assert "1 failed before and are left as they are: --retry-failed runs them again" in capsys.readouterr().err
    third = run(retry_failed=True)
    assert third == SweepOutcome(done=(ids["flaky"],), skipped=(ids["ok"],), failed={}, interrupted=False)
    assert third.exit_code == 0
    assert "[2/2]" in capsys.readouterr().err
    assert sorted(begun(folder)) == ["wgan 0", "wgan 1", "wgan 1"]


def test_an_interrupted_trial_is_continued_without_asking(folder, run):
    lay_out(folder, "ok", "ok")
    for key in load_manifest(folder).trials:
        trial_folder(folder, key).claim(load_manifest(folder).trials[key])
        trial_folder(folder, key).write_status("failed", reason="interrupted")
    assert len(run().done) == 2


def test_what_a_trial_is_given(folder, run, monkeypatch):
    monkeypatch.setattr(scheduler.forkserver._forkserver, "_forkserver_pid", None)  # a new server, for its environment
    monkeypatch.setattr(scheduler.forkserver._forkserver, "_forkserver_alive_fd", None)
    monkeypatch.setattr(scheduler.forkserver._forkserver, "_forkserver_address", None)
    monkeypatch.setattr(scheduler, "usable_cpus", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    lay_out(folder, "facts")
    run(jobs=2, device="cpu")
    assert json.loads((folder / "facts.json").read_text()) == {
        "OMP_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "3",
        "OMP_WAIT_POLICY": "PASSIVE",
        "group": "s",
        "device": "cpu",
        "label": "wgan seed 0",
    }
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "MKL_NUM_THREADS" not in os.environ


def test_refusals(folder, run):
    lay_out(folder, "ok")
    with pytest.raises(UserError, match="jobs must be at least 1: got 0"):
        run(jobs=0)
    with locked(folder), pytest.raises(UserError, match="another process is running the sweep"):
        run()
    assert not (folder / "begun.txt").exists()


def test_off_the_main_thread(folder, run):
    lay_out(folder, "ok")
    outcomes: list[SweepOutcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(run()))
    thread.start()
    thread.join()
    assert len(outcomes[0].done) == 1


# --- Ctrl-C


@pytest.fixture
def driver(folder):
    """Starts a sweep in a process group of its own, as a terminal does."""
    started = []

    def start() -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        command = [sys.executable, str(HERE / "drive.py"), str(folder)]
        process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until(true, seconds: float = 30.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def at_work(folder: Path) -> list[int]:
    """Process ids of the trials that say they run."""
    facts = [trial_folder(folder, key).status() for key in load_manifest(folder).trials]
    return [fact["pid"] for fact in facts if fact.get("state") == "running"]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("everybody", [True, False], ids=["terminal", "scheduler alone"])
def test_ctrl_c_leaves_a_sweep_that_can_be_continued(folder, driver, run, everybody):
    ids = lay_out(folder, "ok", "slow", "slow", "slow")
    process = driver()
    wait_until(lambda: len(at_work(folder)) == 2 and len(begun(folder)) == 3)
    trials = at_work(folder)
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopping 2 trials: the same command continues them later" in errors
    assert "Traceback" not in errors
    assert all(gone(pid) for pid in trials)
    assert [row.state for row in status(folder)] == ["done", "interrupted", "interrupted", "pending"]
    (folder / "fast").touch()
    outcome = run()
    assert (len(outcome.done), outcome.skipped, outcome.failed) == (3, (ids["ok"],), {})


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_second_ctrl_c_does_not_wait_for_the_stubborn(folder, driver):
    lay_out(folder, "stubborn")
    process = driver()
    wait_until(lambda: (folder / "stubborn").exists())
    (trial,) = at_work(folder)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    assert not gone(trial)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert gone(trial)
    assert status(folder)[0].state == "interrupted"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_trials_end_when_their_scheduler_is_killed(folder, driver, run):
    lay_out(folder, "slow", "slow")
    process = driver()
    wait_until(lambda: len(at_work(folder)) == 2)
    trials = at_work(folder)
    process.kill()
    wait_until(lambda: all(gone(pid) for pid in trials))
    assert [row.state for row in status(folder)] == ["interrupted"] * 2
    (folder / "fast").touch()
    assert len(run().done) == 2  # the lock went with its holder

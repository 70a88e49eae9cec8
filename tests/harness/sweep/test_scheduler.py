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
from types import SimpleNamespace

import pytest

from ganbench.errors import UserError
from harness.config import TrackingConfig, resolve
from harness.sweep import claims, local, scheduler
from harness.sweep.executor import GRACE
from harness.sweep.folder import extend, load_manifest, log_file, prepare, requeue, trial_folder
from harness.sweep.overview import status
from harness.sweep.scheduler import SweepOutcome, run_sweep
from harness.sweep.spec import SweepSpec, read_spec

HERE = Path(__file__).parent
PRELOAD = ("harness.sweep.worker",)
"""All that a fake trial imports: most of its time otherwise."""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "s"


def lay_out(folder: Path, *behaviours: str) -> dict[str, str]:
    """A sweep with one trial per behaviour, seeds counting up; ids by behaviour."""
    configs = [
        resolve({"gan": "wgan", "dataset": behaviour, "seed": seed}) for seed, behaviour in enumerate(behaviours)
    ]
    manifest = prepare(folder, SweepSpec(name="s", source_text="x: 1\n", grid=configs))
    return {config.data.name: key for key, config in manifest.trials.items()}


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))  # the children are given it too

    def run_fakes(**options) -> SweepOutcome:
        options = {"jobs": 2, **options}
        tracking = TrackingConfig(mode="disabled")
        return run_sweep(folder, tracking=tracking, target="fake_trials:play", preload=PRELOAD, **options)

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
        "kill": "killed by signal 9 (SIGKILL, perhaps for want of memory), 4 times without progress",
        "quiet": "ended with exit code 0 before it was done",
    }
    assert {row.label: (row.state, row.reason) for row in status(folder)} == {
        **{
            f"wgan dataset={behaviour} seed {seed}": ("failed", reason)
            for seed, (behaviour, reason) in enumerate(reasons.items())
        },
        "wgan dataset=ok seed 5": ("done", None),
    }
    log = log_file(folder, ids["raise"]).read_text()
    assert "printed by wgan dataset=raise seed 0" in log
    assert "Traceback" in log
    printed = capsys.readouterr()
    assert printed.out == ""
    again = [line for line in printed.err.splitlines() if "is started again" in line]
    assert len(again) == 3
    assert all(line.startswith("wgan dataset=kill seed 3: killed by signal 9") for line in again)
    lines = [line for line in printed.err.splitlines() if line not in again]
    assert len(lines) == 6
    assert [line.split()[0] for line in lines] == [f"[{number}/6]" for number in range(1, 7)]
    assert any("dataset=ok seed 5: done in" in line and line.endswith("s · FID (digits) 8.12") for line in lines)
    assert any("dataset=kill seed 3: failed after" in line and "signal 9" in line for line in lines)


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
        trial_folder(folder, key).write_status("interrupted")
    assert len(run().done) == 2


def test_what_a_trial_is_given(folder, run, monkeypatch):
    monkeypatch.setattr(local.forkserver._forkserver, "_forkserver_pid", None)  # a new server, for its environment
    monkeypatch.setattr(local.forkserver._forkserver, "_forkserver_alive_fd", None)
    monkeypatch.setattr(local.forkserver._forkserver, "_forkserver_address", None)
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
    assert not (folder / "begun.txt").exists()


def test_off_the_main_thread(folder, run):
    lay_out(folder, "ok")
    outcomes: list[SweepOutcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(run()))
    thread.start()
    thread.join()
    assert len(outcomes[0].done) == 1


# --- processes that die


def test_a_killed_process_is_started_again(folder, run):
    ids = lay_out(folder, "killed twice", "asked to end", "ok")
    assert set(run().done) == set(ids.values())
    assert sorted(begun(folder)) == ["wgan 0"] * 3 + ["wgan 1"] * 2 + ["wgan 2"]
    assert [row.state for row in status(folder)] == ["done"] * 3


def test_progress_makes_up_for_being_killed(folder, run):
    (key,) = lay_out(folder, "slow but steady").values()
    assert run().done == (key,)
    assert len(begun(folder)) == 8


def test_the_fork_server_is_replaced_and_no_trial_runs_twice_at_once(folder, run):
    lay_out(folder, "server", "short", "short", "short")
    assert len(run().done) == 4
    ended = (folder / "ended.txt").read_text().splitlines()
    assert sorted(ended) == [f"wgan {seed}" for seed in range(4)]


def test_divergence_and_pruning_are_ends_of_their_own(folder, run):
    ids = lay_out(folder, "diverge", "prune", "ok")
    outcome = run()
    assert outcome.done == (ids["ok"],)
    assert outcome.diverged == {ids["diverge"]: "loss became nan"}
    assert outcome.pruned == {ids["prune"]: "hopeless"}
    assert outcome.failed == {}
    assert outcome.exit_code == 1
    assert run() == SweepOutcome((), (ids["ok"],), {}, False, outcome.diverged, outcome.pruned)
    assert len(begun(folder)) == 3
    assert requeue(folder, diverged=True) == [ids["diverge"]]
    run()
    assert len(begun(folder)) == 4


def test_a_time_limit_ends_one_trial(folder, run, monkeypatch):
    monkeypatch.setattr(local, "GRACE", 0.2)
    ids = lay_out(folder, "stubborn", "slow", "ok")

    def clock() -> float:
        """An hour passes when two are at work; only the third, which is begun after that, has the time it needs."""
        return time.monotonic() + 3600 * ((folder / "stubborn").exists() and len(begun(folder)) >= 2)

    monkeypatch.setattr(scheduler, "time", SimpleNamespace(monotonic=clock))
    outcome = run(time_limit=600)
    assert outcome.failed == dict.fromkeys((ids["stubborn"], ids["slow"]), "time limit of 600 s")
    assert outcome.done == (ids["ok"],)
    assert trial_folder(folder, ids["slow"]).status()["state"] == "failed"


# --- GPUs


def test_gpus_are_shared_out_evenly(folder, run):
    lay_out(folder, *["gpu"] * 4)
    run(jobs=2, gpus=("a", "b"))
    used = [(folder / f"gpu-{seed}").read_text() for seed in range(4)]
    assert set(used[:2]) == {"a", "b"}
    assert set(used) == {"a", "b"}


def test_trials_share_a_gpu(folder, run):
    lay_out(folder, *["gpu"] * 2)
    run(jobs=2, gpus=("a",))
    assert [(folder / f"gpu-{seed}").read_text() for seed in range(2)] == ["a", "a"]
    assert max(int((folder / "come" / str(seed)).read_text()) for seed in range(2)) == 2


def test_one_trial_per_gpu_where_nothing_else_is_asked_for(folder, run):
    lay_out(folder, *["gpu"] * 3)
    run(jobs=None, gpus=("a", "b", "c"))
    assert {(folder / f"gpu-{seed}").read_text() for seed in range(3)} == {"a", "b", "c"}


def test_a_trial_gets_as_many_gpus_as_it_trains_on(folder, run):
    configs = [resolve({"gan": "wgan", "dataset": "gpu", "seed": seed, "trainer.devices": 2}) for seed in range(2)]
    prepare(folder, SweepSpec(name="s", grid=configs))
    run(jobs=None, gpus=("a", "b", "c", "d"))
    assert {(folder / f"gpu-{seed}").read_text() for seed in range(2)} == {"a,b", "c,d"}
    assert [(folder / "come" / str(seed)).read_text() for seed in range(2)] == ["2", "2"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("", ()), ("-1", ()), ("0,1", ("0", "1")), ("2, 0,-1,1", ("2", "0")), ("GPU-5ab", ("GPU-5ab",))],
)
def test_the_environments_gpus(monkeypatch, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.usable_gpus() == expected


@pytest.mark.parametrize(("code", "expected"), [(0, ("GPU-1", "GPU-2")), (9, ())])
def test_the_drivers_gpus(monkeypatch, tmp_path, code, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho GPU-1\necho GPU-2\necho No more\nexit {code}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert local.usable_gpus() == expected
    tool.unlink()
    assert local.usable_gpus() == ()


# --- more than one driver


def test_what_runs_elsewhere_is_waited_for(folder, run, capsys):
    lay_out(folder, "ok", "ok")
    first, second = load_manifest(folder).trials
    claim = claims.take(folder, first)
    trial = trial_folder(folder, first)

    def finish() -> None:
        wait_until(lambda: trial_folder(folder, second).status().get("state") == "done")
        time.sleep(0.3)
        trial.write_status("done")
        claim.release()

    thread = threading.Thread(target=finish)
    thread.start()
    outcome = run()
    thread.join()
    assert (outcome.done, outcome.skipped) == ((second,), (first,))
    assert begun(folder) == ["wgan 1"]
    assert "[2/2] wgan seed 0: done elsewhere" in capsys.readouterr().err


def test_what_is_left_elsewhere_is_taken_up(folder, run):
    lay_out(folder, "ok", "ok")
    first, second = load_manifest(folder).trials
    claim = claims.take(folder, first)
    trial_folder(folder, first).write_status("running")

    def die() -> None:
        wait_until(lambda: trial_folder(folder, second).status().get("state") == "done")
        claim.hand_over()  # to nobody: what the kernel does when a process is killed

    thread = threading.Thread(target=die)
    thread.start()
    outcome = run()
    thread.join()
    assert set(outcome.done) == {first, second}


def test_trials_added_by_another_run_are_taken_up(folder, run):
    lay_out(folder, "slow", "ok")
    more = resolve({"gan": "wgan", "dataset": "ok", "seed": 7})

    def add() -> None:
        wait_until((folder / "begun.txt").exists)
        extend(folder, lambda _: more)
        (folder / "fast").touch()

    thread = threading.Thread(target=add)
    thread.start()
    outcome = run(jobs=1)
    thread.join()
    assert len(outcome.done) == 3
    assert "wgan 7" in begun(folder)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_two_drivers_share_the_work(folder, driver):
    lay_out(folder, *["of two drivers"] * 20)
    both = [driver(), driver()]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    seeds = [f"wgan {seed}" for seed in range(20)]
    assert sorted(begun(folder)) == sorted(seeds)
    assert sorted((folder / "ended.txt").read_text().splitlines()) == sorted(seeds)
    assert all("done in" in text and "done elsewhere" in text for text in errors)
    assert list((folder / "claims").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_driver_takes_over_from_one_that_is_killed(folder, driver):
    lay_out(folder, *["slow"] * 3)
    first = driver()
    wait_until(lambda: len(at_work(folder)) == 2)
    second = driver()
    wait_until(lambda: len(at_work(folder)) == 3)
    first.kill()
    (folder / "fast").touch()
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert [row.state for row in status(folder)] == ["done"] * 3


# --- a search

SEARCH = """
method: bayes
metric: {name: best/fid, goal: minimize}
run_cap: CAP
parameters:
  gan: {value: wgan}
  dataset: {value: searched}
  gan.lr_generator: {distribution: log_uniform_values, min: 1e-5, max: 1.0}
"""


def lay_out_search(folder: Path, cap: int) -> SweepSpec:
    file = folder.with_suffix(".yaml")
    file.write_text(SEARCH.replace("CAP", str(cap)))
    spec = read_spec(file)
    prepare(folder, spec)
    return spec


def rates(folder: Path) -> list[float]:
    return [config.gan.lr_generator for config in load_manifest(folder).trials.values()]


def test_a_search_goes_on_until_its_cap_and_can_be_extended(folder, run, capsys):
    known = len(lay_out_search(folder, 14).trials)
    assert known < 14
    outcome = run()
    assert len(outcome.done) == len(begun(folder)) == len(rates(folder)) == 14
    assert min(rates(folder)[known:]) < sorted(rates(folder)[:known])[1]  # it has learnt where to look
    assert "[14/14]" in capsys.readouterr().err
    lay_out_search(folder, 16)
    assert len(run().done) == 2
    with pytest.raises(UserError, match="holds another sweep"):
        lay_out_search(folder, 14)


def test_two_drivers_search_together(folder, driver):
    lay_out_search(folder, 16)
    both = [driver(), driver()]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert len(rates(folder)) == len(set(rates(folder))) == 16
    assert len(begun(folder)) == len((folder / "ended.txt").read_text().splitlines()) == 16


# --- Ctrl-C


@pytest.fixture
def driver(folder):
    """Starts a sweep in a process group of its own, as a terminal does."""
    started = []

    def start() -> subprocess.Popen[str]:
        places = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        command = [sys.executable, str(HERE / "drive.py"), str(folder)]
        process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until(true, seconds: float = 120.0) -> None:
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
    _, errors = process.communicate(timeout=120)
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
    assert "stopping 1 trials" in process.stderr.readline()
    assert not gone(trial)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert time.monotonic() - asked < GRACE
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
    assert len(run().done) == 2  # the claims went with their holders

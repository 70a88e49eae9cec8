"""How far a sweep has come, from its files alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from ganbench.errors import UserError
from harness.config import resolve
from harness.store import TrialFolder
from harness.sweep.claims import take
from harness.sweep.folder import load_manifest, log_file, prepare, trial_folder
from harness.sweep.overview import Reader, status
from harness.sweep.search import Search
from harness.sweep.spec import SweepSpec


def lay_out(folder, *trials: dict, search: Search | None = None, text: str = "x: 1") -> list[TrialFolder]:
    configs = [resolve({"gan": "wgan", "dataset": "digits", "images": 1000, **trial}) for trial in trials]
    manifest = prepare(folder, SweepSpec(name="s", source_text=text, grid=configs, search=search))
    return [trial_folder(folder, key) for key in manifest.trials]


def dead_pid() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def edit(trial: TrialFolder, **facts) -> None:
    """Facts that `write_status` sets itself."""
    trial.status_file.write_text(json.dumps({**trial.status(), **facts}))


def test_every_state_is_told_apart(tmp_path):
    states = ("pending", "running", "interrupted", "done", "failed", "diverged", "pruned")
    trials = lay_out(tmp_path, *({"seed": seed} for seed in range(len(states))))
    for trial, state in zip(trials[1:], states[1:], strict=True):
        trial.write_status(state, images=400, seconds=1.5, reason=f"{state} because")
    rows = status(tmp_path)
    assert [row.state for row in rows] == list(states)
    assert [row.ended for row in rows] == [False] * 3 + [True] * 4
    assert [row.images for row in rows] == [0] + [400] * 6
    assert rows[4].reason == "failed because"
    assert rows[1].seconds == 1.5
    assert {row.total_images for row in rows} == {1000}
    assert [row.label for row in rows] == [f"wgan seed {seed}" for seed in range(7)]
    assert trials[0].status() == {}


def test_a_running_trial_whose_process_is_gone_is_interrupted(tmp_path):
    here, elsewhere = lay_out(tmp_path, {}, {"seed": 1})
    for trial in (here, elsewhere):
        trial.write_status("running")
        edit(trial, pid=dead_pid())
    edit(elsewhere, host=f"not-{socket.gethostname()}")
    assert [row.state for row in status(tmp_path)] == ["interrupted", "running"]


def test_who_is_at_a_trial_and_when_they_last_gave_a_sign(tmp_path):
    claimed, alone, _ = lay_out(tmp_path, {}, {"seed": 1}, {"seed": 2})
    claim = take(tmp_path, claimed.path.name)
    assert claim is not None
    with claim:
        for trial in (claimed, alone):
            trial.write_status("running")
            os.utime(trial.status_file, times=(0, time.time() - 500))
        os.utime(claim.path, times=(0, time.time() - 40))
        rows = status(tmp_path)
    assert [row.process for row in rows] == [f"{socket.gethostname()}:{os.getpid()}"] * 2 + [None]
    assert rows[0].heartbeat == pytest.approx(40, abs=20)
    assert rows[1].heartbeat == pytest.approx(500, abs=20)  # `ganbench train` holds no claim
    assert rows[2].heartbeat is None


def test_the_rate_is_that_of_the_present_process(tmp_path):
    resumed, fresh, begun, ended = trials = lay_out(tmp_path, *({"seed": seed} for seed in range(4)))
    for trial in trials:
        trial.write_status("running", images=700)
    resumed.write_status("running", session={"began": time.time() - 20, "images": 300})
    fresh.write_status("running", session={"began": time.time() - 70, "images": 0})
    begun.write_status("running", images=300, session={"began": time.time(), "images": 300})
    ended.write_status("done", session={"began": time.time() - 10, "images": 0})
    sweep = Reader(tmp_path).read()
    assert [row.rate for row in sweep.trials] == [pytest.approx(20, rel=0.2), pytest.approx(10, rel=0.2), None, None]
    assert sweep.rate == pytest.approx(30, rel=0.2)
    # 300 + 300 + 700 images are left of those that run, and nothing of the one that is done
    assert sweep.images == (700 + 700 + 300 + 1000, 4000)
    assert sweep.remaining_seconds == pytest.approx(1300 / 30, rel=0.2)


def test_nothing_runs_so_nobody_knows_how_long(tmp_path):
    lay_out(tmp_path, {})
    sweep = Reader(tmp_path).read()
    assert sweep.remaining_seconds is None
    assert sweep.images == (0, 1000)
    assert not sweep.ended


def test_a_trial_that_ended_early_counts_whole(tmp_path):
    for trial, state in zip(lay_out(tmp_path, {}, {"seed": 1}), ("diverged", "pruned"), strict=True):
        trial.write_status(state, images=100)
    sweep = Reader(tmp_path).read()
    assert sweep.images == (2000, 2000)
    assert sweep.ended


def test_the_best_of_each_variant_with_the_number_it_is_the_best_of(tmp_path):
    trials = lay_out(tmp_path, *({"gan": gan, "seed": seed} for gan in ("wgan", "lsgan") for seed in range(3)))
    for trial, best in zip(trials, (9.5, 8.0, None, 20.0, 7.0), strict=False):
        scores = {} if best is None else {"fid": {"latest": best + 1, "best": best}}
        trial.write_status("diverged" if best == 7.0 else "done", selection=scores)
    wgan, lsgan = Reader(tmp_path).read().variants
    assert (wgan.name, wgan.trials, wgan.best, wgan.scored, wgan.label) == ("wgan", 3, 8.0, 2, "wgan seed 1")
    assert (lsgan.best, lsgan.scored, lsgan.states) == (20.0, 1, {"done": 1, "diverged": 1, "pending": 1})


@pytest.mark.parametrize(
    ("says", "best"),
    [
        ("metric: {name: best/recall, goal: maximize}", 0.7),
        ("metric: {name: final/recall, goal: maximize}", 0.4),
        ("benchmark: {selection: {metric: recall, checkpoint: last}}", 0.4),
    ],
)
def test_the_sweep_says_what_its_trials_are_judged_by(tmp_path, says, best):
    first, second = lay_out(tmp_path, {}, {"seed": 1}, text=says)
    first.write_status("done", selection={"fid": {"latest": 3.0, "best": 2.0}, "recall": {"latest": 0.4, "best": 0.7}})
    second.write_status("done", selection={"recall": {"latest": 0.1, "best": 0.2}})
    sweep = Reader(tmp_path).read()
    assert [(row.metric, row.score) for row in sweep.trials] == [("recall", 0.4), ("recall", 0.1)]
    assert sweep.variants[0].best == best  # more is better


def test_a_search_says_how_many_trials_there_may_be(tmp_path):
    search = Search("bayes", space={}, fixed={}, variants=({},), configurations=7, seeds=None)
    for trial in lay_out(tmp_path, {}, {"seed": 1}, search=search):
        trial.write_status("done")
    sweep = Reader(tmp_path).read()
    assert sweep.expected == 7
    assert sweep.images == (2000, 7000)
    assert not sweep.ended


def test_only_what_has_changed_is_read_again(tmp_path, monkeypatch):
    first, second = lay_out(tmp_path, {}, {"seed": 1})
    first.write_status("done")
    reader = Reader(tmp_path)
    assert reader.read().states == {"done": 1, "pending": 1}
    read = []
    whole = TrialFolder.status
    monkeypatch.setattr(TrialFolder, "status", lambda self: read.append(self.path) or whole(self))
    monkeypatch.setattr("harness.sweep.overview.load_manifest", lambda _: pytest.fail("the manifest has not changed"))
    assert reader.read().states == {"done": 1, "pending": 1}
    assert read == []
    second.write_status("running")
    read.clear()
    assert reader.read().states == {"done": 1, "running": 1}
    assert read == [second.path]


def test_trials_that_a_search_adds_appear(tmp_path):
    lay_out(tmp_path, {})
    reader = Reader(tmp_path)
    assert len(reader.read().trials) == 1
    lay_out(tmp_path, {}, {"seed": 1})
    assert len(reader.read().trials) == 2


def test_problems_and_the_log_are_at_hand(tmp_path):
    trial, _ = lay_out(tmp_path, {}, {"seed": 1})
    problem = {"kind": "collapse", "images": 500, "detail": "recall was below 0.01"}
    trial.write_status("done", problems=[problem])
    log = log_file(tmp_path, trial.path.name)
    log.parent.mkdir()
    log.touch()
    first, second = status(tmp_path)
    assert (first.problems, first.log) == ([problem], str(log))
    assert (second.problems, second.log) == ([], None)


def test_no_sweep(tmp_path):
    with pytest.raises(UserError, match="holds no sweep"):
        status(tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc")
@pytest.mark.slow
def test_ten_thousand_trials_take_little_memory_and_nothing_heavy(tmp_path):
    trials = lay_out(tmp_path, *({"seed": seed} for seed in range(10_000)))
    for trial in trials[::2]:
        trial.path.mkdir(parents=True)
        trial.status_file.write_text(json.dumps({"state": "done", "images": 1000}))
    assert len(load_manifest(tmp_path).trials) == 10_000
    code = (
        "import sys, harness.cli; sys.argv = ['ganbench', 'sweep', 'status', sys.argv[1]]\n"
        "try: harness.cli.main()\n"
        "except SystemExit as leave: assert not leave.code\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')), end='')\n"
        "print(*{'torch', 'pandas', 'numpy', 'optuna', 'wandb'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    *shown, peak, heavy = run.stdout.split("\n")[:-1]
    assert "5,000 done · 5,000 pending" in shown
    assert len(shown) < 20
    assert int(peak.split()[1]) < 500 * 1024  # KiB; getrusage would tell the parent's peak
    assert heavy == ""

"""Sweeps whose surroundings fail them: W&B's server, the disk, a file. Real trials, by the real command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.store import TrialFolder
from harness.sweep.folder import log_file
from harness.tracking import tracker as tracking
from harness.tracking.journal import Journal

IMPATIENT = Path(__file__).with_name("impatient.py")
IMAGES = 1600
SPEC = f"""
name: tiny
parameters:
  gan: {{values: [vanilla, lsgan]}}
  dataset: {{value: ring8}}
  gan.width: {{value: 4}}
  gan.batch_size: {{value: 16}}
  evaluation.every: {{value: 160}}
  evaluation.n_fake: {{value: 32}}
  evaluation.splits: {{value: 2}}
  evaluation.metrics: {{value: [fid, modes]}}
benchmark: {{seeds: 2, images: {IMAGES}}}
"""

pytestmark = pytest.mark.slow


class Sweeping:
    """`ganbench sweep run` of the specification, in a process; a folder and a spec for each."""

    def __init__(self, folder: Path, spec: Path, *options: str) -> None:
        self.folder = folder
        command = [sys.executable, str(IMPATIENT), "sweep", "run", str(spec), f"--out={folder}", "--jobs=2"]
        environment = {**os.environ, "PYTHONPATH": str(Path(tracking.__file__).parents[2])}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*command, "--device=cpu", *options], env=environment, stdout=pipe, stderr=pipe, text=True
        )

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "it never came to that"
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        """The exit code, and what was said beside the results."""
        _, said = self.process.communicate(timeout=150)
        return self.process.returncode, said

    @property
    def trials(self) -> list[TrialFolder]:
        """Those that have been begun."""
        return [TrialFolder(path) for path in sorted((self.folder / "trials").glob("*"))]


@pytest.fixture
def sweep(tmp_path: Path) -> Any:
    (tmp_path / "spec.yaml").write_text(SPEC)
    begun: list[Sweeping] = []

    def begin(*options: str, folder: Path = tmp_path / "sweep") -> Sweeping:
        begun.append(Sweeping(folder, tmp_path / "spec.yaml", *options))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Each trial's scores in a sweep that nothing befell."""
    place = tmp_path_factory.mktemp("undisturbed")
    (place / "spec.yaml").write_text(SPEC)
    sweeping = Sweeping(place / "sweep", place / "spec.yaml", "--wandb=disabled")
    code, said = sweeping.end()
    assert code == 0, said
    return scores(sweeping)


def scores(sweeping: Sweeping) -> dict[str, bytes]:
    return {trial.path.name: trial.scores_file.read_bytes() for trial in sweeping.trials}


# --- W&B


def served(server: Any, trial: TrialFolder) -> Any:
    journal = Journal.read(trial.path)
    return server.runs.get(journal.identity.run_id) if journal else None


@pytest.mark.parametrize("behaviour", ["refuses", "hangs", "dead"])
def test_a_server_that_fails_during_a_sweep_costs_nothing(sweep, undisturbed, wandb_server, ganbench, told, behaviour):
    sweeping = sweep("--wandb=online")
    # one trial has arrived, and another is on its way
    sweeping.until(lambda: {run.exit_code for run in list(wandb_server.runs.values())} == {0, None})
    wandb_server.behaviour = behaviour
    code, said = sweeping.end()
    assert code == 0, said
    assert scores(sweeping) == undisturbed

    runs = [served(wandb_server, trial) for trial in sweeping.trials]
    lacking = [
        trial
        for trial, run in zip(sweeping.trials, runs, strict=True)
        if run is None or run.values != told(trial.path) or run.exit_code != 0
    ]
    assert 0 < len(lacking) < len(runs)
    found = re.search(rf"the W&B server lacks some of (\d+) trials of {sweeping.folder}; `ganbench sync ", said)
    assert found, said
    assert int(found[1]) >= len(lacking)

    if behaviour != "refuses":
        late = ganbench("sync", sweeping.folder)
        assert late.code == 1
        assert late.out.count("missing  ") == int(found[1])
    wandb_server.behaviour = "works"
    pushed = ganbench("sync", sweeping.folder)
    assert pushed.code == 0, pushed
    assert pushed.out.count("arrived  ") == int(found[1])
    for trial in sweeping.trials:
        run = served(wandb_server, trial)
        assert run.values == told(trial.path)
        assert (run.summary["status"], run.exit_code) == ("done", 0)
    assert ganbench("sync", sweeping.folder).out == ""


# --- the disk


@pytest.fixture
def disk(tmp_path: Path) -> Any:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk to fill")
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", place], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 8, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return filler


def test_a_sweep_on_a_full_disk_says_so_and_goes_on_when_there_is_room(sweep, undisturbed, disk):
    sweeping = sweep("--wandb=disabled", folder=disk / "sweep")
    states = ("done", "running")
    sweeping.until(lambda: {trial.status().get("state") for trial in sweeping.trials} >= set(states))
    filler = fill(disk)
    code, said = sweeping.end()
    assert code == 2, said
    assert "Traceback" not in said
    (sentence,) = [line for line in said.splitlines() if line.startswith("ganbench: ")]
    assert sentence.startswith(f"ganbench: the disk is full at {disk}/sweep")
    assert sentence.endswith("what was written before is intact")
    done = [trial for trial in sweeping.trials if trial.status().get("state") == "done"]
    kept = {trial.path.name: trial.scores_file.read_bytes() for trial in done}
    assert kept
    filler.unlink()

    again = sweep("--wandb=disabled", "--retry-failed", folder=disk / "sweep")
    code, said = again.end()
    assert code == 0, said
    assert scores(again) == undisturbed
    assert kept.items() <= undisturbed.items()
    for key in kept:  # what was done was not begun again
        assert log_file(again.folder, key).read_text().count(f"trial {key} begins") == 1


# --- a checkpoint


def test_a_truncated_checkpoint_is_passed_over_and_the_sweep_ends_the_same(sweep, undisturbed):
    sweeping = sweep("--wandb=disabled")

    def begun() -> list[TrialFolder]:
        return [
            trial
            for trial in sweeping.trials
            if trial.status().get("state") == "running"
            and trial.checkpoint_file("previous").exists()
            and trial.status().get("images", 0) >= 128
        ]

    sweeping.until(begun)
    sweeping.process.terminate()
    assert sweeping.end()[0] == 130
    stopped = [trial for trial in sweeping.trials if trial.status().get("state") == "interrupted"]
    assert stopped
    for trial in stopped:
        last = trial.checkpoint_file("last")
        os.truncate(last, last.stat().st_size // 2)
    again = sweep("--wandb=disabled")
    code, said = again.end()
    assert code == 0, said
    assert scores(again) == undisturbed
    for trial in stopped:
        log = log_file(again.folder, trial.path.name).read_text()
        assert str(trial.checkpoint_file("last")) in log
        assert "goes on from the one before it" in log

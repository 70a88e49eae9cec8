"""Real trials in real processes, which are really killed: the sweep ends as if nobody had touched it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.config import TrialConfig, trial_id
from harness.store import TrialFolder
from harness.sweep.claims import held
from harness.sweep.folder import extend, load_manifest, log_file, prepare, trial_folder
from harness.sweep.scheduler import MAX_RESTARTS
from harness.sweep.spec import SweepSpec
from harness.tracking.journal import Journal

DRIVE = Path(__file__).with_name("drive.py")
IMAGES = 512
TRIALS = 16
KILLS = 50
AHEAD = 4
"""While kills are left, so many trials are: else the sweep of a fast machine ends before its last kill."""
WANDB_SECONDS = 1.5
"""Roughly what an offline run adds to a trial's time: kills are to fall into its beginning and its end, too."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc"),
]


@pytest.fixture(scope="module")
def trial(tiny):
    """The sweep's trial of that number."""
    options = {"images": IMAGES, "evaluation.every": 64}
    return lambda number: tiny(("vanilla", "wgan")[number % 2], "ring8", seed=number, **options)


@pytest.fixture(scope="module")
def lay_out(trial):
    def prepare_real(folder: Path, trials: int) -> list[str]:
        configs = [trial(number) for number in range(trials)]
        spec = SweepSpec(name="s", grid=configs)
        return list(prepare(folder, spec).trials)

    return prepare_real


def start(folder: Path, *, tracking: str = "disabled") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(DRIVE), str(folder), tracking], start_new_session=True)


@pytest.fixture(scope="module")
def undisturbed(lay_out, tmp_path_factory):
    """The sweep that nobody touches."""
    folder = tmp_path_factory.mktemp("undisturbed")
    lay_out(folder, TRIALS)
    assert start(folder).wait(200) == 0
    return folder


def journal(folder: Path, key: str) -> list[str]:
    """Each time that the trial was begun or ended well, in order, from its log, which is only ever appended to."""
    lines = [line.split() for line in log_file(folder, key).read_text().splitlines() if line.startswith("ganbench: 20")]
    return [" ".join(words[4:-2]) for words in lines]


def add(folder: Path, config: TrialConfig) -> list[str]:
    """One more trial for the sweep, as a search does it."""
    extend(folder, lambda _: config)
    return [trial_id(config)]


def seconds(folder: Path, key: str) -> float:
    """How long the trial took from its first file to its last."""
    trial = trial_folder(folder, key)
    return trial.status_file.stat().st_mtime - trial.config_file.stat().st_mtime


def results(trial: TrialFolder) -> tuple[bytes, list[dict]]:
    """All that must not depend on what happened on the way."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in trial.history()]
    return trial.scores_file.read_bytes(), rows


def assert_equal_to(undisturbed: Path, folder: Path, keys: list[str]) -> None:
    for key in keys:
        assert trial_folder(folder, key).status()["state"] == "done"
        assert results(trial_folder(folder, key)) == results(trial_folder(undisturbed, key))
        book = journal(folder, key)
        assert book.count("ends done") <= 1, book
        assert "ends done" not in book[:-1], book
    assert list((folder / "claims").iterdir()) == []


def holders(folder: Path) -> dict[str, int]:
    """The process at each trial, by the trial's id."""
    found = {}
    for file in (folder / "claims").glob("*"):
        try:
            words = file.read_text().split()
        except FileNotFoundError:
            continue
        if len(words) == 2:
            found[file.name] = int(words[1])
    return found


class Executioner:
    """Kills trials' processes at random moments, each as often in a row as is borne without progress."""

    def __init__(self, folder: Path, keys: list[str], usual: float) -> None:
        self.folder = folder
        self.keys = keys
        self.usual = usual
        """Seconds that a trial takes."""
        self.chance = random.Random(4)
        self.kills: Counter[str] = Counter()
        self.places: list[int] = []
        """Images that had been shown at each kill."""
        self._moments: dict[tuple[str, int], float] = {}
        self._furthest: dict[str, int] = {}
        self._in_a_row: Counter[str] = Counter()

    def pass_by(self, drivers: int) -> None:
        """Kill who is due; the driver, who has each claim for a moment, is spared."""
        for key, pid in holders(self.folder).items():
            if pid in (drivers, os.getpid()) or self.kills.total() >= KILLS:
                continue
            if (key, pid) not in self._moments:
                self._moments[key, pid] = time.monotonic() + self.chance.uniform(0, self._patience())
            if time.monotonic() < self._moments[key, pid]:
                continue
            shown = trial_folder(self.folder, key).status().get("images", 0)
            if shown <= self._furthest.get(key, 0) and self._in_a_row[key] == MAX_RESTARTS:
                continue  # it is due as soon as it gets further
            if self.kills.total() == KILLS - 1 and max(self.places) <= IMAGES / 2 and shown <= IMAGES / 2:
                continue  # the last kill is for the second half, if no other was
            if held(self.folder, key):
                os.kill(pid, signal.SIGKILL)
                self._moments[key, pid] = float("inf")
                self._in_a_row[key] = 1 if shown > self._furthest.get(key, 0) else self._in_a_row[key] + 1
                self._furthest[key] = max(shown, self._furthest.get(key, 0))
                self.kills[key] += 1
                self.places.append(shown)

    def trials_left(self) -> int:
        return sum(not trial_folder(self.folder, key).scores_file.exists() for key in self.keys)

    def _patience(self) -> float:
        """A trial's whole time, or less where more kills are left than the trials left would come to."""
        return self.usual * min(1.0, 0.75 * self.trials_left() / (KILLS - self.kills.total()))


def test_killed_trials_end_as_if_nobody_had_touched_them(
    undisturbed, lay_out, trial, tmp_path, wandb_server, ganbench, told
):
    keys = lay_out(tmp_path, TRIALS)
    usual = sum(seconds(undisturbed, key) for key in keys) / TRIALS
    executioner = Executioner(tmp_path, keys, usual + WANDB_SECONDS)
    driver = start(tmp_path, tracking="offline")
    give_up = time.monotonic() + 240
    while driver.poll() is None:
        assert time.monotonic() < give_up
        executioner.pass_by(driver.pid)
        if executioner.kills.total() < KILLS and executioner.trials_left() < AHEAD:
            keys += add(tmp_path, trial(len(keys)))
        time.sleep(0.01)
    assert driver.returncode == 0
    assert executioner.kills.total() == KILLS
    assert min(executioner.places) == 0
    assert max(executioner.places) > IMAGES / 2
    for number in range(TRIALS, len(keys)):
        add(undisturbed, trial(number))
    assert len(keys) == TRIALS or start(undisturbed).wait(200) == 0
    assert_equal_to(undisturbed, tmp_path, keys)
    for key in keys:
        # a trial that was killed in the instant between being done and its process's end was not begun again
        assert 1 <= journal(tmp_path, key).count("begins") <= executioner.kills[key] + 1

    assert wandb_server.runs == {}
    assert ganbench("sync", tmp_path).code == 0
    assert len(wandb_server.runs) == len(keys)
    for key in keys:
        path = trial_folder(tmp_path, key).path
        run = wandb_server.runs[Journal.read(path).identity.run_id]
        assert run.values == told(path)
        assert (run.summary["status"], run.exit_code) == ("done", 0)
    assert ganbench("sync", tmp_path).out == ""


def test_a_killed_driver_is_started_again_until_all_is_done(undisturbed, lay_out, tmp_path):
    chance = random.Random(5)
    keys = lay_out(tmp_path, TRIALS)
    for _ in range(10):
        driver = start(tmp_path)
        time.sleep(chance.uniform(0.1, 4.5))
        driver.kill()
        driver.wait()
    assert start(tmp_path).wait(200) == 0
    assert set(load_manifest(tmp_path).trials) == set(keys)
    assert_equal_to(undisturbed, tmp_path, keys)

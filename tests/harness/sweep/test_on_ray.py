"""Sweeps on a real Ray of this machine, with workers and trials killed under way."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ganbench.errors import UserError
from harness.config import TrackingConfig
from harness.sweep.folder import load_manifest, prepare, trial_folder
from harness.sweep.on_ray import RayExecutor
from harness.sweep.scheduler import run_sweep
from harness.sweep.spec import read_spec

HERE = Path(__file__).parent
SPEC = """
method: grid
parameters:
  gan: {values: [vanilla, wgan]}
  seed: {values: [0]}
  dataset: {value: digits}
  images: {value: 512}
  gan.width: {value: 4}
  gan.batch_size: {value: 16}
  evaluation.n_fake: {value: 32}
  evaluation.splits: {value: 2}
  evaluation.every: {value: 128}
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    prepare(tmp_path / "s", read_spec(tmp_path / "spec.yaml"))
    return tmp_path / "s"


@pytest.fixture
def expected(tmp_path, folder) -> dict[str, bytes]:
    """What the same sweep's scores are without Ray, by trial."""
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(folder, undisturbed)
    local(undisturbed)
    return scores(undisturbed)


def local(folder: Path) -> None:
    outcome = run_sweep(folder, tracking=TrackingConfig(mode="disabled"), jobs=2, device="cpu")
    assert outcome.exit_code == 0


def scores(folder: Path) -> dict[str, bytes]:
    return {key: trial_folder(folder, key).scores_file.read_bytes() for key in load_manifest(folder).trials}


class Drive:
    """A sweep on Ray, in a process group of its own, whose trials stop halfway."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.place = folder.parent / "place"
        self.place.mkdir()
        self.scratch = Path(tempfile.mkdtemp(prefix="ray-"))  # short: the path of a socket has 107 characters
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
            "HELD_TRIALS": str(self.place),
            "TMPDIR": str(self.scratch),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "drive_ray.py"), str(folder), *options],
            env=environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def held(self, name: str) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        return (self.place / f"{name}.held").exists()

    def attempts(self, name: str) -> list[tuple[int, int]]:
        """Process id, and images shown at the first report, of each attempt at a trial."""
        lines = (self.place / name).read_text().splitlines()
        return [(int(pid), int(images)) for pid, images in (line.split() for line in lines)]

    def go(self) -> None:
        (self.place / "go").touch()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def clean_up(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        shutil.rmtree(self.scratch)


@pytest.fixture
def drive(folder) -> Iterator[Callable[..., Drive]]:
    started: list[Drive] = []

    def start(*options: str) -> Drive:
        started.append(Drive(folder, *options))
        return started[-1]

    yield start
    for one in started:
        one.clean_up()


def wait_until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def in_session(session: int) -> list[str]:
    """Commands of the processes that are alive in a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(stat.with_name("cmdline").read_text()[:200])
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.mark.slow
@needs_proc
def test_killed_workers_and_trials_leave_the_scores_as_they_are(folder, expected, drive):
    pytest.importorskip("ray")
    sweep = drive()
    wait_until(lambda: sweep.held("vanilla-0") and sweep.held("wgan-0"))
    ((trial, _),) = sweep.attempts("vanilla-0")
    os.kill(trial, signal.SIGKILL)
    ((orphan, _),) = sweep.attempts("wgan-0")
    worker = parent(parent(orphan))  # in between is the fork server
    assert "ray::" in Path(f"/proc/{worker}/cmdline").read_text()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: gone(orphan))
    sweep.go()
    code, out, err = sweep.end()
    assert code == 0, err
    assert out == "ready for results\n"  # what Ray has to say of the killed is not among them
    assert scores(folder) == expected
    for name in ("vanilla-0", "wgan-0"):
        (_, start), (_, again) = sweep.attempts(name)
        assert (start, again >= 256) == (0, True)  # from its checkpoint
    assert sorted(path.name for path in (folder / "claims").iterdir()) == []
    assert not list(folder.glob(".shared-*"))
    wait_until(lambda: in_session(sweep.process.pid) == [])


@pytest.mark.slow
@needs_proc
def test_nodes_that_share_no_folder_send_their_files(folder, expected, drive):
    pytest.importorskip("ray")
    sweep = drive("apart")
    wait_until(lambda: sweep.held("vanilla-0") and sweep.held("wgan-0"))
    ids = {config.gan.name: key for key, config in load_manifest(folder).trials.items()}
    checkpoints = trial_folder(folder, ids["wgan"]).path / "checkpoints"
    wait_until(lambda: checkpoints.is_dir() and len(list(checkpoints.iterdir())) > 0)
    ((orphan, _),) = sweep.attempts("wgan-0")
    os.kill(parent(parent(orphan)), signal.SIGKILL)
    for scratch in sweep.scratch.glob("ganbench-*"):  # as if another node took over
        shutil.rmtree(scratch / "trials" / ids["wgan"])
    wait_until(lambda: trial_folder(folder, ids["wgan"]).scores_file.exists())
    assert sweep.attempts("wgan-0")[1][1] >= 256
    sweep.process.send_signal(signal.SIGINT)
    wait_until(lambda: (sweep.place / "vanilla-0.asked").exists())
    sweep.go()
    code, _, err = sweep.end()
    assert code == 130, err
    assert "Traceback" not in err
    assert trial_folder(folder, ids["vanilla"]).status()["state"] == "interrupted"
    assert trial_folder(folder, ids["vanilla"]).status()["images"] >= 256
    assert not list(sweep.scratch.glob("ganbench-*/trials/*"))
    local(folder)  # continues what was sent
    assert scores(folder) == expected
    wait_until(lambda: in_session(sweep.process.pid) == [])


def executor(tmp_path: Path, address: str | None) -> RayExecutor:
    return RayExecutor(sweep=tmp_path, jobs=1, address=address, preload=())


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs Ray: run pip install 'ganbench\[ray\]'"):
        executor(tmp_path, None)


def test_addresses_that_are_none(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address, said in {
        f"127.0.0.1:{port}": rf"no Ray cluster answers at 127.0.0.1:{port}: give --address host:port",
        "here": "no Ray cluster answers at here",
        "here:99999": "no Ray cluster answers at here:99999",
        "ray://127.0.0.1:10001": "Ray's client cannot run a sweep",
    }.items():
        with pytest.raises(UserError, match=said), executor(tmp_path, address):
            pass
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(UserError, match=f"no Ray cluster answers at 127.0.0.1:{port}"), executor(tmp_path, "auto"):
        pass

"""No test here ever talks to a real W&B server; those that want one get one of their own, on the loopback interface."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.config import TrackingConfig, TrialConfig, resolve
from harness.tracking.client import end_service

Json = dict[str, Any]

collect_ignore = ["loopback_views.py"]  # no tests: it imports its neighbour, which only `_module` can find


@pytest.fixture(autouse=True)
def isolated_wandb(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("wandb-home")
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    yield
    if sys.modules.get("wandb"):
        end_service()  # it would go on with this test's environment


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features that take long enough to be stored are not stored in the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("GANBENCH_DATA", raising=False)
        yield


@pytest.fixture
def wandb_server(isolated_wandb: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A working server (`loopback.WandbServer`) with a login to it."""
    loopback = _module("loopback")
    with loopback.WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", loopback.API_KEY)
        yield server


def _module(name: str) -> Any:
    """A helper module beside this file: under pytest's importlib mode, tests import none by name."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wandb_views(wandb_server: Any) -> Any:
    """What that server keeps of reports and workspaces (`loopback_views.ViewServer`)."""
    return _module("loopback_views").ViewServer(wandb_server)


@dataclass(frozen=True)
class OfflineRun:
    """What W&B's own reader finds in an offline run's log."""

    folder: Path
    summary_report: Json
    records: list[Json]

    @property
    def config(self) -> Any:
        return self.summary_report["config"]

    @property
    def summary(self) -> Any:
        return self.summary_report["summary"]

    @property
    def exit_code(self) -> Any:
        return self.summary_report["exit_code"]

    @property
    def run(self) -> Json:
        return self.of("run")[0]

    @property
    def history(self) -> list[Json]:
        return [row["item"] for row in self.of("history")]

    def of(self, kind: str) -> list[Json]:
        return [record[kind] for record in self.records if record["type"] == kind]


@pytest.fixture
def read_offline_run() -> Callable[[Path], OfflineRun]:
    """Read the one offline run below a trial's folder, waiting for its exit code to reach the disk."""

    def read(trial: Path) -> OfflineRun:
        (log,) = trial.glob("wandb/offline-run-*/run-*.wandb")
        deadline = time.monotonic() + 60
        report: Json = {}
        while report.get("exit_code") is None:
            assert time.monotonic() < deadline, f"no exit code in {log}"
            time.sleep(0.02)
            report = json.loads(_inspect(log, "--summary"))
        return OfflineRun(log.parent, report, [json.loads(line) for line in _inspect(log).splitlines()])

    return read


def _inspect(log: Path, *options: str) -> str:
    """`wandb leet inspect`, without the second that its Python wrapper takes to import."""
    import wandb

    core = str(Path(wandb.__file__).parent / "bin" / "wandb-core")
    place = ["--run-file", str(log), str(log.parent.parent)]
    command = [core, "leet", "inspect", "--no-observability", "--json", *options, *place]
    return subprocess.check_output(command, text=True, timeout=120)


@pytest.fixture
def told() -> Callable[[Path], list[Json]]:
    """What W&B must have of a trial by the trial's own history, as `loopback.ServedRun.values` gives it."""
    from harness.store import TrialFolder
    from harness.tracking.tracker import wandb_row

    def rows(trial: Path) -> list[Json]:
        known = filter(None, map(wandb_row, TrialFolder(trial).history()))
        return [
            {"_step": step, **{name: value for name, value in row.items() if name != "spent/seconds"}}
            for step, row in enumerate(known)
        ]

    return rows


# --- trials small enough to train in a test


TINY: Json = {
    "gan.width": 4,
    "gan.batch_size": 16,
    "evaluation.n_fake": 32,
    "evaluation.splits": 2,
    "evaluation.generation_seeds": 2,
    "evaluation.every": 64,
}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., TrialConfig]:
    """A trial of a fraction of a second: `tiny("wgan", "ring8", **{"gan.n_critic": 2})`."""

    def make(gan: str = "vanilla", dataset: str = "digits", **options: Any) -> TrialConfig:
        few = {"evaluation.metrics": ["fid", "modes"]} if dataset == "ring8" else {}
        return resolve({"gan": gan, "dataset": dataset, "images": 256, **TINY, **few, **options})

    return make


@pytest.fixture(scope="session")
def train(tiny: Callable[..., TrialConfig]) -> Callable[..., Json]:
    """Train a trial in a folder of this process, untracked; returns its scores."""
    from harness.trial.experiment import run_trial

    def run(config: TrialConfig, folder: Path, **options: Any) -> Json:
        return run_trial(config, folder, **{"tracking": TrackingConfig(mode="disabled"), "device": "cpu", **options})

    return run


@pytest.fixture(scope="session")
def trained(
    tiny: Callable[..., TrialConfig], train: Callable[..., Json], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of one finished trial of `tiny()`; for reading only."""
    folder = tmp_path_factory.mktemp("trained") / "trial"
    train(tiny(), folder)
    return folder


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def mistake(self) -> str:
        """The one sentence of a refused command, without what every refusal has."""
        assert self.code == 2, self
        assert self.err.startswith("ganbench: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert self.out == ""
        return self.err.removeprefix("ganbench: ").rstrip()


@pytest.fixture
def ganbench(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ended]:
    """The command in this process, in an empty folder: `ganbench("train", "--gan", "wgan")`."""
    from harness import cli

    monkeypatch.chdir(tmp_path)
    for name, usual in {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}.items():
        monkeypatch.setenv(name, os.environ.get(name, usual))  # the command sets them: put back afterwards
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "data"))

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ganbench", *map(str, arguments)])
        capfd.readouterr()
        code: Any = 0
        try:
            cli.main()
        except SystemExit as leave:
            code = leave.code
        return Ended(code or 0, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def tiny_options() -> list[str]:
    """`tiny()` for the command line."""
    return [f"{key}={value}" for key, value in {"images": 256, **TINY}.items()]

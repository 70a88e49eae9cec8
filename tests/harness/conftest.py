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

Json = dict[str, Any]


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
    if wandb := sys.modules.get("wandb"):
        wandb.teardown()  # it would go on with this test's environment


@pytest.fixture
def wandb_server(isolated_wandb: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A working server (`loopback.WandbServer`) with a login to it."""
    spec = importlib.util.spec_from_file_location("loopback", Path(__file__).with_name("loopback.py"))
    assert spec
    assert spec.loader
    loopback = importlib.util.module_from_spec(spec)
    sys.modules["loopback"] = loopback  # dataclasses look their module up
    spec.loader.exec_module(loopback)
    with loopback.WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        yield server


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
        deadline = time.monotonic() + 10
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
    return subprocess.check_output(command, text=True, timeout=30)

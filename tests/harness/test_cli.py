"""The command line as people use it: in this process, and for sweeps in real processes."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from harness import cli, data
from harness.config import merge, resolve, trial_id
from harness.config_text import parse_assignments
from harness.store import TrialFolder
from harness.sweep.distributions import parse
from harness.theory.experiments import EXPERIMENTS

COMMAND = Path(sys.executable).with_name("ganbench")
LOCAL = ("--wandb=disabled", "--device=cpu")
COMMANDS = (
    "", "train", "sample", "evaluate", "sweep", "sweep run", "sweep status", "sweep retry", "sweep export",
    "sweep list", "report", "compare", "list", "check", "doctor", "sync", "cache", "cache prune",
)  # fmt: skip

SPEC = """\
name: small
method: grid
parameters:
  gan: {values: [vanilla, lsgan]}
  seed: {values: [0, 1]}
  dataset: {value: digits}
  images: {value: 128}
  gan.width: {value: 4}
  gan.batch_size: {value: 16}
  evaluation:
    parameters:
      n_fake: {value: 32}
      generation_seeds: {value: 2}
      metrics: {value: [fid]}
"""


def sweep_run(folder: Path, spec: str, *options: str) -> subprocess.CompletedProcess[str]:
    """`ganbench sweep run` as its own process tree, in `folder`."""
    (folder / "spec.yaml").write_text(spec)
    command = [COMMAND, "sweep", "run", "spec.yaml", *LOCAL, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A finished sweep of two variants and two seeds, and what running it said."""
    folder = tmp_path_factory.mktemp("sweep")
    ended = sweep_run(folder, SPEC, "--jobs=2")
    assert ended.returncode == 0, ended.stderr
    return folder / "runs" / "small", ended


def snapshot(folder: Path) -> dict[str, int]:
    return {str(f.relative_to(folder)): f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file()}


# --- help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(ganbench, command):
    ended = ganbench(*command.split(), "--help")
    assert ended.code == 0
    assert "Usage:" in ended.out
    assert ended.err == ""


def test_every_command_is_tried_here():
    from typer.main import get_command

    top = get_command(cli.app).commands
    found = {"", *top, *(f"{group} {name}" for group in ("sweep", "cache") for name in top[group].commands)}
    assert found == set(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["list", "gans"], ["sweep", "list"], ["sweep", "run", "modes", "--dry-run"]],
)
def test_what_only_talks_imports_nothing_heavy(arguments):
    check_imports(arguments)


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_nor_does_what_only_reads_a_sweeps_folder(sweep, option):
    check_imports(["sweep", "status", str(sweep[0]), *option])


def check_imports(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom harness.cli import main\n"
        f"sys.argv = ['ganbench', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as leave:\n    assert not leave.code, leave.code\n"
        "heavy = {'torch', 'pytorch_lightning', 'wandb', 'pandas', 'numpy', 'matplotlib', 'sklearn', 'scipy'}\n"
        "heavy.add('optuna')\n"
        "sys.exit(', '.join(sorted(heavy & sys.modules.keys())) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.strip()) == (0, "")


def test_version(ganbench):
    from importlib.metadata import version

    assert ganbench("--version").out.strip() == version("ganbench")


# --- train


def test_train_twice_trains_once(ganbench, tiny, tiny_options, trained, tmp_path):
    command = ("train", "--gan=vanilla", "--dataset=digits", *LOCAL, *tiny_options)
    first = ganbench(*command)
    folder = Path("runs") / f"vanilla-digits-{trial_id(tiny())}"
    assert first.code == 0
    assert first.out.splitlines()[-1] == f"run: {folder}"
    assert "FID (digits)" in first.out
    assert (tmp_path / folder / "scores.json").read_bytes() == (trained / "scores.json").read_bytes()
    before = snapshot(tmp_path)
    second = ganbench(*command)
    assert (second.code, second.out) == (0, first.out)
    assert snapshot(tmp_path) == before


def test_train_from_a_config_file_with_options_and_assignments_over_it(ganbench, trained, tmp_path):
    command = ("train", "--config", trained / "config.yaml", "--seed=4", "--images=64", "--out=here", *LOCAL)
    assert ganbench(*command, "evaluation.metrics=[fid]", "data.n=100").code == 0
    config = TrialFolder(tmp_path / "here").config()
    file = yaml.safe_load((trained / "config.yaml").read_text())
    changes = {"seed": 4, "images": 64, "evaluation.metrics": ["fid"], "data.n": 100}
    assert config == resolve(merge(file, changes))


def test_a_diverged_training_is_told_in_a_line(ganbench, tiny_options):
    command = ("train", "--gan=vanilla", "--dataset=digits", "--out=t", *LOCAL, *tiny_options)
    ended = ganbench(*command, "gan.lr_discriminator=1e30")
    assert ended.code == 1
    assert ended.out == ""
    assert "diverged: loss/" in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_says_how_to_go_on(ganbench, tiny_options, monkeypatch):
    import gans

    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    command = ("train", "--gan=vanilla", "--dataset=digits", "--out=t", *LOCAL, *tiny_options)
    with monkeypatch.context() as patched:
        patched.setattr(gans.GAN, "generator_step", ctrl_c)
        patched.setattr(gans.module.GAN, "generator_step", ctrl_c)
        ended = ganbench(*command)
    assert ended.code == 130
    assert "the same command continues where it was (t)" in ended.err
    assert "Traceback" not in ended.err
    assert ganbench(*command).code == 0


# --- sample


def test_sample_i_depends_on_the_seed_and_i_alone(ganbench, trained, tmp_path):
    for n, name in ((3, "few.npz"), (70, "many.npz")):
        assert ganbench("sample", trained, "-n", n, "--seed=5", "--out", name).out.strip() == name
    assert ganbench("sample", trained / "checkpoints" / "last.pt", "-n", 3, "--seed=5", "--out=folder").code == 0
    assert ganbench("sample", trained, "-n", 3, "--seed=5", "--out=grid.png").code == 0
    assert ganbench("sample", trained, "-n", 3, "--seed=6", "--out=other.npz", "--weights=raw").code == 0
    few, many, other = (np.load(tmp_path / f"{name}.npz") for name in ("few", "many", "other"))
    with few, many, other:
        array = few["images"]
        np.testing.assert_array_equal(array, many["images"][:3])
        assert not np.array_equal(array, other["images"])
    for index in range(3):
        with Image.open(tmp_path / "folder" / f"{index:06d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), array[index, 0])
    assert (tmp_path / "grid.png").is_file()


# --- evaluate


def test_evaluate_prints_a_table_or_json_with_the_protocol(ganbench, trained, tmp_path):
    np.savez(tmp_path / "fakes.npz", images=data.load("digits").train[:100])
    subjects = (trained, trained / "checkpoints" / "best.pt", "fakes.npz")
    for fake in subjects:
        drawn = () if fake == "fakes.npz" else ("-n", 40)
        common = ("evaluate", "--real=digits", "--metrics=fid, kid", *drawn)
        table = ganbench(*common, "--fake", fake)
        assert table.code == 0
        printed = ganbench(*common, "--fake", fake, "--json")
        result = json.loads(printed.out)
        assert set(result["scores"]) == {"fid", "kid"}
        assert result["protocol"]["dataset"] == "digits"
        assert f"{result['scores']['fid']['value']:.4g}" in table.out
        assert result["protocol_id"] in table.out
        assert result["protocol"]["n_fake"] == (100 if fake == "fakes.npz" else 40)


# --- sweeps


def test_a_sweep_trains_every_trial_and_writes_the_comparison(sweep):
    folder, ended = sweep
    trials = [TrialFolder(path) for path in (folder / "trials").iterdir()]
    assert len(trials) == 4
    assert {trial.status()["state"] for trial in trials} == {"done"}
    assert len({trial.scores()["results"][0]["protocol_id"] for trial in trials}) == 1
    assert ended.stderr.count("done in") == 4
    assert "\nlsgan  " in ended.stdout
    assert "untrained generator" in ended.stdout
    report = folder / "report"
    assert f"report: {report.relative_to(folder.parents[1])}" in ended.stdout
    assert {"index.html", "table.md", "table.tex", "table.csv", "table.json", "data"} <= {
        file.name for file in report.iterdir()
    }


def test_trials_of_a_sweep_have_the_bits_of_single_ones(sweep, ganbench, tmp_path):
    folder, _ = sweep
    trial = next((folder / "trials").iterdir())
    assert ganbench("train", "--config", trial / "config.yaml", "--out=single", *LOCAL).code == 0
    assert (tmp_path / "single" / "scores.json").read_bytes() == (trial / "scores.json").read_bytes()


def test_a_finished_sweep_is_not_trained_again(sweep, ganbench, monkeypatch):
    folder, first = sweep
    before = snapshot(folder / "trials")
    monkeypatch.chdir(folder.parents[1])
    again = ganbench("sweep", "run", "spec.yaml", *LOCAL)
    assert again.code == 0
    assert again.err == ""  # a trained trial is a line there
    assert again.out == first.stdout
    assert snapshot(folder / "trials") == before


def test_sweep_status(sweep, ganbench):
    folder, _ = sweep
    text = ganbench("sweep", "status", folder)
    assert text.code == 0
    assert "4 done" in text.out.splitlines()
    rows = [json.loads(line) for line in ganbench("sweep", "status", folder, "--json").out.splitlines()]
    listed = [line.split()[0] for line in text.out.splitlines() if re.match(r"[0-9a-f]{12} ", line)]
    assert [row["id"] for row in rows] == listed
    for row in rows:
        history = TrialFolder(folder / "trials" / row["id"]).history()
        looks = [line["scores"]["fid"]["value"] for line in history if line["kind"] == "scores"]
        assert (row["metric"], row["score"], row["best"]) == ("fid", looks[-1], min(looks))
    assert {(row["state"], row["images"], row["total_images"]) for row in rows} == {("done", 128, 128)}
    assert [row["label"] for row in rows] == [f"{gan} seed {seed}" for seed in (0, 1) for gan in ("vanilla", "lsgan")]


def test_watching_is_for_people(sweep, ganbench):
    folder, _ = sweep
    assert "--watch needs a terminal" in ganbench("sweep", "status", folder, "--watch").mistake()
    assert "do not go together" in ganbench("sweep", "status", folder, "--watch", "--json").mistake()


@pytest.mark.parametrize(
    ("fmt", "start"), [("md", "##"), ("tex", "% needs"), ("csv", "recipe"), ("json", "{"), ("html", "out/")]
)
def test_report_in_every_format(sweep, ganbench, tmp_path, fmt, start):
    folder, _ = sweep
    ended = ganbench("report", folder, "--format", fmt, "--out=out")
    assert ended.code == 0
    if fmt == "html":
        page = Path(ended.out.strip()).read_text()
        assert "lsgan" in page
        assert "<script src" not in page
    elif fmt == "csv":
        rows = list(csv.reader(io.StringIO(ended.out)))
        assert len({len(row) for row in rows}) == 1
        assert {"vanilla", "lsgan"} <= {cell for row in rows for cell in row}
    else:
        assert ended.out.startswith(start)
        assert "lsgan" in ended.out


def test_a_failing_trial_is_a_result_and_stops_no_other(tmp_path):
    spec = SPEC.replace("{values: [0, 1]}", "{value: 0}").replace("[vanilla, lsgan]", "[vanilla]")
    ended = sweep_run(tmp_path, spec + "  gan.lr_discriminator: {values: [1.0e+30, 0.001]}\n", "--jobs=1")
    folder = tmp_path / "runs" / "small"
    assert ended.returncode == 1
    states = {}
    for path in (folder / "trials").iterdir():
        trial = TrialFolder(path)
        states[trial.config().gan.lr_discriminator] = trial.status()
    assert states[0.001]["state"] == "done"
    assert states[1e30]["state"] == "diverged"
    assert "at 16 images" in states[1e30]["reason"]
    assert "1 trial diverged" in ended.stderr
    assert re.search(r"lr_discriminator=1e\+30 +1 +0 +1 +1/1 \(21–100 %\)", ended.stdout)
    assert states[1e30]["reason"] in (folder / "report" / "table.md").read_text()
    assert states[1e30]["reason"] in ended.stderr


def test_retry_queues_what_failed_and_on_request_what_diverged(ganbench, sweep, tmp_path):
    shutil.copytree(sweep[0], tmp_path / "s")
    failed, diverged, *_ = (TrialFolder(path) for path in sorted((tmp_path / "s" / "trials").iterdir()))
    assert ganbench("sweep", "retry", "s").out == "no trial is queued again: none has failed\n"
    failed.write_status("failed", reason="killed by signal 9")
    diverged.write_status("diverged", reason="NaN")
    assert ganbench("sweep", "retry", "s").out.startswith("1 trial is queued again; ")
    assert (failed.status().get("state"), diverged.status()["state"]) == (None, "diverged")
    assert ganbench("sweep", "retry", "s", "--diverged").out.startswith("1 trial is queued again; ")
    assert diverged.status().get("state") is None
    assert "none holds no sweep" in ganbench("sweep", "retry", "none").mistake()


def test_a_dry_run_lists_the_trials_and_writes_nothing(ganbench, tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    ended = ganbench("sweep", "run", "spec.yaml", "--dry-run", "images=256")
    assert ended.code == 0
    assert ended.out.splitlines()[0] == "vanilla seed 0: 256 images of digits"
    assert len(ended.out.splitlines()) == 4
    assert [f.name for f in tmp_path.iterdir()] == ["spec.yaml"]


def test_a_dry_run_says_how_many_trials_a_search_will_add(ganbench, tmp_path):
    lines = ganbench("sweep", "run", "lucic", "--dry-run").out.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and up to 25 more that the search takes from their results"
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_sweeps_are_listed_and_exported(ganbench, tmp_path):
    listed = [line.split()[0] for line in ganbench("sweep", "list").out.splitlines()]
    assert "quickstart" in listed
    assert "theory/sensitivity" in listed
    experiments = {f"theory/{entry.name}" for entry in EXPERIMENTS.entries()}
    assert experiments <= set(listed)
    for name in set(listed) - experiments:
        ended = ganbench("sweep", "export", name)
        exported = yaml.safe_load(ended.out)
        assert ("note: W&B has no phases" in ended.err) == (name == "lucic")
        assert exported["program"] == "ganbench"
        point = {key: parse(key, block).quantile(0.0) for key, block in exported["parameters"].items()}
        assignments = [f"{key}={json.dumps(value)}" for key, value in point.items()]  # as W&B's agent gives them
        variant = point["gan.name"] if "gan.name" in point else point["gan"]["name"]  # with what goes with it
        assert resolve(parse_assignments(assignments)).gan.name == variant
    assert list(tmp_path.iterdir()) == []


# --- a large sweep is asked about


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A spec of 1,200 trials, and a scheduler that only remembers being called."""
    from harness.sweep import scheduler

    started = []

    def remember(folder, **_: object) -> scheduler.SweepOutcome:
        started.append(folder)
        return scheduler.SweepOutcome((), (), {}, interrupted=True)

    monkeypatch.setattr(scheduler, "run_sweep", remember)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large.yaml").write_text(SPEC.replace("[0, 1]", str(list(range(600)))))
    return started


def test_nobody_there_to_ask(large, ganbench, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    refusal = ganbench("sweep", "run", "large.yaml", *LOCAL).mistake()
    assert "1,200 trials, 153,600 real images" in refusal
    assert "--yes" in refusal
    assert not large
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("n\n", False), ("", False)])
def test_the_answer_counts(large, tmp_path, monkeypatch, answer, goes_on):
    from typer.testing import _NamedTextIOWrapper

    monkeypatch.setattr(_NamedTextIOWrapper, "isatty", lambda self: True, raising=False)
    CliRunner().invoke(cli.app, ["sweep", "run", "large.yaml", *LOCAL], input=answer)
    assert bool(large) == goes_on
    assert (tmp_path / "runs").exists() == goes_on


@pytest.mark.parametrize("leave", [KeyboardInterrupt, EOFError])
def test_ctrl_c_or_ctrl_d_at_the_question(large, ganbench, monkeypatch, leave):
    def answer(*_: object) -> str:
        raise leave

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer._click.termui.visible_prompt_func", answer)
    ended = ganbench("sweep", "run", "large.yaml", *LOCAL)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert not large


def test_yes_is_an_answer(large, ganbench):
    ganbench("sweep", "run", "large.yaml", "--yes", *LOCAL)
    assert large


# --- the rest


@pytest.mark.parametrize("what", ["gans", "networks", "datasets", "features", "metrics"])
def test_list(ganbench, what):
    ended = ganbench("list", what)
    assert ended.code == 0
    assert len(ended.out.splitlines()) >= 3


def test_doctor_says_that_all_is_well(ganbench):
    ended = ganbench("doctor")
    assert ended.code == 0
    assert "self-test   ok" in ended.out


def test_doctor_ends_with_1_when_it_is_not(ganbench, monkeypatch):
    monkeypatch.setattr("metrics.selftest.self_test", lambda: iter([("numbers", False)]))
    ended = ganbench("doctor")
    assert ended.code == 1
    assert "FAIL numbers" in ended.out

"""The theory bench from the command: files, pages, continuation, and how mistakes are told."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pytest
import yaml

from ganbench.errors import UserError
from ganbench.files import write_atomic
from harness.sweep import shipped
from harness.theory import folder as folders
from harness.theory.experiments import EXPERIMENTS, Curve
from harness.theory.folder import collect
from harness.theory.spec import is_theory, read_heading, read_theory
from reports.bench import CURVES, Bench, Plot, deviations

LINES = "name: few\ntheory: parallel-lines\nseeds: 3\nparameters: {thetas: [-1, 0, 0.5], samples: 300}\n"
SMALL: dict[str, dict[str, Any]] = {
    "optimal-discriminator": {"fakes": [[1, 1]], "steps": 25, "batch": 16, "width": 4},
    "gradient-strength": {"separations": [1, 2], "shown": 2, "samples": 500, "steps": 3, "batch": 16, "width": 4},
    "parallel-lines": {"thetas": [-1, 0.5], "samples": 200},
    "bilinear": {"steps": 30, "long": 60, "sizes": [0.3]},
}
Command = Callable[..., Any]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "few.yaml"
    path.write_text(LINES)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("theory", SMALL)
def test_every_experiment_is_measured_and_its_page_written(ganbench: Command, tmp_path: Path, theory: str) -> None:
    assert set(SMALL) == {entry.name for entry in EXPERIMENTS.entries()}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"theory": theory, "seeds": 1, "parameters": SMALL[theory]}))
    ended = ganbench("sweep", "run", "x.yaml")
    assert ended.code == 0, ended
    assert "report: runs/x/report/index.html" in ended.out
    bench = collect(tmp_path / "runs" / "x")
    assert {plot.name for plot in bench.plots} == set(bench.curves["plot"])
    judged = {plot.name for plot in bench.plots if plot.error != "none"}
    assert {one.plot.name for one in deviations(bench)} == judged
    exact = {"bilinear": 1e-9, "parallel-lines": 1.2}.get(theory)
    if exact is not None:
        assert all(one.largest < exact for one in deviations(bench) if one.plot.error != "bound")


def test_a_bench_continues_grows_and_is_rebuilt_to_the_same_bytes(
    ganbench: Command, tmp_path: Path, spec: Path
) -> None:
    folder = Path("runs") / "few"
    first = ganbench("sweep", "run", spec, "seeds=1")
    assert first.code == 0, first
    assert first.err.count("measured in") == 1
    kept = (folder / "seeds" / "0.json").read_bytes()
    again = ganbench("sweep", "run", spec)
    assert again.err.count("measured in") == 2  # the other two
    assert (folder / "seeds" / "0.json").read_bytes() == kept
    assert ganbench("sweep", "run", spec).err == ""
    before = files(folder / "report")
    assert {"index.html", "table.md", "table.tex", "table.csv", "table.json", "figures/distance.svg"} <= set(before)
    for name in ("md", "tex", "csv", "json"):
        assert ganbench("report", folder, "--format", name).out.encode() == before[f"table.{name}"]
    assert ganbench("report", folder, "--format", "html").out.strip().endswith("index.html")
    assert files(folder / "report") == before
    facts = json.loads(before["table.json"])
    assert [row["n"] for row in facts["curves"]] == [3] * 4
    assert all(row["low"] <= row["mean"] <= row["high"] for row in facts["curves"])


def test_seeds_are_functions_of_their_number_alone(ganbench: Command, tmp_path: Path, spec: Path) -> None:
    ganbench("sweep", "run", spec, "seeds=[2]", "--out", "alone")
    ganbench("sweep", "run", spec, "--out", "together")
    alone, together = (json.loads((tmp_path / out / "seeds" / "2.json").read_text()) for out in ("alone", "together"))
    assert alone["curves"] == together["curves"]


def test_status_says_how_far_it_is(ganbench: Command, tmp_path: Path, spec: Path) -> None:
    ganbench("sweep", "run", spec)
    (tmp_path / "runs" / "few" / "seeds" / "1.json").unlink()
    said = ganbench("sweep", "status", "runs/few").out.splitlines()
    assert said[0] == "few: 2 of 3 seeds measured"
    assert said[2] == "  seed 1: pending"
    rows = [json.loads(line) for line in ganbench("sweep", "status", "runs/few", "--json").out.splitlines()]
    assert [row["state"] for row in rows] == ["done", "pending", "done"]
    assert "1 not measured yet" in Path(ganbench("report", "runs/few", "--format", "html").out.strip()).read_text()


def test_a_dry_run_measures_nothing(ganbench: Command, tmp_path: Path, spec: Path) -> None:
    ended = ganbench("sweep", "run", spec, "samples=7", "--dry-run")
    assert ended.out.splitlines()[0] == "parallel-lines: seeds 0, 1, 2; no trial is trained"
    assert "  samples: 7" in ended.out
    assert list(tmp_path.iterdir()) == [spec]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("theory: bilnear", "unknown theory 'bilnear': did you mean 'bilinear'?"),
        ("theory: bilinear\nmethod: grid", "unknown key of a theory file 'method'"),
        ("theory: bilinear\nparameters: {stepz: 1}", "unknown parameter of bilinear 'stepz': did you mean 'step'?"),
        ("theory: bilinear\nparameters: {step: 1.5}", "parameter step must be below 1: got 1.5"),
        ("theory: bilinear\nparameters: {steps: many}", 'parameter steps must be a whole number: got "many"'),
        ("theory: bilinear\nparameters: [1]", "parameters must be options of the experiment"),
        ("theory: bilinear\nseeds: 0", "seeds must be a whole number from 1, got 0"),
        ("theory: bilinear\nseeds: [1, 1]", "seeds must be a count or a list without repetition"),
        ("theory: bilinear\nname: a/b", "name 'a/b' would be a folder"),
        ("theory: bilinear\ndescription: 3", "description must be text"),
        ("theory: gradient-strength\nparameters: {separations: []}", "parameter separations must name at least one"),
        ("theory: gradient-strength\nparameters: {separations: [0]}", "parameter separations.0 must be above 0: got 0"),
        ("theory: parallel-lines\nparameters: {thetas: [0, 1, -0.0]}", "parameter thetas: names -0.0 twice"),
        ("theory: bilinear\nparameters: {sizes: [0.1, 0.1]}", "which would count as more seeds: leave one out"),
        ("theory: gradient-strength\nparameters: {separations: [1, 1.0]}", "parameter separations: names 1.0 twice"),
        (
            "theory: optimal-discriminator\nparameters: {fakes: [[1, 1], [1, 1]]}",
            "parameter fakes: names [1.0, 1.0] twice",
        ),
        (
            "theory: optimal-discriminator\nparameters: {fakes: [[1]]}",
            "parameter fakes.0: must be [mean, standard deviation]",
        ),
        (
            "theory: optimal-discriminator\nparameters: {fakes: [[1, 0]]}",
            "parameter fakes.0: must be [mean, standard deviation]",
        ),
    ],
)
def test_a_mistake_in_a_theory_file_is_one_sentence(
    ganbench: Command, tmp_path: Path, change: str, message: str
) -> None:
    (tmp_path / "bad.yaml").write_text(change)
    assert message in ganbench("sweep", "run", "bad.yaml").mistake()
    assert not (tmp_path / "runs").exists()


def test_mistakes_about_folders_and_commands(ganbench: Command, tmp_path: Path, spec: Path) -> None:
    ganbench("sweep", "run", spec, "seeds=1")
    assert "holds another experiment (samples)" in ganbench("sweep", "run", spec, "samples=99").mistake()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine")
    assert "holds no experiment" in ganbench("sweep", "run", spec, "--out", "other").mistake()
    assert "'samples' is no key=value" in ganbench("sweep", "run", spec, "samples").mistake()
    assert "trains no GAN" in ganbench("sweep", "export", spec).mistake()
    assert "holds no trials" in ganbench("sweep", "retry", "runs/few").mistake()
    assert "leave out --baseline" in ganbench("report", "runs/few", "--baseline", "wgan").mistake()
    assert "name its folder alone" in ganbench("report", "runs/few", "runs/few").mistake()
    assert "without trials" in ganbench("compare", "runs/few", "runs/few").mistake()
    (tmp_path / "runs" / "few" / "seeds" / "0.json").write_text("{")
    assert "the same `ganbench sweep run` measures this seed again" in ganbench("report", "runs/few").mistake()
    (tmp_path / "runs" / "few" / "theory.json").write_text("{}")
    assert "theory.json is damaged" in ganbench("sweep", "status", "runs/few").mistake()


def test_nothing_measured_yet_is_said(ganbench: Command, tmp_path: Path, spec: Path) -> None:
    ganbench("sweep", "run", spec, "seeds=1")
    (tmp_path / "runs" / "few" / "seeds" / "0.json").unlink()
    assert "no seed of runs/few is measured yet" in ganbench("report", "runs/few").mistake()


def test_what_is_not_finite_is_refused(ganbench: Command, tmp_path: Path) -> None:
    (tmp_path / "far.yaml").write_text("theory: bilinear\nseeds: 1\nparameters: {step: 0.9, steps: 3000, long: 5}")
    assert "went beyond the largest number" in ganbench("sweep", "run", "far.yaml").mistake()


def test_a_step_whose_distances_have_no_square_is_measured_and_reported(ganbench: Command, tmp_path: Path) -> None:
    (tmp_path / "near.yaml").write_text("theory: bilinear\nseeds: 1\nparameters: {step: 0.9, long: 5, sizes: [0.3]}")
    ended = ganbench("sweep", "run", "near.yaml")
    assert ended.code == 0, ended
    bench = collect(tmp_path / "runs" / "near")
    last = bench.curves[(bench.curves["plot"] == "constant") & (bench.curves["curve"] == "prediction step")].iloc[-1]
    assert math.log10(last["closed"]) == pytest.approx(600 * math.log10(1 - 0.9**2) / 2, abs=1)
    assert all(one.largest < 1e-9 for one in deviations(bench) if one.plot.error == "relative")


@pytest.mark.parametrize(
    "parameters",
    [
        ("gradient-strength", "{separations: [1, 100], shown: 1, samples: 500, steps: 1, batch: 8, width: 2}"),
        ("bilinear", "{step: 0.9, steps: 3000, long: 5}"),
    ],
)
def test_what_cannot_be_reported_is_refused_before_it_is_written(
    ganbench: Command, tmp_path: Path, parameters: tuple[str, str]
) -> None:
    (tmp_path / "far.yaml").write_text("theory: {}\nseeds: 1\nparameters: {}".format(*parameters))
    ganbench("sweep", "run", "far.yaml").mistake()
    assert not (tmp_path / "runs" / "far" / "seeds").exists()


NO_GOOD = [
    (Curve("distance", "JS", [0, 1], [1.0], [1.0, 1.0]), "JS in distance has lists of 2, 1, 2 values"),
    (Curve("distance", "JS", [0, 1], [1.0, 1.0], [1.0]), "has lists of 2, 2, 1 values"),
    (Curve("distance", "JS", [0, math.nan], [1.0, 1.0]), "came to NaN or infinity"),
    (Curve("distance", "JS", [0, 1], [1.0, 1.0], [math.inf, 1.0]), "came to NaN or infinity"),
    (Curve("distance", "JS", [1, 1], [1.0, 2.0]), "has two points at 1, which would count as two seeds"),
    (Curve("share", "JS", [0, 1], [1.0, 0.0], [1.0, 0.0]), "should come to 0 at 1, too little for an error"),
    (Curve("share", "JS", [0], [1e200], [1e-200]), "should come to 1e-200 at 0, too little for an error"),
    (Curve("elsewhere", "JS", [0], [1.0]), "belongs to no plot of the experiment: name one of distance, share"),
]


@pytest.mark.parametrize(("curve", "message"), NO_GOOD)
def test_curves_that_could_not_be_drawn_are_refused_before_they_are_written(
    tmp_path: Path, spec: Path, monkeypatch: pytest.MonkeyPatch, curve: Curve, message: str
) -> None:
    lines = EXPERIMENTS.load("parallel-lines")
    plots = (lines.plots[0], replace(lines.plots[0], name="share", error="relative"))
    broken = replace(lines, plots=plots, measure=lambda *_: [curve])
    monkeypatch.setattr("harness.theory.parallel_lines.EXPERIMENT", broken)
    held = folders.prepare(tmp_path / "out", read_theory(spec))
    with pytest.raises(UserError) as told:
        folders.measure(tmp_path / "out", held)
    assert message in str(told.value)
    assert not (tmp_path / "out" / "seeds").exists()


def test_a_relative_error_is_taken_where_there_is_something_to_be_relative_to() -> None:
    rows = [("share", "a", 0, x, measured, closed) for x, measured, closed in ((1, 0.0, 0.0), (2, 3.0, 2.0))]
    rows += [("share", "b", 0, 1, 0.0, 0.0), ("share", "c", 0, 1, 1.0, 0.0), ("share", "c", 0, 2, 4.0, 4.0)]
    plot = Plot("share", "Share", "x", "y", "-", error="relative")
    found = deviations(Bench("t", (), (plot,), pd.DataFrame(rows, columns=CURVES), 1))
    assert [(one.curve, one.points, one.largest, one.at) for one in found] == [
        ("a", 2, 0.5, 2),
        ("b", 1, 0.0, 1),
        ("c", 1, 0.0, 2),
    ]


def test_the_commands_of_a_page_make_it_again(ganbench: Command, tmp_path: Path, spec: Path) -> None:
    spec.write_text(f"{LINES}description: the lines' few\n")
    ganbench("sweep", "run", spec, "seeds=[3, 1]", "samples=200", "thetas=[0.5]", "--out", "two words")
    run, report = collect(Path("two words")).commands
    assert ganbench(*shlex.split(run)[1:]).code == 0
    assert ganbench(*shlex.split(report)[1:]).code == 0
    first, again = Path("two words"), Path("two words-again")
    for name in ("theory.json", "sweep.yaml", "report/table.csv"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    assert read_theory(again / "sweep.yaml").description == "the lines' few"


def test_an_interruption_between_the_two_files_leaves_what_can_be_taken_up(
    tmp_path: Path, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def write(path: Path, write: Callable[[BinaryIO], object]) -> None:
        if written:
            raise KeyboardInterrupt
        write_atomic(path, write)
        written.append(path)

    with monkeypatch.context() as patched:
        patched.setattr("ganbench.files.write_atomic", write)
        with pytest.raises(KeyboardInterrupt):
            folders.prepare(tmp_path / "out", read_theory(spec))
    folders.prepare(tmp_path / "out", read_theory(spec))
    assert is_theory(tmp_path / "out" / "sweep.yaml")


DAMAGED = [
    "{",
    "[]",
    '{"seed": 1, "seconds": 1, "environment": {}, "curves": [3]}',
    '{"seed": 2, "seconds": 1, "environment": {}, "curves": []}',
    '{"seed": 1, "seconds": 1, "environment": {}, "curves": [{"plot": "distance", "label": "W", "x": [1], '
    '"measured": [], "closed": null}]}',
    '{"seed": 1, "seconds": 1, "environment": {}, "curves": [{"plot": "distance", "label": "W", "x": [1], '
    '"measured": [NaN], "closed": null}]}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_seed_is_told_and_measured_again(ganbench: Command, tmp_path: Path, spec: Path, text: str) -> None:
    ganbench("sweep", "run", spec)
    file = tmp_path / "runs" / "few" / "seeds" / "1.json"
    curves = json.loads(file.read_text())["curves"]
    file.write_text(text)
    said = ganbench("sweep", "status", "runs/few").out.splitlines()
    assert (said[0], said[2]) == ("few: 2 of 3 seeds measured", "  seed 1: damaged")
    assert "1.json is damaged" in ganbench("report", "runs/few").mistake()
    again = ganbench("sweep", "run", spec)
    assert (again.code, again.err.count("measured in")) == (0, 1)
    assert json.loads(file.read_text())["curves"] == curves


def test_the_shipped_experiments() -> None:
    ours = [path for path in shipped.specs() if is_theory(path)]
    assert {shipped.name_of(path) for path in ours} == {f"theory/{entry.name}" for entry in EXPERIMENTS.entries()}
    for path in ours:
        spec = read_theory(path)
        assert (spec.name, len(spec.seeds)) == (spec.theory, 5)
        assert read_heading(path) == (spec.name, 5, spec.description)
        assert shipped.find(Path("theory") / spec.name) == path
    with pytest.raises(UserError, match=r"theory/bilinear"):
        shipped.find(Path("theory/bilinearr"))

"""From run folders to tidy frames."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import tracemalloc
from pathlib import Path

import pytest

from ganbench.errors import UserError
from harness.config import trial_id
from harness.config_text import parse_assignments
from harness.results import collect, find_trials
from harness.store import TrialFolder
from harness.sweep.benchmark import Metric
from harness.sweep.folder import extend, load_manifest, prepare, trial_folder
from harness.sweep.search import Search
from harness.sweep.spec import SweepSpec, read_spec
from reports import comparison, write

NAN = {"kind": "nan", "images": 64, "detail": "loss/generator became nan"}


@pytest.fixture
def sweep(tmp_path, tiny, trained):
    """Four trials: one done, one failed, one diverged, one never started."""
    folder = tmp_path / "mine"
    configs = [tiny(), tiny(seed=1), tiny(seed=2), tiny("lsgan")]
    spec = SweepSpec(name="mine", source_text="x: 1\n", grid=configs)
    done, failed, diverged, _ = prepare(folder, spec).trials
    shutil.copytree(trained, trial_folder(folder, done).path)
    trial_folder(folder, failed).claim(configs[1])
    trial_folder(folder, failed).write_status("failed", reason="killed by signal 9", images=16)
    trial_folder(folder, diverged).write_status(
        "diverged", reason="loss/generator became nan at 64 images", images=64, problems=[NAN]
    )
    return folder


def test_scores_are_one_row_per_trial_result_and_metric(sweep, trained):
    results = collect([sweep])
    scores = TrialFolder(trained).scores()["results"]
    assert len(results.scores) == len(scores) * 6
    main = results.scores.query("checkpoint == 'last' and weights == 'ema'").set_index("metric")
    assert main.loc["fid", "value"] == scores[0]["scores"]["fid"]["value"]
    assert main.loc["fid", "label"] == "FID (digits)"
    assert main.loc["fid", "direction"] == "lower"
    assert main.loc["fid", "recipe"] == "vanilla"
    assert set(results.scores["protocol_id"]) == set(results.protocols)
    assert set(results.protocols) == {result["protocol_id"] for result in scores}


def test_a_metric_whose_package_is_not_installed_goes_by_its_name(tmp_path, trained):
    folder = TrialFolder(shutil.copytree(trained, tmp_path / "trial"))
    scores = folder.scores()
    for result in scores["results"]:
        result["scores"]["of-another-package"] = result["scores"]["fid"]
    folder.write_scores(scores)
    rows = collect([folder.path]).scores.query("metric == 'of-another-package'")
    assert set(rows["label"]) == {"of-another-package (digits)"}


def test_every_trial_is_a_row_however_it_ended(sweep):
    trials = collect([sweep]).trials
    assert list(trials["recipe"]) == ["vanilla", "vanilla", "vanilla", "lsgan"]
    assert list(trials["status"]) == ["done", "failed", "diverged", "pending"]
    assert list(trials["reason"])[1:3] == ["killed by signal 9", "loss/generator became nan at 64 images"]
    assert list(trials["problems"]) == [[], [], [NAN], []]
    assert trials.loc[0, ["images", "d_steps", "g_steps"]].tolist() == [256, 16, 16]
    parameters = json.loads((sweep / "trials" / trials.loc[0, "trial"] / "status.json").read_text())["parameters"]
    assert trials.loc[0, "parameters"] == sum(parameters.values())


def test_of_a_search_in_phases_only_the_last_is_compared(tmp_path, tiny, trained):
    folder = tmp_path / "study"
    search = Search(
        method="random",
        space={},
        fixed={},
        variants=({"gan": "vanilla"},),
        configurations=2,
        seeds=(1, 2),
        search_seed=0,
        metric=Metric("best/fid", "minimize"),
        phases=("wide", "best"),
    )
    rates = {"gan.lr_generator": 0.001}
    tried = [tiny(**rates), tiny(**{"gan.lr_generator": 0.002})]
    configs = [*tried, *(tiny(seed=seed, **rates) for seed in (1, 2))]
    spec = SweepSpec(name="study", source_text="x: 1\n", grid=configs[:2], search=search)
    keys = list(prepare(folder, spec).trials)
    none = collect([folder])
    assert (len(none.trials), len(none.search.trials), none.search.trials["chosen"].any()) == (0, 2, False)
    assert write(none, tmp_path / "early").is_file()
    for config in configs[2:]:
        keys += extend(folder, lambda _, config=config: config).trials.keys() - set(keys)
    for key in (keys[0], keys[2], keys[3]):
        shutil.copytree(trained, trial_folder(folder, key).path)
    trial_folder(folder, keys[1]).claim(configs[1])
    trial_folder(folder, keys[1]).write_status("failed", reason="killed by signal 9", images=16)
    results = collect([folder])
    assert list(results.trials["trial"]) == keys[2:]
    assert list(results.trials["recipe"]) == ["vanilla", "vanilla"]  # the search's settings tell nothing any more
    assert set(results.scores["trial"]) == set(results.curves["trial"]) == set(keys[2:])
    found = results.search.trials
    assert (results.search.rule, results.search.direction) == ("best FID (selection split)", "lower")
    assert list(found["trial"]) == keys[:2]
    assert list(found["settings"]) == ["lr_generator=0.001", "lr_generator=0.002"]
    assert list(found["chosen"]) == [True, False]
    looks = [row["scores"]["fid"]["value"] for row in TrialFolder(trained).history() if row["kind"] == "scores"]
    assert found["value"][0] == min(looks)
    assert math.isnan(found["value"][1])
    (row,) = comparison(results).blocks[0].rows
    assert (row.n, row.trials) == (2, 2)


def test_curves_hold_losses_and_scores_over_images(sweep, trained):
    curves = collect([sweep]).curves
    fid = curves[curves["name"] == "fid"]
    assert fid["images"].tolist() == [0, 64, 128, 192, 256]
    assert {"loss/discriminator", "loss/generator"} <= set(curves["name"])
    assert not {"seconds", "kind", "d_steps"} & set(curves["name"])
    assert all(math.isfinite(value) for value in fid["value"])


def test_grids_and_commands_point_at_the_files(sweep):
    results = collect([sweep])
    assert [grid.images for grid in results.grids] == [0, 64, 128, 192, 256]
    assert all(grid.path.is_file() for grid in results.grids)
    assert results.commands == [
        f"ganbench sweep run {sweep / 'sweep.yaml'} --out {sweep}-again",
        f"ganbench report {sweep}",
    ]


def test_a_trial_folder_is_enough(trained):
    results = collect([trained])
    assert results.title == trained.name
    assert list(results.trials["status"]) == ["done"]
    assert results.commands[0].startswith(f"ganbench train --config {trained / 'config.yaml'}")


def test_collecting_writes_nothing(sweep):
    before = {f: f.stat().st_mtime_ns for f in sweep.rglob("*")}
    collect([sweep])
    assert {f: f.stat().st_mtime_ns for f in sweep.rglob("*")} == before


def test_folders_that_hold_neither(tmp_path, sweep):
    with pytest.raises(UserError, match="no folder at"):
        find_trials([tmp_path / "nothing"])
    with pytest.raises(UserError, match="holds neither a sweep"):
        find_trials([tmp_path])
    (sweep / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        find_trials([sweep])


def test_costs_config_and_environment_are_read(sweep):
    results = collect([sweep])
    done = results.trials.iloc[0]
    assert done["peak_memory_mb"] > 0
    assert done["parameters"] > 0
    assert done["config"]["gan"]["name"] == "vanilla"
    assert [config["seed"] for config in results.trials["config"]] == [0, 1, 2, 0]
    assert math.isnan(results.trials.iloc[1]["peak_memory_mb"])
    assert {"torch", "python", "device"} <= set(results.environment)
    assert all(len(values) == 1 for values in results.environment.values())


def test_trials_of_different_machines_have_several_environments(sweep, trained):
    folder = trial_folder(sweep, list(load_manifest(sweep).trials)[3])
    folder.write_status("done", environment={**TrialFolder(trained).status()["environment"], "threads": 64})
    assert collect([sweep]).environment["threads"] == ["1", "64"]


def test_the_gallery_is_found(sweep):
    (picture,) = collect([sweep]).gallery
    assert (picture.recipe, picture.seed, picture.images) == ("vanilla", 0, 256)
    assert picture.path.is_file()


def test_nothing_trained_yet(tmp_path, tiny):
    spec = SweepSpec(name="new", source_text="x: 1\n", grid=[tiny()])
    prepare(tmp_path / "new", spec)
    results = collect([tmp_path / "new"])
    assert list(results.trials["status"]) == ["pending"]
    assert results.scores.empty
    assert results.curves.empty
    assert not results.environment


def test_long_histories_take_little_memory(sweep):
    collect([sweep])  # imports
    folder = trial_folder(sweep, next(iter(load_manifest(sweep).trials)))
    row = next(row for row in folder.history() if row["kind"] == "train")
    with folder.history_file.open("a") as file:
        file.writelines(json.dumps({**row, "images": 256 + number}) + "\n" for number in range(10_000))
    tracemalloc.start()
    try:
        values = len(collect([sweep]).curves)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert values > 20_000
    assert peak / values < 150  # bytes; a dict for each value would take 300 and more


def test_a_sweep_of_failures_only_renders_and_says_so(tmp_path, tiny):
    configs = [tiny(seed=seed) for seed in range(3)]
    spec = SweepSpec(name="bad", source_text="x: 1\n", grid=configs)
    for key, config in zip(prepare(tmp_path / "bad", spec).trials, configs, strict=True):
        trial_folder(tmp_path / "bad", key).claim(config)
        trial_folder(tmp_path / "bad", key).write_status("failed", reason="killed by signal 9", images=16)
    results = collect([tmp_path / "bad"])
    (block,) = comparison(results).blocks
    assert (block.protocol_id, block.rows[0].n, block.rows[0].failed) == ("", 0, 3)
    assert write(results, tmp_path / "report").is_file()
    assert "killed by signal 9" in (tmp_path / "report" / "table.md").read_text()


def test_commands_quote_what_a_shell_would_take_apart(tmp_path, trained):
    path = shutil.copytree(trained, tmp_path / "two words")
    assert collect([path]).commands == [
        f"ganbench train --config '{path}/config.yaml' --out '{path}-again'",
        f"ganbench report '{path}'",
    ]


def test_commands_repeat_what_the_command_line_set(tmp_path):
    (tmp_path / "two.yaml").write_text(
        "parameters:\n  gan: {values: [wgan, lsgan]}\n  dataset: {value: digits}\nmethod: grid\n"
    )
    options = {"images": 2000, "evaluation.metrics": ["fid"], "gan.lr_generator": 1e-5, "gan.network": "dcgan"}
    manifest = prepare(tmp_path / "runs", read_spec(tmp_path / "two.yaml", options))
    words = shlex.split(collect([tmp_path / "runs"]).commands[0])
    assert words[:3] == ["ganbench", "sweep", "run"]
    assert words[-2:] == ["--out", f"{tmp_path}/runs-again"]
    again = read_spec(Path(words[3]), parse_assignments(words[4:-2]))
    assert [trial_id(config) for config in again.trials] == list(manifest.trials)

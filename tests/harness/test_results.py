"""From run folders to tidy frames."""

from __future__ import annotations

import json
import math
import shutil

import pytest

from ganbench.errors import UserError
from harness.results import collect, find_trials
from harness.store import TrialFolder
from harness.sweep.folder import prepare, trial_folder
from harness.sweep.spec import SweepSpec


@pytest.fixture
def sweep(tmp_path, tiny, trained):
    """Three trials: one done, one failed, one never started."""
    folder = tmp_path / "mine"
    configs = [tiny(), tiny(seed=1), tiny("lsgan")]
    manifest = prepare(folder, SweepSpec("mine", "", "x: 1\n", {}, None, configs))
    done, failed, _ = manifest.trials
    shutil.copytree(trained, trial_folder(folder, done).path)
    trial_folder(folder, failed).claim(configs[1])
    trial_folder(folder, failed).write_status("failed", reason="loss/generator became nan at 16 images", images=16)
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


def test_every_trial_is_a_row_however_it_ended(sweep):
    trials = collect([sweep]).trials
    assert list(trials["recipe"]) == ["vanilla", "vanilla", "lsgan"]
    assert list(trials["status"]) == ["done", "failed", "pending"]
    assert trials.loc[1, "reason"] == "loss/generator became nan at 16 images"
    assert trials.loc[0, ["images", "d_steps", "g_steps"]].tolist() == [256, 16, 16]
    parameters = json.loads((sweep / "trials" / trials.loc[0, "trial"] / "status.json").read_text())["parameters"]
    assert trials.loc[0, "parameters"] == sum(parameters.values())


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

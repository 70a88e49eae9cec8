"""`ganbench compare` and `report --baseline`, on folders of trials whose scores are made up."""

from __future__ import annotations

import json
import shutil

import pytest

from ganbench.errors import UserError
from harness.compare import find_side
from harness.sweep.folder import prepare, trial_folder
from harness.sweep.spec import SweepSpec


@pytest.fixture
def make_sweep(tmp_path, tiny, trained):
    """A finished sweep of two variants and three seeds: every score is that of `trained`, times `factors` and noise."""

    def make(name: str, **factors: float):
        folder = tmp_path / name
        configs = [tiny(gan, seed=seed) for gan in ("vanilla", "lsgan") for seed in range(3)]
        spec = SweepSpec(name=name, source_text="x: 1\n", grid=configs)
        for key, config in prepare(folder, spec).trials.items():
            trial = trial_folder(folder, key)
            shutil.copytree(trained, trial.path)
            scores = json.loads((trial.path / "scores.json").read_text())
            for result in scores["results"]:
                for score in result["scores"].values():
                    score["value"] *= factors.get(config.gan.name, 1.0) * (1 + 0.01 * config.seed)
            (trial.path / "scores.json").write_text(json.dumps(scores))
        return folder

    return make


def test_recipes_and_versions_are_compared(make_sweep, ganbench):
    old, new = make_sweep("old"), make_sweep("new", lsgan=1.5)
    same = ganbench("compare", old, old)
    assert (same.code, same.err) == (0, "")
    assert "B is tied with A in 12 of 12 scores." in same.out
    worse = ganbench("compare", old, new, "--metrics=fid,kid")
    assert worse.code == 1
    assert "B is surely worse in FID (digits) of lsgan and KID (digits) of lsgan; tied with A in 2 of 4" in worse.out
    assert ganbench("compare", f"{old}:vanilla", f"{new}:lsgan", "--metrics=fid").code == 1
    better = ganbench("compare", f"{new}:lsgan", f"{old}:vanilla", "--metrics=fid")
    assert better.code == 0
    assert "lsgan → vanilla | FID (digits) ↓ |" in better.out


def test_the_same_as_json(make_sweep, ganbench):
    old, new = make_sweep("old"), make_sweep("new", lsgan=1.5)
    ended = ganbench("compare", old, new, "--json", "--paired")
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 1
    assert len(rows) == 12
    assert {row["b_recipe"] for row in rows if row["outcome"] != "tied"} == {"lsgan"}
    assert all(row["difference_low"] <= row["difference_point"] <= row["difference_high"] for row in rows)


def test_a_report_stands_for_the_results_it_was_made_from(make_sweep, ganbench, tmp_path):
    old, new = make_sweep("old"), make_sweep("new", lsgan=1.5)
    from_folders = ganbench("compare", old, new, "--json").out
    for folder in (old, new):
        assert ganbench("report", folder, "--out", tmp_path / f"{folder.name}-report", "--format=html").code == 0
        shutil.rmtree(folder)
    from_reports = ganbench("compare", tmp_path / "old-report", f"{tmp_path / 'new-report'}", "--json")
    assert from_reports.code == 1
    assert from_reports.out == from_folders


def test_a_report_against_a_baseline(make_sweep, ganbench, tmp_path):
    folder = make_sweep("mine", lsgan=1.5)
    ended = ganbench("report", folder, "--baseline=vanilla", "--out", tmp_path / "report")
    assert ended.code == 0
    assert (
        "Compared with the baseline vanilla by FID (digits), lsgan is worse."
        in (tmp_path / "report" / "index.html").read_text()
    )
    assert "Difference to vanilla" in ended.out
    wrong = ganbench("report", folder, "--baseline=vanila", "--out", tmp_path / "none").mistake()
    assert "unknown baseline 'vanila': did you mean 'vanilla'" in wrong
    assert not (tmp_path / "none").exists()


def test_mistakes_are_a_sentence(make_sweep, ganbench, tmp_path):
    old = make_sweep("old")
    assert "no folder at" in ganbench("compare", old, tmp_path / "absent").mistake()
    assert "unknown recipe of" in ganbench("compare", f"{old}:vanila", old).mistake()
    assert "unknown metric" in ganbench("compare", old, old, "--metrics=fdi").mistake()
    assert "holds neither a sweep" in ganbench("compare", old, tmp_path).mistake()


def test_the_longest_folder_that_exists_is_meant(make_sweep, tmp_path):
    plain = make_sweep("mine")
    shutil.copytree(plain, tmp_path / "a:b")
    assert find_side(str(tmp_path / "a:b")).recipe is None
    assert find_side(f"{tmp_path / 'a:b'}:vanilla").recipe == "vanilla"
    assert find_side(f"{plain}:gan x=1:2").recipe == "gan x=1:2"
    with pytest.raises(UserError, match="no folder at"):
        find_side(f":{tmp_path}")

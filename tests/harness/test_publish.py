"""The W&B report and workspace: saved through W&B's own client on a server of the test's own, and read back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from ganbench.errors import UserError
from harness import publish as publishing
from harness.config import TrackingConfig
from harness.publish import publish, write_spec
from harness.results import collect
from harness.store import TrialFolder
from harness.tracking.journal import Journal
from harness.tracking.tracker import Tracker
from reports import comparison

Json = dict[str, Any]


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny, train) -> Path:
    """Two recipes of two seeds each, tracked offline; for reading only."""
    sweep = tmp_path_factory.mktemp("study") / "quick"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(sweep.parent))
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        for gan in ("vanilla", "wgan"):
            for seed in range(2):
                tracking = TrackingConfig(mode="offline", project="benchmark", group="quick")
                train(tiny(gan, seed=seed), sweep / f"{gan}-{seed}", tracking=tracking)
    return sweep


@pytest.fixture
def trials(tmp_path, study) -> list[Path]:
    """The study's trials, to be changed at will."""
    return sorted(path for path in Path(shutil.copytree(study, tmp_path / "quick")).iterdir() if path.is_dir())


def identify(trials: list[Path], **facts: Any) -> None:
    """Change what the trials' mirrors are known to be."""
    for trial in trials:
        journal = Journal.read(trial)
        assert journal
        journal.identity = replace(journal.identity, **facts)
        journal.write()


@pytest.fixture
def project(wandb_server, wandb_views) -> Any:
    """The server's views; the trials' project is there, its runs are not."""
    wandb_server.run("another run").variables["project"] = "benchmark"
    return wandb_views


def library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    return wr, ws


def found(value: Any, key: str) -> list[Any]:
    """Every value of `key` anywhere inside."""
    if isinstance(value, dict):
        here = [value[key]] if key in value else []
        return here + [hit for inner in value.values() for hit in found(inner, key)]
    return [hit for inner in value for hit in found(inner, key)] if isinstance(value, list) else []


def without_projects(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_projects(inner) for key, inner in value.items() if key != "project"}
    return [*map(without_projects, value)] if isinstance(value, list) else value


def test_report_and_workspace(tmp_path, trials, wandb_server, wandb_views, ganbench):
    for trial in trials:
        assert Tracker.deliver(trial, TrialFolder(trial).history(), "done", None, seconds=30)
    out = tmp_path / "report"
    ended = ganbench("report", *trials, f"--out={out}", "--wandb")
    assert ended.code == 0, ended
    (report,), (workspace,) = wandb_views.reports, wandb_views.workspaces
    pages = json.loads((out / "wandb.json").read_text())["pages"]
    assert (pages["report"]["id"], pages["workspace"]["id"]) == (report["id"], workspace["id"])
    assert ended.err == f"W&B report: {pages['report']['url']}\nW&B workspace: {pages['workspace']['url']}\n"
    assert ended.out == (out / "table.md").read_text()

    # read back through the client, the table is the local one
    wr, ws = library()
    loaded = wr.Report.from_url(pages["report"]["url"])
    (table,) = [block.text for block in loaded.blocks if isinstance(block, wr.MarkdownBlock)]
    assert table == (out / "table.md").read_text()
    (block,) = comparison(collect(trials)).blocks
    for row in block.rows:
        ours = [run.summary for run in wandb_server.runs.values() if run.config["gan"]["name"] == row.recipe]
        means = {name: fmean(summary[f"final/{name}"] for summary in ours) for name in row.cells}
        assert means == pytest.approx({name: cell.interval.point for name, cell in row.cells.items()})
        assert f"| {row.recipe} |" in table

    # the panels show what the runs have
    runs = list(wandb_server.runs.values())
    logged = {key for run in runs for row in run.rows for key in row}
    summed = {key for run in runs for key in run.summary}
    spec = json.loads(report["spec"])
    drawn = {name for names in found(spec, "metrics") for name in names}
    assert drawn >= {"scores/fid", "final/fid", "loss/generator", "health/accuracy_real"}
    assert drawn <= logged | summed
    assert set(found(spec, "xAxis")) - {"_step"} == {"images", "summary:final/precision"}
    assert found(spec, "mediaKeys") == [["samples"]]
    assert "samples" in logged
    for name in found(spec, "accessor"):
        section, _, key = name.partition(":")
        if section == "summary":
            assert all(key in run.summary for run in runs), key
        else:
            path = key.replace(".value", "", 1).split(".")
            assert all(at(run.config, path) is not None for run in runs), key
    views = set(found(spec, "viewType"))
    assert views >= {
        "Run History Line Plot", "Bar Chart", "Parallel Coordinates Plot", "Media Browser", "Run Comparer"
    }  # fmt: skip
    rules = [runset["filters"]["filters"] for sets in found(spec, "runSets") for runset in sets]
    assert rules
    assert all(rule == [by("name", *sorted(wandb_server.runs))] for rule in rules)

    # and so does the workspace
    view = ws.Workspace.from_url(pages["workspace"]["url"])
    assert [section.name for section in view.sections] == ["Scores", "Losses", "Health", "Samples"]
    assert view.settings.x_axis == "images"
    assert [group.name for group in view.runset_settings.groupby] == ["gan.name"]
    (runset,) = json.loads(workspace["spec"])["section"]["runSets"]
    assert runset["filters"]["filters"] == [by("group", "quick")]
    assert {run.variables["groupName"] for run in runs} == {"quick"}


def by(name: str, *values: str) -> Json:
    return {"key": {"section": "run", "name": name}, "op": "IN", "value": list(values), "disabled": False}


def at(config: Any, path: list[str]) -> Any:
    for name in path:
        config = config[name]
    return config


def test_again_updates_the_same_pages(tmp_path, trials, project):
    out = tmp_path / "report"
    first = publish(trials, out)
    specs = {key: view["spec"] for key, view in project.views.items()}
    kept = (out / "wandb.json").read_bytes()
    assert publish(trials, out) == first
    assert {key: view["spec"] for key, view in project.views.items()} == specs
    assert (out / "wandb.json").read_bytes() == kept

    # with a trial less, the text is another one
    fewer = publish(trials[:3], out)
    assert len(project.views) == 2
    (report,) = project.reports
    assert report["spec"] != specs[report["id"]]
    assert fewer.workspace == first.workspace

    # what was deleted is made anew
    project.views.clear()
    publish(trials, out)
    assert (len(project.reports), len(project.workspaces)) == (1, 1)


def test_what_people_wrote_under_the_report_stays(tmp_path, trials, project):
    trials[0] = trials[0].rename(tmp_path / "what? #1--a & b")  # the title, which W&B's client puts into its URL
    out = tmp_path / "report"
    publish(trials, out)
    (report,) = project.reports
    spec = json.loads(report["spec"])
    spec["discussionThreads"] = [{"id": "remark"}]
    report["spec"] = json.dumps(spec)
    publish(trials, out)
    (report,) = project.reports
    assert json.loads(report["spec"])["discussionThreads"] == [{"id": "remark"}]


def test_the_specification_is_what_would_be_saved(tmp_path, trials, project):
    file = write_spec(trials, tmp_path)
    assert file == tmp_path / "wandb-spec.json"
    assert project.asked == []
    first = file.read_bytes()
    publish(trials, tmp_path)
    for name, (saved,) in (("report", project.reports), ("workspace", project.workspaces)):
        assert without_projects(json.loads(saved["spec"])) == without_projects(json.loads(first)[name])
    write_spec(trials, tmp_path)
    assert file.read_bytes() == first


def test_runs_that_the_panels_lack_are_counted(tmp_path, trials, project):
    shutil.rmtree(trials[0] / "wandb")
    published = publish(trials, tmp_path)
    assert (published.missing, published.untracked) == (3, 1)


@pytest.mark.parametrize("group", [None, "it's <mine>"])
def test_a_workspace_of_runs_that_no_group_names_names_them(tmp_path, trials, group):
    identify(trials[:1], group=group)
    spec = json.loads(write_spec(trials, tmp_path).read_text())
    (runset,) = spec["workspace"]["section"]["runSets"]
    ids = sorted(Journal.read(trial).identity.run_id for trial in trials)
    assert runset["filters"]["filters"] == [by("name", *ids)]


def test_a_private_sweep_keeps_its_commands_to_itself(tmp_path, trials):
    spec = write_spec(trials, tmp_path).read_text()
    assert str(tmp_path) in spec
    identify(trials[:1], private=True)
    assert str(tmp_path) not in write_spec(trials, tmp_path).read_text()


def test_a_server_that_does_not_take_it(tmp_path, trials, monkeypatch, wandb_server, wandb_views):
    with pytest.raises(UserError, match="'tester/benchmark' not found"):  # nothing was ever synced
        publish(trials, tmp_path)
    wandb_server.behaviour = "hangs"
    with monkeypatch.context() as patch:
        patch.setattr(publishing.wandb_server, "probe", lambda: None)  # it hangs only after it was asked who we are
        patch.setattr(publishing, "PUBLISH_SECONDS", 1.0)
        with pytest.raises(UserError, match="W&B did not answer in time"):
            publish(trials, tmp_path)
    wandb_server.behaviour = "dead"
    words = rf"the W&B server at {wandb_server.url} did not take the report \(.*add --dry-run"
    with pytest.raises(UserError, match=words):
        publish(trials, tmp_path)
    assert list(tmp_path.glob("wandb*")) == []


def test_without_a_login(tmp_path, trials, ganbench):
    out = tmp_path / "report"
    line = ["report", *trials, f"--out={out}", "--wandb"]
    ended = ganbench(*line)
    assert ended.code == 2
    (sentence,) = ended.err.splitlines()
    assert "there is no W&B login: run `wandb login`" in sentence
    assert (out / "index.html").is_file()

    ended = ganbench(*line, "--dry-run")
    assert (ended.code, ended.err) == (0, f"W&B would be given {out / 'wandb-spec.json'}\n")
    assert json.loads((out / "wandb-spec.json").read_text())["project"] == "benchmark"


def test_mistakes(tmp_path, trials, trained, ganbench):
    with pytest.raises(UserError, match="none of these trials was tracked"):
        publish([trained], tmp_path)
    identify(trials[:1], project="another")
    with pytest.raises(UserError, match=r"several W&B projects \(another, benchmark\)"):
        write_spec(trials, tmp_path)
    assert "--wandb" in ganbench("report", *trials, "--dry-run").mistake()


def test_the_library_is_loaded_only_when_asked_for():
    modules = "harness.cli, harness.publish, harness.results, reports.html"
    code = f"import sys, {modules}; sys.exit('wandb_workspaces' in sys.modules or 'wandb' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

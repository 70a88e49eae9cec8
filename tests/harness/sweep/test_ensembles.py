"""`ensemble: seeds`: trials that differ by their seed alone are claimed, started and ended together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ganbench.errors import UserError
from harness.config import TrackingConfig, resolve
from harness.sweep import scheduler
from harness.sweep.claims import take, take_all
from harness.sweep.folder import load_manifest, log_file, prepare, trial_folder
from harness.sweep.overview import status
from harness.sweep.scheduler import run_sweep
from harness.sweep.spec import SweepSpec, read_spec, wandb_gaps

HERE = Path(__file__).parent

SPEC = """
ensemble: seeds
parameters:
  gan: {values: [wgan, lsgan]}
  dataset: {value: ring8}
  images: {value: 1000}
  seed: {values: [0, 1, 2]}
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "s"


def lay_out(folder: Path, *behaviours: str, seeds: int = 3) -> list[str]:
    """A sweep with so many seeds of each behaviour; the ids, seeds changing slowest."""
    configs = [
        resolve({"gan": "wgan", "dataset": behaviour, "seed": seed})
        for seed in range(seeds)
        for behaviour in behaviours
    ]
    spec = SweepSpec(name="s", grid=configs, ensemble="seeds")
    return list(prepare(folder, spec).trials)


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))  # the children are given it too

    def run_fakes(**options):
        tracking = TrackingConfig(mode="disabled")
        options = {"jobs": 2, "target": "fake_trials:play_together", "preload": (), **options}
        return run_sweep(folder, tracking=tracking, **options)

    return run_fakes


def groups(folder: Path) -> list[list[int]]:
    """The seeds of each process that was started, in the order of their starts."""
    return [json.loads(line) for line in (folder / "groups.txt").read_text().splitlines()]


def test_the_seeds_of_a_recipe_share_a_process(folder, run):
    keys = lay_out(folder, "ok", "raise")
    outcome = run(jobs=1)
    assert groups(folder) == [[0, 1, 2], [0, 1, 2]]
    assert outcome.done == tuple(keys[0::2])
    assert outcome.failed == dict.fromkeys(keys[1::2], "RuntimeError: no luck")
    assert "printed by" in log_file(folder, keys[0]).read_text()
    assert f"see {keys[0]}.log" in log_file(folder, keys[2]).read_text()
    assert not list((folder / "claims").iterdir())


def test_every_seed_reports_for_itself(folder, run, monkeypatch):
    heard = []
    advanced = scheduler.PlainView.advanced
    monkeypatch.setattr(
        scheduler.PlainView, "advanced", lambda self, key, facts: (heard.append(key), advanced(self, key, facts))
    )
    keys = lay_out(folder, "ok")
    run()
    assert set(heard) == set(keys)


def test_one_member_that_diverges_is_no_end_of_the_others(folder, run):
    keys = lay_out(folder, "second diverges")
    outcome = run()
    assert set(outcome.done) == {keys[0], keys[2]}
    assert outcome.diverged == {keys[1]: "loss became nan"}
    assert outcome.exit_code == 1


def test_a_killed_process_is_started_again_with_all_of_its_members(folder, run):
    keys = lay_out(folder, "killed together")
    outcome = run()
    assert groups(folder) == [[0, 1, 2]] * 3
    assert set(outcome.done) == set(keys)


def test_what_has_ended_is_left_out(folder, run):
    keys = lay_out(folder, "ok")
    trial_folder(folder, keys[1]).write_status("done")
    outcome = run()
    assert groups(folder) == [[0, 2]]
    assert outcome.skipped == (keys[1],)
    assert set(outcome.done) == {keys[0], keys[2]}


def test_a_family_that_another_run_is_at_is_waited_for_as_a_whole(folder, run, monkeypatch):
    keys = lay_out(folder, "ok")
    claim = take(folder, keys[2])
    real, asked = scheduler.take_all, []

    def ask(sweep, wanted):
        asked.append(list(wanted))
        if len(asked) == 3:
            claim.release()
        return real(sweep, wanted)

    monkeypatch.setattr(scheduler, "LOOK_AGAIN", 0.05)
    monkeypatch.setattr(scheduler, "take_all", ask)
    outcome = run()
    assert asked == [keys] * 3
    assert groups(folder) == [[0, 1, 2]]
    assert set(outcome.done) == set(keys)


def test_claims_are_all_or_none(folder):
    keys = lay_out(folder, "ok")
    claim = take(folder, keys[1])
    assert take_all(folder, keys) == {}
    assert take(folder, keys[0]) is not None  # given up
    claim.release()


def test_the_key_is_seeds_or_nothing_and_part_of_the_sweep(tmp_path, folder):
    path = tmp_path / "e.yaml"
    path.write_text(SPEC)
    spec = read_spec(path)
    assert spec.ensemble == "seeds"
    assert any("each seed is trained alone" in gap for gap in wandb_gaps(spec))
    prepare(folder, spec)
    assert load_manifest(folder).ensemble == "seeds"
    path.write_text(SPEC.replace("ensemble: seeds", ""))
    with pytest.raises(UserError, match='ensemble: there "seeds", here nothing'):
        prepare(folder, read_spec(path))
    path.write_text(SPEC.replace("seeds", "8", 1))
    with pytest.raises(UserError, match="ensemble must be seeds: got 8"):
        read_spec(path)


def test_a_grid_without_two_seeds_of_anything_is_refused(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(SPEC.replace("[0, 1, 2]", "[0]"))
    with pytest.raises(UserError, match="no two trials differ by their seed alone"):
        read_spec(path)


def test_ray_holds_one_trial_a_task(folder, run):
    lay_out(folder, "ok")
    with pytest.raises(UserError, match="--executor local"):
        run(executor="ray")


def test_what_cannot_be_an_ensemble_is_refused_before_the_sweep_begins(ganbench, tmp_path):
    Path("e.yaml").write_text(SPEC)
    said = ganbench("sweep", "run", "e.yaml", "gan.network=progressive", "dataset=digits").mistake()
    assert "wgan" in said
    assert "gan.network=progressive grows with the images" in said
    assert "leave out 'ensemble: seeds'" in said
    assert (
        "trainer.precision is bf16-mixed"
        in ganbench("sweep", "run", "e.yaml", "trainer.precision=bf16-mixed").mistake()
    )
    assert [file.name for file in tmp_path.iterdir()] == ["e.yaml"]


def test_a_sweep_of_ensembles_from_its_spec_to_its_report(ganbench, tiny_options):
    Path("e.yaml").write_text(SPEC)
    few = ("images=160", "evaluation.every=160", "evaluation.metrics=[fid]")
    options = [option for option in tiny_options if not option.startswith(("images", "evaluation.every"))]
    ended = ganbench("sweep", "run", "e.yaml", "--out", "s", "--wandb=disabled", "--device=cpu", *options, *few)
    assert ended.code == 0, ended.err
    rows = status(Path("s"))
    assert [(row.state, row.ensemble) for row in rows] == [("done", 3)] * 6
    assert "6 trained as ensembles of up to 3 seeds" in ganbench("sweep", "status", "s").out
    page = Path("s/report/index.html").read_text()
    assert "Trained as ensembles of seeds" in page
    assert {json.loads(file.read_text())["ensemble"] for file in Path("s/trials").glob("*/scores.json")} == {3}
    again = ganbench("sweep", "run", "e.yaml", "--out", "s", "--wandb=disabled", "--device=cpu", *options, *few)
    assert again.code == 0

"""Factorial sweeps from their files: the report finds the factors in what the trials were asked for."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import reports
from ganbench.errors import UserError
from harness.cli import app
from harness.labels import recipe_labels
from harness.precheck import check_names
from harness.sweep import shipped
from harness.sweep.spec import read_spec
from reports.effects import Effects

SWEEP = """
study: effects
method: grid
parameters:
  seed: {values: [0, 1, 2]}
  gan:
    values:
      - {name: nonsaturating, width: 8}
      - {name: lsgan, width: 16}
  gan.n_critic: {values: [1, 2]}
  gan.batch_size: {value: 16}
  dataset: {value: ring8}
  data.n: {value: 300}
  images: {value: 320}
  evaluation.metrics: {value: [fid]}
  evaluation.n_fake: {value: 50}
  evaluation.every: {value: 320}
"""


def effects_of(path: Path) -> Effects:
    """The effects of a spec's trials on a made-up score."""
    trials = read_spec(path).trials
    frame = pd.DataFrame(
        {
            "recipe": recipe_labels(trials),
            "seed": [trial.seed for trial in trials],
            "config": [trial.model_dump(mode="json") for trial in trials],
        }
    )
    scores = frame[["recipe", "seed"]].assign(metric="fid", direction="lower", value=1.0)
    made = dataclasses.replace(reports.from_frame(scores, trials=frame), study="effects")
    found = reports.comparison(made).blocks[0].effects
    assert found is not None
    return found


def test_the_combination_of_deck_000_is_a_full_factorial_of_five_seeds() -> None:
    path = shipped.find(Path("combination"))
    spec = read_spec(path)
    assert spec.study == "effects"
    for trial in spec.trials:
        check_names(trial)
    found = effects_of(path)
    assert found.refused is None
    assert found.crossing is not None
    assert found.crossing.mixed == ()
    names = [factor.name for factor in found.crossing.factors]
    assert {"network", "constraint"} < set(names)
    assert len(names) == 3
    assert len(found.contrasts) == 7
    assert len(found.found["fid"][0].by_seed) == 5
    assert len(spec.trials) == 8 * 5


def test_a_variant_and_what_it_brings_are_one_factor(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(SWEEP)
    found = effects_of(path).crossing
    assert found is not None
    variant, critic = found.factors
    assert (variant.name, variant.levels) == ("variant", ("nonsaturating", "lsgan"))
    assert {"objective", "width"} <= set(variant.along)
    assert (critic.name, critic.levels) == ("n_critic", ("1", "2"))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("{values: [1, 2]}", "{value: 1}", "2 recipes cross no two options"),
        (
            "method: grid",
            "method: grid\nrun_cap: 3",
            "3 recipes are no full crossing of variant × n_critic (4 combinations)",
        ),
        ("method: grid", "method: random\nrun_cap: 3", "study: effects needs every combination of two or more options"),
    ],
)
def test_what_is_no_factorial_is_refused_before_it_is_trained(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "some.yaml"
    assert old in SWEEP
    path.write_text(SWEEP.replace(old, new))
    with pytest.raises(UserError, match=re.escape(reason)):
        read_spec(path)


@pytest.mark.slow
def test_a_factorial_is_run_and_its_effects_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("some.yaml").write_text(SWEEP)
    ended = CliRunner().invoke(app, ["sweep", "run", "some.yaml", "--wandb", "disabled", "--out", "some"])
    assert ended.exit_code == 0, ended.output
    assert "variant: nonsaturating → lsgan" in ended.output
    told = json.loads(Path("some/report/table.json").read_text())["blocks"][0]["effects"]
    assert told["refused"] is None
    table = pd.read_csv("some/report/effects.csv").set_index("effect")
    scores = pd.read_csv("some/report/data/scores.csv")
    scores = scores[(scores["checkpoint"] == "last") & (scores["weights"] == "ema") & (scores["metric"] == "fid")]
    means = scores.groupby("recipe")["value"].mean()
    lsgan = means.index.str.startswith("lsgan")
    assert table.loc["variant: nonsaturating → lsgan", "mean"] == pytest.approx(
        means[lsgan].mean() - means[~lsgan].mean()
    )
    assert set(table["n"]) == {3}

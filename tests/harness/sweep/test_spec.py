from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from ganbench.errors import UserError
from gans.catalogue import VARIANTS
from harness.config import check_names, resolve, trial_id
from harness.sweep.spec import as_wandb_sweep, read_spec

SHIPPED = Path(__file__).parents[3] / "sweeps"

# https://docs.wandb.ai/guides/sweeps/sweep-config-keys
WANDB_KEYS = {
    *("program", "entity", "project", "description", "name", "method", "metric", "parameters", "early_terminate"),
    *("command", "run_cap"),
}


@pytest.fixture
def read(tmp_path):
    def read_text(text: str, name: str = "some.yaml", **overrides):
        path = tmp_path / name
        path.write_text(text)
        return read_spec(path, {key.replace("__", "."): value for key, value in overrides.items()})

    return read_text


GRID = """
method: grid
parameters:
  gan: {values: [wgan, wgan-gp]}
  dataset: {value: digits}
  seed: {values: [0, 1, 2]}
  images: {values: [1000, 2000]}
"""


def test_the_grid_is_every_combination_with_the_seed_slowest(read):
    spec = read(GRID)
    assert [(c.seed, c.gan.name, c.images) for c in spec.trials] == list(
        itertools.product([0, 1, 2], ["wgan", "wgan-gp"], [1000, 2000])
    )
    assert spec.trials[0] == resolve({"gan": "wgan", "dataset": "digits", "seed": 0, "images": 1000})
    assert (spec.name, spec.source_text) == ("some", GRID)


def test_nested_blocks_dotted_keys_and_mappings_are_the_same(read):
    nested = """
parameters:
  gan: {parameters: {name: {value: wgan}, n_critic: {values: [1, 2]}}}
  data: {parameters: {name: {value: digits}}}
"""
    dotted = """
parameters: {gan.name: {value: wgan}, gan.n_critic: {values: [1, 2]}, data.name: {value: digits}}
"""
    together = """
parameters: {gan: {values: [{name: wgan, n_critic: 1}, {name: wgan, n_critic: 2}]}, dataset: {value: digits}}
"""
    assert read(nested).trials == read(dotted).trials == read(together).trials
    assert [config.gan.n_critic for config in read(nested).trials] == [1, 2]


def test_trials_that_are_equal_once_resolved_run_once(read):
    spec = read(
        "parameters: {gan: {values: [wgan, wgan]}, dataset: {value: digits}, gan.n_critic: {values: [5, 1, 5]}}"
    )
    assert [config.gan.n_critic for config in spec.trials] == [5, 1]


def test_overrides_replace_what_the_file_says_under_any_spelling(read):
    spec = read(GRID, seed=7, gan__name="sngan")
    assert [(c.seed, c.gan.name, c.images) for c in spec.trials] == [(7, "sngan", 1000), (7, "sngan", 2000)]


def test_lists_and_null_are_values(read):
    spec = read(
        "parameters: {gan: {value: wgan}, dataset: {value: digits}, "
        "evaluation.metrics: {values: [[fid, kid], null]}, data.size: {value: null}}"
    )
    assert [config.evaluation.metrics for config in spec.trials] == [["fid", "kid"], None]


def test_keys_that_only_concern_wandb_are_let_through(read):
    wandb = "program: x.py\ncommand: [a, b]\nmetric: {name: final/fid, goal: minimize}\ndescription: some words\n"
    spec = read(wandb + "name: n.1_b-2\n" + GRID)
    assert len(spec.trials) == 12
    assert (spec.name, spec.description) == ("n.1_b-2", "some words")
    categorical = "parameters: {gan: {distribution: categorical, values: [wgan]}, dataset: {value: digits}}"
    assert len(read(categorical).trials) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: random\n" + GRID.replace("method: grid", ""), "method 'random' is not known: this version runs grid"),
        ("metod: grid\n" + GRID.replace("method: grid", ""), "unknown key 'metod': did you mean 'method'?"),
        ("run_cap: 3\n" + GRID, "unknown key 'run_cap'"),
        ("name: ../x\n" + GRID, "name '../x' would be a folder"),
        ("name: ..\n" + GRID, "name '..' would be a folder"),
        ("name: 3\n" + GRID, "name 3 would be a folder"),
        ("description: [a]\n" + GRID, "description must be text"),
        ("metric: fid\n" + GRID, "metric must be as W&B has it"),
        ("method: grid", "parameters is missing or empty"),
        ("parameters: {}", "parameters is missing or empty"),
        ("parameters: [a]", "parameters is missing or empty"),
        ("parameters: {gan: {parameters: {}}}", "gan.parameters is missing or empty"),
        ("parameters: {gan: wgan}", "parameter gan: write 'gan: {value: wgan}'"),
        ("parameters: {gan: {vlaues: [wgan]}}", "unknown key of parameter gan 'vlaues': did you mean 'values'?"),
        ("parameters: {gan: {values: wgan}}", "parameter gan: values must be a list"),
        ("parameters: {gan: {values: []}}", "there are no trials"),
        ("parameters: {gan: {value: wgan, values: [wgan]}}", "give exactly one of value, values and parameters"),
        ("parameters: {gan: {}}", "give exactly one of value, values and parameters"),
        ("parameters: {gan.clip: {min: 0.1, max: 1}}", "parameter gan.clip: 'min' is for random search"),
        ("parameters: {gan.clip: {distribution: normal, value: 1}}", "a distribution is for random search"),
        ("parameters: {gan.n_critics: {value: 1}}", "unknown option 'gan.n_critics': did you mean 'gan.n_critic'?"),
        ("parameters: {gan: {parameters: {nam: {value: wgan}}}}", "unknown option 'gan.nam': did you mean 'gan.name'?"),
        (
            "parameters: {gan: {parameters: {clip: {value: 1}}}, gan.clip: {value: 2}}",
            "parameter gan.clip is given twice",
        ),
        (GRID.replace("1000", "-1"), "images must be at least 1: got -1"),
        (GRID.replace("wgan,", "wgna,"), "unknown variant 'wgna'"),
        (GRID + "  gan: {value: wgan}\n", "the key 'gan' is given twice"),
        (
            GRID.replace("[0, 1, 2]", str([*range(200)])) + f"  data.seed: {{values: {[*range(250)]}}}\n",
            "the grid has 200,000 points: at most 100,000",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_the_place(read, text, message):
    with pytest.raises(UserError) as caught:
        read(text)
    assert message in str(caught.value)
    assert "some.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_name_that_is_no_folder_name(read):
    with pytest.raises(UserError, match="name 'my sweep' would be a folder"):
        read(GRID, name="my sweep.yaml")


def test_a_wrong_override_names_its_key(read):
    with pytest.raises(UserError, match="did you mean 'images'"):
        read(GRID, imags=3)


def test_ten_thousand_trials_have_ten_thousand_ids(read):
    spec = read(GRID.replace("[0, 1, 2]", str(list(range(2500)))))
    assert len({trial_id(config) for config in spec.trials}) == len(spec.trials) == 10_000


def test_what_is_exported_is_a_wandb_sweep_of_the_same_trials(read):
    text = (
        "name: x\nmetric: {name: final/fid, goal: minimize}\n" + GRID + "  evaluation: {parameters: {k: {value: 4}}}\n"
    )
    spec = read(text)
    exported = as_wandb_sweep(spec)
    assert exported.keys() <= WANDB_KEYS
    assert exported["parameters"]["evaluation.k"] == {"values": [4]}
    assert exported["metric"] == {"name": "final/fid", "goal": "minimize"}
    assert exported["command"] == ["${env}", "ganbench", "train", "${args_no_hyphens}"]
    assert read(yaml.safe_dump(exported), name="again.yaml").trials == spec.trials


@pytest.mark.parametrize(("name", "variants", "seeds"), [("quickstart", 8, 3), ("modes", 7, 5)])
def test_the_shipped_sweeps(name, variants, seeds):
    path = SHIPPED / f"{name}.yaml"
    assert yaml.safe_load(path.read_text()).keys() <= WANDB_KEYS
    spec = read_spec(path)
    assert spec.name == name
    assert len(spec.trials) == variants * seeds
    names = {config.gan.name for config in spec.trials}
    assert len(names) == variants
    assert names <= set(VARIANTS.names())
    for config in spec.trials:
        check_names(config)

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from ganbench.errors import UserError
from gans.catalogue import VARIANTS
from harness.config import resolve, trial_id
from harness.precheck import check_names
from harness.sweep.spec import as_wandb_sweep, read_spec, study_of, wandb_gaps

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
        (GRID.replace("grid", "rondam"), "unknown method 'rondam': did you mean 'random'?"),
        ("metod: grid\n" + GRID.replace("method: grid", ""), "unknown key 'metod': did you mean 'method'?"),
        ("run_cap: 0\n" + GRID, "run_cap must be a whole number from 1, got 0"),
        ("run_capp: 3\n" + GRID, "unknown key 'run_capp': did you mean 'run_cap'?"),
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
        ("parameters: {gan: {value: wgan, values: [wgan]}}", "give exactly one of value, values, min and max, or para"),
        ("parameters: {gan: {}}", "give exactly one of value, values, min and max, or parameters"),
        ("parameters: {gan: {value: wgan, parameters: {}}}", "give exactly one of value, values, min and max, or para"),
        ("parameters: {gan.clip: {min: 0.1, max: 1}}", "parameter gan.clip: a grid cannot list uniform"),
        ("parameters: {gan: {values: [wgan], probabilities: [1]}}", "a grid cannot list categorical_w_probabilities"),
        ("parameters: {gan.clip: {distribution: normal, value: 1}}", "parameter gan.clip: normal takes mu, sigma, not"),
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
    assert exported["parameters"]["evaluation.k"] == {"value": 4}
    assert exported["metric"] == {"name": "final/fid", "goal": "minimize"}
    assert exported["command"] == ["${env}", "ganbench", "train", "${args_no_hyphens}"]
    assert read(yaml.safe_dump(exported), name="again.yaml").trials == spec.trials


@pytest.mark.parametrize(
    ("name", "variants", "each"),
    [("quickstart", 8, 3), ("modes", 7, 5), ("conditional", 4, 5), ("lucic", 5, 4)],
    ids=lambda value: str(value),
)
def test_the_shipped_sweeps(name, variants, each):
    path = SHIPPED / f"{name}.yaml"
    assert yaml.safe_load(path.read_text()).keys() <= {*WANDB_KEYS, "benchmark"}
    spec = read_spec(path)
    assert spec.name == name
    assert len(spec.trials) == variants * each
    names = {config.gan.name for config in spec.trials}
    assert len(names) == variants
    assert names <= set(VARIANTS.names())
    for config in spec.trials:
        check_names(config)


def test_the_study_of_lucic_et_al_is_scaled_by_two_numbers(read):
    text = (SHIPPED / "lucic.yaml").read_text()
    assert read(text).planned == 5 * (4 + 2 + 3)
    larger = read(text.replace("configurations: 4", "configurations: 100").replace("seeds: 3", "seeds: 50"))
    assert larger.planned == 5 * (100 + 50 + 50)
    assert larger.trials[:20] == read(text).trials


def test_a_grid_lists_what_has_an_end(read):
    spec = read(
        "parameters: {gan: {value: wgan}, dataset: {value: digits}, gan.n_critic: {min: 1, max: 3}, "
        "gan.width: {distribution: q_uniform, min: 16, max: 64, q: 16}}"
    )
    assert [(c.gan.n_critic, c.gan.width) for c in spec.trials] == list(itertools.product([1, 2, 3], [16, 32, 48]))
    assert read("run_cap: 5\n" + GRID).trials == read(GRID).trials[:5]


BENCHMARK = """
parameters: {gan: {values: [wgan, wgan-gp]}, dataset: {value: digits}}
benchmark: {seeds: 3, images: 7000, protocol: {n_fake: 300, metrics: [fid]}, selection: {metric: fid, checkpoint: last}}
"""


def test_the_benchmark_block_of_a_grid(read):
    spec = read(BENCHMARK)
    assert [(c.seed, c.gan.name) for c in spec.trials] == list(itertools.product([0, 1, 2], ["wgan", "wgan-gp"]))
    assert {(c.images, c.evaluation.n_fake, *c.evaluation.metrics) for c in spec.trials} == {(7000, 300, "fid")}
    assert (spec.metric.name, spec.metric.goal) == ("final/fid", "minimize")
    assert [c.seed for c in read(BENCHMARK.replace("seeds: 3", "seeds: [9, 4]")).trials] == [9, 9, 4, 4]
    assert {c.images for c in read(BENCHMARK, images=500).trials} == {500}


SEARCH = """
method: random
metric: {name: best/fid}
parameters:
  gan: {values: [wgan, wgan-gp]}
  dataset: {value: digits}
  data.size: {value: null}
  gan.beta1: {min: 0.0, max: 0.9}
  gan.lr_generator: {distribution: log_uniform, min: -9, max: -4}
  gan.n_critic: {values: [1, 2], probabilities: [0.9, 0.1]}
"""


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_is_exported_without_its_benchmark_block(read, method):
    text = SEARCH.replace("random", method) + "early_terminate: {type: hyperband, min_iter: 2}\n"
    spec = read(text + "benchmark: {configurations: 4, seeds: 2, images: 9000, protocol: {n_fake: 300}}")
    exported = as_wandb_sweep(spec)
    assert exported.keys() <= WANDB_KEYS
    assert exported["run_cap"] == 16
    assert exported["metric"] == {"name": "scores/fid", "goal": "minimize"}
    assert exported["early_terminate"] == {"type": "hyperband", "min_iter": 2}
    assert exported["parameters"] == {
        "gan.name": {"values": ["wgan", "wgan-gp"]},
        "data.name": {"value": "digits"},
        "gan.beta1": {"distribution": "uniform", "min": 0.0, "max": 0.9},
        "gan.lr_generator": {"distribution": "log_uniform", "min": -9, "max": -4},
        "gan.n_critic": {
            "distribution": "categorical_w_probabilities",
            "values": [1, 2],
            "probabilities": [0.9, 0.1],
        },
        "images": {"value": 9000},
        "evaluation.n_fake": {"value": 300},
        "seed": {"values": [0, 1]},
    }
    again = read(yaml.safe_dump(exported), name="again.yaml")
    assert (again.method, again.planned, again.pruning.brackets) == (method, 16, spec.pruning.brackets)
    assert as_wandb_sweep(again) == exported
    assert {(c.images, c.evaluation.n_fake) for c in again.trials} == {(9000, 300)}


def test_what_wandb_cannot_do_is_said(read):
    assert wandb_gaps(read(GRID)) == []
    text = SEARCH + "early_terminate: {type: hyperband, min_iter: 2}\n"
    gaps = " ".join(wandb_gaps(read(text + "benchmark: {configurations: 4, seeds: 2}")))
    for words in ("draws its own values", "each 4 configurations", "every seed", "scores/fid", "not only those of one"):
        assert words in gaps
    phases = read(SEARCH + "benchmark: {configurations: 4, seeds: 2, phases: [wide, best]}")
    assert "of wide, best only the first is exported" in " ".join(wandb_gaps(phases))
    assert as_wandb_sweep(phases)["run_cap"] == 8


def test_early_termination_is_by_variant_in_a_benchmark(read):
    text = SEARCH + "early_terminate: {type: hyperband, max_iter: 9, s: 2, strict: true}\n"
    plain = read(text + "run_cap: 4").pruning
    assert (plain.brackets, plain.eta, plain.strict, plain.per_variant) == ((1, 3), 3, True, False)
    fair = read(text + "benchmark: {configurations: 4, seeds: 2, phases: [wide, best], search_seed: 7}").pruning
    assert (fair.per_variant, fair.only_seed) == (True, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SEARCH, "random search has no end of its own: give benchmark's configurations (per variant) or run_cap"),
        (SEARCH + "run_cap: 5\nbenchmark: {configurations: 3}", "run_cap 5 is below the 6 trials that benchmark asks"),
        (SEARCH + "benchmark: {seeds: 3}\nrun_cap: 5", "seeds are those of each configuration"),
        (SEARCH + "  seed: {values: [0]}\nbenchmark: {configurations: 3, seeds: 3}", "option seed is given twice"),
        (SEARCH + "  images: {value: 1}\nbenchmark: {images: 3}", "option images is given twice, as parameter images"),
        (SEARCH + "benchmark: {configuration: 3}", "unknown key of benchmark 'configuration': did you mean 'config"),
        (SEARCH + "benchmark: {configurations: 0}", "configurations must be a whole number from 1, got 0"),
        (SEARCH + "benchmark: {seeds: [1, 1]}", "seeds must be a count or a list without repetition"),
        (SEARCH + "benchmark: {seeds: []}", "seeds must be a count or a list without repetition"),
        (SEARCH + "benchmark: [a]", "benchmark must hold options"),
        (SEARCH + "benchmark: {protocol: {n_fakes: 3}}", "unknown option 'evaluation.n_fakes': did you mean 'evaluat"),
        (SEARCH + "benchmark: {selection: {metric: fod}}", "unknown metric 'fod': did you mean 'fid'?"),
        (SEARCH + "benchmark: {selection: {metric: fid, split: test}}", "split 'test' is reported, so choosing by it"),
        (SEARCH + "benchmark: {selection: {metric: fid, checkpoint: lost}}", "did you mean 'last'?"),
        (SEARCH + "benchmark: {selection: {metric: fid, checkpoint: last}}", "metric is best/fid, but benchmark's sel"),
        (SEARCH + "benchmark: {phases: [wide, narow]}", "unknown phase of benchmark 'narow': did you mean 'narrow'?"),
        (SEARCH + "benchmark: {phases: [narrow, wide]}", "phases are [wide, narrow, best] or [wide, best]"),
        (SEARCH + "benchmark: {phases: [wide, best], configurations: 3}", "phases need method: random, configurations"),
        (SEARCH + "benchmark: {phases: [wide, best], configurations: 3, seeds: [0, 1]}", "seed 0 is search_seed"),
        (GRID + "benchmark: {configurations: 3}", "configurations and phases are those of a search"),
        (GRID + "benchmark: {seeds: 3}", "option seed is given twice, as parameter seed and in benchmark"),
        (SEARCH.replace("best/fid", "best/fod"), "unknown metric 'fod': did you mean 'fid'?"),
        (SEARCH.replace("best/fid", "loss"), "metric 'loss' is none that trials log"),
        (SEARCH.replace("best/fid}", "best/fid, goal: maximize}"), "fid is better when lower, so write goal: minimize"),
        (SEARCH.replace("best/fid}", "best/fid, gaol: minimize}"), "unknown key of metric 'gaol': did you mean 'goal'"),
        (SEARCH.replace("best/fid}", "best/fid, target: 3}") + "run_cap: 3", "target ends a Bayesian search only"),
        (
            SEARCH.replace("metric: {name: best/fid}\n", "").replace("random", "bayes") + "run_cap: 3",
            "the search needs to know what is better",
        ),
        (
            SEARCH.replace("metric: {name: best/fid}\n", "") + "early_terminate: {type: hyperband, min_iter: 3}",
            "early_terminate compares fid: write metric",
        ),
        (
            SEARCH.replace("{values: [wgan, wgan-gp]}", "{values: [wgan, wgan-gp], probabilities: [0.5, 0.5]}")
            + "benchmark: {configurations: 3}",
            "every variant gets the same number of configurations, so give no probabilities",
        ),
        (
            SEARCH.replace("min: 0.0, max: 0.9", "distribution: normal, mu: -1") + "run_cap: 3",
            "gan.beta1 must be at least 0",
        ),
    ],
)
def test_a_mistake_in_a_search_is_one_sentence_with_the_place(read, text, message):
    with pytest.raises(UserError) as caught:
        read(text)
    assert message in str(caught.value)
    assert "some.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "planned", "study"),
    [
        ("mode-dropping", 42, "mode-dropping"),
        ("mode-dropping-digits", 21, "mode-dropping"),
        ("critic-loss", 35, "critic-loss"),
        ("sensitivity", 60, "sensitivity"),
    ],
)
def test_the_theory_benchs_sweeps_of_trials(name, planned, study):
    path = SHIPPED / "theory" / f"{name}.yaml"
    spec = read_spec(path)
    assert (spec.name, spec.planned, spec.study) == (name, planned, study)
    assert study_of(path) == study
    for config in spec.trials:
        check_names(config)


def test_a_study_is_one_that_there_is(read, tmp_path):
    assert read(GRID).study is None
    assert study_of(tmp_path / "missing.yaml") is None
    with pytest.raises(UserError, match="unknown study 'modes-drop': did you mean 'mode-dropping'"):
        read("study: modes-drop\n" + GRID)

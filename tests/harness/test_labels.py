"""Display names of trials."""

from __future__ import annotations

from harness.config import resolve
from harness.labels import recipe_labels


def test_a_label_names_what_varies_within_its_variant_but_never_the_seed():
    trials = [
        {"gan": "wgan", "gan.n_critic": 5, "gan.lr_generator": 1e-4},
        {"gan": "wgan", "gan.n_critic": 1, "gan.lr_generator": 1e-4, "seed": 3},
        {"gan": "lsgan", "gan.lr_generator": 2e-4, "evaluation.metrics": ["fid"]},
        {"gan": "lsgan", "gan.lr_generator": 2e-4, "evaluation.metrics": ["fid"], "seed": 1},
    ]
    assert recipe_labels([resolve({"dataset": "digits", **trial}) for trial in trials]) == [
        "wgan n_critic=5", "wgan n_critic=1", "lsgan", "lsgan",
    ]  # fmt: skip


def test_an_option_that_is_not_always_set_varies_too():
    trials = [{"evaluation.metrics": metrics} for metrics in (None, ["fid"], ["kid"])]
    labels = recipe_labels([resolve({"gan": "wgan", "dataset": "digits", **trial}) for trial in trials])
    assert labels == [f"wgan evaluation.metrics={metrics}" for metrics in ("None", "['fid']", "['kid']")]


def test_a_label_leaves_out_what_its_recipe_does_not_read_and_rounds():
    drawn = [
        {"gan.clip": 0.0119074, "gan.penalty_weight": 94.8979, "gan.lr_generator": 0.00135416, "gan.beta1": 0.6},
        {"gan.clip": 0.0155844, "gan.penalty_weight": 0.625503, "gan.lr_generator": 0.000658361, "gan.beta1": 0.8},
    ]
    trials = [
        resolve({"gan": gan, "dataset": "digits", **one}) for gan in ("lsgan", "wgan", "wgan-gp") for one in drawn
    ]
    assert recipe_labels(trials) == [
        "lsgan lr_generator=0.00135 beta1=0.6", "lsgan lr_generator=0.000658 beta1=0.8",
        "wgan clip=0.0119 lr_generator=0.00135", "wgan clip=0.0156 lr_generator=0.000658",
        "wgan-gp penalty_weight=94.9 lr_generator=0.00135 beta1=0.6",
        "wgan-gp penalty_weight=0.626 lr_generator=0.000658 beta1=0.8",
    ]  # fmt: skip


def test_recipes_that_would_be_called_the_same_are_named_in_full():
    trials = [{"gan.clip": 0.1}, {"gan.clip": 0.2}, {"gan.clip": 0.1, "seed": 1}]
    labels = recipe_labels([resolve({"gan": "lsgan", "dataset": "digits", **trial}) for trial in trials])
    assert labels == ["lsgan clip=0.1", "lsgan clip=0.2", "lsgan clip=0.1"]
    rates = [{"gan.lr_generator": rate} for rate in (0.0010001, 0.0010002, 0.5)]
    labels = recipe_labels([resolve({"gan": "lsgan", "dataset": "digits", **trial}) for trial in rates])
    assert labels == ["lsgan lr_generator=0.0010001", "lsgan lr_generator=0.0010002", "lsgan lr_generator=0.5"]


def test_a_dataset_is_named_and_other_sections_keep_theirs():
    trials = [{"dataset": "digits", "data.size": 16}, {"dataset": "polygons", "data.size": 8}]
    labels = recipe_labels([resolve({"gan": "lsgan", **trial}) for trial in trials])
    assert labels == ["lsgan dataset=digits data.size=16", "lsgan dataset=polygons data.size=8"]

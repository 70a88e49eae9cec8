"""The W&B report's specification, for studies of every kind; saving it is tested in tests/harness/test_publish.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from reports import comparison, to_markdown, verdict
from reports.results import Results
from reports.wandb_report import Mirror, draft, spec

Json = dict[str, Any]

METRICS = ("fid", "kid", "is", "precision", "recall", "f1")


def mirror(results: Results, **facts: Any) -> Mirror:
    runs = {trial: f"run{trial}" for trial in results.trials["trial"]}
    return Mirror(**{"project": "p", "entity": None, "groups": ("quick",), "runs": runs, **facts})


def configured(results: Results, **varied: Any) -> Results:
    """With a configuration for each trial: the variant's name, what it names, and `varied(recipe)`."""
    configs = [
        {
            "gan": {"objective": f"of {recipe.split()[0]}", "name": recipe.split()[0]},
            **{name: value(recipe) for name, value in varied.items()},
            "seed": seed,
        }
        for recipe, seed in zip(results.trials["recipe"], results.trials["seed"], strict=True)
    ]
    return replace(results, trials=results.trials.assign(config=configs))


def told(results: Results, **facts: Any) -> Json:
    return spec(draft(results, comparison(results), mirror(results, **facts)))


def grids(specification: Json) -> Iterator[Json]:
    for block in specification["report"]["blocks"]:
        if block["type"] == "panel-grid":
            yield block["metadata"]


def panels(specification: Json, kind: str) -> list[Json]:
    return [
        panel
        for grid in grids(specification)
        for panel in grid["panelBankSectionConfig"]["panels"]
        if panel["viewType"] == kind
    ]


def headings(specification: Json) -> list[str]:
    return [block["children"][0]["text"] for block in specification["report"]["blocks"] if block["type"] == "heading"]


def groupings(specification: Json) -> set[tuple[str, ...]]:
    return {tuple(key["name"] for key in runs["grouping"]) for grid in grids(specification) for runs in grid["runSets"]}


def chosen(specification: Json) -> list[tuple[str, list[str]]]:
    """What each grid's runs are chosen by."""
    return [
        (rule["key"]["name"], rule["value"])
        for grid in grids(specification)
        for runs in grid["runSets"]
        for rule in runs["filters"]["filters"]
    ]


def test_the_story_is_that_of_the_local_report(make_study):
    results = configured(make_study(failed=[("wgan", 0)]))
    said = told(results)
    texts = [child.get("text") for block in said["report"]["blocks"] for child in block.get("children", [])]
    compared = comparison(results)
    assert [text for text in texts if text in verdict(compared)] == verdict(compared)
    (table,) = [block["content"] for block in said["report"]["blocks"] if block["type"] == "markdown-block"]
    assert table == to_markdown(compared)
    assert headings(said) == [
        "Verdict", "Scores", "Scores over the budget", "Final scores", "Settings and scores", "Losses and health",
        "Samples", "Runs side by side", "Commands",
    ]  # fmt: skip
    assert json.dumps(told(results)) == json.dumps(said)


def test_lines_and_bars_are_grouped_by_recipe_with_bands(make_study):
    said = told(configured(make_study()))
    assert groupings(said) == {("gan.value.name",), ()}
    lines = [panel["config"] for panel in panels(said, "Run History Line Plot")]
    assert {(line["groupBy"], line["groupAgg"], line["groupArea"]) for line in lines} == {
        ("gan.value.name", "mean", "minmax")
    }
    assert {line["xAxis"] for line in lines} == {"images"}
    bars = [panel["config"] for panel in panels(said, "Bar Chart")]
    assert [bar["metrics"] for bar in bars] == [[f"final/{name}"] for name in METRICS]
    assert {bar["groupArea"] for bar in bars} == {"stderr"}
    assert "↓" in bars[0]["chartTitle"]
    (plane,) = panels(said, "Scatter Plot")
    assert (plane["config"]["xAxis"], plane["config"]["yAxis"]) == ("summary:final/precision", "summary:final/recall")


def test_settings_that_vary_within_a_variant_tell_recipes_apart(make_study):
    recipes = ("wgan lr=0.1", "wgan lr=0.2", "ns lr=0.1", "ns lr=0.2")
    results = configured(make_study(recipes), optimizer=lambda recipe: {"lr": float(recipe[-3:]), "batch": 64})
    said = told(results)
    assert groupings(said) == {("gan.value.name", "optimizer.value.lr"), ()}
    assert all("groupBy" not in panel["config"] for panel in panels(said, "Run History Line Plot"))
    (parallel,) = panels(said, "Parallel Coordinates Plot")
    axes = [column["accessor"] for column in parallel["config"]["columns"]]
    assert axes[:4] == [
        "config:gan.value.name", "config:optimizer.value.lr", "config:seed.value", "summary:final/fid"
    ]  # fmt: skip


def test_a_recipe_has_one_colour_in_all_panels(make_study):
    said = told(configured(make_study(("vanilla", "wgan"))))
    colours = [sorted(set(grid["customRunColors"].values())) for grid in grids(said) if grid["runSets"][0]["grouping"]]
    assert len(colours) >= 3
    assert all(found == colours[0] for found in colours)
    assert len(colours[0]) == 2
    assert sorted(said["workspace"]["section"]["customRunColors"].values()) == colours[0]


def test_runs_of_different_protocols_are_drawn_apart(make_study):
    results = configured(
        make_study(protocol_of=lambda recipe, seed: "ffff00001111" if recipe == "wgan" else "a1b2c3d4e5f6")
    )
    said = told(results)
    assert "Final scores under protocol ffff00001111" in headings(said)
    of_wgan = sorted(f"run{trial}" for trial in results.trials.query("recipe == 'wgan'")["trial"])
    of_others = sorted({f"run{trial}" for trial in results.trials["trial"]} - set(of_wgan))
    ids = [value for _, value in chosen(said)]
    assert (ids.count(of_wgan), ids.count(of_others)) == (3, 3)


def test_only_what_is_compared_is_drawn(make_study):
    results = configured(make_study())
    search = {"a trial of the search": "another run"}
    said = told(results, runs={**mirror(results).runs, **search})
    assert {name for name, _ in chosen(said)} == {"name"}
    assert not any("another run" in value for _, value in chosen(said))


def test_the_workspace_has_runs_grouped_over_images(make_study):
    section = told(configured(make_study()))["workspace"]["section"]
    assert section["settings"]["xAxis"] == "images"
    assert section["settings"]["xAxisActive"]
    assert [part["name"] for part in section["panelBankConfig"]["sections"]] == ["Scores", "Losses", "Samples"]
    (runs,) = section["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["gan.value.name"]


def test_ids_are_unique_and_stay(make_study):
    results = configured(make_study())
    ids = [
        item
        for grid in grids(told(results))
        for item in (grid["runSets"][0]["id"], *(panel["__id__"] for panel in grid["panelBankSectionConfig"]["panels"]))
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "options",
    [
        {"recipes": ("vanilla",), "seeds": 1},
        {"recipes": ("vanilla", "wgan"), "seeds": 1, "failed": [("vanilla", 0), ("wgan", 0)]},
        {"value": lambda recipe, seed, metric: float("nan")},
        {"recipes": tuple(f"recipe {i}" for i in range(40)), "seeds": 1},
    ],
    ids=["one trial", "all failed", "no scores", "forty recipes"],
)
def test_every_study_has_a_report(make_study, options):
    results = make_study(**options)
    for study in (results, configured(results)):
        said = told(study)
        assert "Verdict" in headings(said)
        assert panels(said, "Media Browser")


def test_names_stay_text(make_study):
    results = configured(make_study(("<script>alert(1)</script>", "a | b", "🎉 party")))
    results = replace(results, title="<b>🎉 Σ" + "x" * 200)
    said = told(results)
    assert len(said["title"]) == 128
    (table,) = [block["content"] for block in said["report"]["blocks"] if block["type"] == "markdown-block"]
    assert "<script>" not in table

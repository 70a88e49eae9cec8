"""The section that a sweep's study adds: numbers that are known, on a page that stays as it is without one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from ganbench.errors import UserError
from metrics.features import FEATURES
from reports.markdown import escaped
from reports.ranking import comparison
from reports.results import Results
from reports.statistics import interval
from reports.studies import CLASSES, study

Make = Callable[..., Results]


def named(results: Results, name: str) -> Results:
    return dataclasses.replace(results, study=name)


def only_fid(results: Results) -> Results:
    """The same without the other metrics, whose figures take time."""
    curves = results.curves[results.curves["name"].isin(["fid", "loss/discriminator"])]
    return dataclasses.replace(results, scores=results.scores[results.scores["metric"] == "fid"], curves=curves)


def as_modes(results: Results) -> Results:
    """The same with the scores of fid called modes covered, of a ring of eight, all of which real samples reach."""
    scores = results.scores[results.scores["metric"] == "fid"].assign(
        metric="modes", label="Modes covered", direction="higher"
    )
    scores.loc[scores["checkpoint"] == "floor", "value"] = 8.0
    protocols = {name: {**protocol, "mixture": {"modes": 8}, "dataset": "ring8"} for name, protocol in
                 results.protocols.items()}  # fmt: skip
    return dataclasses.replace(results, scores=scores, protocols=protocols)


def test_modes_dropped_are_shares_of_those_there_are(make_study: Make) -> None:
    values = {"a": [8, 8, 8], "b": [2, 4, 3]}
    made = as_modes(make_study(["a", "b"], value=lambda recipe, seed, _: values[recipe][seed]))
    shown = study(named(made, "mode-dropping"), comparison(made))
    assert shown is not None
    [part] = shown.parts
    assert {group.label: sorted(group.values) for group in part.groups} == {"a": [8, 8, 8], "b": [2, 3, 4]}
    lines = {line[0].text: line for line in part.table.rows}
    assert lines["a"][2].value == 0
    assert lines["b"][2].value == pytest.approx(1 - 3 / 8)
    assert lines["b"][3].text.startswith("3/3 (")
    assert lines["a"][3].text.startswith("0/3 (")
    assert part.reference is not None
    mean = interval([2.0, 4.0, 3.0])
    [b] = [group for group in part.groups if group.label == "b"]
    assert (b.low, b.middle, b.high) == (mean.low, mean.point, mean.high)


def as_classes(results: Results, floor: float | None, features: str = "stacked-digits") -> Results:
    """The same with the scores called classes covered, of which real samples reach `floor`."""
    made = as_modes(results)
    scores = made.scores.assign(metric="class_modes", label="Classes covered")
    scores = scores[(scores["checkpoint"] != "floor") | (floor is not None)]
    scores.loc[scores["checkpoint"] == "floor", "value"] = floor
    protocols = {name: {"features": features, "dataset": "stacked-digits"} for name in made.protocols}
    return dataclasses.replace(made, scores=scores, protocols=protocols)


def test_recipes_without_any_score_of_modes_have_a_row(make_study: Make) -> None:
    lost = [("b", seed) for seed in range(3)]
    made = as_modes(make_study(["a", "b"], failed=lost, value=lambda *_: 6.0))
    shown = study(named(made, "mode-dropping"), comparison(made))
    assert shown is not None
    [part] = shown.parts
    assert [group.label for group in part.groups] == ["a"]
    assert [cell.text for cell in part.table.rows[1]] == ["b", "—", "—", "—", "0", "3"]
    assert [cell.text for cell in part.table.rows[0]][-2:] == ["3", "0"]
    assert "the table counts its trials" in part.caption


def test_classes_are_counted_by_the_classifier_not_by_what_real_samples_reach(make_study: Make) -> None:
    values = {"a": 996.0, "b": 500.0}
    made = as_classes(make_study(["a", "b"], value=lambda recipe, *_: values[recipe]), 993.0)
    shown = study(named(made, "mode-dropping"), comparison(made))
    assert shown is not None
    [part] = shown.parts
    assert part.title.startswith("Classes covered of 1,000")
    assert part.reference == ("real vs real (floor)", 993.0)
    a, b = part.table.rows
    assert (a[2].value, b[2].value) == (pytest.approx(0.004), pytest.approx(0.5))
    assert [a[3].text, b[3].text] == ["—", "—"]
    assert "real samples themselves reach only 993 of 1,000 classes" in part.table.note


@pytest.mark.parametrize(
    ("floor", "features", "cells", "note"),
    [
        (1000.0, "stacked-digits", ("0.5", "3/3"), "with Wilson's"),
        (None, "stacked-digits", ("0.5", "—"), "nothing says whether real samples reach all 1,000"),
        (9.0, "my-network", ("—", "—"), "How many classes there are is not known"),
    ],
)
def test_what_is_not_known_of_classes_is_not_said(
    make_study: Make, floor: float | None, features: str, cells: tuple[str, str], note: str
) -> None:
    made = as_classes(make_study(["a"], value=lambda *_: 500.0), floor, features)
    shown = study(named(made, "mode-dropping"), comparison(made))
    assert shown is not None
    [part] = shown.parts
    [line] = part.table.rows
    assert (line[2].text[:3], line[3].text[:3]) == cells
    assert note in part.table.note


@pytest.mark.parametrize("name", CLASSES)
def test_the_classes_of_each_network_are_those_that_it_has(name: str) -> None:
    assert FEATURES.load(name).classes == CLASSES[name]


def test_the_correlation_is_one_where_the_estimate_falls_with_the_badness(make_study: Make) -> None:
    made = make_study(["follows", "opposes", "flat"])
    rows = []
    for recipe, trial, seed in made.trials[["recipe", "trial", "seed"]].itertuples(index=False):
        for look in range(1, 8):
            fid = 100.0 / look + seed
            loss = {"follows": -fid, "opposes": fid, "flat": 1.0}[recipe]
            for name, value in (("fid", fid), ("loss/discriminator", loss)):
                rows.append((recipe, trial, seed, 1000 * look, name, value))
        rows.append((recipe, trial, seed, 0, "fid", 500.0))  # the look before training has no loss
    curves = pd.DataFrame(rows, columns=list(made.curves.columns))
    shown = study(named(dataclasses.replace(made, curves=curves), "critic-loss"), comparison(made))
    assert shown is not None
    [part] = shown.parts
    assert {group.label: group.middle for group in part.groups} == {
        "follows": pytest.approx(1.0),
        "opposes": pytest.approx(-1.0),
    }
    counted = [tuple(cell.text for cell in line[4:]) for line in part.table.rows]
    assert counted == [("7", "3", "0"), ("7", "3", "0"), ("7", "0", "3")]
    assert [cell.text for cell in part.table.rows[2][:4]] == ["flat", "—", "—", "—"]
    assert "averaged weights (EMA)" in part.caption
    assert all(-1 <= group.low <= group.high <= 1 for group in part.groups)  # type: ignore[operator]


def test_a_correlation_of_few_looks_is_none(make_study: Make) -> None:
    made = make_study(["a"])
    few = dataclasses.replace(made, curves=made.curves[made.curves["images"] <= 6_400])  # three looks
    assert study(named(few, "critic-loss"), comparison(few)) is None


def test_a_recipe_whose_trials_all_failed_has_no_correlation_but_a_row(make_study: Make) -> None:
    made = make_study(["a", "b"], failed=[("b", seed) for seed in range(3)])
    gone = dataclasses.replace(made, curves=made.curves[made.curves["recipe"] == "a"])
    shown = study(named(gone, "critic-loss"), comparison(gone))
    assert shown is not None
    [part] = shown.parts
    assert [group.label for group in part.groups] == ["a"]
    assert [cell.text for cell in part.table.rows[1]] == ["b", "—", "—", "—", "0", "0", "3"]


def test_recipes_of_another_protocol_have_no_row(make_study: Make) -> None:
    protocols = {"a": "a1b2c3d4e5f6", "b": "ffff00001111"}
    made = make_study(["a", "b"], protocol_of=lambda recipe, _: protocols[recipe])
    for name in ("critic-loss", "sensitivity"):
        shown = study(named(made, name), comparison(made))
        assert shown is not None
        assert [[line[0].text for line in part.table.rows] for part in shown.parts] == [["a"], ["b"]]


def test_a_variant_without_any_score_has_a_row(make_study: Make) -> None:
    made = make_study(["a x", "a y", "b x", "b y"], seeds=1, failed=[("b x", 0), ("b y", 0)])
    shown = study(named(made, "sensitivity"), comparison(made))
    assert shown is not None
    [part] = shown.parts
    assert [group.label for group in part.groups] == ["a"]
    assert [cell.text for cell in part.table.rows[1]] == ["b", "0", "2", *["—"] * 5]


@pytest.mark.parametrize(
    ("name", "heading", "column"),
    [
        ("mode-dropping", "Modes covered, ring8", "dropped_low"),
        ("critic-loss", "Rank correlation of −L_D with FID (digits)", "without_correlation"),
        ("sensitivity", "Spread of FID (digits) over configurations", "iqr"),
    ],
)
def test_every_format_has_the_studys_table(
    make_study: Make, tmp_path: Path, name: str, heading: str, column: str
) -> None:
    made = only_fid(make_study(["a", "b"], failed=[("b", seed) for seed in range(3)]))
    made = named(as_modes(made) if name == "mode-dropping" else made, name)
    reports.write(made, tmp_path)
    read = {path.name: path.read_text() for path in tmp_path.glob("*.*")}
    assert escaped(heading) in read["table.md"]
    assert heading.split(" ", maxsplit=1)[0] in read["table.tex"]
    assert read["index.html"].count('<table class="study">') == 1
    told = json.loads(read["table.json"])["blocks"][0]["study"]
    assert [row.get("recipe", row.get("variant")) for row in told] == ["a", "b"]
    assert column in told[0]
    frame = pd.read_csv(tmp_path / "study.csv")
    assert list(frame.columns) == ["protocol_id", *told[0]]
    assert len(frame) == 2
    assert heading in reports.to_html(comparison(made), study=study(made, comparison(made)))


def test_what_an_earlier_report_wrote_and_this_one_does_not_is_removed(make_study: Make, tmp_path: Path) -> None:
    made = only_fid(make_study(["a", "b"]))
    figures = tmp_path / "figures"
    figures.mkdir()
    earlier = [tmp_path / "effects.csv", tmp_path / "study.csv"]
    earlier += [
        figures / f"{name}.{end}" for name in ("effects", "critic-loss") for end in ("svg", "png", "pdf", "csv")
    ]
    own = [figures / "mine.svg", tmp_path / "mine.csv"]
    for path in (*earlier, *own):
        path.write_text("of before")
    reports.write(made, tmp_path)
    assert not any(path.exists() for path in earlier)
    assert all(path.exists() for path in own)
    assert (figures / "scores-fid.svg").exists()


def test_sensitivity_is_the_spread_over_a_variants_configurations(make_study: Make) -> None:
    recipes = [f"{variant} lr={i}" for variant in ("steady", "touchy") for i in range(6)]

    def score(recipe: str, *_: object) -> float:
        number = int(recipe[-1])
        return (10 if recipe.startswith("steady") else 10**number) + 0.1 * number

    made = make_study(recipes, seeds=1, failed=[("touchy lr=0", 0)], value=score)
    shown = study(named(made, "sensitivity"), comparison(made))
    assert shown is not None
    [part] = shown.parts
    assert [group.label for group in part.groups] == ["steady", "touchy"]
    assert part.logarithmic
    steady, touchy = part.table.rows
    assert [steady[1].text, steady[2].text, touchy[1].text, touchy[2].text] == ["6", "0", "5", "1"]
    values = 10 + 0.1 * np.arange(6)
    assert steady[6].value == pytest.approx(np.subtract(*np.quantile(values, [0.75, 0.25])))
    assert (steady[3].value, steady[4].value, steady[5].value) == pytest.approx((10, 10.25, 10.5))
    assert touchy[6].value > 100 * steady[6].value


@pytest.mark.parametrize("name", ["mode-dropping", "critic-loss", "sensitivity"])
def test_the_page_has_the_section_and_is_the_same_again(make_study: Make, tmp_path: Path, name: str) -> None:
    nasty = "<script>alert(1)</script>"
    made = make_study([nasty, "wgan"])
    if name == "mode-dropping":
        made = as_modes(made)
    made = named(made, name)
    html = reports.write(made, tmp_path / "a").read_text()
    assert '<section id="study">' in html
    assert '<a href="#study">Study</a>' in html
    assert "<script>alert" not in html
    if name == "critic-loss":
        assert reports.write(made, tmp_path / "b").read_text() == html
    assert list((tmp_path / "a" / "figures").glob(f"{name}*.svg"))


def test_without_a_study_there_is_no_section_and_an_unknown_one_is_refused(make_study: Make, tmp_path: Path) -> None:
    made = make_study(["a", "b"])
    assert study(made, comparison(made)) is None
    assert 'id="study"' not in reports.write(made, tmp_path).read_text()
    with pytest.raises(UserError, match="unknown study 'modes-dropping': did you mean 'mode-dropping'"):
        named(made, "modes-dropping")

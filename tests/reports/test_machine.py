"""JSON and CSV: every number as it is, in full."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest

from reports import records, to_csv, to_json
from reports.ranking import comparison
from reports.results import Results

Make = Callable[..., Results]


def test_csv_round_trip(nasty: Results) -> None:
    compared = comparison(nasty, baseline=nasty.recipes[0])
    found = list(csv.DictReader(io.StringIO(to_csv(compared))))
    expected = records(compared)
    assert len(found) == len(expected) == 6
    for read, row in zip(found, expected, strict=True):
        assert list(read) == list(row)
        for name, value in row.items():
            text = read[name]
            if value is None or isinstance(value, str | bool):
                assert text == ("" if value is None else str(value))
            else:
                assert float(text) == value
    row = compared.blocks[0].rows[0]
    fid = row.cells["fid"].interval
    assert fid is not None
    assert [float(found[0][f"fid_{part}"]) for part in ("mean", "low", "high", "n")] == [
        fid.point, fid.low, fid.high, fid.n,
    ]  # fmt: skip


def test_csv_has_costs_ranks_and_differences(make_study: Make) -> None:
    compared = comparison(
        make_study(["a", "b"], value=lambda recipe, seed, _: "ab".index(recipe) * 10 + seed / 10), baseline="a"
    )
    a, b = list(csv.DictReader(io.StringIO(to_csv(compared))))[:2]
    assert (a["fid_rank_low"], a["fid_rank_high"], a["fid_best"]) == ("1", "1", "True")
    assert (a["rank_low"], b["rank_high"]) == ("1", "2")
    assert a["fid_difference"] == ""
    assert float(b["fid_difference"]) == pytest.approx(10)
    assert float(b["fid_difference_low"]) < 10 < float(b["fid_difference_high"])
    assert (a["seeds"], a["n_real"], a["n_fake"]) == ("0 1 2", "1000", "1000")
    assert [float(a[name]) for name in ("images", "d_steps", "parameters", "peak_memory_mb")] == [
        20_000, 312, 1_200_000, 600,
    ]  # fmt: skip


def test_a_clean_sweep_has_a_rate_of_zero(make_study: Make) -> None:
    rates = csv.DictReader(io.StringIO(to_csv(comparison(make_study(["a", "b"])))))
    assert {(row["failure_rate"], row["failed"]) for row in rates if row["kind"] == "recipe"} == {("0.0", "0")}


def test_json_has_all_that_the_tables_know(make_study: Make) -> None:
    compared = comparison(make_study(failed=[("wgan", 1)]), baseline="ns")
    found = json.loads(to_json(compared))
    assert (found["title"], found["baseline"]) == ("Eight recipes on digits", "ns")
    assert found["verdict"]
    assert found["notes"] == list(compared.notes)
    assert found["failures"] == [
        {"recipe": "wgan", "seed": 1, "what": "failed", "reason": "the generator made NaN at step 812"}
    ]
    (block,) = found["blocks"]
    assert block["protocol"]["n_real"] == 1000
    assert block["metrics"][0] == {"name": "fid", "label": "FID (digits)", "direction": "lower"}
    rows = {row["recipe"]: row for row in block["rows"]}
    wgan, ns = rows["wgan"], rows["ns"]
    assert (wgan["n"], wgan["trials"], wgan["seeds"], wgan["failed"]) == (2, 3, [0, 2], 1)
    assert wgan["failure_rate"]["n"] == 3
    score = wgan["scores"]["fid"]
    assert list(score["seeds"]) == ["0", "2"]
    assert score["mean"] == pytest.approx(sum(score["seeds"].values()) / 2)
    assert (score["low"], score["high"], score["n"], score["best"]) == (None, None, 2, False)
    assert score["difference"]["mean"] == pytest.approx(score["mean"] - ns["scores"]["fid"]["mean"])
    assert ns["scores"]["fid"]["difference"] is None
    assert rows["real vs real (floor)"]["kind"] == "reference"


def test_json_tells_of_the_search(searched_study: Results, make_study: Make) -> None:
    found = json.loads(to_json(comparison(searched_study)))["search"]
    assert found["rule"] == "best FID (selection split)"
    wgan, other = found["variants"]
    assert (wgan["variant"], wgan["n"], wgan["best"], wgan["chosen"]) == ("wgan", 1, 3.25, "lr_generator=0.01")
    assert (other["failed"], other["best"], other["chosen"]) == (1, None, None)
    assert json.loads(to_json(comparison(make_study(["a"]))))["search"] is None


def test_json_of_missing_scores_has_nulls_and_no_nan(make_study: Make) -> None:
    results = make_study(["a", "b"], value=lambda recipe, seed, metric: float("nan") if recipe == "b" else 1.0)
    score = json.loads(to_json(comparison(results)))["blocks"][0]["rows"][1]["scores"]["fid"]
    assert (score["mean"], score["n"], score["seeds"]) == (None, 0, {})


def test_published_figures_are_quoted_with_their_source(make_study: Make) -> None:
    results = make_study(["sngan"])
    results.protocols["a1b2c3d4e5f6"]["dataset"] = "cifar10"
    row = json.loads(to_json(comparison(results)))["blocks"][0]["rows"][0]
    assert row["published"]["fid"]["the paper"] == "21.7"

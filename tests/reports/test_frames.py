"""Reports of a notebook's own frame, and the data that a report keeps beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ganbench.errors import UserError
from reports import from_frame, to_json, to_markdown, write
from reports.frames import load, save
from reports.ranking import comparison
from reports.results import Results

Make = Callable[..., Results]


def mine(**columns: object) -> pd.DataFrame:
    rows = [(recipe, seed, base + seed / 10) for recipe, base in (("a", 9.0), ("b", 5.0)) for seed in range(4)]
    frame = pd.DataFrame(rows, columns=["recipe", "seed", "value"])
    return frame.assign(**{"metric": "FID", "direction": "lower", **columns})


def test_five_columns_are_enough() -> None:
    results = from_frame(mine(), title="Mine")
    (block,) = comparison(results).blocks
    assert [(row.recipe, row.n, row.seeds) for row in block.rows] == [("b", 4, (0, 1, 2, 3)), ("a", 4, (0, 1, 2, 3))]
    assert block.rows[0].cells["FID"].best
    assert set(results.trials["status"]) == {"done"}
    text = to_markdown(comparison(results))
    assert "FID ↓" in text
    assert "Protocol unstated — not recorded." in text


def test_costs_may_stand_in_the_same_frame() -> None:
    (block,) = comparison(from_frame(mine(images=20_000, parameters=1_000))).blocks
    assert (block.rows[0].images, block.rows[0].parameters, block.rows[0].seconds) == (20_000, 1_000, None)


def test_trials_and_protocols_may_be_given() -> None:
    trials = pd.DataFrame(
        {"recipe": ["a"] * 4 + ["b"] * 5, "seed": [*range(4), *range(5)], "status": ["done"] * 8 + ["failed"]}
    )
    results = from_frame(mine(protocol_id="p"), trials=trials, protocols={"p": {"n_fake": 10}})
    (block,) = comparison(results).blocks
    row = next(row for row in block.rows if row.recipe == "b")
    assert (row.n, row.trials, row.failed, row.n_fake) == (4, 5, 1, 10)


def test_curves_may_be_given(tmp_path: Path) -> None:
    curves = pd.DataFrame(
        [(recipe, seed, images, "FID", 30.0) for recipe in "ab" for seed in range(4) for images in (100, 200)],
        columns=["recipe", "seed", "images", "name", "value"],
    )
    results = from_frame(mine(), curves=curves)
    assert set(results.curves["trial"]) == set(results.trials["trial"])
    write(results, tmp_path)
    assert any("fid" in path.name.lower() for path in (tmp_path / "figures").iterdir())


def test_two_metrics_of_a_trial_are_one_trial() -> None:
    both = pd.concat([mine(), mine(metric="IS", direction="higher")])
    results = from_frame(both)
    assert len(results.trials) == 8
    assert [metric.name for metric in comparison(results).blocks[0].metrics] == ["FID", "IS"]


def test_missing_scores_are_no_numbers() -> None:
    frame = mine(reason=None)
    frame.loc[0, ["value", "reason"]] = [np.nan, "too few samples"]
    compared = comparison(from_frame(frame))
    assert [failure.reason for failure in compared.failures] == ["too few samples"]


def test_the_frame_that_was_given_stays_as_it_is() -> None:
    frame = mine()
    before = frame.copy()
    from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_a_page_is_made_of_it(tmp_path: Path) -> None:
    assert write(from_frame(mine()), tmp_path).stat().st_size > 0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (mine().drop(columns="direction"), "lacks the column\\(s\\) direction"),
        (mine(direction="up"), "direction 'up'"),
        (mine(seed=0.5), "no whole number"),
        (mine(seed=np.nan), "no whole number"),
        (mine(value="good"), "column value .* no number"),
        (mine(seed=0), "two values of 'FID'"),
        (mine().iloc[:0], "nothing to report"),
    ],
)
def test_mistakes_are_told(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_frame(frame)


# --- beside a report


def test_what_is_saved_is_read_back(make_study: Make, nasty: Results, tmp_path: Path) -> None:
    odd = make_study(["NA", "1", 'a,"b"\nc'], states={("1", 0): "pending", ("NA", 1): "diverged"}, flagged=[("1", 1)])
    for number, results in enumerate((odd, nasty)):
        results.trials.loc[0, "config"] = None
        save(results, tmp_path / str(number))
        again = load(tmp_path / str(number))
        assert again.recipes == results.recipes
        assert to_json(comparison(again)) == to_json(comparison(results))
        assert list(again.trials["problems"]) == list(results.trials["problems"])
        assert [config for config in again.trials["config"] if config] == [
            config for config in results.trials["config"] if config
        ]


def test_a_search_is_read_back(searched_study: Results, tmp_path: Path) -> None:
    save(searched_study, tmp_path)
    again = load(tmp_path)
    assert comparison(again).searched == comparison(searched_study).searched
    assert again.search
    assert searched_study.search
    assert (again.search.rule, again.search.direction) == (searched_study.search.rule, "lower")
    pd.testing.assert_frame_equal(again.search.trials, searched_study.search.trials, check_dtype=False)


def test_a_folder_without_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no report's folder"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["about.json", "scores.csv", "trials.csv"])
def test_damaged_data(make_study: Make, tmp_path: Path, name: str) -> None:
    save(make_study(["a"]), tmp_path)
    (tmp_path / "data" / name).write_text("{")
    with pytest.raises(UserError, match=r"is damaged|lacks the column"):
        load(tmp_path)


def test_trials_trained_as_ensembles_are_named_and_stay_so_beside_the_report(tmp_path: Path) -> None:
    plain = from_frame(mine())
    assert not any("ensembles" in note for note in comparison(plain).notes)
    sizes = [4.0 if recipe == "a" else None for recipe in plain.trials["recipe"]]
    results = from_frame(mine(), trials=plain.trials.assign(ensemble=sizes))
    save(results, tmp_path)
    for told in (results, load(tmp_path)):
        (note,) = [note for note in comparison(told).notes if "ensembles" in note]
        assert "a 4 of 4" in note
        assert "The other trials were trained alone" in note

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ganbench.errors import UserError
from reports.ranking import Comparison, comparison, verdict
from reports.results import Results
from reports.statistics import Interval, interval

Make = Callable[..., Results]


def flat(points: dict[str, float], width: float = 0.1) -> Callable[[str, int, str], float]:
    """Scores that lie around a point per recipe, symmetric over three seeds."""
    return lambda recipe, seed, metric: points[recipe] + width * (seed - 1)


def bold(compared: Comparison, metric: str) -> list[str]:
    return [row.recipe for block in compared.blocks for row in block.rows if row.cells[metric].best]


def test_each_row_is_mean_and_interval_over_seeds(make_study: Make) -> None:
    results = make_study(seeds=4)
    block = comparison(results).blocks[0]
    scores = results.scores
    for row in block.rows:
        for metric in block.metrics:
            mine = scores[
                (scores["recipe"] == row.recipe) & (scores["metric"] == metric.name)
                & (scores["checkpoint"] == "last") & (scores["weights"] == "ema")
            ]  # fmt: skip
            assert row.cells[metric.name].interval == interval(list(mine["value"]))
        assert (row.n, row.trials, row.failed, row.unfinished) == (4, 4, 0, 0)
        trials = results.trials[results.trials["recipe"] == row.recipe]
        assert row.seconds == pytest.approx(trials["seconds"].mean())
    assert [metric.name for metric in block.metrics] == ["fid", "kid", "is", "precision", "recall", "f1"]
    assert [metric.header for metric in block.metrics[:3]] == ["FID (digits) ↓", "KID (digits) ↓", "IS (digits) ↑"]


def test_bold_needs_an_interval_apart_from_every_other(make_study: Make) -> None:
    # the t interval of {x-w, x, x+w} is x ± 2.484 w
    clear = comparison(make_study(["a", "b", "c"], value=flat({"a": 1.0, "b": 2.0, "c": 3.0})))
    assert bold(clear, "fid") == ["a"]  # lower is better
    assert bold(clear, "is") == ["c"]  # higher is better
    near = comparison(make_study(["a", "b", "c"], value=flat({"a": 1.0, "b": 1.4, "c": 3.0})))
    assert bold(near, "fid") == []
    assert bold(near, "is") == ["c"]

    def wide_third(recipe: str, seed: int, metric: str) -> float:
        return {"a": 1.0, "b": 2.0, "c": 3.0}[recipe] + (1.0 if recipe == "c" else 0.1) * (seed - 1)

    third = comparison(make_study(["a", "b", "c"], value=wide_third))
    assert bold(third, "fid") == []  # apart from the runner-up, but c's interval reaches over both
    assert "overlaps that of c" in " ".join(verdict(third))


def test_no_bold_without_intervals_or_rivals(make_study: Make) -> None:
    assert bold(comparison(make_study(["a", "b"], seeds=2, value=flat({"a": 1.0, "b": 9.0}))), "fid") == []
    assert bold(comparison(make_study(["a"], value=flat({"a": 1.0}))), "fid") == []


def test_rows_are_sorted_by_the_first_metric_missing_last(make_study: Make) -> None:
    points = {"c": 3.0, "gone": math.nan, "a": 1.0, "b": 2.0}
    compared = comparison(make_study(list(points), value=flat(points)))
    assert [row.recipe for row in compared.blocks[0].rows] == ["a", "b", "c", "gone"]

    results = make_study(list(points), value=flat(points))
    scores = results.scores[results.scores["metric"].isin(["is", "f1"])]
    higher = comparison(dataclasses.replace(results, scores=scores))
    assert [row.recipe for row in higher.blocks[0].rows] == ["c", "b", "a", "gone"]


def test_rows_of_another_protocol_stand_apart_and_unranked_together(make_study: Make) -> None:
    points = {"a": 2.0, "b": 1.0, "c": 3.0}
    compared = comparison(
        make_study(
            list(points), value=flat(points), protocol_of=lambda recipe, _: "other" if recipe == "b" else "common"
        )
    )
    assert [block.protocol_id for block in compared.blocks] == ["common", "other"]
    assert [[row.recipe for row in block.rows] for block in compared.blocks] == [["a", "c"], ["b"]]
    assert bold(compared, "fid") == ["a"]  # b's smaller number is of another kind
    assert any("must not be compared" in note for note in compared.notes)
    assert all(len(block.references) == 2 for block in compared.blocks)
    assert "a has the best mean of 2 recipes under protocol common" in verdict(compared)[0]


def test_recipes_of_one_mean_share_the_verdict(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b", "c"], value=flat({"a": 1.0, "b": 1.0, "c": 3.0})))
    assert verdict(compared) == ["By FID (digits), a and b share the best mean of 3 recipes."]


def test_one_recipe_scored_under_two_protocols_never_mixes_seeds(make_study: Make) -> None:
    compared = comparison(
        make_study(["a", "b"], seeds=4, protocol_of=lambda recipe, seed: "x" if (recipe, seed) == ("a", 0) else "y")
    )
    counts = {(block.protocol_id, row.recipe): row.n for block in compared.blocks for row in block.rows}
    assert counts == {("y", "a"): 3, ("y", "b"): 4, ("x", "a"): 1}


def test_one_seed_has_points_but_no_claims(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], seeds=1))
    values = [cell.interval for row in compared.blocks[0].rows for cell in row.cells.values()]
    assert all(value is not None and value.low is None and value.n == 1 for value in values)
    assert "chance" in " ".join(verdict(compared))


def test_failed_trials_are_counted_with_their_reason_and_in_no_mean(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], seeds=5, failed=[("b", 3)]))
    row = next(row for row in compared.blocks[0].rows if row.recipe == "b")
    assert (row.n, row.trials, row.failed) == (4, 5, 1)
    assert row.images == 20_000  # of finished trials only
    assert [(f.recipe, f.seed, f.what, f.reason) for f in compared.failures] == [
        ("b", 3, "training", "the generator made NaN at step 812")
    ]
    assert "1 of 10 trials failed" in " ".join(verdict(compared))


def test_a_failed_trials_leftover_scores_do_not_count(make_study: Make) -> None:
    results = make_study(["a", "b"], seeds=4)
    trials = results.trials.copy()
    trials.loc[(trials["recipe"] == "a") & (trials["seed"] == 0), "status"] = "failed"
    trials.loc[(trials["recipe"] == "a") & (trials["seed"] == 1), "status"] = "running"
    row = next(r for r in comparison(dataclasses.replace(results, trials=trials)).blocks[0].rows if r.recipe == "a")
    assert (row.n, row.trials, row.failed, row.unfinished) == (2, 4, 1, 1)


def test_a_recipe_that_always_failed_keeps_its_row(make_study: Make) -> None:
    compared = comparison(make_study(["bad", "good"], failed=[("bad", seed) for seed in range(3)]))
    last = compared.blocks[0].rows[-1]
    assert (last.recipe, last.n, last.failed, last.trials) == ("bad", 0, 3, 3)
    assert all(cell.interval is None for cell in last.cells.values())
    assert len(compared.failures) == 3


def test_everything_failed(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], seeds=2, failed=[(r, s) for r in "ab" for s in range(2)]))
    assert [row.failed for row in compared.blocks[0].rows] == [2, 2]
    assert "nothing to compare" in verdict(compared)[0]


def test_a_missing_score_is_a_reason_and_a_smaller_n(make_study: Make) -> None:
    def value(recipe: str, seed: int, metric: str) -> float:
        return math.nan if (recipe, seed, metric) == ("a", 2, "fid") else 1.0 + seed

    compared = comparison(make_study(["a", "b"], seeds=4, value=value))
    row = next(row for row in compared.blocks[0].rows if row.recipe == "a")
    assert row.n == 4
    assert row.cells["fid"].interval == interval([1.0, 2.0, 4.0])
    assert [(f.recipe, f.seed, f.what, f.reason) for f in compared.failures] == [
        ("a", 2, "FID (digits)", "the covariance is not finite")
    ]


def test_reference_rows_count_seeds_once(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b", "c"], seeds=4))
    untrained, floor = compared.blocks[0].references
    assert (untrained.recipe, floor.recipe) == ("untrained generator", "real vs real (floor)")
    # 3 recipes × 4 seeds, but the recipes of a seed are no further draws
    expected = interval([120.0 * (1 + 0.01 * seed) for seed in range(4)])
    found = untrained.cells["fid"].interval
    assert found is not None
    assert (found.low, found.high, found.n) == pytest.approx((expected.low, expected.high, 4))
    assert floor.cells["fid"].interval == Interval(None, pytest.approx(2.0), None, 1)  # type: ignore[arg-type]


def test_unequal_budgets_are_told(make_study: Make) -> None:
    results = make_study(["a", "b"])
    assert not any("one budget" in note for note in comparison(results).notes)
    trials = results.trials.assign(images=np.where(results.trials["recipe"] == "a", 20_000, 40_000))
    assert any("one budget" in note for note in comparison(dataclasses.replace(results, trials=trials)).notes)


def test_results_refuse_what_would_lie(make_study: Make) -> None:
    results = make_study(["a", "b"])
    with pytest.raises(UserError, match=r"lacks the column.* seconds"):
        dataclasses.replace(results, trials=results.trials.drop(columns="seconds"))
    with pytest.raises(UserError, match="no trial"):
        dataclasses.replace(results, trials=results.trials.head(0))
    with pytest.raises(UserError, match="'a' with seed 0"):
        dataclasses.replace(results, trials=pd.concat([results.trials, results.trials.head(1)]))
    with pytest.raises(UserError, match="direction 'up'"):
        dataclasses.replace(results, scores=results.scores.assign(direction="up"))

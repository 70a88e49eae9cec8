from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ganbench.errors import UserError
from reports.ranking import Comparison, comparison
from reports.results import SEARCH, Results, Search
from reports.sentences import verdict
from reports.statistics import Interval, difference, interval, proportion

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


def test_bold_needs_to_be_surely_better_than_every_other(make_study: Make) -> None:
    # three seeds at x − w, x, x + w: the difference's standard error is 0.816 w, its t quantile at 4 degrees 2.776
    clear = comparison(make_study(["a", "b", "c"], value=flat({"a": 1.0, "b": 2.0, "c": 3.0})))
    assert bold(clear, "fid") == ["a"]  # lower is better
    assert bold(clear, "is") == ["c"]  # higher is better
    assert verdict(clear)[1] == (
        "It is surely better than every other recipe (at 95 %; n = 3 training seeds, corrected for 3 comparisons)."
    )
    near = comparison(make_study(["a", "b", "c"], value=flat({"a": 1.0, "b": 1.2, "c": 3.0})))
    assert bold(near, "fid") == []
    assert bold(near, "is") == ["c"]

    def wide_third(recipe: str, seed: int, metric: str) -> float:
        return {"a": 1.0, "b": 2.0, "c": 3.0}[recipe] + (1.5 if recipe == "c" else 0.1) * (seed - 1)

    third = comparison(make_study(["a", "b", "c"], value=wide_third))
    assert bold(third, "fid") == []  # surely better than the runner-up, but c may be anywhere
    assert verdict(third)[1] == (
        "It is tied with c and is surely better than b (at 95 %; n = 3 training seeds, corrected for 3 comparisons)."
    )
    assert {row.recipe: row.ranks for row in third.blocks[0].rows} == {"a": (1, 2), "b": (2, 3), "c": (1, 3)}
    assert [row.recipe for row in third.blocks[0].rows if row.cells["fid"].tied] == ["a", "c"]


def test_ranks_are_each_columns_own(make_study: Make) -> None:
    block = comparison(make_study(["a", "b", "c"], value=flat({"a": 1.0, "b": 2.0, "c": 2.01}))).blocks[0]
    rows = {row.recipe: row for row in block.rows}
    assert {recipe: row.cells["fid"].ranks for recipe, row in rows.items()} == {"a": (1, 1), "b": (2, 3), "c": (2, 3)}
    assert {recipe: row.cells["is"].ranks for recipe, row in rows.items()} == {"a": (3, 3), "b": (1, 2), "c": (1, 2)}
    assert all(row.ranks == row.cells["fid"].ranks for row in rows.values())


def test_two_recipes_are_tied_exactly_where_the_interval_of_their_difference_holds_0(make_study: Make) -> None:
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(20):
        table = {recipe: rng.normal(shift, 1.0, 4) for recipe, shift in (("a", 0.0), ("b", 2.0))}
        compared = comparison(make_study(["a", "b"], seeds=4, value=lambda r, s, _, table=table: table[r][s]))
        tied = difference(table["a"], table["b"]).holds(0.0)
        assert all(row.ranks == (1, 2) for row in compared.blocks[0].rows) == tied
        seen.add(tied)
    assert seen == {True, False}


def test_of_many_ties_the_verdict_names_a_few(make_study: Make) -> None:
    sentence = verdict(
        comparison(make_study(list("abcdefgh"), value=flat(dict.fromkeys("abcdefgh", 1.0) | {"a": 0.99})))
    )[1]
    assert sentence == (
        "It is tied with b, c, d, e and 3 more recipes (at 95 %; n = 3 training seeds, corrected for 28 comparisons)."
    )


def test_a_recipe_of_few_seeds_is_neither_surely_better_nor_worse(make_study: Make) -> None:
    lost = {("b", seed): "failed" for seed in range(2)}
    compared = comparison(make_study(["a", "b", "c"], states=lost, value=flat({"a": 1.0, "b": 50.0, "c": 9.0})))
    assert {row.recipe: row.ranks for row in compared.blocks[0].rows} == {"a": (1, 2), "b": (1, 3), "c": (2, 3)}
    assert bold(compared, "fid") == []
    assert verdict(compared)[1] == (
        "It is surely better than c (at 95 %; n = 3 training seeds); of b it cannot be told, for want of 3 "
        "training seeds."
    )


def test_the_baseline_is_what_differences_are_taken_to(make_study: Make) -> None:
    results = make_study(["a", "b", "c"], value=flat({"a": 1.0, "b": 2.0, "c": 2.05}))
    compared = comparison(results, baseline="b")
    rows = {row.recipe: row.cells["fid"] for row in compared.blocks[0].rows}
    assert compared.baseline == "b"
    assert rows["a"].difference == difference([1.9, 2.0, 2.1], [0.9, 1.0, 1.1])
    assert rows["b"].difference is None
    assert {recipe: cell.against for recipe, cell in rows.items()} == {"a": "better", "b": None, "c": "tied"}
    assert {row.recipe: row.cells["is"].against for row in compared.blocks[0].rows}["a"] == "worse"  # higher is better
    assert "Compared with the baseline b by FID (digits), a is better; c is tied with it." in verdict(compared)
    assert any("baseline b" in note for note in compared.notes)
    plain = comparison(results)
    assert plain.baseline is None
    assert all(cell.difference is None for row in plain.blocks[0].rows for cell in row.cells.values())


def test_a_baseline_that_is_none_is_refused_and_one_without_scores_told(make_study: Make) -> None:
    results = make_study(["vanilla", "sngan"], states={("sngan", seed): "failed" for seed in range(3)})
    with pytest.raises(UserError, match="unknown baseline 'sngam': did you mean 'sngan'"):
        comparison(results, baseline="sngam")
    compared = comparison(results, baseline="sngan")
    assert any("No difference to sngan can be taken" in note for note in compared.notes)
    assert len(verdict(compared)) == 2


def test_a_baseline_of_few_seeds_gives_differences_without_claims(make_study: Make) -> None:
    cells = [
        row.cells["fid"]
        for row in comparison(make_study(["a", "b"], seeds=2), baseline="a").blocks[0].rows
        if row.recipe == "b"
    ]
    assert [(cell.difference and cell.difference.reason, cell.against) for cell in cells] == [
        ("no interval: n = 2 seeds", None)
    ]


def test_another_protocols_recipe_has_no_difference_to_the_baseline(make_study: Make) -> None:
    compared = comparison(
        make_study(["a", "b", "c"], protocol_of=lambda recipe, _: "x" if recipe == "c" else "y"), baseline="a"
    )
    found = {row.recipe: row.cells["fid"].difference is None for block in compared.blocks for row in block.rows}
    assert found == {"a": True, "b": False, "c": True}


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
    assert verdict(compared) == [
        "By FID (digits), a and b share the best mean of 3 recipes.",
        "Of the others, a is surely better than c (at 95 %; n = 3 training seeds, corrected for 3 comparisons).",
        "None of the 9 trials failed or was flagged.",
    ]


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


def test_one_trial_is_told_as_one(make_study: Make) -> None:
    compared = comparison(make_study(["a"], seeds=1))
    (row,) = compared.blocks[0].rows
    assert (row.ranks, row.cells["fid"].best, row.n) == ((1, 1), False, 1)
    assert verdict(compared) == [
        "Only a has a score of FID (digits), so there is nothing to compare it with.",
        "The only trial neither failed nor was flagged.",
    ]


def test_two_thousand_trials_are_told_in_three_sentences(make_study: Make) -> None:
    two = make_study(["a", "b"], seeds=1)
    fid = two.scores[two.scores["metric"] == "fid"]
    names = [f"a lr={number}" for number in range(1_000)]
    many = {
        frame: pd.concat([part.assign(recipe=name, trial=name + part["trial"]) for name in names], ignore_index=True)
        for frame, part in (("scores", fid), ("trials", two.trials.assign(seed=[0, 1])))
    }
    many["scores"]["value"] += np.arange(len(many["scores"])) / 1e6
    many["scores"]["seed"] = ([0] * (len(fid) // 2) + [1] * (len(fid) // 2)) * 1_000
    compared = comparison(dataclasses.replace(two, **many))
    assert len(compared.blocks[0].rows) == 1_000
    assert all(row.ranks == (1, 1_000) for row in compared.blocks[0].rows)
    assert len(verdict(compared)) == 3


def test_failed_trials_are_counted_with_their_reason_and_in_no_mean(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], seeds=5, failed=[("b", 3)]))
    row = next(row for row in compared.blocks[0].rows if row.recipe == "b")
    assert (row.n, row.trials, row.failed) == (4, 5, 1)
    assert row.images == 20_000  # of finished trials only
    assert [(f.recipe, f.seed, f.what, f.reason) for f in compared.failures] == [
        ("b", 3, "failed", "the generator made NaN at step 812")
    ]
    assert verdict(compared)[-1] == "1 of 10 trials failed or diverged and count in no mean: b 1 of 5."


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


def test_a_recipe_that_always_diverged_keeps_its_row_and_is_not_ranked(make_study: Make) -> None:
    compared = comparison(make_study(["bad", "good", "fair"], states={("bad", seed): "diverged" for seed in range(3)}))
    last = compared.blocks[0].rows[-1]
    assert (last.recipe, last.n, last.diverged, last.failed, last.trials) == ("bad", 0, 3, 0, 3)
    assert last.failures == proportion(3, 3)
    assert "best mean of 2 recipes" in verdict(compared)[0]
    assert verdict(compared)[-1].endswith("bad 3 of 3.")
    assert {failure.what for failure in compared.failures} == {"diverged"}


def test_the_best_says_of_how_many_it_is_the_mean(make_study: Make) -> None:
    results = make_study(["a", "b"], seeds=4, value=flat({"a": 1.0, "b": 2.0}), states={("a", 2): "diverged"})
    assert verdict(comparison(results))[0] == (
        "By FID (digits), a has the best mean of 2 recipes, taken over the 3 of 4 trials that have a score."
    )


def test_a_flagged_trial_counts_in_the_mean_and_in_the_failure_rate(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], flagged=[("a", 0), ("a", 2)]))
    row = next(row for row in compared.blocks[0].rows if row.recipe == "a")
    assert (row.n, row.flagged, row.lost) == (3, 2, 0)
    assert row.failures == proportion(2, 3)
    assert verdict(compared)[-1] == "Problems were flagged in 2 of 6 trials that have scores, which count: a 2 of 3."
    assert [(f.recipe, f.seed, f.what, f.reason) for f in compared.failures] == [
        ("a", seed, "collapse", "recall was below 0.01 at 3 looks in a row at 6,000 images") for seed in (0, 2)
    ]


def test_what_ended_a_trial_is_not_told_twice(make_study: Make) -> None:
    results = make_study(["a"], states={("a", 0): "diverged"}, flagged=[("a", 0)])
    assert [failure.what for failure in comparison(results).failures] == ["diverged", "collapse"]
    (problem,) = results.trials.loc[0, "problems"]
    trials = results.trials.assign(reason=f"{problem['detail']} at 6,000 images")
    told = comparison(dataclasses.replace(results, trials=trials)).failures
    assert [failure.what for failure in told] == ["diverged"]


def test_of_many_failing_recipes_the_worst_are_named(make_study: Make) -> None:
    names = list("abcdefg")
    states = {(name, seed): "diverged" for place, name in enumerate(names) for seed in range(min(place, 3))}
    sentence = verdict(comparison(make_study(names, states=states)))[-1]
    assert sentence == (
        "15 of 21 trials failed or diverged and count in no mean: d 3 of 3, e 3 of 3, f 3 of 3, g 3 of 3 and "
        "2 more recipes."
    )


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


# --- a search before the comparison


def searched(**changes: object) -> pd.DataFrame:
    """Two variants of three configurations each: a's second was chosen; all of b's diverged."""
    rows = [
        {
            "variant": variant, "settings": f"lr={number}", "trial": f"{variant}{number}", "seed": 0,
            "status": "diverged" if variant == "b" else "done", "reason": "NaN" if variant == "b" else None,
            "problems": [], "value": 9.0 - number if variant == "a" else None, "chosen": variant == "a" and number == 1,
        }
        for variant in "ab"
        for number in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(SEARCH)).assign(**changes)


def test_the_searchs_trials_are_counted_but_not_compared(make_study: Make) -> None:
    alone = comparison(make_study(["a"]))
    compared = comparison(dataclasses.replace(make_study(["a"]), search=Search("best FID", searched())))
    assert compared.blocks == alone.blocks
    a, b = compared.searched
    assert (a.row.recipe, a.row.n, a.best, a.chosen) == ("a", 3, 8.0, "lr=1")
    assert (b.row.n, b.row.diverged, b.best, b.chosen) == (0, 3, None, None)
    assert b.row.failures == proportion(3, 3)
    assert [failure.recipe for failure in compared.failures] == ["b lr=0", "b lr=1", "b lr=2"]
    said = " ".join(verdict(compared))
    assert said.endswith(
        "Of the 6 trials of the search, 3 failed, diverged or were flagged: b 3 of 3; none of the 3 configurations "
        "tried of b has a score, so it is missing."
    )
    assert any("last phase alone" in note for note in compared.notes)
    assert not any("last phase alone" in note for note in alone.notes)


def test_a_search_that_has_not_chosen_yet(make_study: Make) -> None:
    study = make_study(["a"])
    none = {name: getattr(study, name).iloc[:0] for name in ("scores", "trials", "curves")}
    trials = searched(status="pending", chosen=False)
    compared = comparison(dataclasses.replace(study, **none, grids=[], search=Search("best FID", trials)))
    assert verdict(compared) == ["No recipe has a score yet, so there is nothing to compare."]
    assert [found.chosen for found in compared.searched] == [None, None]


# --- variants of several recipes


def test_the_trials_of_a_variants_recipes_are_counted_together(make_study: Make) -> None:
    states = {("a x=1", 0): "failed", ("a x=2", 1): "diverged"}
    block = comparison(make_study(["a x=1", "a x=2", "b"], states=states)).blocks[0]
    (together,) = block.variants
    assert (together.recipe, together.n, together.trials, together.lost) == ("a, 2 recipes", 4, 6, 2)
    assert together.failures == proportion(2, 6)


def test_a_recipe_that_was_only_pruned_has_no_row_of_scores(make_study: Make) -> None:
    states = {("a", seed): "pruned" for seed in range(3)} | {("b", 0): "pruned"}
    compared = comparison(make_study(["a", "b", "c"], states=states))
    assert {row.recipe for row in compared.blocks[0].rows} == {"a", "b", "c"}
    assert {row.recipe for row in compared.blocks[0].shown} == {"b", "c"}
    assert verdict(compared)[-1] == "4 of 9 trials were pruned, that is stopped early as worse than others."

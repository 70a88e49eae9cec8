from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from ganbench.errors import UserError
from reports.results import Results
from reports.statistics import difference, holm
from reports.versus import Side, Versus, versus, versus_markdown, versus_records, versus_verdict

Make = Callable[..., Results]
Scores = Callable[[str, int, str], float]


def flat(points: dict[str, float], width: float = 0.1) -> Scores:
    """Scores that lie around a point per recipe, symmetric over three seeds."""
    return lambda recipe, seed, metric: points[recipe] + width * (seed - 1)


def told(result: Versus) -> dict[str, str | None]:
    return {change.metric.name: change.outcome for change in result.changes}


def test_two_recipes_of_one_folder(make_study: Make) -> None:
    results = make_study(["a", "b"], value=flat({"a": 1.0, "b": 2.0}))
    found = versus(Side(results, "runs/x", "a"), Side(results, "runs/x", "b"))
    assert (found.a, found.b) == ("runs/x, a", "runs/x, b")
    assert [change.recipe for change in found.changes] == ["a → b"] * 6
    assert found.changes[0].difference == difference([0.9, 1.0, 1.1], [1.9, 2.0, 2.1])
    # where higher is better, more is better
    assert told(found) == dict.fromkeys(("fid", "kid"), "worse") | dict.fromkeys(
        ("is", "precision", "recall", "f1"), "better"
    )
    assert [change.metric.name for change in found.worse()] == ["fid", "kid"]
    assert versus_verdict(found) == [
        "B is surely worse in FID (digits) and KID (digits); surely better in IS (digits), Precision (digits), "
        "Recall (digits) and F1 (digits)."
    ]


def test_intervals_and_p_values_are_scipys_corrected_by_holm(make_study: Make) -> None:
    before, after = make_study(["a", "b"], seeds=5), make_study(["b", "a"], seeds=4)
    found = versus(Side(before, "old"), Side(after, "new"))
    assert [change.recipes for change in found.changes] == [("a", "a")] * 6 + [("b", "b")] * 6
    p = []
    for change in found.changes:
        x, y = (
            frame.loc[
                (frame["recipe"] == change.recipe) & (frame["metric"] == change.metric.name)
                & (frame["checkpoint"] == "last") & (frame["weights"] == "ema"), "value"
            ]
            for frame in (before.scores, after.scores)
        )  # fmt: skip
        test = stats.ttest_ind(y, x, equal_var=False)
        low, high = test.confidence_interval(0.95)
        assert change.difference is not None
        assert (change.difference.low, change.difference.high) == pytest.approx((low, high))
        p.append(test.pvalue)
    assert [change.p for change in found.changes] == pytest.approx(holm(p))


def test_the_same_results_are_tied_with_themselves(make_study: Make) -> None:
    results = make_study(["a", "b"])
    for paired in (False, True):
        found = versus(Side(results, "x"), Side(results, "x"), paired=paired)
        assert set(told(found).values()) == {"tied"}
        assert found.worse() == found.worse(each=True) == []
        assert versus_verdict(found) == ["B is tied with A in 12 of 12 scores."]


def test_of_many_scores_one_that_stands_out_by_chance_is_no_regression(make_study: Make) -> None:
    # worse by 2.4 standard errors in one of 12 scores: its own interval leaves 0 out at 10 seeds a side
    rng = np.random.default_rng(3)
    noise = rng.normal(size=10)
    noise = (noise - noise.mean()) / noise.std(ddof=1)

    def shifted(by: float) -> Scores:
        return lambda recipe, seed, metric: noise[seed] + (by if (recipe, metric) == ("a", "fid") else 0.0)

    before, after = (make_study(["a", "b"], seeds=10, value=shifted(by)) for by in (0.0, 2.4 * math.sqrt(0.2)))
    found = versus(Side(before, "old"), Side(after, "new"))
    first = found.changes[0]
    assert (first.alone, first.outcome) == ("worse", "tied")
    assert found.worse() == []
    assert found.worse(each=True) == [first]
    assert "| perhaps worse |" in versus_markdown(found)
    alone = versus(Side(before, "old", "a"), Side(after, "new", "a"), metrics=["fid"])
    assert [change.outcome for change in alone.changes] == ["worse"]  # the only score asked about
    assert alone.worse() == list(alone.changes)


def test_equal_seeds_may_be_paired(make_study: Make) -> None:
    # what a seed does to both sides is far larger than the change
    hard = {0: 10.0, 1: 20.0, 2: 35.0, 3: 12.0}
    results = make_study(
        ["a", "b"], seeds=4, value=lambda recipe, seed, _: hard[seed] + (1 + seed / 100 if recipe == "b" else 0)
    )
    sides = Side(results, "x", "a"), Side(results, "x", "b")
    assert told(versus(*sides))["fid"] == "tied"
    paired = versus(*sides, paired=True)
    assert told(paired)["fid"] == "worse"
    assert paired.changes[0].difference == difference(
        [hard[seed] for seed in range(4)], [hard[seed] + 1 + seed / 100 for seed in range(4)], paired=True
    )
    assert "equal seeds paired" in versus_markdown(paired)


def test_only_seeds_of_both_sides_are_paired(make_study: Make) -> None:
    results = make_study(["a", "b"], seeds=5, states={("b", 0): "failed", ("a", 4): "diverged"})
    found = versus(Side(results, "x", "a"), Side(results, "x", "b"), paired=True)
    assert {change.difference.n for change in found.changes if change.difference} == {3}


def test_few_seeds_have_differences_but_no_judgement(make_study: Make) -> None:
    results = make_study(["a", "b"], seeds=2)
    found = versus(Side(results, "x", "a"), Side(results, "x", "b"))
    assert all(change.difference and change.difference.low is None and change.p is None for change in found.changes)
    assert set(told(found).values()) == {None}
    assert found.worse() == []
    assert versus_verdict(found) == ["Nothing could be tested: no score has 3 training seeds on both sides."]
    assert "not tested" in versus_markdown(found)


def test_scores_that_b_has_lost_are_a_regression(make_study: Make) -> None:
    before = make_study(["a", "b"])
    failed = make_study(["a", "b"], states={("b", seed): "diverged" for seed in range(3)})
    found = versus(Side(before, "old"), Side(failed, "new"))
    assert {change.recipe for change in found.worse()} == {"b"}
    assert all(change.lost for change in found.worse())
    assert "B has no FID (digits) of b, " in versus_verdict(found)[0]
    assert "without this score" in versus_markdown(found)
    # and what A never had is no regression
    back = versus(Side(failed, "old"), Side(before, "new"))
    assert back.worse() == []
    assert "without any score in old: b" in back.left_out


def test_other_protocols_are_never_compared(make_study: Make) -> None:
    before = make_study(["a", "b"])
    after = make_study(["a", "b"], protocol_of=lambda recipe, _: "ffff00001111" if recipe == "b" else "a1b2c3d4e5f6")
    found = versus(Side(before, "old"), Side(after, "new"))
    assert {change.recipe for change in found.changes} == {"a"}
    assert found.left_out == ("scored under different protocols (n fake: 1000 and 1001): b",)
    with pytest.raises(UserError, match=r"nothing of old, b and new, b can be compared: scored under different"):
        versus(Side(before, "old", "b"), Side(after, "new", "b"))


def test_of_several_protocols_the_common_one_counts(make_study: Make) -> None:
    mixed = make_study(["a"], seeds=4, protocol_of=lambda _, seed: "x" if seed == 3 else "a1b2c3d4e5f6")
    found = versus(Side(mixed, "old"), Side(make_study(["a"]), "new"))
    assert {change.a.n for change in found.changes if change.a} == {3}
    assert found.left_out == ("scores of another protocol than a1b2c3d4e5f6: a",)


def test_recipes_and_scores_of_one_side_only_are_told(make_study: Make) -> None:
    before, after = make_study(["a", "b", "old one"]), make_study(["a", "b", "new one"])
    scores = after.scores[~((after.scores["recipe"] == "a") & (after.scores["metric"] == "is"))]
    found = versus(Side(before, "old"), Side(dataclasses.replace(after, scores=scores), "new"))
    assert {change.recipe for change in found.changes} == {"a", "b"}
    assert found.left_out == ("only in old: old one", "only in new: new one", "IS (digits), not asked for in new: a")


def test_two_single_recipes_are_each_others_counterparts(make_study: Make) -> None:
    found = versus(Side(make_study(["before"]), "x"), Side(make_study(["after"]), "y"))
    assert {change.recipe for change in found.changes} == {"before → after"}


def test_what_cannot_be_meant_is_refused(make_study: Make) -> None:
    one, other = make_study(["a", "wgan"]), make_study(["c", "d"])
    with pytest.raises(UserError, match="no recipe in common: name one of each, as FOLDER:RECIPE"):
        versus(Side(one, "x"), Side(other, "y"))
    with pytest.raises(UserError, match="unknown recipe of x 'wgna': did you mean 'wgan'"):
        versus(Side(one, "x", "wgna"), Side(one, "x", "a"))
    with pytest.raises(UserError, match="unknown metric of both sides 'fdi': did you mean 'fid'"):
        versus(Side(one, "x"), Side(one, "y"), metrics=["fdi"])
    nothing = make_study(["a"], failed=[("a", seed) for seed in range(3)])
    with pytest.raises(UserError, match="without any score in x: a"):
        versus(Side(nothing, "x"), Side(nothing, "y"))


def test_names_stay_text_and_the_table_is_whole(make_study: Make) -> None:
    nasty = "<script>| *x*"
    found = versus(Side(make_study([nasty]), "<b>"), Side(make_study([nasty]), "y"))
    text = versus_markdown(found)
    assert "<script" not in text
    assert "<b>" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 6
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1


def test_records_hold_every_number(make_study: Make) -> None:
    results = make_study(["a", "b"], value=flat({"a": 1.0, "b": 2.0}))
    first, *_ = versus_records(versus(Side(results, "x", "a"), Side(results, "x", "b"), metrics=["fid"]))
    change = difference([0.9, 1.0, 1.1], [1.9, 2.0, 2.1])
    assert first | {"p": None} == {
        "a_recipe": "a", "b_recipe": "b", "metric": "fid", "direction": "lower",
        "a_point": pytest.approx(1.0), "a_low": pytest.approx(1 - 0.24841, abs=1e-4),
        "a_high": pytest.approx(1 + 0.24841, abs=1e-4), "a_n": 3,
        "b_point": pytest.approx(2.0), "b_low": pytest.approx(2 - 0.24841, abs=1e-4),
        "b_high": pytest.approx(2 + 0.24841, abs=1e-4), "b_n": 3,
        "difference_point": change.point, "difference_low": change.low, "difference_high": change.high,
        "difference_n": 3, "p": None, "outcome": "worse", "alone": "worse", "lost": False,
    }  # fmt: skip
    assert 0 < first["p"] < 0.001

"""What the tables say; how it is written is tested beside each writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reports.ranking import comparison
from reports.results import Results
from reports.rows import Cell, Comparison, Row
from reports.statistics import Interval
from reports.tables import ENDINGS, LISTED, Table, protocol_sentence, protocol_words, tables

Make = Callable[..., Results]


def all_of(compared: Comparison) -> dict[str, Table]:
    return {table.name: table for table in tables(compared.blocks[0], compared)}


def words(table: Table) -> list[list[str]]:
    return [[cell.text for cell in line] for line in table.rows]


def column(table: Table, head: str) -> dict[str, str]:
    place = table.head.index(head)
    return {line[0].text: line[place].text for line in (*table.rows, *table.references)}


@pytest.mark.parametrize(
    ("value", "n", "expected"),
    [
        (Interval(10.0, 12.345, 14.69, 5), 5, "12.3 ± 2.3"),
        (Interval(12.315, 12.345, 12.375, 5), 5, "12.345 ± 0.030"),
        (Interval(900.0, 1234.5, 1569.0, 5), 5, "1234 ± 334"),
        (Interval(-0.0014, -0.0012, -0.001, 3), 3, "−0.00120 ± 0.00020"),
        (Interval(0.5, 0.5, 0.5, 3), 3, "0.5000 ± 0"),
        (Interval(None, 12.3456, None, 2), 2, "12.35"),
        (Interval(10.0, 12.345, 14.69, 4), 5, "12.3 ± 2.3 (n = 4)"),
        (None, 0, "—"),
    ],
)
def test_decimals_follow_the_intervals_width(make_study: Make, value: Interval | None, n: int, expected: str) -> None:
    compared = comparison(make_study(["a"]))
    block = compared.blocks[0]
    row = Row("a", "recipe", {metric.name: Cell(value) for metric in block.metrics}, n)
    table = all_of(replace(compared, blocks=(replace(block, rows=(row,)),)))["scores"]
    assert column(table, "FID (digits) ↓")["a"] == expected


def test_scores_come_with_ranks_seeds_and_sample_sizes(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], seeds=5, failed=[("b", 1)], value=by_recipe))
    table = all_of(compared)["scores"]
    assert table.head[:3] == ("recipe", "rank", "FID (digits) ↓")
    assert column(table, "rank") == {"a": "1", "b": "2", "untrained generator": "", "real vs real (floor)": ""}
    assert (column(table, "n of m")["a"], column(table, "n of m")["b"]) == ("5 of 5", "4 of 5")
    assert (column(table, "seeds")["a"], column(table, "seeds")["b"]) == ("0–4", "0, 2–4")
    assert column(table, "real / fake")["a"] == "1,000 / 1,000"


def by_recipe(recipe: str, seed: int, _: str) -> float:
    return ["a", "b", "c"].index(recipe) * 10 + 1 + seed / 10


def test_costs_are_all_there(make_study: Make) -> None:
    table = all_of(comparison(make_study(["a"], failed=[("a", 2)])))["costs"]
    assert table.head == ("recipe", "images", "G / D steps", "device-s", "parameters", "peak MiB")
    assert words(table) == [["a", "20,000", "312 / 312", "62", "1,200,000", "600"]]
    assert not table.references


def test_a_recipe_without_scores_shows_dashes(make_study: Make) -> None:
    compared = comparison(make_study(["ok", "bad"], failed=[("bad", seed) for seed in range(3)]))
    scores, costs = all_of(compared)["scores"], all_of(compared)["costs"]
    assert words(scores)[-1] == ["bad", *["—"] * 7, "0 of 3", "", "1,000 / 1,000"]
    assert words(costs)[-1] == ["bad", *["—"] * 5]


def test_cells_carry_what_a_column_is_sorted_by(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], value=by_recipe))
    table = all_of(compared)["scores"]
    places = [table.head.index(head) for head in ("rank", "FID (digits) ↓", "seeds")]
    assert [[line[place].value for place in places] for line in table.rows] == [
        [1, pytest.approx(1.1), 3], [2, pytest.approx(11.1), 3],
    ]  # fmt: skip


def test_a_clean_sweep_says_nothing_of_failures(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"]))
    assert list(all_of(compared)) == ["scores", "costs"]
    assert all_of(compared)["scores"].head[-3:] == ("n", "seeds", "real / fake")


def test_how_the_trials_ended(make_study: Make) -> None:
    states = {("a", 1): "diverged", ("a", 2): "failed", ("a", 3): "pruned", ("b", 0): "pending", ("b", 1): "running"}
    table = all_of(comparison(make_study(["a", "b", "c"], seeds=5, states=states, flagged=[("a", 0)])))["endings"]
    assert table.head == ("recipe", "trials", "scored", *ENDINGS, "failure rate (95 % interval)")
    assert sorted(words(table)) == [
        ["a", "5", "2", "1", "1", "1", "1", "0", "3/4 (30–95 %)"],  # the flagged one too, the pruned one not
        ["b", "5", "3", "0", "0", "0", "0", "2", "0/3 (0–56 %)"],
        ["c", "5", "5", "0", "0", "0", "0", "0", "0/5 (0–43 %)"],
    ]


def test_pruned_trials_are_no_failures(make_study: Make) -> None:
    table = all_of(comparison(make_study(["a"], states={("a", 1): "pruned"})))["endings"]
    assert (table.head, words(table)) == (("recipe", "trials", "scored", "pruned"), [["a", "3", "2", "1"]])


def test_a_rate_of_nothing_is_none(make_study: Make) -> None:
    states = {("a", seed): "pending" for seed in range(3)} | {("b", 0): "diverged"}
    compared = comparison(make_study(["a", "b"], states=states))
    assert words(all_of(compared)["endings"])[-1] == ["a", "3", "0", "0", "3", "—"]


# --- the baseline


def test_differences_to_the_baseline_have_their_sign_and_marks(make_study: Make) -> None:
    def value(recipe: str, seed: int, metric: str) -> float:
        return {"base": 10, "up": 14, "down": 6, "same": 10.01}[recipe] + seed / 10

    compared = comparison(make_study(["base", "up", "down", "same"], value=value), baseline="base")
    table = all_of(compared)["differences"]
    assert table.heading == "Difference to base"
    place = table.head.index("FID (digits) ↓")  # lower is better
    cells = {line[0].text: line[place] for line in table.rows}
    assert "base" not in cells
    assert (cells["up"].text, cells["up"].bold) == ("+4.00 ± 0.23 †", False)
    assert (cells["down"].text, cells["down"].bold) == ("−4.00 ± 0.23", True)
    assert (cells["same"].text, cells["same"].bold) == ("+0.01 ± 0.23", False)
    assert column(table, "IS (digits) ↑")["up"] == "+4.00 ± 0.23"
    assert column(table, "IS (digits) ↑")["down"] == "−4.00 ± 0.23 †"


def test_differences_of_few_seeds_have_their_n_and_no_mark(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], seeds=2, value=by_recipe), baseline="a")
    table = all_of(compared)["differences"]
    assert column(table, "FID (digits) ↓") == {"b": "+10.00 (n = 2)"}


def test_no_baseline_no_differences(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"]))
    assert "differences" not in all_of(compared)


# --- published figures


def on(dataset: str, results: Results) -> Comparison:
    results.protocols["a1b2c3d4e5f6"]["dataset"] = dataset
    return comparison(results)


def test_published_figures_stand_beside_ours_as_another_protocol(make_study: Make) -> None:
    table = all_of(on("cifar10", make_study(["sngan", "vanilla", "mine"])))["published"]
    assert "another protocol" in table.heading
    assert "None of them compares" in table.note
    assert column(table, "the paper") == {"sngan": "21.7", "vanilla": "—"}
    scores = column(all_of(on("cifar10", make_study(["sngan", "vanilla", "mine"])))["scores"], "FID (digits) ↓")
    assert column(table, "FID (digits) ↓, here") == {name: scores[name] for name in ("sngan", "vanilla")}
    assert not any(cell.bold for line in table.rows for cell in line[2:])


@pytest.mark.parametrize("dataset", ["digits", "", "cifar100"])
def test_other_datasets_have_no_published_figures(make_study: Make, dataset: str) -> None:
    assert "published" not in all_of(on(dataset, make_study(["sngan"])))


def test_published_figures_need_a_variant_that_is_known(make_study: Make) -> None:
    results = make_study(["sngan", "mine"])
    results.trials["variant"] = "mine"
    assert "published" not in all_of(on("cifar10", results))


# --- many recipes, and a search before the comparison


def test_of_many_recipes_the_ends_are_told_by_variant(make_study: Make) -> None:
    recipes = [*(f"a x={number}" for number in range(LISTED)), "b"]
    table = all_of(comparison(make_study(recipes, states={("a x=3", 1): "failed"})))["endings"]
    assert table.head == ("recipe", "trials", "scored", "failed", "failure rate (95 % interval)")
    assert sorted(words(table)) == [
        ["a, 16 recipes", "48", "47", "1", "1/48 (0–11 %)"], ["b", "3", "3", "0", "0/3 (0–56 %)"],
    ]  # fmt: skip
    few = all_of(comparison(make_study(["a x=1", "a x=2", "b"], states={("a x=1", 1): "failed"})))["endings"]
    assert {row[0] for row in words(few)} == {"a x=1", "a x=2", "b", "a, 2 recipes"}


def test_recipes_that_were_only_pruned_are_no_rows_of_scores(make_study: Make) -> None:
    found = all_of(comparison(make_study(["a", "b"], states={("a", seed): "pruned" for seed in range(3)})))
    assert [row[0] for row in words(found["scores"])] == [row[0] for row in words(found["costs"])] == ["b"]
    assert ["a", "3", "0", "3"] in words(found["endings"])


def test_of_nothing_there_is_no_table(make_study: Make) -> None:
    study = make_study(["a"], states={("a", seed): "pruned" for seed in range(3)})
    study = replace(study, scores=study.scores.iloc[:0])
    assert list(all_of(comparison(study))) == ["endings"]


def test_a_search_is_a_table_of_its_own(searched_study: Results, make_study: Make) -> None:
    table = all_of(comparison(searched_study))["search"]
    head = ("variant", "trials", "scored", "failed", "failure rate (95 % interval)", "best FID (selection split)")
    assert table.head == (*head, "chosen")
    assert words(table) == [
        ["wgan", "1", "1", "0", "0/1 (0–79 %)", "3.250", "lr_generator=0.01"],
        ["a_b", "1", "0", "1", "1/1 (21–100 %)", "—", "—"],
    ]
    assert "search" not in all_of(comparison(make_study(["wgan"])))


# --- protocols


def test_a_protocol_reads_in_words() -> None:
    protocol = {"n_real": 10, "ema": False, "weights": None, "seeds": [0, 1], "resize": {"side": 28}, "hash": "ab" * 32}
    assert protocol_words(protocol) == [
        ("n real", "10"), ("ema", "no"), ("weights", "none"), ("seeds", "0, 1"), ("resize side", "28"),
        ("hash", "abababababab…"),
    ]  # fmt: skip


def test_protocols_that_nobody_recorded_say_so(make_study: Make) -> None:
    block = comparison(make_study(["a"])).blocks[0]
    assert protocol_sentence(replace(block, protocol={})) == "Protocol a1b2c3d4e5f6 — not recorded."
    assert protocol_sentence(replace(block, protocol_id="")) == "Protocol: none, since nothing was scored."

"""Whatever state a study is in, every format renders it and says what it is."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from reports import to_csv, to_html, to_json, to_latex, to_markdown, to_text
from reports.ranking import comparison
from reports.results import Results
from reports.tables import tables

Make = Callable[..., Results]
WRITERS = (to_markdown, to_latex, to_html, to_text)


def all_failed(make: Make) -> Results:
    return make(["a", "b"], failed=[(recipe, seed) for recipe in "ab" for seed in range(3)])


def nothing_begun(make: Make) -> Results:
    study = make(["a"], states={("a", seed): "pending" for seed in range(3)})
    unknown = dict.fromkeys(("images", "d_steps", "g_steps", "seconds", "parameters", "config"))
    return replace(
        study,
        scores=study.scores.iloc[:0],
        curves=study.curves.iloc[:0],
        trials=study.trials.assign(**unknown, reason=None),
        protocols={},
    )


def no_score(make: Make) -> Results:
    return make(["a", "b"], value=lambda *_: math.nan)


def one_score_missing(make: Make) -> Results:
    return make(["a", "b"], value=lambda recipe, seed, name: math.nan if (recipe, name) == ("a", "kid") else 1 + seed)


def one_trial(make: Make) -> Results:
    return make(["a"], seeds=1)


def one_seed(make: Make) -> Results:
    return make(["a", "b", "c"], seeds=1)


def mixed_protocols(make: Make) -> Results:
    return make(["a", "b"], protocol_of=lambda recipe, _: "ffff00001111" if recipe == "b" else "a1b2c3d4e5f6")


def one_recipe_mixed(make: Make) -> Results:
    return make(["a"], protocol_of=lambda _, seed: "ffff00001111" if seed else "a1b2c3d4e5f6")


STATES = [
    (all_failed, "the generator made NaN"),
    (nothing_begun, "nothing to compare"),
    (no_score, "nothing to compare"),
    (one_score_missing, "—"),
    (one_trial, "nothing to compare it with"),
    (one_seed, "fewer than 3 training seeds"),
    (mixed_protocols, "ffff00001111"),
    (one_recipe_mixed, "ffff00001111"),
]


@pytest.mark.parametrize(("state", "said"), STATES)
def test_every_format_renders_every_state(make_study: Make, state: Callable[[Make], Results], said: str) -> None:
    compared = comparison(state(make_study))
    for write in WRITERS:
        assert write(compared).strip()
    found = json.loads(to_json(compared))
    assert len(list(csv.DictReader(io.StringIO(to_csv(compared))))) == sum(
        len(block["rows"]) for block in found["blocks"]
    )
    assert said in to_markdown(compared) + " ".join(found["verdict"])
    assert "nan" not in to_markdown(compared).lower().replace("made nan", "")


@pytest.mark.parametrize("state", [one_trial, one_seed])
def test_fewer_than_three_seeds_have_no_interval(make_study: Make, state: Callable[[Make], Results]) -> None:
    compared = comparison(state(make_study))
    (scores, *_) = tables(compared.blocks[0], compared)
    assert not any("±" in cell.text or cell.bold for line in scores.rows for cell in line)
    assert "Below n = 3 there is no interval" in to_markdown(compared)


def test_recipes_of_other_protocols_share_no_table(make_study: Make) -> None:
    compared = comparison(mixed_protocols(make_study))
    assert [[row.recipe for row in block.rows] for block in compared.blocks] == [["a"], ["b"]]
    text = to_markdown(compared)
    assert text.count("### Protocol") == 2
    assert "their scores must not be compared" in text


def test_a_missing_score_has_its_reason(make_study: Make) -> None:
    text = to_markdown(comparison(one_score_missing(make_study)))
    assert "a, seed 0, KID (digits): the covariance is not finite" in text


def test_many_recipes_are_all_there(make_study: Make) -> None:
    names = [f"wgan gan.clip={i}" for i in range(150)]
    compared = comparison(make_study(names, seeds=1, failed=[(name, 0) for name in names[::10]]))
    assert len(json.loads(to_json(compared))["blocks"][0]["rows"]) == 152
    assert to_markdown(compared).count("\n| wgan gan.clip=") == 300  # scores and costs; the ends are told together
    assert "wgan, 150 recipes" in to_markdown(compared)

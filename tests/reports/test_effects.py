"""Effects of a factorial sweep, against their definitions, least squares, scipy and simulation."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

import reports
from reports.effects import Contrast, Effect, Effects, contrasts, effects, estimates
from reports.factors import Crossing, Factor
from reports.figures import draw
from reports.figures.effects import forest
from reports.figures.scene import scenes
from reports.html import render
from reports.machine import effects_csv
from reports.ranking import comparison
from reports.results import Results
from reports.statistics import holm


def crossed(*numbers: int) -> Crossing:
    """Factors a, b, c … of so many levels each; a recipe is called by its levels."""
    factors = tuple(Factor("abcd"[i], tuple(map(str, range(n)))) for i, n in enumerate(numbers))
    places = product(*(range(n) for n in numbers))
    return Crossing(factors, {"".join(map(str, place)): place for place in places})


def responses(design: Crossing, seeds: int, noise: int = 0) -> dict[str, dict[int, float]]:
    rng = np.random.default_rng(noise)
    return {recipe: dict(enumerate(rng.normal(10, 3, seeds))) for recipe in design.places}


def estimated(design: Crossing, scores: Mapping[str, Mapping[int, float]]) -> dict[str, tuple[Contrast, Effect]]:
    found = contrasts(design)
    seeds = list(next(iter(scores.values())))
    return {one.label: (one, effect) for one, effect in
            zip(found, estimates(found, scores, seeds, lower_is_better=True), strict=True)}  # fmt: skip


# --- what an effect is


@pytest.mark.parametrize("numbers", [(2, 2), (2, 3), (3, 4), (2, 2, 2), (2, 3, 2), (2, 2, 2, 2)])
def test_there_are_as_many_effects_as_combinations_but_one_by_order(numbers: tuple[int, ...]) -> None:
    found = contrasts(crossed(*numbers))
    assert len(found) == np.prod(numbers) - 1 == len({contrast.label for contrast in found})
    assert [contrast.order for contrast in found] == sorted(contrast.order for contrast in found)
    assert max(contrast.order for contrast in found) == len(numbers)
    assert all(sum(contrast.signs.values()) == 0 for contrast in found)


def test_a_main_effect_is_the_mean_at_a_level_less_that_at_the_first() -> None:
    design = crossed(2, 3, 2)
    scores = responses(design, 5)
    cells = {recipe: float(np.mean(list(by_seed.values()))) for recipe, by_seed in scores.items()}
    found = estimated(design, scores)
    for place, name in enumerate("abc"):
        for level in range(1, (2, 3, 2)[place]):
            above, below = (
                np.mean([mean for recipe, mean in cells.items() if recipe[place] == str(wanted)])
                for wanted in (level, 0)
            )
            contrast, effect = found[f"{name}: 0 → {level}"]
            assert effect.interval.point == pytest.approx(above - below)
            assert (contrast.order, contrast.levels, contrast.firsts) == (1, (str(level),), ("0",))


def test_an_interaction_is_a_difference_of_differences() -> None:
    design = crossed(2, 3, 2)
    scores = responses(design, 5)
    y = {recipe: float(np.mean(list(by_seed.values()))) for recipe, by_seed in scores.items()}
    found = {label: effect.interval.point for label, (_, effect) in estimated(design, scores).items()}
    for level in "12":
        there, here = (
            {c: (y[f"1{level}{c}"] - y[f"0{level}{c}"]) - (y[f"10{c}"] - y[f"00{c}"]) for c in "01"}[c] for c in "01"
        )
        assert found[f"a × b={level}"] == pytest.approx((there + here) / 2)
        assert found[f"a × b={level} × c"] == pytest.approx(here - there)
    of_c = {a: np.mean([y[f"{a}{b}1"] - y[f"{a}{b}0"] for b in "012"]) for a in "01"}
    assert found["a × c"] == pytest.approx(of_c["1"] - of_c["0"])


@pytest.mark.parametrize("factors", [2, 3, 4])
def test_least_squares_with_blocks_gives_the_same_effects(factors: int) -> None:
    """Columns of ±1 and of seeds: the coefficient of an interaction of m factors is its effect / 2^m."""
    design = crossed(*[2] * factors)
    scores = responses(design, 6)
    found = [(one, effect) for one, effect in estimated(design, scores).values()]
    rows, values = [], []
    for recipe, place in design.places.items():
        for seed, value in scores[recipe].items():
            code = dict(zip("abcd", (2 * np.array(place) - 1).tolist(), strict=False))
            rows.append([*np.eye(6)[seed], *(np.prod([code[name] for name in one.factors]) for one, _ in found)])
            values.append(value)
    solved = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0][6:]
    assert [effect.interval.point for _, effect in found] == pytest.approx(
        [coefficient * 2**one.order for coefficient, (one, _) in zip(solved, found, strict=True)]
    )


def test_intervals_and_p_are_those_of_scipys_t_test_over_seeds_with_holms_correction() -> None:
    from scipy.stats import ttest_1samp

    design = crossed(2, 2, 2)
    scores = responses(design, 5, noise=3)
    signs = {label: one.signs for label, (one, _) in estimated(design, scores).items()}
    found = {label: effect for label, (_, effect) in estimated(design, scores).items()}
    alone = []
    for label, effect in found.items():
        over = 4 / 2 ** label.count(" × ")
        by_seed = [
            sum(sign * scores[recipe][seed] for recipe, sign in signs[label].items()) / over for seed in range(5)
        ]
        tested = ttest_1samp(by_seed, 0)
        low, high = tested.confidence_interval(0.95)
        assert list(effect.by_seed.values()) == pytest.approx(by_seed)
        assert (effect.interval.low, effect.interval.high) == pytest.approx((low, high))
        alone.append(tested.pvalue)
    assert [effect.p for effect in found.values()] == pytest.approx(holm(alone))


def test_what_a_seed_does_to_all_recipes_alike_does_not_count() -> None:
    design = crossed(2, 2)
    scores = responses(design, 5)
    shifted = {recipe: {seed: value + 1000 * seed for seed, value in of.items()} for recipe, of in scores.items()}
    for (_, one), (_, other) in zip(
        estimated(design, scores).values(), estimated(design, shifted).values(), strict=True
    ):
        assert other.interval.point == pytest.approx(one.interval.point, abs=1e-9)
        assert other.interval.half_width == pytest.approx(one.interval.half_width, abs=1e-9)


def test_known_effects_are_found_exactly_and_scores_that_cancel_leave_nothing() -> None:
    """0.1 and 0.7 have no exact floats: a rounding rest would have a p of 0."""
    design = crossed(2, 2, 2)
    scores = {recipe: dict.fromkeys(range(5), 0.1 + 0.7 * place[1]) for recipe, place in design.places.items()}
    found = {label: effect for label, (_, effect) in estimated(design, scores).items()}
    assert found.pop("b: 0 → 1").outcome == "worse"
    assert {
        (effect.interval.point, effect.interval.half_width, effect.p, effect.outcome) for effect in found.values()
    } == {(0.0, 0.0, 1.0, "tied")}


# --- of a sweep's results

FACTORS = {"network": ("dcgan", "progressive"), "constraint": ("none", "spectral-norm"), "prediction": ("none", "both")}
RECIPES = {" ".join(point): dict(zip(FACTORS, point, strict=True)) for point in product(*FACTORS.values())}


def fid(recipe: str, seed: int, metric: str) -> float:
    """Prediction lowers it by 2, the others do nothing."""
    noise = np.random.default_rng([seed, list(RECIPES).index(recipe)]).standard_normal()
    return 20.0 - 2 * (RECIPES[recipe]["prediction"] == "both") + seed + 0.1 * float(noise)


def factorial(
    recipes: Mapping[str, Mapping[str, object]] = RECIPES,
    *,
    seeds: int = 5,
    value: Callable[[str, int, str], float] = fid,
    ends: Mapping[tuple[str, int], str] | None = None,
    protocol_of: Callable[[str], str] = lambda recipe: "a1b2c3d4e5f6",
    study: str | None = "effects",
) -> Results:
    """Results of `recipes` (name → options); `ends` are the states of trials that are not done."""
    ends = ends or {}
    everyone = list(product(recipes, range(seeds)))
    scores = [
        {"recipe": recipe, "seed": seed, "metric": metric, "label": label, "direction": "lower",
         "value": value(recipe, seed, metric), "protocol_id": protocol_of(recipe)}
        for recipe, seed in everyone
        for metric, label in (("fid", "FID"), ("kid", "KID"))
        if (recipe, seed) not in ends
    ]  # fmt: skip
    trials = [
        {"recipe": recipe, "variant": "sngan", "seed": seed, "status": ends.get((recipe, seed), "done"),
         "config": {"gan": dict(recipes[recipe]), "seed": seed}}
        for recipe, seed in everyone
    ]  # fmt: skip
    made = reports.from_frame(pd.DataFrame(scores), trials=pd.DataFrame(trials), title="combination")
    return dataclasses.replace(made, study=study)


def shown(results: Results) -> Effects:
    found = comparison(results).blocks[0].effects
    assert found is not None
    return found


def test_the_verdict_says_what_the_factors_do() -> None:
    found = shown(factorial())
    assert found.refused is None
    assert found.crossing is not None
    assert [factor.name for factor in found.crossing.factors] == list(FACTORS)
    said = " ".join(reports.verdict(comparison(factorial())))
    assert re.search(
        r"Over 5 training seeds and averaged over the other factors, prediction=both instead of none lowers "
        r"FID by (1\.9|2\.0)\d \[1\.\d\d, 2\.\d\d\]\.",
        said,
    ), said
    assert "Of network=progressive instead of dcgan and constraint=spectral-norm instead of none no effect is" in said
    assert "No interaction is surely different from 0." in said


def test_an_interaction_that_is_sure_is_named() -> None:
    def together(recipe: str, seed: int, metric: str) -> float:
        return fid(recipe, seed, metric) + 3 * recipe.startswith("progressive") * recipe.endswith("both")

    said = " ".join(reports.verdict(comparison(factorial(value=together))))
    assert re.search(r"Surely different from 0 of 4 interactions: network × prediction \((2\.9|3\.)", said), said
    assert "network=progressive instead of dcgan raises FID by 1." in said


def test_every_writer_has_the_table() -> None:
    compared = comparison(factorial(ends={("dcgan none both", 3): "diverged"}))
    for text in (reports.to_markdown(compared), reports.to_text(compared), reports.to_html(compared)):
        assert "prediction: none → both" in text
        assert "Effects of the factors" in text
        assert "How the trials of each level ended" in text
    latex = reports.to_latex(compared)
    assert r"prediction: none $\to$ both" in latex
    assert r"network $\times$ constraint $\times$ prediction" in latex
    told = json.loads(reports.to_json(compared))["blocks"][0]["effects"]
    assert [factor["name"] for factor in told["factors"]] == list(FACTORS)
    text = str(effects_csv(compared))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(told["effects"]) == 7 * 2
    for row, of_json in zip(rows, told["effects"], strict=True):
        assert all(float(row[name]) == of_json[name] for name in ("order", "mean", "low", "high", "n", "p"))
        assert (row["effect"], row["outcome"]) == (of_json["effect"], of_json["outcome"])
        assert of_json["mean"] == pytest.approx(np.mean(list(of_json["seeds"].values())))
    assert [row["outcome"] for row in rows[:7]] == ["tied", "tied", "better", "tied", "tied", "tied", "tied"]


def test_a_failed_trial_takes_its_seed_with_it_and_is_told() -> None:
    compared = comparison(factorial(ends={("dcgan none both", 3): "failed"}))
    found = compared.blocks[0].effects
    assert found is not None
    assert found.lost["fid"] == {3: ("dcgan none both",)}
    assert {tuple(effect.by_seed) for effect in found.found["fid"]} == {(0, 1, 2, 4)}
    assert any(sentence.startswith("Over 4 of 5 training seeds") for sentence in reports.verdict(compared))
    text = reports.to_markdown(compared)
    assert "In no effect on FID and KID, as some recipe has none of it: training seed 3 (for want of dcgan none" in text
    assert "| prediction=both | 20 | 19 | 1 | 1/20 (1–24 %) |" in text


def test_a_score_that_failed_takes_its_seed_from_that_score_alone() -> None:
    def broken(recipe: str, seed: int, metric: str) -> float:
        lost = metric == "kid" and seed == 1 and recipe == "dcgan none none"
        return float("nan") if lost else fid(recipe, seed, metric)

    compared = comparison(factorial(value=broken))
    found = compared.blocks[0].effects
    assert found is not None
    assert {name: effect[0].interval.n for name, effect in found.found.items()} == {"fid": 5, "kid": 4}
    assert "(n = 4)" in reports.to_markdown(compared)
    assert "In no effect on KID," in reports.to_markdown(compared)


def test_a_sweep_that_runs_has_the_effects_of_its_whole_seeds() -> None:
    assert shown(factorial(ends={("progressive none none", 4): "running"})).found["fid"][0].interval.n == 4


def test_two_seeds_give_effects_without_intervals() -> None:
    compared = comparison(factorial(seeds=2))
    found = shown(factorial(seeds=2)).found["fid"]
    assert {(effect.interval.low, effect.p, effect.outcome) for effect in found} == {(None, None, None)}
    assert any("in only 2 training seeds" in sentence for sentence in reports.verdict(compared))
    assert "(n = 2)" in reports.to_markdown(compared)


REFUSED = {
    "7 recipes are no full crossing of network × constraint × prediction (8 combinations)": factorial(
        dict(list(RECIPES.items())[:-1])
    ),
    "no training seed has scores of all 8 recipes: 'dcgan none none' has none at all": factorial(
        ends={("dcgan none none", seed): "failed" for seed in range(5)}
    ),
    "no training seed has scores of all 8 recipes: of each seed some recipe has none": factorial(
        ends={(recipe, number % 5): "failed" for number, recipe in enumerate(RECIPES)}
    ),
    "the design is unbalanced: 'progressive spectral-norm both' has no trial with seed 4": dataclasses.replace(
        factorial(), trials=factorial().trials.iloc[:-1]
    ),
    "are not known, so neither are the factors": dataclasses.replace(
        factorial(), trials=factorial().trials.assign(config=None)
    ),
    "8 recipes cross no two options": factorial({recipe: {"lr": i} for i, recipe in enumerate(RECIPES)}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_allows_no_effects_is_refused_with_the_reason(reason: str) -> None:
    compared = comparison(REFUSED[reason])
    assert reason in str(shown(REFUSED[reason]).refused)
    [said] = [sentence for sentence in reports.verdict(compared) if sentence.startswith("The effects of single")]
    assert reason in said
    assert "Effects of the factors" not in reports.to_markdown(compared)
    assert effects_csv(compared) is None
    html = render(REFUSED[reason], compared, {name: [] for name in ("effects", "curves", "standing", "health")})
    section = html[html.index('<section id="effects">') :]
    assert escape(reason) in section[: section.index("</section>")]


def test_each_protocol_has_effects_of_its_own() -> None:
    """Scores of the two networks may not be compared here: what is left are two by two recipes each."""
    compared = comparison(factorial(protocol_of=lambda recipe: recipe.partition(" ")[0]))
    assert len(compared.blocks) == 2
    for block in compared.blocks:
        assert block.effects is not None
        assert block.effects.crossing is not None
        assert [factor.name for factor in block.effects.crossing.factors] == ["constraint", "prediction"]


def test_without_the_study_nothing_is_added() -> None:
    plain = factorial(study=None)
    compared = comparison(plain)
    assert compared.blocks[0].effects is None
    assert effects_csv(compared) is None
    assert draw(plain, compared)["effects"] == []
    html = render(plain, compared, {name: [] for name in ("effects", "curves", "standing", "health")})
    assert 'id="effects"' not in html


def test_the_page_has_the_section_with_its_figure_and_names_stay_text(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    named = {recipe: {**options, "constraint": options["constraint"].replace("spectral-norm", nasty)}
             for recipe, options in RECIPES.items()}  # fmt: skip
    html = reports.write(factorial(named, ends={("dcgan none both", 3): "failed"}), tmp_path).read_text()
    section = html[html.index('<section id="effects">') :]
    section = section[: section.index("</section>")]
    assert '<a href="#effects">Effects</a>' in html
    assert 'aria-label="Effects of the factors and their interactions"' in section
    assert html.count('<table class="effects">') == section.count('<table class="effects">') == 1
    assert "&lt;script&gt;alert" in section
    assert "<script>alert" not in html
    drawn = pd.read_csv(tmp_path / "figures" / "effects.csv")
    assert len(drawn) == 7 * 2 * 4
    assert (drawn["n"] == 4).all()
    table = pd.read_csv(tmp_path / "effects.csv").set_index(["metric", "effect"])
    for (metric, effect), part in drawn.groupby(["metric", "effect"]):
        assert part["value"].mean() == pytest.approx(table.loc[(metric, effect), "mean"])


def test_the_same_results_give_the_same_figure() -> None:
    made = factorial()
    one, other = (forest(scenes(made, comparison(made))[0]) for _ in range(2))
    assert one is not None
    assert other is not None
    assert (one.svg, one.png, one.pdf) == (other.svg, other.png, other.pdf)


def test_effects_of_many_factors_are_all_in_the_table_and_the_figure_says_what_it_leaves_out() -> None:
    points = {"".join(map(str, place)): dict(zip("vwxyz", place, strict=True)) for place in product(range(2), repeat=5)}
    made = factorial(
        points, seeds=3, value=lambda recipe, seed, _: float(recipe[0]) + 0.1 * (seed + int(recipe, 2) % 7)
    )
    compared = comparison(made)
    assert "v × w × x × y × z" in reports.to_markdown(compared)
    drawing = forest(scenes(made, compared)[0])
    assert drawing is not None
    assert drawing.caption.endswith("The table has 15 more.")
    assert drawing.data["effect"].nunique() == 16


def test_scores_that_nobody_has_leave_no_effects() -> None:
    design = crossed(2, 2)
    varied = {name: {r: str(place[i]) for r, place in design.places.items()} for i, name in enumerate("ab")}
    found = effects(list(design.places), varied, {"fid": ({}, True)}, {recipe: {0, 1, 2} for recipe in design.places})
    assert found.found == {}
    assert found.refused is not None

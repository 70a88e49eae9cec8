from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reports.figures import DRAWN, PALE, POINTS, Drawing, bands, draw, recipe_styles, save, styles
from reports.ranking import comparison
from reports.results import Results, Search
from reports.statistics import budget_curve, interval, proportion

Make = Callable[..., Results]
SCORE_NAMES = ("fid", "kid", "is", "precision", "recall", "f1")
SCORES = [f"scores-{name}" for name in SCORE_NAMES]


def curve(recipe: str, seed: int, images: list[int], values: list[float], name: str = "fid") -> pd.DataFrame:
    return pd.DataFrame({"recipe": recipe, "trial": f"{recipe}{seed}", "seed": seed, "images": images, "name": name,
                         "value": values})  # fmt: skip


def drawn(results: Results) -> dict[str, Drawing]:
    found = draw(results, comparison(results))
    return {drawing.name: drawing for drawings in found.values() for drawing in drawings}


def of(results: Results, *metrics: str) -> Results:
    """The study with fewer scores, for those who look at few figures: each takes a fifth of a second."""
    left_out = set(SCORE_NAMES) - set(metrics)
    return dataclasses.replace(
        results,
        scores=results.scores[~results.scores["metric"].isin(left_out)],
        curves=results.curves[~results.curves["name"].isin(left_out)],
    )


def with_health(results: Results) -> Results:
    """The study with readings of gradients and accuracies, made from its losses."""
    losses = results.curves[results.curves["name"] == "loss/discriminator"]
    more = [
        losses.assign(name=f"health/{name}", value=losses["value"].abs() * scale + 1e-9)
        for name, scale in (("gradient_generator", 1.0), ("gradient_discriminator", 3.0), ("accuracy_real", 0.3))
    ]
    return dataclasses.replace(results, curves=pd.concat([results.curves, *more], ignore_index=True))


def test_bands_are_the_means_with_their_intervals() -> None:
    curves = pd.concat(
        [
            curve("a", 0, [10, 20], [1.0, 2.0]),
            curve("a", 1, [10, 20], [3.0, 6.0]),
            curve("a", 2, [10, 20], [5.0, np.nan]),
        ]
    )
    first, second = bands(curves).to_dict("records")
    expected = interval([1.0, 3.0, 5.0])
    assert (first["mean"], first["n"]) == (3.0, 3)
    assert (first["low"], first["high"]) == pytest.approx((expected.low, expected.high))
    assert (second["mean"], second["n"]) == (4.0, 2)
    assert np.isnan([second["low"], second["high"]]).all()  # two seeds allow none


def test_geometric_bands_stay_positive() -> None:
    curves = pd.concat([curve("a", seed, [10], [value]) for seed, value in enumerate([1e-6, 1e-3, 1.0])])
    [row] = bands(curves, geometric=True).to_dict("records")
    assert row["mean"] == pytest.approx(1e-3)
    assert 0 < row["low"] < 1e-3 < row["high"]


def test_long_curves_are_averaged_without_losing_their_mean_or_end() -> None:
    images = list(range(10, 20_001, 10))
    band = bands(pd.concat([curve("a", s, images, [float(i + s) for i in images]) for s in range(3)]))
    assert len(band) == POINTS
    assert band["images"].max() == 20_000
    assert band["mean"].mean() == pytest.approx(np.mean(images) + 1)


def test_every_recipe_has_one_style_of_its_own() -> None:
    found = styles([f"r{i}" for i in range(20)])
    assert len({(style.colour, style.dash) for style in found.values()}) == 20


def test_of_very_many_recipes_the_drawn_ones_have_the_colours(make_study: Make) -> None:
    results = make_study([f"r{i}" for i in range(60)], seeds=1)
    best = {row.recipe for row in comparison(results).blocks[0].rows[:DRAWN]}
    found = recipe_styles(results, comparison(results))
    assert len({(found[recipe].colour, found[recipe].dash) for recipe in best}) == DRAWN
    assert {found[recipe].colour for recipe in set(results.recipes) - best} == {PALE}


def test_each_section_has_its_figures_with_axes_and_directions_named(make_study: Make) -> None:
    results = with_health(make_study(["a", "b"]))
    sections = draw(results, comparison(results))
    assert {name: [drawing.name for drawing in made] for name, made in sections.items()} == {
        "effects": [],
        "curves": SCORES,
        "standing": ["precision-recall", "checkpoints", "budget", "profile"],
        "health": ["losses", "gradients", "accuracy"],
    }
    found = {drawing.name: drawing for made in sections.values() for drawing in made}
    for name, words in {
        "scores-fid": ("FID (digits) ↓", "real images shown to the discriminator"),
        "scores-is": ("IS (digits) ↑",),
        "precision-recall": ("Precision (digits) ↑", "Recall (digits) ↑"),
        "checkpoints": ("FID (digits) ↓", "last, EMA", "last, raw weights"),
        "budget": ("expected best", "k: runs", "a (n = 3)"),
        "profile": ("share of runs ≤ τ", "τ: FID (digits) ↓"),
        "losses": ("loss", "generator"),
        "gradients": ("gradient norm (L2)",),
        "accuracy": ("share called right",),
    }.items():
        for word in words:
            assert word in found[name].svg.decode(), (name, word)


def test_below_three_seeds_no_figure_has_an_interval_and_says_so(make_study: Make) -> None:
    found = drawn(of(make_study(["a", "b"], seeds=2), "fid"))
    assert "no band: fewer than 3 seeds allow no interval" in found["scores-fid"].caption
    assert "mean over 2 training seeds" in found["scores-fid"].caption
    for name in ("scores-fid", "checkpoints", "budget", "losses"):
        assert found[name].data["low"].isna().all(), name


def test_failed_runs_count_in_the_budget_curve_and_the_profile(make_study: Make) -> None:
    results = make_study(["a", "b"], seeds=4, failed=[("b", 1)], value=lambda recipe, seed, metric: 1.0 + seed)
    found = drawn(of(results, "fid"))
    budget = found["budget"].data
    nan = float("nan")
    for recipe, scores in {"a": [1.0, 2.0, 3.0, 4.0], "b": [1.0, nan, 3.0, 4.0]}.items():
        part = budget[budget["group"] == recipe]
        assert part["point"].tolist() == budget_curve(scores, lower_is_better=True).point
        assert set(part["n"]) == {4}
    profile = found["profile"].data
    last = profile[profile["group"] == "b"].iloc[-1]
    assert last["share"] == 0.75  # the failed run reaches nothing, however poor
    assert (last["low"], last["high"]) == (proportion(3, 4).low, proportion(3, 4).high)


def test_configurations_of_one_variant_share_a_budget_curve(make_study: Make) -> None:
    names = ["ns lr=1", "ns lr=2", "ns lr=3", "wgan lr=1", "wgan lr=2"]
    results = make_study(names, seeds=2, value=lambda recipe, seed, metric: float(recipe[-1]) + seed)
    variants = results.trials["recipe"].str.split().str[0]
    one = of(results, "fid")
    data = drawn(dataclasses.replace(one, trials=one.trials.assign(variant=variants)))["budget"].data
    ns = data[data["group"] == "ns"]
    assert ns["k"].tolist() == [1, 2, 3]
    assert ns["point"].tolist() == budget_curve([1.5, 2.5, 3.5], lower_is_better=True).point


def test_the_configurations_of_a_search_are_what_the_budget_was_spent_on(make_study: Make) -> None:
    tries = [
        ("wgan", "lr=1", 5.0),
        ("wgan", "lr=2", None),
        ("wgan", "lr=3", 3.0),
        ("ns", "lr=1", 4.0),
        ("ns", "lr=2", 6.0),
    ]
    trials = pd.DataFrame(tries, columns=["variant", "settings", "value"]).assign(
        trial=[f"t{i}" for i in range(5)], seed=0, reason=None, chosen=False,
        status=["done", "diverged", "done", "done", "done"], problems=[[]] * 5,
    )  # fmt: skip
    search = Search("best FID (selection split)", trials)
    budget = drawn(dataclasses.replace(of(make_study(["ns", "wgan"]), "fid"), search=search))["budget"]
    wgan = budget.data[budget.data["group"] == "wgan"]
    assert wgan["point"].tolist() == budget_curve([5.0, float("nan"), 3.0], lower_is_better=True).point
    assert "best FID (selection split) ↓ of k configurations" in budget.caption


def test_the_same_results_draw_the_same_bytes(make_study: Make) -> None:
    results = of(with_health(make_study(["a", "b"], seeds=3, failed=[("b", 1)])), "fid", "precision", "recall")
    one, two = drawn(results), drawn(results)
    assert {name: (d.svg, d.png, d.pdf) for name, d in one.items()} == {
        name: (d.svg, d.png, d.pdf) for name, d in two.items()
    }
    assert not re.search(rb"<dc:date>|20\d\d-\d\d-\d\d", one["scores-fid"].svg)


def test_names_are_drawn_as_text_and_the_file_is_xml(make_study: Make) -> None:
    names = ["<script>x</script>", "$\\frac{1}", "_hidden & 中"]
    found = drawn(of(with_health(make_study(names, seeds=1)), "fid", "precision", "recall"))
    for name in ("scores-fid", "precision-recall", "checkpoints", "losses"):
        texts = {"".join(node.itertext()).strip() for node in ElementTree.fromstring(found[name].svg).iter()}
        assert set(names) <= texts, name
    assert not any(b"<script" in drawing.svg for drawing in found.values())


def test_long_names_are_cut_in_figures_but_stay_apart(make_study: Make) -> None:
    names = [f"progressive lr_generator=0.000{i} lr_discriminator=0.0001 beta1=0.5" for i in range(2)]
    svg = drawn(of(make_study(names, seeds=1), "fid"))["scores-fid"].svg.decode()
    assert "1: progressive lr_generator=0…" in svg
    assert "2: progressive lr_generator=0…" in svg


def test_of_many_recipes_the_best_are_drawn_and_the_caption_says_so(make_study: Make) -> None:
    results = of(make_study([f"r{i}" for i in range(DRAWN + 3)], seeds=1), "fid")
    found = drawn(results)
    best = {row.recipe for row in comparison(results).blocks[0].rows[:DRAWN]}
    assert set(found["scores-fid"].data["recipe"]) == best
    assert f"the {DRAWN} best of {DRAWN + 3} recipes by FID (digits)" in found["scores-fid"].caption


def test_other_protocols_are_not_drawn_together(make_study: Make) -> None:
    found = drawn(of(make_study(["a", "b"], seeds=1, protocol_of=lambda recipe, _: f"p/{recipe}"), "fid"))
    assert set(found["scores-fid"].data["recipe"]) == {"a"}
    assert set(found["scores-fid-p-b"].data["recipe"]) == {"b"}
    assert found["scores-fid-p-b"].caption.endswith("Protocol p/b.")


def test_what_is_missing_is_not_drawn(make_study: Make) -> None:
    results = make_study(["a"], seeds=1)
    bare = dataclasses.replace(results, curves=results.curves.head(0))
    assert set(drawn(bare)) == {"precision-recall", "checkpoints"}  # one run has neither budget curve nor profile
    nothing = dataclasses.replace(bare, scores=bare.scores.head(0))
    assert drawn(nothing) == {}


def test_saved_in_every_format_beside_their_data(make_study: Make, tmp_path: Path) -> None:
    drawing = drawn(of(make_study(["a", "b"], seeds=3), "fid"))["scores-fid"]
    save([drawing], tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "scores-fid.csv", "scores-fid.pdf", "scores-fid.png", "scores-fid.svg",
    ]  # fmt: skip
    assert (tmp_path / "figures/scores-fid.pdf").read_bytes().startswith(b"%PDF")
    assert Image.open(io.BytesIO((tmp_path / "figures/scores-fid.png").read_bytes())).size[0] > 500
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "figures/scores-fid.csv"), drawing.data, check_dtype=False)

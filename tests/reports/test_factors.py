"""Which options a sweep crosses, and why some sweeps cross none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import pytest

from ganbench.errors import UserError
from reports.factors import Crossing, Factor, crossing

Option = Mapping[str, Sequence[str]]


def crossed(options: Option, derived: Mapping[str, object] | None = None, leave_out: Sequence[int] = ()) -> Crossing:
    """The crossing of every combination of `options`; of `derived`, each is a function of a combination's values."""
    points = [dict(zip(options, point, strict=True)) for point in product(*options.values())]
    points = [point for place, point in enumerate(points) if place not in leave_out]
    recipes = [" ".join(point.values()) for point in points]
    varied = {name: {r: point[name] for r, point in zip(recipes, points, strict=True)} for name in options}
    for name, of in (derived or {}).items():
        assert callable(of)
        varied[name] = {r: str(of(point)) for r, point in zip(recipes, points, strict=True)}
    return crossing(recipes, varied)


TWO_BY_THREE = {"gan.network": ["dcgan", "progressive"], "gan.width": ["8", "16", "32"]}


def test_every_combination_is_a_recipe() -> None:
    found = crossed(TWO_BY_THREE)
    assert found.factors == (Factor("network", ("dcgan", "progressive")), Factor("width", ("8", "16", "32")))
    assert sorted(found.places.values()) == list(product(range(2), range(3)))
    assert found.levels("progressive 32") == ("network=progressive", "width=32")
    assert found.mixed == ()


def test_options_that_change_together_are_one_factor_named_by_the_variant() -> None:
    found = crossed(
        {"gan.objective": ["hinge", "wasserstein"], "gan.sn": ["no", "yes"]},
        {"gan.name": lambda point: {"hinge": "sngan", "wasserstein": "wgan"}[point["gan.objective"]]},
    )
    assert found.factors == (Factor("variant", ("sngan", "wgan"), ("objective",)), Factor("sn", ("no", "yes")))


def test_an_option_that_a_factor_decides_is_told_with_it() -> None:
    found = crossed(
        {"gan.name": ["a", "b", "c"], "data.name": ["digits", "ring8"]},
        {"gan.beta1": lambda point: 0.5 if point["gan.name"] == "a" else 0},
    )
    assert found.factors == (Factor("variant", ("a", "b", "c"), ("beta1",)), Factor("dataset", ("digits", "ring8")))


def test_an_option_that_only_a_combination_decides_is_no_factor_and_is_told() -> None:
    found = crossed(
        {"gan.a": ["0", "1"], "gan.b": ["0", "1"]},
        {
            "gan.lr": lambda point: point["gan.a"] == point["gan.b"] == "1",
            "gan.id": lambda point: point["gan.a"] + point["gan.b"],
        },
    )
    assert [factor.name for factor in found.factors] == ["a", "b"]
    assert found.mixed == ("lr", "id")


PRESETS = {
    "wgan": ("wasserstein", "5e-5"),
    "wgan-gp": ("wasserstein", "1e-4"),
    "sngan": ("hinge", "5e-5"),
    "sagan": ("hinge", "1e-4"),
}


def test_options_that_nobody_crossed_are_no_factors() -> None:
    """Two settings of four presets cross by chance; the others, which they do not decide, would be in no factor."""
    found = crossed(
        {"gan.name": list(PRESETS), "gan.ema_decay": ["0.9", "0.99"]},
        {
            "gan.objective": lambda point: PRESETS[point["gan.name"]][0],
            "gan.lr_generator": lambda point: PRESETS[point["gan.name"]][1],
            "gan.id": lambda point: " ".join(point.values()),
        },
    )
    assert found.factors == (
        Factor("variant", tuple(PRESETS), ("objective", "lr_generator")),
        Factor("ema_decay", ("0.9", "0.99")),
    )
    assert found.mixed == ("id",)


def test_as_many_factors_as_there_can_be() -> None:
    """Four levels that are also two by two, where no choice of factors decides all options."""
    found = crossed(
        {"gan.objective": ["hinge", "wasserstein"], "gan.constraint": ["none", "clip"], "gan.k": ["1", "5"]},
        {
            "gan.name": lambda point: point["gan.objective"] + point["gan.constraint"],
            "gan.lr": lambda point: point["gan.constraint"] + point["gan.k"],
        },
    )
    assert [factor.name for factor in found.factors] == ["objective", "constraint", "k"]
    assert found.mixed == ("variant", "lr")


@pytest.mark.parametrize("missing", range(6))
def test_an_incomplete_crossing_is_refused_with_what_is_missing(missing: int) -> None:
    network, width = list(product(*TWO_BY_THREE.values()))[missing]
    words = rf"5 recipes are no full crossing of network × width \(6 combinations\): network={network}, width={width}"
    with pytest.raises(UserError, match=f"{words} is missing"):
        crossed(TWO_BY_THREE, leave_out=[missing])


def test_several_missing_combinations_are_counted() -> None:
    with pytest.raises(UserError, match=r"network=dcgan, width=8 and 1 more are missing"):
        crossed(TWO_BY_THREE, leave_out=[0, 5])


def split(recipes: str, values: str) -> dict[str, str]:
    """Each of the recipes with its value, a letter each."""
    return dict(zip(recipes, values, strict=True))


@pytest.mark.parametrize(
    ("recipes", "varied", "reason"),
    [
        ("abc", {}, "the settings of 'a' are not known"),
        ("abc", {"lr": split("ab", "01")}, "the settings of 'c' are not known"),
        ("abcd", {"lr": split("abcd", "0123")}, "4 recipes cross no two options"),
        ("abcd", {"x": split("abcd", "0011"), "y": split("abcd", "0011")}, "4 recipes cross no two options"),
        (
            "abcde",
            {"x": split("abcde", "00110"), "y": split("abcde", "01010"), "z": split("abcde", "01234")},
            "crossing of x × y alone: 'a' and 'e' are the same combination",
        ),
    ],
)
def test_what_is_no_factorial_is_refused(recipes: str, varied: Mapping[str, Mapping[str, str]], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        crossing(recipes, varied)

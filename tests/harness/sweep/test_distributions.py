from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from ganbench.errors import UserError
from harness.sweep.distributions import KEYS, parse

SHARES = [0.001, 0.1, 0.25, 0.5, 0.77, 0.999]

# X ~ the frozen scipy distribution, by the words of W&B's documentation
CONTINUOUS = [
    ({"min": -1.0, "max": 3.0}, stats.uniform(-1, 4)),
    ({"distribution": "uniform", "min": 1, "max": 3}, stats.uniform(1, 2)),
    ({"distribution": "log_uniform", "min": -3, "max": 2}, stats.loguniform(math.exp(-3), math.exp(2))),
    ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}, stats.loguniform(1e-4, 1e-2)),
    ({"distribution": "inv_log_uniform", "min": -3, "max": 2}, stats.loguniform(math.exp(-2), math.exp(3))),
    ({"distribution": "inv_log_uniform_values", "min": 0.5, "max": 8}, stats.loguniform(0.5, 8)),
    ({"distribution": "normal"}, stats.norm()),
    ({"distribution": "normal", "mu": 5, "sigma": 0.1}, stats.norm(5, 0.1)),
    ({"distribution": "log_normal", "mu": -1, "sigma": 0.5}, stats.lognorm(s=0.5, scale=math.exp(-1))),
]
QUANTISED = [
    ({"distribution": "q_uniform", "min": 0.3, "max": 9.6}, stats.uniform(0.3, 9.3), 1),
    ({"distribution": "q_uniform", "min": 0, "max": 256, "q": 32}, stats.uniform(0, 256), 32),
    ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.1}, stats.uniform(0, 1), 0.1),
    ({"distribution": "q_log_uniform", "min": 0, "max": 5, "q": 2}, stats.loguniform(1, math.exp(5)), 2),
    ({"distribution": "q_log_uniform_values", "min": 1, "max": 500, "q": 5}, stats.loguniform(1, 500), 5),
    ({"distribution": "q_normal", "mu": 10, "sigma": 4, "q": 0.5}, stats.norm(10, 4), 0.5),
    ({"distribution": "q_log_normal", "mu": 3, "sigma": 1, "q": 3}, stats.lognorm(s=1, scale=math.exp(3)), 3),
]


@pytest.mark.parametrize(("block", "reference"), CONTINUOUS)
def test_quantiles_are_scipys_and_share_is_their_inverse(block, reference):
    found = parse("x", block)
    for share in SHARES:
        value = found.quantile(share)
        assert value == pytest.approx(reference.ppf(share), rel=6e-6)  # six significant digits
        assert isinstance(value, float)
        assert float(f"{value:.6g}") == value
        assert found.share(value) == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(("block", "reference", "q"), QUANTISED)
def test_quantised_values_are_round_x_over_q_times_q(block, reference, q):
    found = parse("x", block)
    for share in SHARES:
        value = found.quantile(share)
        assert value == pytest.approx(np.round(reference.ppf(share) / q) * q)
        assert isinstance(value, type(q))
        # a value stands for its whole cell: rounding moves it by half a step at most
        low, high = reference.cdf(value - q / 2), reference.cdf(value + q / 2)
        assert low - 1e-6 <= share <= high + 1e-6
        assert low - 1e-6 <= found.share(value) <= high + 1e-6


def test_every_distribution_that_wandb_documents_is_tested_here():
    tested = {parse("x", block).kind for block, *_ in [*CONTINUOUS, *QUANTISED]}
    assert tested | {"constant", "categorical", "categorical_w_probabilities", "int_uniform"} == set(KEYS)


def test_whole_numbers_are_equally_likely():
    found = parse("x", {"min": 2, "max": 5})
    assert found.kind == "int_uniform"
    values = [found.quantile(share) for share in np.linspace(0, 1, 4001)[:-1]]
    assert {value: values.count(value) for value in set(values)} == dict.fromkeys([2, 3, 4, 5], 1000)
    assert found.quantile(1.0) == 5
    assert [found.share(value) for value in (2, 3, 4, 5)] == [0.125, 0.375, 0.625, 0.875]


def test_values_are_as_likely_as_they_are_said_to_be():
    even = parse("x", {"values": ["a", "b", "c"]})
    assert [even.quantile(share) for share in (0, 0.3, 0.34, 0.66, 0.67, 1)] == ["a", "a", "b", "b", "c", "c"]
    uneven = parse("x", {"values": ["a", "b", "c"], "probabilities": [0.5, 0, 0.5]})
    assert uneven.kind == "categorical_w_probabilities"
    assert [uneven.quantile(share) for share in (0, 0.49, 0.5, 1)] == ["a", "a", "c", "c"]
    assert (even.share("b"), uneven.share("a"), uneven.share("c")) == (0.5, 0.25, 0.75)


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ({"value": None}, "constant"),
        ({"values": [1.5]}, "categorical"),
        ({"min": 1, "max": 2}, "int_uniform"),
        ({"min": 1, "max": 2.0}, "uniform"),
        ({"min": 0.1, "max": 0.2}, "uniform"),
    ],
)
def test_a_distribution_that_is_not_named_is_inferred_as_wandb_does(block, kind):
    assert parse("x", block).kind == kind


def test_the_ends_of_a_range_are_never_passed():
    for block in ({"min": 1 / 3, "max": 2 / 3}, {"distribution": "log_uniform_values", "min": 1 / 7, "max": 1 / 3}):
        found = parse("x", block)
        assert block["min"] <= found.quantile(0.0) < found.quantile(1.0) <= block["max"]  # 1/7 is rounded to below it
    assert all(math.isfinite(parse("x", {"distribution": "normal"}).quantile(end)) for end in (0.0, 1.0))


def test_grids_are_wandbs():
    assert parse("x", {"min": 2, "max": 5}).grid() == [2, 3, 4, 5]
    # numpy.arange(min, max, q): max is left out
    assert parse("x", {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}).grid() == [0, 0.25, 0.5, 0.75]
    assert parse("x", {"distribution": "q_uniform", "min": 0, "max": 0.3, "q": 0.1}).grid() == [0, 0.1, 0.2]
    assert parse("x", {"distribution": "q_uniform", "min": 3, "max": 6}).grid() == [3, 4, 5]
    assert parse("x", {"values": [1, [2], None]}).grid() == [1, [2], None]
    assert parse("x", {"values": [1, 2], "probabilities": [0.5, 0.5]}).grid() is None
    assert parse("x", {"min": 0.0, "max": 1.0}).grid() is None


@pytest.mark.parametrize(
    "block", [block for block, *_ in [*CONTINUOUS, *QUANTISED]] + [{"value": 3}, {"values": ["a"]}]
)
def test_json_gives_the_same_distribution(block):
    found = parse("x", block)
    assert parse("x", json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"distribution": "log_unifrom", "min": 1, "max": 2}, "did you mean 'log_uniform'?"),
        ({"distribution": "beta", "min": 1, "max": 2}, "unknown distribution of parameter x 'beta'"),
        ({"vlaues": [1]}, "unknown key of parameter x 'vlaues': did you mean 'values'?"),
        ({"distribution": "normal", "min": 1}, "parameter x: normal takes mu, sigma, not min"),
        ({"distribution": "q_uniform", "min": 1}, "parameter x: q_uniform needs min and max"),
        ({"min": 1}, "parameter x: uniform needs min and max"),
        ({"mu": 1}, "parameter x: name its distribution, such as normal"),
        ({}, "give exactly one of value, values, min and max, or parameters"),
        ({"value": 1, "values": [1]}, "give exactly one of value, values, min and max, or parameters"),
        ({"min": 2, "max": 1}, "parameter x: min 2 is above max 1"),
        ({"min": "a", "max": 1}, "parameter x: min must be a number, got 'a'"),
        ({"min": True, "max": 1}, "parameter x: min must be a number, got True"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 1}, "min of int_uniform must be a whole number, got 0.5"),
        ({"distribution": "normal", "sigma": 0}, "parameter x: sigma must be above 0, got 0"),
        ({"distribution": "q_normal", "q": -1}, "parameter x: q must be above 0, got -1"),
        (
            {"distribution": "log_uniform_values", "min": 0, "max": 1},
            "min of log_uniform_values must be above 0, got 0",
        ),
        ({"distribution": "log_uniform", "min": 1, "max": 1000}, "log_uniform_values takes the values themselves"),
        ({"distribution": "log_normal", "mu": 1000}, "those of the logarithm, and these overflow"),
        ({"values": [1, 2], "probabilities": [1]}, "probabilities must be 2 numbers from 0, one for each value"),
        ({"values": [1, 2], "probabilities": [0.5, 0.4]}, "probabilities must sum to 1, got 0.9"),
        ({"values": [1, 2], "probabilities": [1.5, -0.5]}, "probabilities must be 2 numbers from 0"),
    ],
)
def test_a_mistake_is_one_sentence(block, message):
    with pytest.raises(UserError) as caught:
        parse("x", block)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

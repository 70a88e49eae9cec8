"""95 % intervals hold the truth in 93 to 97 % of 2,000 simulated studies; the shares are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product

import numpy as np
import pytest
from scipy import integrate, stats

from reports.effects import Effect, contrasts, estimates
from reports.factors import Crossing, Factor
from reports.ranks import rank_ranges, surely_better
from reports.statistics import Interval, budget_curve, difference, interval, proportion

STUDIES = 2_000  # the share that holds the truth then has a standard error of half a point
Rng = np.random.Generator
Estimate = Callable[[Rng], Interval]


def normal(n: int) -> Estimate:
    return lambda rng: interval(rng.normal(3.0, 2.0, n))


def skewed(n: int) -> Estimate:
    """Gamma of shape 9: mean 3, as skewed (0.67) as FIDs of a few seeds often are."""
    return lambda rng: interval(rng.gamma(9.0, 1 / 3, n))


def welch(n_a: int, n_b: int, spread: float) -> Estimate:
    return lambda rng: difference(rng.normal(1.0, spread, n_a), rng.normal(4.0, 1.0, n_b))


def paired(n: int) -> Estimate:
    """What a seed does to both sides is three times what it does to each."""

    def study(rng: Rng) -> Interval:
        both = rng.normal(0.0, 3.0, n)
        return difference(both + rng.normal(1.0, 1.0, n), both + rng.normal(4.0, 1.0, n), paired=True)

    return study


CASES: dict[str, Estimate] = {
    "t, n = 3": normal(3),
    "t, n = 5": normal(5),
    "t, n = 10": normal(10),
    "t, n = 5, skewed": skewed(5),
    "bootstrap, n = 10": lambda rng: interval(rng.normal(3.0, 2.0, 10), method="bootstrap"),
    "Welch, n = 3 and 3, spread 4 : 1": welch(3, 3, 4.0),
    "Welch, n = 5 and 5": welch(5, 5, 1.0),
    "Welch, n = 5 and 5, spread 4 : 1": welch(5, 5, 4.0),
    "Welch, n = 10 and 5, spread 2 : 1": welch(10, 5, 2.0),
    "paired, n = 3": paired(3),
    "paired, n = 5": paired(5),
    "bootstrap of a difference, n = 10 and 10, spread 2 : 1": lambda rng: difference(
        rng.normal(1.0, 2.0, 10), rng.normal(4.0, 1.0, 10), method="bootstrap"
    ),
}


def report(capsys: pytest.CaptureFixture[str], what: str, share: float) -> None:
    with capsys.disabled():
        print(f"\n  {what}: {100 * share:.1f} % of {STUDIES:,} studies", end="")


@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth_as_often_as_they_say(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(11)
    share = float(np.mean([CASES[case](rng).holds(3.0) for _ in range(STUDIES)]))
    report(capsys, case, share)
    assert 0.93 <= share <= 0.97


def test_wilsons_interval_holds_the_true_rate(capsys: pytest.CaptureFixture[str]) -> None:
    # over rates of all sizes: at a given one the share jumps, since counts are whole
    rng = np.random.default_rng(12)
    held = []
    for rate in rng.uniform(0.02, 0.98, STUDIES):
        found = proportion(int(rng.binomial(8, rate)), 8)
        held.append(found.low <= rate <= found.high)
    report(capsys, "Wilson, n = 8", float(np.mean(held)))
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("n", [9, 30, 60])
def test_the_budget_curves_band_holds_the_expected_best(n: int, capsys: pytest.CaptureFixture[str]) -> None:
    def best_of(k: int) -> float:
        density = lambda x: x * k * stats.norm.pdf(x) * stats.norm.sf(x) ** (k - 1)  # noqa: E731
        return float(integrate.quad(density, -10, 10)[0])

    truth = np.array([best_of(k) for k in range(1, n // 3 + 1)])
    rng = np.random.default_rng(13)
    held = np.zeros(len(truth))
    for _ in range(STUDIES):
        curve = budget_curve(rng.normal(size=n), lower_is_better=True)
        low, high = (np.array(end[: len(truth)], dtype=float) for end in (curve.low, curve.high))
        held += (low <= truth) & (truth <= high)
    shares = held / STUDIES
    report(capsys, f"budget curve, n = {n}, k = 1 … {n // 3}", float(shares.mean()))
    with capsys.disabled():
        print(f" (lowest {100 * shares.min():.1f}, highest {100 * shares.max():.1f})", end="")
    assert 0.93 <= shares.mean() <= 0.97
    assert shares.min() > 0.92


@pytest.mark.parametrize("n", [3, 5])
def test_ranges_of_ranks_hold_the_true_ranks_of_all_recipes(n: int, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(14)
    means = np.array([0.0, 0.0, 1.0, 2.0, 6.0, 6.5, 20.0])
    # equal recipes share their ranks: each may have any of them
    best, last = (np.array([(side(means, mean)).sum() for mean in means]) for side in (np.less, np.less_equal))
    held = 0
    for _ in range(STUDIES):
        groups = [rng.normal(mean, 1.0, n) for mean in means]
        ranges = rank_ranges(surely_better(groups, lower_is_better=True))
        held += all(
            low <= first + 1 and high >= final for (low, high), first, final in zip(ranges, best, last, strict=True)
        )
    report(capsys, f"all ranks of 7 recipes, n = {n}", held / STUDIES)
    assert held / STUDIES >= 0.95


def test_of_equal_recipes_a_winner_is_seldom_declared(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(15)
    claims = sum(surely_better(list(rng.normal(size=(8, 4))), lower_is_better=True).any() for _ in range(STUDIES))
    report(capsys, "8 equal recipes, n = 4: any called better than another", claims / STUDIES)
    assert claims / STUDIES <= 0.05


def factorial(n: int, truth: Mapping[str, float], *, skewed: bool = False) -> Iterator[dict[str, Effect]]:
    """Studies of 2 × 2 × 2 recipes: a seed shifts all alike, and each varies by itself, the last 8 times as much.

    `truth` holds the effects that are not 0, by label.
    """
    names = ("a", "b", "c")
    places = {"".join(map(str, place)): place for place in product(range(2), repeat=3)}
    design = contrasts(Crossing(tuple(Factor(name, ("0", "1")) for name in names), places))
    # a cell's mean: half a main effect for each level, a quarter of an interaction of two …
    mean = {
        recipe: sum(
            truth.get(one.label, 0.0) * float(np.prod([2 * place[names.index(name)] - 1 for name in one.factors]))
            / 2**one.order
            for one in design
        )
        for recipe, place in places.items()
    }  # fmt: skip
    rng = np.random.default_rng(16)
    for _ in range(STUDIES):
        shift = rng.normal(0.0, 4.0, n)
        noise = rng.gamma(9.0, 1 / 3, (8, n)) - 3 if skewed else rng.normal(0.0, 1.0, (8, n))
        scores = {
            recipe: dict(enumerate(20 + mean[recipe] + shift + (1 + i) / 4 * noise[i]))
            for i, recipe in enumerate(places)
        }
        found = estimates(design, scores, range(n), lower_is_better=True)
        yield {one.label: effect for one, effect in zip(design, found, strict=True)}


@pytest.mark.parametrize(("n", "skewed"), [(3, False), (5, False), (5, True)])
def test_intervals_of_effects_hold_the_true_effects(n: int, skewed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    truth = {"a: 0 → 1": -3.0, "b × c": 1.0, "a × b × c": 0.5}
    held: dict[str, list[bool]] = {}
    for study in factorial(n, truth, skewed=skewed):
        for label, effect in study.items():
            held.setdefault(label, []).append(effect.interval.holds(truth.get(label, 0.0)))
    shares = {label: float(np.mean(of_it)) for label, of_it in held.items()}
    assert len(shares) == 7
    report(
        capsys,
        f"effects of 3 factors, n = {n}{', skewed' if skewed else ''}, all 7",
        float(np.mean(list(shares.values()))),
    )
    with capsys.disabled():
        print(f" (lowest {100 * min(shares.values()):.1f}, highest {100 * max(shares.values()):.1f})", end="")
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


def test_of_factors_without_effects_one_is_seldom_called_sure(capsys: pytest.CaptureFixture[str]) -> None:
    claims = sum(any(effect.sure for effect in study.values()) for study in factorial(5, {}))
    report(capsys, "3 factors without effects, n = 5: any effect called sure", claims / STUDIES)
    assert claims / STUDIES <= 0.05

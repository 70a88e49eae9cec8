"""Search: which configurations of a sweep are tried, from a seed and from the trials that have ended.

`initial` is known before anything runs; `propose` then says what comes next. Both are pure functions: the study that
Optuna samples from is rebuilt in memory each time, so that a sweep's folder is all there is to keep, and any number of
drivers may ask. Optuna is imported where it is needed only.

Contract with the scheduler:
    `propose` returns a trial that is in neither of its lists, or None: nothing to propose now. Ask again when another
    trial has ended; when it says None and nothing is running or waiting any more, the sweep is complete.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from ganbench.errors import UserError
from ganbench.seeds import derive
from harness.config import TrialConfig, merge, resolve, trial_id
from harness.store import TrialFolder
from harness.sweep.benchmark import Goal, Metric, Phase
from harness.sweep.distributions import Distribution, parse

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler

WARM_UPS = 10
"""Random configurations per variant before a Bayesian search learns; a third of all where there are fewer than 30."""

WINDOW = 0.25
"""The narrow phase's share of each range, in probability, around the best configuration of the wide one."""

QUARTER = 4
"""Of the unordered values, the narrow phase keeps those that the best quarter of the wide one had."""

Ended = Sequence[tuple[TrialConfig, float | None]]
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Search:
    """A random or Bayesian search over the same number of configurations of every variant.

    Every variant gets the same draws, whether or not an option applies to it, so that they are compared in pairs.
    """

    method: Literal["random", "bayes"]
    space: Mapping[str, Distribution]
    """The parameters that are searched, by their key in the file."""
    fixed: Point
    """The parameters that are the same for all trials."""
    variants: tuple[Point, ...]
    """What tells the variants apart; ({},): the variant is fixed, or searched like any other parameter."""
    configurations: int
    """Per variant; with phases, those of the wide one."""
    seeds: tuple[int, ...] | None
    """Training seeds of each configuration (with phases, of the best one); None: the seed is as the parameters say."""
    search_seed: int = 0
    overrides: Point = field(default_factory=dict)
    """Options that hold for every trial, whatever the parameters say."""
    metric: Metric | None = None
    """What decides; a Bayesian search and one in phases have it."""
    phases: tuple[Phase, ...] = ()

    @property
    def planned(self) -> int:
        """How many trials there are in the end, at most."""
        seeds = len(self.seeds or (0,))
        each = self.configurations + self.narrow + seeds if self.phases else self.configurations * seeds
        return len(self.variants) * each

    @property
    def narrow(self) -> int:
        """Configurations per variant in the narrow phase: half as many as in the wide one, as in the paper."""
        return -(-self.configurations // 2) if "narrow" in self.phases else 0

    def trial(self, variant: Point, point: Point) -> TrialConfig:
        """The resolved trial; raises `UserError` for values that make none."""
        config = resolve(merge({**self.fixed, **variant, **point}, self.overrides))
        seed = self.search_seed if self.phases else self.seeds[0] if self.seeds else config.seed
        return _with_seed(config, seed)

    def recipe(self, config: TrialConfig) -> str:
        """What the trials of one configuration have in common."""
        return trial_id(_with_seed(config, 0)) if self.seeds else trial_id(config)

    def reports(self, config: TrialConfig) -> bool:
        """Whether a trial's scores are for the comparison: with phases, only those of the last one are.

        The others chose the configurations, so the best of them are lucky.
        """
        return not self.phases or config.seed != self.search_seed

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        return {
            **asdict(self),
            "space": {name: found.as_json() for name, found in self.space.items()},
            "variants": list(self.variants),
            "seeds": None if self.seeds is None else list(self.seeds),
            "phases": list(self.phases),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Search:
        """What `as_json` made."""
        return cls(
            **{
                **raw,
                "space": {name: parse(name, block) for name, block in raw["space"].items()},
                "variants": tuple(raw["variants"]),
                "seeds": None if raw["seeds"] is None else tuple(raw["seeds"]),
                "metric": None if raw["metric"] is None else Metric(**raw["metric"]),
                "phases": tuple(raw["phases"]),
            }
        )


def _with_seed(config: TrialConfig, seed: int) -> TrialConfig:
    return config if config.seed == seed else config.model_copy(update={"seed": seed})


def extends(new: Search, held: Search) -> bool:
    """Whether `new` only adds to `held`: configurations, seeds or variants."""
    same = replace(new, configurations=held.configurations, seeds=held.seeds, variants=held.variants) == held
    return (
        same
        and new.configurations >= held.configurations
        and (new.seeds is None) == (held.seeds is None)
        and set(new.seeds or ()) >= set(held.seeds or ())
        and all(variant in new.variants for variant in held.variants)
    )


def value(search: Search, folder: TrialFolder) -> float | None:
    """What a finished trial is judged by."""
    assert search.metric is not None
    return search.metric.read(folder.history())


# --- before anything runs


def initial(search: Search) -> list[TrialConfig]:
    """The trials that are known beforehand: all of a random search, the warm-ups of a Bayesian one, the wide phase.

    Seeds change slowest and variants fastest, so that all recipes advance together. More configurations only add
    trials to the list.

    Raises:
        UserError: a draw is no valid trial, or the parameters hold too few different ones.
    """
    count = search.configurations
    if search.method == "bayes":
        count = min(count, WARM_UPS, max(1, -(-count // 3)))
    seen: set[str] = set()
    rounds: list[list[TrialConfig]] = []
    for point in islice(_points(search, search.space, "wide"), _patience(count)):
        if len(rounds) == count:
            break
        configs = [search.trial(variant, point) for variant in search.variants]
        recipes = {search.recipe(config) for config in configs}
        if len(recipes) == len(configs) and not recipes & seen:
            seen |= recipes
            rounds.append(configs)
    if len(rounds) < count:
        raise UserError(
            f"the parameters hold {len(rounds)} different configurations, not {count}: widen them or ask for fewer"
        )
    seeds = search.seeds if search.seeds and not search.phases else [None]
    return [
        config if seed is None else _with_seed(config, seed)
        for seed in seeds
        for configs in rounds
        for config in configs
    ]


def _patience(count: int) -> int:
    """How many draws are made for `count` different ones before the space is taken for used up."""
    return 20 * count + 1000


def _points(
    search: Search, space: Mapping[str, Distribution], purpose: str, windows: Point | None = None
) -> Iterator[Point]:
    """Random points without end. Each parameter has its own stream, so that adding one changes none of the others.

    Args:
        search: gives the seed.
        space: the parameters.
        purpose: names the streams.
        windows: the part (low, high) of [0, 1] from which a parameter's quantiles are drawn, where it is not all.
    """
    streams = {name: _uniform(derive(search.search_seed, f"{purpose}/{name}")) for name in space}
    while True:
        point = {}
        for name, distribution in space.items():
            low, high = (windows or {}).get(name, (0.0, 1.0))
            point[name] = distribution.quantile(low + next(streams[name]) * (high - low))
        yield point


def _uniform(seed: int) -> Iterator[float]:
    from optuna.distributions import FloatDistribution
    from optuna.samplers import RandomSampler
    from optuna.trial import create_trial

    sampler, unit = RandomSampler(seed=seed % 2**32), FloatDistribution(0, 1)
    study, trial = _study(sampler), create_trial(value=0)
    while True:
        yield sampler.sample_independent(study, trial, "share", unit)


def _study(sampler: BaseSampler, goal: Goal = "minimize") -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it greets every study on stderr
    return optuna.create_study(sampler=sampler, direction=goal)


# --- from what has ended


@dataclass
class _Tried:
    """One configuration of a variant, and what became of its trials by seed."""

    config: TrialConfig
    values: dict[int, float | None] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)

    def seeds(self) -> set[int]:
        """Those that have been proposed."""
        return self.values.keys() | self.running

    def mean(self) -> float | None:
        """Over its seeds; None if any failed, since the mean of the rest would reward that."""
        found = [number for number in self.values.values() if number is not None]
        return fmean(found) if found and len(found) == len(self.values) else None


_Variant = dict[str, _Tried]
"""A variant's configurations by recipe, in the order in which they were proposed."""


def propose(search: Search, finished: Ended, running: Sequence[TrialConfig]) -> TrialConfig | None:
    """The next trial, or None while there is nothing to propose.

    Args:
        search: what is searched.
        finished: the trials that have ended, in the manifest's order, with their `value`; None for one without.
        running: all others that are known, waiting ones included.
    """
    metric = search.metric
    if metric is None or any(number is not None and metric.reached(number) for _, number in finished):
        return None
    step = _next_of_phases if search.phases else _next_of_bayes
    tried = zip(search.variants, _tried(search, finished, running), strict=True)
    behind = sorted(tried, key=lambda pair: sum(len(one.seeds()) for one in pair[1].values()))
    return next((found for variant, known in behind if (found := step(search, variant, known, metric))), None)


def _tried(search: Search, finished: Ended, running: Sequence[TrialConfig]) -> list[_Variant]:
    options = [merge(variant, search.overrides) for variant in search.variants]
    variants: list[_Variant] = [{} for _ in options]

    def one(config: TrialConfig) -> _Tried:
        index = _matching(options, merge(config.model_dump()))
        known = {} if index is None else variants[index]  # a trial of no variant of this search counts for none
        return known.setdefault(search.recipe(config), _Tried(config))

    for config, number in finished:
        one(config).values[config.seed] = number
    for config in running:
        one(config).running.add(config.seed)
    return variants


def _matching(options: Sequence[Point], flat: Point) -> int | None:
    """Which of the options, as dotted keys, a trial's are; the most specific where several fit."""
    fitting = [i for i, option in enumerate(options) if all(flat.get(key) == given for key, given in option.items())]
    return max(fitting, key=lambda index: len(options[index]), default=None)


def _value_of(name: str, distribution: Distribution, config: TrialConfig) -> Any:
    """What a parameter was drawn as in a resolved trial."""
    flat = merge(config.model_dump())
    if not distribution.categorical:
        return flat[next(iter(merge({name: None})))]
    index = _matching([merge({name: each}) for each in distribution.values], flat)
    return None if index is None else distribution.values[index]


def _missing_seed(seeds: Sequence[int], one: _Tried) -> TrialConfig | None:
    seed = next((seed for seed in seeds if seed not in one.seeds()), None)
    return None if seed is None else _with_seed(one.config, seed)


# --- Bayesian search


def _next_of_bayes(search: Search, variant: Point, known: _Variant, metric: Metric) -> TrialConfig | None:
    for one in known.values():
        if found := _missing_seed(search.seeds or (), one):
            return found
    if len(known) >= search.configurations:
        return None
    suggestions = (_suggestion(search, variant, known, metric, attempt) for attempt in range(20))
    others = islice(_points(search, search.space, f"more/{len(known)}"), _patience(1))
    return _first_new(search, variant, chain(suggestions, others), known)


def _first_new(search: Search, variant: Point, points: Iterable[Point], known: _Variant) -> TrialConfig | None:
    """The first point that makes a valid trial of a configuration that has not been tried."""
    for point in points:
        with suppress(UserError):  # a tail of a distribution reaches beyond what an option may be
            config = search.trial(variant, point)
            if search.recipe(config) not in known:
                return config
    return None


def _suggestion(search: Search, variant: Point, known: _Variant, metric: Metric, attempt: int) -> Point:
    """A point from Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), told all that is known.

    Numbers are sampled by their quantiles, so that every distribution serves; unordered values as such. What failed
    counts as worse than all else; what runs is kept at a distance from.
    """
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState, create_trial

    axes: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(range(len(found.values))) if found.categorical else FloatDistribution(0, 1)
        for name, found in search.space.items()
    }
    seed = derive(search.search_seed, f"bayes/{json.dumps(variant, sort_keys=True)}", len(known), attempt) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Optuna 4 calls constant_liar experimental
        study = _study(TPESampler(seed=seed, n_startup_trials=1, constant_liar=True), metric.goal)
    for one in known.values():
        mean = one.mean()
        state = TrialState.RUNNING if one.running else TrialState.PRUNED if mean is None else TrialState.COMPLETE
        study.add_trial(
            create_trial(
                state=state,
                value=mean if state == TrialState.COMPLETE else None,
                params={name: _coordinate(name, found, one.config) for name, found in search.space.items()},
                distributions=axes,
            )
        )
    drawn = study.ask(axes).params
    return {
        name: found.values[drawn[name]] if found.categorical else found.quantile(drawn[name])
        for name, found in search.space.items()
    }


def _coordinate(name: str, distribution: Distribution, config: TrialConfig) -> float:
    found = _value_of(name, distribution, config)
    return distribution.values.index(found) if distribution.categorical else distribution.share(found)


# --- the three phases of Lucic et al. 2018, "Are GANs Created Equal?" (arXiv:1711.10337)


def _next_of_phases(search: Search, variant: Point, known: _Variant, metric: Metric) -> TrialConfig | None:
    """Wide, then narrow around its best, then the best of both at many seeds: each variant at its own pace.

    The search's trials share one training seed, which the last phase leaves out.
    """
    searched = [one for one in known.values() if search.search_seed in one.seeds()]
    ended = [one for one in searched if search.search_seed in one.values]
    if len(ended) < search.configurations:
        return None
    if len(searched) < search.configurations + search.narrow:
        space, windows = _narrowed(search, _ranked(search, ended[: search.configurations], metric))
        points = _points(search, space, "narrow", windows)
        return _first_new(search, variant, islice(points, _patience(len(searched))), known)
    best = _ranked(search, ended, metric)
    if len(ended) < len(searched) or not best:
        return None
    return _missing_seed(search.seeds or (), best[0])


def _ranked(search: Search, tried: Sequence[_Tried], metric: Metric) -> list[_Tried]:
    """Best first by the search's own seed; those without a value left out."""
    numbers = [(one.values[search.search_seed], one) for one in tried]
    found = [(number, one) for number, one in numbers if number is not None]
    return [one for _, one in sorted(found, key=lambda pair: pair[0], reverse=metric.goal == "maximize")]


def _narrowed(search: Search, best: Sequence[_Tried]) -> tuple[Mapping[str, Distribution], Point]:
    """The parameters around the best configurations; all of them where none has a value."""
    space, windows = dict(search.space), {}
    quarter = best[: -(-len(best) // QUARTER)]
    for name, distribution in search.space.items() if best else ():
        if distribution.categorical:
            had = [_value_of(name, distribution, one.config) for one in quarter]
            kept = [each for each in distribution.values if each in had]
            space[name] = Distribution("categorical", {"values": kept})
        else:
            centre = distribution.share(_value_of(name, distribution, best[0].config))
            low = min(max(centre - WINDOW / 2, 0.0), 1 - WINDOW)
            windows[name] = (low, low + WINDOW)
    return space, windows

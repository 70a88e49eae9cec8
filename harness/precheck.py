"""What can be refused before anything is trained, from the configs and the data alone: no torch is imported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganbench.errors import UserError, unknown_name
from gans.growth import full_after
from gans.networks import NETWORKS, check_shape
from gans.recipe import STATIC_NETWORKS
from harness import data
from harness.labels import recipe_labels
from metrics.catalogue import METRICS, REGISTRY

if TYPE_CHECKING:
    from harness.config import DataConfig, EvaluationConfig, TrialConfig
    from harness.data import Dataset

CLASSIFIERS = ("auto", "digits", "inception", "inception-reference")
"""Feature networks known to have the logits that the Inception Score needs; others say so only when loaded."""


def check_names(config: TrialConfig) -> None:
    """Refuse names that only a started trial would miss: network, dataset, metrics, features and the weights' file.

    Imports nothing heavy, so that a sweep can be refused before its first trial. `resolve` has checked the variant.

    Raises:
        UserError: naming the nearest known name.
    """
    from metrics import features

    if config.gan.network != "auto":
        NETWORKS.entry(config.gan.network)
    if config.data.name not in data.DATASETS.names() and not Path(config.data.name).exists():
        raise UserError(
            f"{unknown_name('dataset', config.data.name, data.DATASETS.names())}; and no file has that path"
        )
    for name in config.evaluation.metrics or ():
        REGISTRY.entry(name)
    if config.evaluation.features != "auto":
        features.check(config.evaluation.features)
    if config.evaluation.weights is not None and not Path(config.evaluation.weights).is_file():
        raise UserError(f"evaluation.weights: no file at {config.evaluation.weights}")


def check_sweep(trials: Iterable[TrialConfig]) -> None:
    """Read each data set once and refuse what would fail every trial on it.

    Raises:
        UserError: data that cannot be read or that a network does not fit, too few samples for a metric
            (`check_sizes`), or a budget that ends before networks have grown.
    """
    wanted: dict[DataConfig, dict[str, EvaluationConfig]] = defaultdict(dict)
    networks: dict[DataConfig, set[str]] = defaultdict(set)
    growing: dict[DataConfig, list[TrialConfig]] = defaultdict(list)
    for trial in trials:
        networks[trial.data].add(trial.gan.network)
        wanted[trial.data][trial.evaluation.model_dump_json()] = trial.evaluation
        if trial.gan.network in NETWORKS.names() and trial.gan.network not in STATIC_NETWORKS:
            growing[trial.data].append(trial)
    for source, evaluations in wanted.items():
        dataset = data.load_for(source)
        for network in sorted(networks[source]):
            check_shape(network, dataset.shape)
        for evaluation in evaluations.values():
            check_sizes(evaluation.metrics or _defaults(dataset, evaluation.features), evaluation, dataset)
        if dataset.kind == "image":
            for trial in growing[source]:
                full_after(trial.gan, total_images=trial.images, final_size=dataset.shape[-1])


def check_ensembles(trials: Sequence[TrialConfig]) -> None:
    """Refuse what `check_ensemble` refuses in any of a sweep's trials.

    Raises:
        UserError: naming the first such recipe.
    """
    for trial, label in zip(trials, recipe_labels(trials), strict=True):
        try:
            check_ensemble(trial)
        except UserError as error:
            raise UserError(f"{label}: {error}") from None


def check_ensemble(trial: TrialConfig) -> None:
    """Refuse a trial that cannot be one of an ensemble, as far as its config says; `gans.ensemble` knows the rest.

    Raises:
        UserError: with the reason.
    """
    network, trainer = trial.gan.network, trial.trainer
    remedy = "leave out 'ensemble: seeds'"
    if network in NETWORKS.names() and network not in STATIC_NETWORKS:
        raise _no_ensemble(f"gan.network={network} grows with the images", f"choose another network, or {remedy}")
    if trainer.processes > 1:
        raise _no_ensemble("it is trained by several processes", f"give trainer.devices=1, or {remedy}")
    if trainer.precision != "32-true":
        raise _no_ensemble(f"trainer.precision is {trainer.precision}", f"give 32-true, or {remedy}")
    if trainer.compile != "none":
        raise _no_ensemble(f"trainer.compile is {trainer.compile}", f"give none, or {remedy}")


def _no_ensemble(reason: str, remedy: str) -> UserError:
    return UserError(f"it cannot be trained as one of an ensemble of seeds, as {reason}: {remedy}")


def check_sizes(metrics: Sequence[str], evaluation: EvaluationConfig, dataset: Dataset) -> None:
    """Refuse sets that are too small for a metric: the held-out ones, the generated one and the floor's.

    Raises:
        UserError: naming the first such metric and what to change.
    """
    from metrics import sizes

    def check(n: int, whose: sizes.Whose, remedy: str) -> None:
        sizes.check_sizes(metrics, n, whose, k=evaluation.k, splits=evaluation.splits, remedy=remedy)

    otherwise, name = "or leave it out of evaluation.metrics", dataset.name
    for split in ("selection", "test"):
        check(len(getattr(dataset, split)), "real", f"give {name} a larger {split} split {otherwise}")
    check(evaluation.n_fake, "generated", f"raise evaluation.n_fake {otherwise}")
    floor = min(evaluation.n_fake, len(dataset.train))
    check(floor, "generated", f"the floor has {name}'s training samples in their place, so give more {otherwise}")


def _defaults(dataset: Dataset, features: str) -> list[str]:
    kind = "points" if dataset.kind == "points" else "images"
    return [
        row.name
        for row in METRICS
        if row.default and row.judges(kind) and (row.needs != "logits" or features in CLASSIFIERS)
    ]

"""What can be refused before anything is trained, from the configs and the data alone: no torch is imported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganbench.errors import UserError, unknown_name
from gans.catalogue import VARIANTS
from gans.growth import full_after
from gans.networks import NETWORKS, check_options, check_shape
from gans.recipe import STATIC_NETWORKS
from harness import data
from harness.labels import recipe_labels
from metrics.catalogue import BY_CLASS, METRICS, REGISTRY, metric

if TYPE_CHECKING:
    from harness.config import DataConfig, EvaluationConfig, TrialConfig
    from harness.data import Dataset

CLASSIFIERS = ("auto", "digits", "inception", "inception-reference")
"""Feature networks known to have the logits that the Inception Score needs; others say so only when loaded."""


def check_names(config: TrialConfig) -> None:
    """Refuse names that only a started trial would miss: variant, network, dataset, metrics, features and weights.

    Imports nothing heavy, so that a sweep can be refused before its first trial.

    Raises:
        UserError: naming the nearest known name.
    """
    from metrics import features

    VARIANTS.entry(config.gan.name)
    if config.gan.network != "auto":
        NETWORKS.entry(config.gan.network)
    if config.data.name not in data.DATASETS.names() and not Path(config.data.name).exists():
        raise UserError(
            f"{unknown_name('dataset', config.data.name, data.DATASETS.names())}; and no file has that path"
        )
    for name in config.evaluation.metrics or ():
        REGISTRY.entry(name)
        if name in BY_CLASS and config.gan.condition == "none":
            raise UserError(
                f"metric {name!r} in evaluation.metrics compares class by class, and gan {config.gan.name} knows no "
                "classes: leave it out, or give a gan.condition"
            )
    if config.evaluation.features != "auto":
        features.check(config.evaluation.features)
    if config.evaluation.weights is not None and not Path(config.evaluation.weights).is_file():
        raise UserError(f"evaluation.weights: no file at {config.evaluation.weights}")


def check_sweep(trials: Iterable[TrialConfig]) -> None:
    """Read each data set once and refuse what would fail every trial on it.

    Raises:
        UserError: data that cannot be read or that a network does not fit, classes that are missing, too few samples
            for a metric (`check_sizes`), or a budget that ends before networks have grown.
    """
    wanted: dict[DataConfig, dict[str, EvaluationConfig]] = defaultdict(dict)
    networks: dict[DataConfig, set[str]] = defaultdict(set)
    growing: dict[DataConfig, list[TrialConfig]] = defaultdict(list)
    conditional: dict[DataConfig, dict[str, TrialConfig]] = defaultdict(dict)
    particular: dict[DataConfig, list[TrialConfig]] = defaultdict(list)
    for trial in trials:
        networks[trial.data].add(trial.gan.network)
        wanted[trial.data][trial.evaluation.model_dump_json()] = trial.evaluation
        conditional[trial.data].setdefault(trial.gan.condition, trial)
        if trial.gan.attention is not None or trial.gan.critic_norm != "auto":
            particular[trial.data].append(trial)
        if trial.gan.network in NETWORKS.names() and trial.gan.network not in STATIC_NETWORKS:
            growing[trial.data].append(trial)
    for source, evaluations in wanted.items():
        dataset = data.load_for(source)
        for network in sorted(networks[source]):
            check_shape(network, dataset.shape)
        for trial in particular[source]:
            check_options(trial.gan, dataset.shape)
        for trial in conditional[source].values():
            check_classes(trial, dataset)
        for evaluation in evaluations.values():
            check_sizes(evaluation.metrics or _defaults(dataset, evaluation.features), evaluation, dataset)
        if dataset.kind == "image":
            for trial in growing[source]:
                full_after(trial.gan, total_images=trial.images, final_size=dataset.shape[-1])


def check_classes(trial: TrialConfig, dataset: Dataset) -> None:
    """Refuse a game that is told of classes which the data do not have.

    Raises:
        UserError: no labels, or one class alone.
    """
    condition = trial.gan.condition
    if condition == "none":
        return
    labels = dataset.labels["train"] if dataset.labels else None
    if labels is None or not (labels != labels[0]).any():
        found = "no labels" if labels is None else "a single class"
        raise UserError(
            f"gan.condition={condition} (gan {trial.gan.name}) needs data of two or more classes and {dataset.name} "
            f"has {found}: choose a labelled one (a folder for each class, labels in an .npz), or gan.condition=none"
        )


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
    if trial.gan.condition != "none":
        reason = f"gan.condition={trial.gan.condition} gives its networks labels"
        raise _no_ensemble(reason, f"give gan.condition=none, or {remedy}")
    if trial.gan.objective == "boundary-equilibrium":
        raise _no_ensemble("gan.objective=boundary-equilibrium keeps a balance", f"choose another, or {remedy}")
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
    _check_class_sizes(metrics, evaluation, dataset)


def _check_class_sizes(metrics: Sequence[str], evaluation: EvaluationConfig, dataset: Dataset) -> None:
    """Refuse data with too few samples of a class for a mean over classes."""
    name = next((name for name in metrics if metric(name).spread_over == "classes"), None)
    if name is None or dataset.labels is None:
        return
    import numpy as np

    from metrics.by_class import LEAST

    held_out = [np.unique(dataset.labels[split], return_counts=True)[1] for split in ("selection", "test")]
    fewest, classes = min(counts.min() for counts in held_out), max(map(len, held_out))
    if fewest < LEAST or evaluation.n_fake < classes * LEAST:
        raise UserError(
            f"metric {name!r} needs {LEAST} held-out and {LEAST} generated samples of each class; of the {classes:,} "
            f"of {dataset.name} the smallest has {fewest} held out, and evaluation.n_fake={evaluation.n_fake:,} draws "
            f"{evaluation.n_fake // classes} of each: choose data of fewer classes, raise evaluation.n_fake to "
            f"{classes * LEAST:,} or more, or leave it out of evaluation.metrics"
        )


def _defaults(dataset: Dataset, features: str) -> list[str]:
    kind = "points" if dataset.kind == "points" else "images"
    return [
        row.name
        for row in METRICS
        if row.default and not row.by_class and row.judges(kind) and (row.needs != "logits" or features in CLASSIFIERS)
    ]

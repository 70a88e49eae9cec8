"""Which points of objective × constraint × update × network make sense, and why the others do not.

A game is refused where its mathematics is void or where an option would do nothing, not where it merely plays badly.
Free of torch: `Recipe` asks here, so that a sweep is refused before anything is imported.
"""

from __future__ import annotations

from typing import Protocol

SLOPE_PENALTIES = ("gradient-penalty", "r1", "dragan")

BOUNDS_EVERYWHERE = ("clip", "gradient-penalty", "spectral-norm")
"""Constraints that bound the critic's slope from the real samples to the fake ones."""

_SINGLE = ("none", "clip", *SLOPE_PENALTIES, "spectral-norm")


# ruff: noqa: D102 (the options' own words stand there)
class Point(Protocol):
    """What is asked of a `gans.recipe.Recipe`, whose options these are."""

    @property
    def objective(self) -> str: ...
    @property
    def constraint(self) -> str: ...
    @property
    def n_critic(self) -> int: ...
    @property
    def update(self) -> str: ...
    @property
    def prediction(self) -> str: ...
    @property
    def network(self) -> str: ...
    @property
    def condition(self) -> str: ...
    @property
    def label_smoothing(self) -> float: ...
    @property
    def label_flip(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def generator_batch(self) -> int | None: ...
    @property
    def critic_norm(self) -> str: ...
    @property
    def attention(self) -> int | None: ...
    @property
    def minibatch(self) -> str: ...


def why_no_pair(constraint: str) -> str | None:
    """Why two constraints, joined by a plus, do not go together, with a remedy; None where they do or are unknown.

    >>> why_no_pair("spectral-norm+r1"), why_no_pair("none"), why_no_pair("clipp+r1")
    (None, None, None)
    >>> why_no_pair("clip+spectral-norm").partition(":")[0]
    'clip+spectral-norm are no pair, as W/σ(W) has no scale that clipping W could bound'
    """
    parts = constraint.split("+")
    if len(parts) == 1 or not set(parts) <= set(_SINGLE):
        return None
    if parts[0] == "spectral-norm" and len(parts) == 2 and parts[1] in SLOPE_PENALTIES:
        return None
    if "none" in parts or len(set(parts)) < len(parts):
        reason = "each constraint is named once, and none stands alone"
    elif set(parts) == {"clip", "spectral-norm"}:
        reason = "W/σ(W) has no scale that clipping W could bound"
    elif "clip" in parts:
        reason = "a penalty asks for a slope that the clipped weights cannot reach, or do not exceed"
    elif "spectral-norm" in parts and len(parts) == 2:
        reason = "the normalisation comes first in a pair's name"
    else:
        reason = "two penalties ask for different slopes of one critic"
    pairs = ", ".join(f"spectral-norm+{penalty}" for penalty in SLOPE_PENALTIES)
    return f"{constraint} are no pair, as {reason}: choose one of {', '.join(_SINGLE)}, {pairs}"


def why_not(recipe: Point) -> str | None:
    """Why a recipe is no game that could be played, and what to change, as one sentence; None where it is one."""
    for check in (_objective, _critic, _batch, _order, _labels, _energy, _attention, _condition):
        if reason := check(recipe):
            return reason
    return None


def why_not_so(recipe: Point, *, precision: str, compiled: str, processes: int) -> str | None:
    """Why a recipe cannot be computed in a way of `trainer`'s, and what to change; None where it can."""
    if recipe.update != "alternate" and precision == "16-mixed":
        return (
            f"gan.update={recipe.update} does not go with trainer.precision=16-mixed, whose scale of the gradients "
            "changes between the two players' steps: choose bf16-mixed or 32-true"
        )
    if recipe.update != "alternate" and compiled == "cuda-graphs":
        return (
            f"gan.update={recipe.update} does not go with trainer.compile=cuda-graphs, where the second player's "
            "passes may overwrite the gradient that the first has not used yet: choose another trainer.compile"
        )
    if recipe.minibatch == "discrimination" and processes > 1:
        return (
            "gan.minibatch=discrimination compares each sample with the whole batch, which several processes "
            "(trainer.devices, trainer.num_nodes) cannot share: give trainer.devices=1, or gan.minibatch=stddev"
        )
    return None


def _constraints(recipe: Point) -> set[str]:
    return set(recipe.constraint.split("+")) - {"none"}


def _slope_penalty(recipe: Point) -> str | None:
    return next(iter(_constraints(recipe) & set(SLOPE_PENALTIES)), None)


def _objective(recipe: Point) -> str | None:
    if recipe.objective == "wasserstein" and not _constraints(recipe) & set(BOUNDS_EVERYWHERE):
        why = {
            "none": "without a bound on its slope",
            "r1": "where its slope is held at real samples alone",
            "dragan": "where its slope is held around real samples alone",
        }[recipe.constraint]
        return (
            f"gan.objective=wasserstein has no meaning with gan.constraint={recipe.constraint}: {why}, the critic's "
            f"loss has no lower bound; choose {', '.join(BOUNDS_EVERYWHERE)} or a pair with one of them"
        )
    return None


def _critic(recipe: Point) -> str | None:
    if recipe.critic_norm != "batch":
        return None
    if recipe.network in ("mlp", "progressive", "autoencoder"):
        return f"gan.critic_norm=batch: network {recipe.network} has no batch normalisation; give gan.critic_norm=auto"
    reasons = {
        "clip": "a clipped γ squeezes every normalised feature to nothing, so that the bound on the weights bounds "
        "nothing but the signal",
        "spectral-norm": "batch normalisation divides by the batch's deviation, which undoes the bound on the slope",
        **dict.fromkeys(
            SLOPE_PENALTIES,
            "the penalty is on the slope at each sample, and a batch-normalised logit is a function of the whole batch",
        ),
    }
    for constraint in sorted(_constraints(recipe)):
        return (
            f"gan.constraint={recipe.constraint} does not go with gan.critic_norm=batch: {reasons[constraint]}; "
            "give gan.critic_norm=auto"
        )
    return None


def _batch(recipe: Point) -> str | None:
    if recipe.minibatch != "discrimination":
        return None
    if recipe.generator_batch not in (None, recipe.batch_size):
        return (
            f"gan.minibatch=discrimination sums over a batch, so that gan.generator_batch={recipe.generator_batch} "
            f"fakes are told from gan.batch_size={recipe.batch_size} real samples by their number: give "
            "gan.generator_batch=null, or gan.minibatch=stddev"
        )
    if _slope_penalty(recipe):
        # the deviation is another matter: one number for a group, as in the WGAN-GP of progressive growing's paper
        return (
            f"gan.minibatch=discrimination does not go with gan.constraint={recipe.constraint}: it compares every two "
            "samples, so that the slope at a sample, which is penalised, is not that sample's own; choose "
            "gan.minibatch=stddev, which adds one number to all of a group"
        )
    return None


def _order(recipe: Point) -> str | None:
    if recipe.update == "alternate":
        return None
    if recipe.n_critic > 1:
        return (
            f"gan.update={recipe.update} moves both players once a round: give gan.n_critic=1 instead of "
            f"{recipe.n_critic}, or gan.update=alternate"
        )
    if recipe.prediction != "none":
        reason = {
            "simultaneous": "neither player answers a move of the other's that could be predicted",
            "extragradient": "both players already answer a trial step",
        }[recipe.update]
        return (
            f"gan.prediction={recipe.prediction} does not go with gan.update={recipe.update}, where {reason}: give "
            "gan.prediction=none or gan.update=alternate"
        )
    return None


def _labels(recipe: Point) -> str | None:
    if recipe.label_smoothing and recipe.objective not in ("minimax", "nonsaturating", "least-squares"):
        return (
            f"gan.label_smoothing={recipe.label_smoothing:g}: the objective {recipe.objective} has no target for real "
            "samples that could be smoothed; give 0, or the objective minimax, nonsaturating or least-squares"
        )
    if recipe.label_flip and recipe.objective in ("wasserstein", "boundary-equilibrium"):
        return (
            f"gan.label_flip={recipe.label_flip:g}: the objective {recipe.objective} has no labels, so flipping them "
            "would only scale its loss; give 0, or another objective"
        )
    return None


def _energy(recipe: Point) -> str | None:
    balanced, network = recipe.objective == "boundary-equilibrium", recipe.network
    if network == "autoencoder" and not balanced:
        return (
            f"gan.network=autoencoder has a critic whose logits are never above 0, which gan.objective="
            f"{recipe.objective} cannot tell apart: give gan.objective=boundary-equilibrium, or another network"
        )
    if not balanced:
        return None
    if network in ("auto", "mlp", "dcgan", "sndcgan", "resnet", "progressive"):
        return (
            f"gan.objective=boundary-equilibrium weighs reconstruction errors, which gan.network={network} does not "
            "have: give gan.network=autoencoder"
        )
    if recipe.constraint != "none":
        return (
            f"gan.constraint={recipe.constraint} does not go with gan.objective=boundary-equilibrium, whose balance "
            "alone keeps an autoencoder from winning: give gan.constraint=none"
        )
    if recipe.minibatch not in ("auto", "none"):
        return f"gan.minibatch={recipe.minibatch}: an autoencoder has no such layer; give gan.minibatch=auto"
    if recipe.attention is not None:
        return f"gan.attention={recipe.attention}: an autoencoder has no such block; give gan.attention=null"
    return None


def _condition(recipe: Point) -> str | None:
    reasons = {"progressive": "grows in blocks that take no labels", "autoencoder": "would have to draw the labels too"}
    if recipe.condition != "none" and recipe.network in reasons:
        return (
            f"gan.condition={recipe.condition} does not go with gan.network={recipe.network}, which "
            f"{reasons[recipe.network]}: choose gan.condition=none or another network"
        )
    return None


def _attention(recipe: Point) -> str | None:
    if recipe.attention is not None and recipe.network == "mlp":
        return (
            f"gan.attention={recipe.attention}: network mlp has no feature maps to look over; give gan.attention=null"
        )
    return None

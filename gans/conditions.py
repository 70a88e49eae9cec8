"""What a class-conditional game adds: labels beside the samples, who is told them, and the auxiliary classifier's loss.

Labels are of two kinds. A dataset's own are any integers (`gans.classes`); the networks and losses take places among
them, 0 … K−1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganbench.errors import UserError

if TYPE_CHECKING:
    from gans.classes import Classes
    from gans.recipe import Recipe


class Labelled(NamedTuple):
    """A batch of a conditional game: float samples (B, …) and their classes' places int64 (B,)."""

    samples: Tensor
    labels: Tensor


Batch: TypeAlias = Tensor | Labelled
"""What a discriminator step is given: samples alone, or with their labels in a conditional game."""


def parted(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """The samples, and their labels if they have any."""
    return (batch.samples, batch.labels) if isinstance(batch, Labelled) else (batch, None)


class Condition:
    """The base, and the condition "none": neither player knows of labels."""

    classes: Classes | None = None

    def judge(self, discriminator: Callable[..., Tensor], labels: Tensor | None) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """The discriminator as a function of samples alone, with what it is told of their labels."""
        return discriminator

    def logits(self, judged: Tensor) -> Tensor:
        """The logits (B,) in what the discriminator has said of samples."""
        return judged

    def label_loss(self, judged: Iterable[Tensor], labels: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """What either player minimises beside its objective over batches of these labels: a scalar, or None."""
        return None

    def critic(self, discriminator: Callable[..., Tensor], labels: Tensor | None) -> Callable[[Tensor], Tensor]:
        """The logits as a function of samples alone: what a constraint on the critic's slope speaks of."""
        return self.judge(discriminator, labels)

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Classes for `n` fakes, by their shares of the training data; None where there are none."""
        return self.classes.draw(n, generator) if self.classes else None


class Told(Condition):
    """The discriminator is told a sample's label: by concatenation (Mirza & Osindero 2014), or by the projection of
    its features on the label's embedding (Miyato & Koyama 2018)."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes

    def judge(self, discriminator: Callable[..., Tensor], labels: Tensor | None) -> Callable[[Tensor], Tensor]:
        """D(·, y)."""
        return partial(discriminator, labels=labels)


class Auxiliary(Condition):
    """The discriminator guesses a sample's label (AC-GAN, Odena et al. 2017).

    It says (B, 1+K): the logit, then the classes' logits. Both players descend w·E −log p(y|x): the discriminator on
    real and on fake samples, the generator on its fakes.

    Args:
        classes: the data's.
        weight: w.
    """

    def __init__(self, classes: Classes, weight: float) -> None:
        self.classes = classes
        self.weight = weight

    def logits(self, judged: Tensor) -> Tensor:
        """The first of a row."""
        return judged[:, 0]

    def label_loss(self, judged: Iterable[Tensor], labels: Tensor | None) -> Tensor:
        """w·E −log p(y|x) of each batch, added up, in float32."""
        assert labels is not None, "a game with an auxiliary classifier has labels"
        return self.weight * torch.stack([cross_entropy(said[:, 1:].float(), labels) for said in judged]).sum()

    def critic(self, discriminator: Callable[..., Tensor], labels: Tensor | None) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """The logit alone."""
        return lambda samples: self.logits(discriminator(samples))


def build(recipe: Recipe, classes: Classes | None) -> Condition:
    """The condition that the recipe names; raises `UserError` where it needs classes and there are none."""
    if recipe.condition == "none":
        return Condition()
    if classes is None or len(classes) < 2:
        raise UserError(
            f"gan.condition={recipe.condition} needs samples of two or more classes: choose data with labels, or "
            "gan.condition=none"
        )
    return Auxiliary(classes, recipe.class_weight) if recipe.condition == "auxiliary" else Told(classes)

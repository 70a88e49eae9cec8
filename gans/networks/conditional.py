"""Any pair of networks made class-conditional: labels are concatenated, guessed, or projected on.

- concatenate (Mirza & Osindero 2014): the one-hot label is appended to the latent, and to the sample: to a point's
  coordinates, or as one constant plane for each class to an image's channels.
- auxiliary (Odena et al. 2017): the generator as before; the discriminator is told nothing, and its last features
  also give the classes' logits.
- projection (Miyato & Koyama 2018): the generator's batch normalisations have a scale and a shift for each class
  (Dumoulin et al. 2017; de Vries et al. 2017), and D(x, y) = ψ(φ(x)) + ⟨v_y, φ(x)⟩. A generator without batch
  normalisation, as an MLP's, is told by concatenation.

The pairs are those of `gans.networks`, unchanged but at their ends. A conditional generator maps (B, latent_dim) and
labels (B,) to samples. A discriminator maps samples and labels to logits (B,); an auxiliary one samples to (B, 1+K).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn.functional import one_hot

from ganbench.errors import UserError
from gans.networks.blocks import ConditionalBatchNorm2d, ResBlock, with_labels

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe

Build = Callable[["Recipe", tuple[int, ...]], tuple[nn.Module, nn.Module]]


def conditional(build: Build, recipe: Recipe, shape: tuple[int, ...], classes: int) -> tuple[nn.Module, nn.Module]:
    """The pair of `build` for samples of K = `classes` classes, told of them as the recipe's `condition` says.

    Raises:
        UserError: a network that grows, or whose discriminator does not end in one linear layer.
    """
    generator, discriminator = build(recipe, shape)
    if hasattr(generator, "set_stage"):
        raise UserError(
            f"gan.condition={recipe.condition} does not fit networks that grow, which take no labels: choose another "
            "gan.network, or gan.condition=none"
        )
    by_norms = recipe.condition == "projection" and _has_norms(generator)
    told = conditional_norms(generator, classes) if by_norms else _concatenated_generator(build, recipe, shape, classes)
    if recipe.condition == "concatenate":
        wider = (shape[0] + classes, *shape[1:])
        return told, ConcatenatedDiscriminator(build(recipe, wider)[1], classes)
    features, to_logit = _parts(discriminator, recipe)
    ends = AuxiliaryDiscriminator if recipe.condition == "auxiliary" else ProjectionDiscriminator
    return told, ends(features, to_logit, classes)


def _concatenated_generator(
    build: Build, recipe: Recipe, shape: tuple[int, ...], classes: int
) -> ConcatenatedGenerator:
    wider = recipe.model_copy(update={"latent_dim": recipe.latent_dim + classes})
    return ConcatenatedGenerator(build(wider, shape)[0], classes)


def _parts(discriminator: nn.Module, recipe: Recipe) -> tuple[nn.Sequential, nn.Linear]:
    """What makes the last features, and what makes the logit of them."""
    if isinstance(discriminator, nn.Sequential) and len(discriminator) > 2:
        *layers, to_logit, flatten = discriminator
        if isinstance(to_logit, nn.Linear) and isinstance(flatten, nn.Flatten):
            return nn.Sequential(*layers), to_logit
    raise UserError(
        f"gan.condition={recipe.condition} does not fit gan.network={recipe.network}: its discriminator is no sequence "
        "that ends in one linear layer; choose gan.condition=concatenate or another network"
    )


class ConcatenatedGenerator(nn.Module):
    """Appends the one-hot label to the latent.

    Args:
        body: takes (B, latent_dim + K).
        classes: K.
    """

    def __init__(self, body: nn.Module, classes: int) -> None:
        super().__init__()
        self.body = body
        self.classes = classes

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """(B, latent_dim) and (B,) → samples (B, …)."""
        told = torch.cat([latent, one_hot(labels, self.classes).to(latent.dtype)], dim=1)
        return cast("Tensor", self.body(told))


class ConcatenatedDiscriminator(nn.Module):
    """Appends the one-hot label to a point's coordinates, or as constant planes to an image's channels.

    Args:
        body: takes samples whose first dimension is larger by K.
        classes: K.
    """

    def __init__(self, body: nn.Module, classes: int) -> None:
        super().__init__()
        self.body = body
        self.classes = classes

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """(B, C, …) and (B,) → logits (B,)."""
        told = one_hot(labels, self.classes).to(x.dtype)
        planes = told.view(*told.shape, *[1] * (x.ndim - 2)).expand(*told.shape, *x.shape[2:])
        return cast("Tensor", self.body(torch.cat([x, planes], dim=1)))


class ProjectionDiscriminator(nn.Module):
    """ψ(φ(x)) + ⟨v_y, φ(x)⟩ (Miyato & Koyama 2018, eq. 3).

    Args:
        features: φ, (B, …) → (B, F).
        to_logit: ψ.
        classes: K, each with its v (F,), from Glorot's uniform distribution.
    """

    def __init__(self, features: nn.Module, to_logit: nn.Linear, classes: int) -> None:
        super().__init__()
        self.features = features
        self.to_logit = to_logit
        self.embedding = nn.Embedding(classes, to_logit.in_features)
        nn.init.xavier_uniform_(self.embedding.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """(B, …) and (B,) → logits (B,)."""
        features = self.features(x)
        logits: Tensor = self.to_logit(features).flatten(0) + (self.embedding(labels) * features).sum(1)
        return logits


class AuxiliaryDiscriminator(nn.Module):
    """The logit and, of the same features, the classes' logits (Odena et al. 2017).

    Args:
        features: (B, …) → (B, F).
        to_logit: (B, F) → (B, 1).
        classes: K.
    """

    def __init__(self, features: nn.Module, to_logit: nn.Linear, classes: int) -> None:
        super().__init__()
        self.features = features
        self.to_logit = to_logit
        self.to_classes = nn.Linear(to_logit.in_features, classes)
        nn.init.xavier_uniform_(self.to_classes.weight)
        nn.init.zeros_(self.to_classes.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, …) → (B, 1+K)."""
        features = self.features(x)
        return torch.cat([self.to_logit(features), self.to_classes(features)], dim=1)


class LabelledSequential(nn.Sequential):
    """Hands the labels to those of its layers that take them."""

    takes_labels = True

    def forward(self, input: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """(B, …) and (B,) → what the last layer gives."""
        for layer in self:
            input = with_labels(layer, input, labels)
        return input


def _has_norms(network: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def conditional_norms(network: nn.Module, classes: int) -> nn.Module:
    """Give every batch normalisation of a generator a scale and a shift for each class, in place.

    The generator is a sequence of layers and of `ResBlock`s, or of sequences of these; anything else that holds batch
    normalisations is refused as a `UserError`.
    """
    if not isinstance(network, nn.Sequential | ResBlock):
        raise UserError(
            f"gan.condition=projection does not know how to tell a {type(network).__name__} of labels: choose "
            "gan.condition=concatenate or another network"
        )
    for name, layer in list(network.named_children()):
        if isinstance(layer, nn.BatchNorm2d):
            setattr(network, name, ConditionalBatchNorm2d(layer, classes))
        elif _has_norms(layer):
            setattr(network, name, conditional_norms(layer, classes))
    if isinstance(network, nn.Sequential):
        return LabelledSequential(*network)
    return network

"""The games: GAN variants as Lightning modules on four axes, objective × constraint × update × network.

>>> import gans
>>> gan = gans.build("wgan-gp", image_shape=(1, 8, 8), width=8)
>>> gan.sample(2, seed=1).shape
torch.Size([2, 1, 8, 8])

This room knows tensors; it knows nothing of files, metrics, W&B or the command line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ganbench.errors import UserError, unknown_name
from gans.catalogue import VARIANTS
from gans.catalogue import preset as _preset
from gans.recipe import Recipe

if TYPE_CHECKING:
    from gans import constraints, objectives
    from gans.classes import Classes
    from gans.module import GAN

__all__ = ["GAN", "VARIANTS", "Recipe", "build", "constraints", "from_recipe", "names", "objectives"]


def names() -> list[str]:
    """The known variants, ours first."""
    return VARIANTS.names()


def build(
    name: str,
    *,
    image_shape: tuple[int, int, int] | None = None,
    data_dim: int | None = None,
    classes: int | None = None,
    preset: str = "common",
    total_images: int = 100_000,
    seed: int = 0,
    **options: Any,
) -> GAN:
    """A variant's module, ready for a Lightning `Trainer`.

    Args:
        name: one of `names()`.
        image_shape: (C, H, W); exactly one of this and `data_dim` is given.
        data_dim: dimensions of a point.
        classes: how many equally likely classes a conditional game's samples have, labelled from 0 on.
        preset: "common" or "author".
        total_images: the budget in real images shown to the discriminator.
        seed: root of every random draw.
        options: fields of `Recipe` that differ from the preset, such as `n_critic=1` or `network="dcgan"`.

    Raises:
        UserError: unknown variant, preset or option; a value out of range; no network fits the shape.
    """
    unknown = options.keys() - Recipe.model_fields.keys()
    if unknown:
        raise unknown_name("option", min(unknown), Recipe.model_fields)
    base = _preset(name, preset)
    try:
        recipe = Recipe.model_validate({**base.model_dump(), **options})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise UserError(f"options of {name} do not fit: {where}{first['msg']}") from error
    if (image_shape is None) == (data_dim is None):
        raise UserError("a GAN needs exactly one of image_shape=(C, H, W) and data_dim=D")
    shape = tuple(image_shape) if image_shape is not None else (data_dim or 0,)
    known = None
    if classes is not None:
        from gans.classes import Classes  # brings numpy

        known = Classes.equal(classes)
    return from_recipe(name, recipe, shape=shape, total_images=total_images, seed=seed, classes=known)


def from_recipe(
    name: str,
    recipe: Recipe,
    *,
    shape: tuple[int, ...],
    total_images: int,
    seed: int,
    classes: Classes | None = None,
) -> GAN:
    """The module of variant `name` playing a complete recipe; `classes` are its training data's, if it has any."""
    variant: type[GAN] = VARIANTS.load(name)
    if recipe.condition == "none":  # another package's variant need not know of classes
        return variant(recipe, shape=shape, total_images=total_images, seed=seed)
    return variant(recipe, shape=shape, total_images=total_images, seed=seed, classes=classes)


def __getattr__(name: str) -> Any:
    # torch and Lightning are imported only when a game is really asked for
    if name == "GAN":
        return importlib.import_module("gans.module").GAN
    if name in {"constraints", "objectives"}:
        return importlib.import_module(f"gans.{name}")
    raise AttributeError(f"module 'gans' has no attribute {name!r}")

"""Conformance of a variant: a subclass of `gans.GAN` with its presets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import gans
from ganbench.errors import UserError
from gans.catalogue import VARIANTS, preset
from gans.networks import batch_norm_allowed
from gans.recipe import Recipe
from harness.conformance.finding import Broken, Check, Finding, place, walk
from harness.conformance.players import SHAPES, SMALL, Shape, check_mixing, check_range, check_rows, judge_of
from harness.conformance.target import Target
from harness.conformance.trials import DATA, Trials

CLASSES = 4
"""Of an untrained conditional game's samples; a trial's are its data's."""


class Variant:
    """A variant under its name, its games and its trials, each made when first looked at."""

    def __init__(self, name: str) -> None:
        self.name = name

    def build(self, shape: Shape) -> gans.GAN:
        """The untrained game on samples of that shape."""
        sizes = {"image_shape": shape} if len(shape) == 3 else {"data_dim": shape[0]}
        classes = None if preset(self.name).condition == "none" else CLASSES
        return gans.build(self.name, **sizes, classes=classes, total_images=1000, **SMALL)  # type: ignore[arg-type]

    @cached_property
    def shapes(self) -> list[Shape]:
        """Those of `SHAPES` that it does not refuse."""
        return fitting(self.build)

    @cached_property
    def games(self) -> dict[Shape, gans.GAN]:
        """On every shape: networks have other layers for other samples. The trained one among them, on its data's."""
        trained = self.trials.gan
        found = {tuple(trained.shape): trained}
        for shape in self.shapes:
            if shape in found:
                continue
            found[shape] = gan = self.build(shape)
            if gan.grows:  # it starts with the smallest images
                for player in (gan.generator, gan.ema_generator, gan.discriminator):
                    player.set_stage(shape[-1], 1.0)  # type: ignore[operator]
        return found

    @cached_property
    def trials(self) -> Trials:
        """On the first of the embedded data that it fits."""
        return Trials({"gan": self.name, **data_of(self.shapes)})


def fitting(build: Callable[[Shape], object]) -> list[Shape]:
    """The shapes of `SHAPES` that `build` takes; it refuses the others by `UserError`, and at least one it takes."""
    taken: list[Shape] = []
    refused = ""
    for shape in SHAPES:
        try:
            build(shape)
        except UserError as error:
            refused = str(error)
        except Exception as error:  # whatever another package's code raises
            raise Broken(
                f"{type(error).__name__}: {error}",
                where=f"samples of shape {shape}, {place(error)}",
                remedy="build it, or refuse samples that do not fit with a ganbench.errors.UserError",
            ) from error
        else:
            taken.append(shape)
    if not taken:
        raise Broken(
            f"it refuses every shape ({refused})",
            where=", ".join(map(str, SHAPES)),
            remedy="take one of these, so that it can be tried on embedded data",
        )
    return taken


def data_of(shapes: list[Shape]) -> dict[str, object]:
    """The config's options of embedded data that fit."""
    for shape, options in DATA.items():
        if shape in shapes:
            return dict(options)
    raise Broken(
        f"it takes {', '.join(map(str, shapes))} only, and no embedded data have such a shape",
        where="build",
        remedy=f"take one of {', '.join(map(str, DATA))} as well, so that a trial can be trained",
    )


def _presets(subject: Variant) -> str:
    found = VARIANTS.load(subject.name)
    if not (isinstance(found, type) and issubclass(found, gans.GAN)):
        raise Broken(f"it is {found!r}", where=subject.name, remedy="name a subclass of gans.GAN")
    recipe = preset(subject.name)
    if not isinstance(recipe, Recipe):
        raise Broken(
            f"preset common is a {type(recipe).__name__}", where=f"{found.__name__}.presets", remedy="make it a Recipe"
        )
    return f"{recipe.objective}, {recipe.constraint}, {recipe.n_critic} critic steps, network {recipe.network}"


def _shapes(subject: Variant) -> str:
    for shape in subject.shapes:
        samples = subject.build(shape).sample(3)
        if tuple(samples.shape) != (3, *shape) or not samples.is_floating_point() or samples.device.type != "cpu":
            said = f"{samples.dtype} {tuple(samples.shape)} on {samples.device}"
            raise Broken(
                f"sample(3) gives {said}",
                where=f"samples of shape {shape}",
                remedy="give floats (n, *shape) on the CPU",
            )
    return f"it plays on {', '.join(map(str, subject.shapes))}"


def _ranges(subject: Variant) -> str:
    said = []
    for shape in subject.shapes:
        samples = subject.build(shape).sample(16)
        if len(shape) == 3 and samples.abs().max() > 1:
            raise Broken(
                f"sample gives images up to {float(samples.abs().max()):.3g}",
                where=f"samples of shape {shape}",
                remedy="clamp images to [−1, 1]",
            )
        said.append(check_range(samples, shape))
    return said[0]


def _rows(subject: Variant) -> str:
    return _everywhere(
        subject, lambda gan, _: check_rows(gan.ema_generator, gan.recipe, conditional=gan.condition.classes is not None)
    )


def _mixing(subject: Variant) -> str:
    def mixing(gan: gans.GAN, shape: Shape) -> str:
        constrained = not batch_norm_allowed(gan.recipe)
        return check_mixing(gan.discriminator, judge_of(gan), shape, constrained=constrained)

    return _everywhere(subject, mixing)


def _everywhere(subject: Variant, look: Callable[[gans.GAN, Shape], str]) -> str:
    """What was seen on each of the games' shapes; a failure says on which."""
    said = []
    for shape, gan in subject.games.items():
        try:
            said.append(look(gan, shape))
        except Broken as broken:
            raise Broken(broken.what, where=f"samples of shape {shape}: {broken.where}", remedy=broken.remedy) from None
    return "; ".join(dict.fromkeys(said))


CHECKS: tuple[Check[Variant], ...] = (
    ("presets", _presets),
    ("shapes", _shapes),
    ("ranges", _ranges),
    ("gradients", lambda subject: subject.trials.gradients()),
    ("budget", lambda subject: subject.trials.budget()),
    ("determinism", lambda subject: subject.trials.determinism()),
    ("resume", lambda subject: subject.trials.resume()),
    ("seeds", lambda subject: subject.trials.seeds()),
    ("sampling", lambda subject: subject.trials.sampling()),
    ("rows", _rows),
    ("mixing", _mixing),
)


def findings(target: Target) -> Iterator[Finding]:
    """Each check's finding on a variant."""
    subject = Variant(target.name)
    try:
        yield from walk(target.kind, target.name, subject, CHECKS)
    finally:
        if "trials" in vars(subject):
            subject.trials.close()

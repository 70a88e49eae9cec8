"""Conformance of a network pair: `build(recipe, shape) -> (generator, discriminator)`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from gans.networks import NETWORKS, batch_norm_allowed, networks
from gans.recipe import Recipe
from harness.conformance.finding import Broken, Check, Finding, walk
from harness.conformance.players import (
    SMALL,
    Shape,
    check_forward,
    check_gradients,
    check_mixing,
    check_range,
    check_rows,
    latents,
)
from harness.conformance.target import Target
from harness.conformance.trials import Trials
from harness.conformance.variants import data_of, fitting

CONSTRAINED = ("clip", "gradient-penalty", "r1", "dragan", "spectral-norm")
VARIANT = "nonsaturating"
"""Whose game the trials play: its discriminator may have batch normalisation, so that a leak would show."""
OBJECTIVES = ("nonsaturating", "boundary-equilibrium")
"""The second is for critics of energies, which no other objective takes."""


class Networks:
    """A pair under its name, and trials of it, each made when first looked at."""

    def __init__(self, name: str) -> None:
        self.name = name

    def recipe(self, **options: Any) -> Recipe:
        """One that names the pair; raises `ValidationError` for options that do not go with it."""
        if "objective" not in options:
            options["objective"] = self.objective
        return Recipe.model_validate({"network": self.name, **SMALL, **options})

    @cached_property
    def objective(self) -> str:
        """The first that goes with the pair."""
        return next(each for each in OBJECTIVES if self.allows(objective=each))

    def allows(self, **options: Any) -> bool:
        """Whether a recipe may have these options and the pair."""
        try:
            self.recipe(**options)
        except ValidationError:
            return False
        return True

    def build(self, shape: Shape, *, seed: int = 0, **options: Any) -> tuple[nn.Module, nn.Module]:
        """A fresh pair; its initial weights come from torch's global generator, which is put back."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return networks(self.recipe(**options), shape)

    @cached_property
    def shapes(self) -> list[Shape]:
        """Those that it does not refuse."""
        return fitting(self.build)

    @cached_property
    def trials(self) -> Trials:
        """On the first of the embedded data that it fits."""
        game = {"gan": VARIANT, "gan.objective": self.objective}
        return Trials({**game, "network": self.name, **data_of(self.shapes)})


def _built(subject: Networks) -> str:
    if not callable(NETWORKS.load(subject.name)):
        raise Broken("it cannot be called", where=subject.name, remedy="name a function build(recipe, shape)")
    for shape in subject.shapes:
        pair = subject.build(shape)
        if not all(isinstance(player, nn.Module) for player in pair):
            raise Broken(
                f"it gives {', '.join(type(player).__name__ for player in pair)}",
                where=f"samples of shape {shape}",
                remedy="return a generator and a discriminator, both torch.nn.Module",
            )
    return f"it fits {', '.join(map(str, subject.shapes))}"


def _shapes(subject: Networks) -> str:
    for shape in subject.shapes:
        check_forward(*subject.build(shape), subject.recipe(), shape)
    return "(B, latent_dim) → (B, *shape) → (B,), float32"


def _ranges(subject: Networks) -> str:
    said = []
    for shape in subject.shapes:
        generator, _ = subject.build(shape)
        with torch.no_grad():
            said.append(check_range(generator.eval()(latents(64, subject.recipe())), shape))
    return said[0]


def _gradients(subject: Networks) -> str:
    said = [check_gradients(*subject.build(shape), subject.recipe(), shape) for shape in subject.shapes]
    return said[0]


def _weights(subject: Networks) -> str:
    shape = subject.shapes[0]
    first, again, other = (
        [value for player in subject.build(shape, seed=seed) for value in player.state_dict().values()]
        for seed in (0, 0, 1)
    )
    if not all(map(torch.equal, first, again)):
        raise Broken(
            "one seed gives two pairs of initial weights",
            where=f"samples of shape {shape}",
            remedy="draw them from torch's global generator, which is seeded, and nowhere else",
        )
    if all(map(torch.equal, first, other)):
        raise Broken("two seeds give the same weights", where="build", remedy="draw them anew in each build")
    return "initial weights follow the seed"


def _rows(subject: Networks) -> str:
    for shape in subject.shapes:
        said = check_rows(subject.build(shape)[0], subject.recipe())
    return said


def _mixing(subject: Networks) -> str:
    allowed = [each for each in CONSTRAINED if subject.allows(constraint=each)]
    recipes: list[dict[str, Any]] = [*({"constraint": constraint} for constraint in allowed), {}]
    said = ""
    for options in recipes:
        constrained = not batch_norm_allowed(subject.recipe(**options))
        for shape in subject.shapes:
            _, discriminator = subject.build(shape, **options)
            try:
                said = check_mixing(discriminator, discriminator, shape, constrained=constrained)
            except Broken as broken:
                of = ", ".join(f"{name}={value}" for name, value in options.items()) or "no constraint"
                raise Broken(broken.what, where=f"{of}: {broken.where}", remedy=broken.remedy) from None
    return f"under a constraint none but in declared groups; without one: {said}"


CHECKS: tuple[Check[Networks], ...] = (
    ("built", _built),
    ("shapes", _shapes),
    ("ranges", _ranges),
    ("gradients", _gradients),
    ("weights", _weights),
    ("rows", _rows),
    ("mixing", _mixing),
    ("determinism", lambda subject: subject.trials.determinism()),
    ("resume", lambda subject: subject.trials.resume()),
    ("seeds", lambda subject: subject.trials.seeds()),
    ("sampling", lambda subject: subject.trials.sampling()),
)


def findings(target: Target) -> Iterator[Finding]:
    """Each check's finding on a pair of networks."""
    subject = Networks(target.name)
    try:
        yield from walk(target.kind, target.name, subject, CHECKS)
    finally:
        if "trials" in vars(subject):
            subject.trials.close()

"""What is to be checked: registered names, and objects of modules that are not installed yet."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ganbench.errors import UserError, unknown_name
from ganbench.registry import Entry, Registry, resolve
from gans.catalogue import VARIANTS
from gans.networks import NETWORKS
from harness.data.catalogue import DATASETS
from metrics.catalogue import REGISTRY as METRICS

Kind = Literal["variant", "network", "dataset", "metric"]
KINDS: tuple[Kind, ...] = get_args(Kind)

REGISTRIES: Mapping[Kind, Registry] = {
    "variant": VARIANTS,
    "network": NETWORKS,
    "dataset": DATASETS,
    "metric": METRICS,
}


@dataclass(frozen=True)
class Target:
    """One thing to check, by the name under which the whole program then finds it."""

    kind: Kind
    name: str
    registered: bool

    def known(self) -> AbstractContextManager[None]:
        """Within, the name is known; one that is registered always is."""
        if self.registered:
            return nullcontext()
        return REGISTRIES[self.kind].including(Entry(self.name, self.name, "not installed"))


def find(asked: str, kind: Kind | None = None) -> list[Target]:
    """What `asked` names: each registered thing of that name, or the object behind `module:object`.

    Raises:
        UserError: nothing has that name, there is no such module or object, or one cannot tell what it is.
    """
    if ":" in asked:
        return [Target(kind or _kind_of(asked, _imported(asked)), asked, registered=False)]
    kinds = [kind] if kind else list(KINDS)
    found = [Target(each, asked, registered=True) for each in kinds if asked in REGISTRIES[each].names()]
    if not found:
        names = {name for each in kinds for name in REGISTRIES[each].names()}
        what = kind or "variant, network, dataset or metric"
        raise UserError(f"{unknown_name(what, asked, names)}; or give module:object of what is not installed")
    return found


def _imported(asked: str) -> Any:
    module, _, attribute = asked.partition(":")
    if not module or not attribute:
        raise UserError(f"{asked!r} names no object: give module:object, as in my_package.my_gan:MyGAN")
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the module's code, or its package's, raises
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise UserError(
                f"{asked}: there is no module {missing!r}: check the name, and that its folder is on PYTHONPATH"
            ) from error
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{asked}: the module cannot be imported ({said}): mend it first") from error
    try:
        return resolve(asked)
    except AttributeError as error:
        raise UserError(f"{asked}: {error}: check the object's name") from error


def _kind_of(asked: str, found: object) -> Kind:
    from gans.module import GAN
    from metrics.catalogue import Metric

    if isinstance(found, type) and issubclass(found, GAN):
        return "variant"
    if isinstance(found, Metric):
        return "metric"
    taken = _parameters(found)
    if {"size", "n", "seed"} <= set(taken):
        return "dataset"
    if taken[:2] == ["recipe", "shape"]:
        return "network"
    raise UserError(
        f"{asked} is neither a GAN class, a Metric row, a dataset's load(*, size, n, seed) nor a network's "
        "build(recipe, shape): name such an object, or say what it is meant to be with --as"
    )


def _parameters(found: object) -> list[str]:
    if not callable(found):
        return []
    try:
        return list(inspect.signature(found).parameters)
    except (TypeError, ValueError):  # a builtin has none that can be read
        return []

"""Conformance of variants, networks, datasets and metrics, ours or a third party's: `ganbench check`.

Everything is tried by its name through the same doors as anybody's: `gans.build`, `harness.data.load`, a `Judge`, a
trial. What holds for what is registered therefore holds for what is not installed yet.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.conformance.finding import Finding
    from harness.conformance.target import Kind

_HOMES: dict[Kind, str] = {
    "variant": "harness.conformance.variants",
    "network": "harness.conformance.networks",
    "dataset": "harness.conformance.datasets",
    "metric": "harness.conformance.metrics",
}


def check(asked: str, kind: Kind | None = None) -> Iterator[Finding]:
    """The findings on everything that `asked` names, each as soon as it is known.

    Args:
        asked: a registered name, or `module:object`.
        kind: what it is; None: everything of that name, or what the object's type and signature say.

    Raises:
        UserError: nothing is called so, or one cannot tell what the object is.
    """
    from harness.conformance.target import find  # brings the registries, which the command's help does not need

    for target in find(asked, kind):
        with target.known():
            yield from importlib.import_module(_HOMES[target.kind]).findings(target)

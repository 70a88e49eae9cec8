"""Objects of no installed package, under the names that `ganbench check` takes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from harness.conformance import check
from harness.conformance.target import Kind, find


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Put an object into a module of its own; returns its `module:object`."""
    module = ModuleType("somebodys")
    module.__spec__ = ModuleSpec("somebodys", None)
    monkeypatch.setitem(sys.modules, "somebodys", module)

    def put(found: Any, name: str = "thing") -> str:
        setattr(module, name, found)
        return f"somebodys:{name}"

    return put


@pytest.fixture
def failures(offer: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """The failed checks of an object and their lines; every line says where, and what to do.

    With `only`, of that check and of the first, on which all stand.
    """

    def run(found: Any, kind: Kind | None = None, only: str | None = None) -> dict[str, str]:
        (target,) = find(offer(found), kind)
        module = importlib.import_module(f"harness.conformance.{target.kind}s")
        if only:
            first, *others = module.CHECKS
            monkeypatch.setattr(module, "CHECKS", (first, *(check for check in others if check[0] == only)))
        findings = list(check(target.name, target.kind))
        assert findings
        failed = [finding for finding in findings if not finding.ok]
        assert all(finding.what and finding.where and finding.remedy for finding in failed)
        return {finding.check: finding.line() for finding in failed}

    return run

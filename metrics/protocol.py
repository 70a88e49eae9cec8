"""The protocol of a score: under what conditions a number was taken, as one comparable object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REQUIRED = (
    "features",
    "weights_sha256",
    "layer",
    "preprocessing",
    "quantisation",
    "n_real",
    "real_sha256",
    "n_fake",
    "split",
    "seed",
    "k",
    "splits",
)
"""What every score's protocol says; the value may be None (points have no quantisation, a folder no split)."""


@dataclass(frozen=True)
class Protocol:
    """JSON-able conditions by name. Numbers may be compared only if their protocols' ids are equal.

    Raises `ValueError` for conditions that are incomplete (`REQUIRED`) or no JSON: that is a bug, not a user's mistake.

    >>> one = Protocol({name: None for name in REQUIRED})
    >>> other = Protocol({**one.conditions, "n_fake": 1000})
    >>> one.id == other.id, one.differences(other)
    (False, ('n_fake: null here, 1000 there',))
    """

    conditions: Mapping[str, Any]

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED if name not in self.conditions]
        if missing:
            raise ValueError(f"the protocol does not say {', '.join(missing)}")
        # a private copy: what the id stands for must not change behind it
        object.__setattr__(self, "conditions", json.loads(_canonical(self.conditions)))

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits of the conditions' sha256, whatever their order."""
        return hashlib.sha256(_canonical(self.conditions).encode()).hexdigest()[:12]

    def json(self) -> str:
        """The conditions as canonical JSON, from which `from_json` makes an equal protocol."""
        return _canonical(self.conditions)

    @classmethod
    def from_json(cls, text: str) -> Protocol:
        """The inverse of `json`."""
        return cls(json.loads(text))

    def differences(self, other: Protocol) -> tuple[str, ...]:
        """One phrase for each condition that makes the two incomparable; empty for equal ids."""
        names = sorted({*self.conditions, *other.conditions})
        pairs = {name: [_told(one.conditions, name) for one in (self, other)] for name in names}
        return tuple(f"{name}: {here} here, {there} there" for name, (here, there) in pairs.items() if here != there)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _told(conditions: Mapping[str, Any], name: str) -> str:
    return _canonical(conditions[name]) if name in conditions else "unsaid"

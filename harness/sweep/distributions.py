"""W&B's distributions of a parameter, each as its quantile function, so that one uniform draw in [0, 1] serves all.

https://docs.wandb.ai/models/sweeps/sweep-config-keys lists them. Free of torch, Optuna and scipy.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from ganbench.errors import UserError, unknown_name

DIGITS = 6
"""Significant digits of a number that is drawn: such a configuration can be read in a table and typed again."""

_EDGE = 1e-9
"""A normal distribution is cut this far in, in probability, so that no draw is infinite."""

_RANGE, _BELL = ("min", "max"), ("mu", "sigma")
KEYS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": _RANGE,
    "uniform": _RANGE,
    "q_uniform": (*_RANGE, "q"),
    "log_uniform": _RANGE,
    "log_uniform_values": _RANGE,
    "q_log_uniform": (*_RANGE, "q"),
    "q_log_uniform_values": (*_RANGE, "q"),
    "inv_log_uniform": _RANGE,
    "inv_log_uniform_values": _RANGE,
    "normal": _BELL,
    "q_normal": (*_BELL, "q"),
    "log_normal": _BELL,
    "q_log_normal": (*_BELL, "q"),
}
"""Each distribution's keys; those of `_DEFAULTS` may be left out."""

_DEFAULTS: Mapping[str, Any] = {"mu": 0, "sigma": 1, "q": 1}
_CATEGORICAL = ("categorical", "categorical_w_probabilities")


@dataclass(frozen=True)
class Distribution:
    """One parameter's values and how likely each is."""

    kind: str
    """The distribution's name at W&B."""
    options: Mapping[str, Any]
    """Its keys as W&B has them, defaults filled in."""

    @property
    def values(self) -> list[Any]:
        """What a constant or categorical parameter can be; empty for numbers drawn from a range."""
        return [self.options["value"]] if self.kind == "constant" else list(self.options.get("values", []))

    @property
    def categorical(self) -> bool:
        """Whether its values have no order."""
        return self.kind in _CATEGORICAL

    def as_json(self) -> dict[str, Any]:
        """The block that `parse` reads; W&B takes it too."""
        inferred = self.kind in ("constant", "categorical")
        return dict(self.options) if inferred else {"distribution": self.kind, **self.options}

    def quantile(self, share: float) -> Any:
        """The value below which `share` of the probability lies, `share` in [0, 1].

        >>> parse("lr", {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}).quantile(0.5)
        0.001
        """
        if self.values:
            return self.values[min(bisect.bisect_right(self._edges()[1:], share), len(self.values) - 1)]
        if self.kind == "int_uniform":
            low, high = self.options["min"], self.options["max"]
            return low + min(int(share * (high - low + 1)), high - low)
        if "normal" in self.kind:
            number = NormalDist(self.options["mu"], self.options["sigma"]).inv_cdf(min(max(share, _EDGE), 1 - _EDGE))
        else:
            low, high = self._range()
            number = low + share * (high - low)
        return self._finished(math.exp(number) if "log" in self.kind else number)

    def share(self, value: Any) -> float:
        """The inverse of `quantile`: where `value` lies in [0, 1]; a discrete value stands for the middle of its cell.

        Raises:
            ValueError: a categorical parameter has no such value.
        """
        if self.values:
            place: int = self.values.index(value)
            edges = self._edges()
            return (edges[place] + edges[place + 1]) / 2
        if self.kind == "int_uniform":
            first, last = int(self.options["min"]), int(self.options["max"])
            return min(max((float(value) - first + 0.5) / (last - first + 1), 0.0), 1.0)
        number = float(value)
        if "log" in self.kind:
            if number <= 0:
                return 0.0
            number = math.log(number)
        if "normal" in self.kind:
            return NormalDist(self.options["mu"], self.options["sigma"]).cdf(number)
        low, high = self._range()
        return min(max((number - low) / (high - low), 0.0), 1.0) if high > low else 0.5

    def grid(self) -> list[Any] | None:
        """Its values in a grid search, or None where it has no end of them.

        As W&B's grid has them: `q_uniform` from min in steps of q, without max; no values with probabilities.
        """
        if self.kind in ("constant", "categorical"):
            return self.values
        if self.kind == "int_uniform":
            return list(range(self.options["min"], self.options["max"] + 1))
        if self.kind == "q_uniform":
            low, high, q = (self.options[key] for key in ("min", "max", "q"))
            steps = math.ceil(round((high - low) / q, 9))
            return [
                _significant(low + step * q, 12) if isinstance(q, float) else low + step * q for step in range(steps)
            ]
        return None

    def _edges(self) -> list[float]:
        """The cumulated probabilities before, between and after the values."""
        weights = self.options.get("probabilities") or [1] * len(self.values)
        sums = list(itertools.accumulate(weights))
        return [0.0, *(total / sums[-1] for total in sums)]

    def _range(self) -> tuple[float, float]:
        """Where the number is uniform: the value itself, or its logarithm."""
        low, high = self.options["min"], self.options["max"]
        if self.kind == "inv_log_uniform":  # log(1/X) is uniform between min and max
            return -high, -low
        # inv_log_uniform_values is uniform in log(1/X) between log(1/max) and log(1/min): in log X between the logs
        return (math.log(low), math.log(high)) if self.kind.endswith("_values") else (low, high)

    def _finished(self, number: float) -> float | int:
        """A drawn number, quantised or rounded to `DIGITS`."""
        q = self.options.get("q")
        if q is not None:
            return round(number / q) * q if isinstance(q, int) else _significant(round(number / q) * q, 12)
        rounded = _significant(number, DIGITS)
        if "min" not in self.options:
            return rounded
        low, high = (math.exp(end) if "log" in self.kind else float(end) for end in self._range())
        if self.kind.endswith("_values"):
            low, high = self.options["min"], self.options["max"]
        return min(max(rounded, low), high)


def _significant(number: float, digits: int) -> float:
    return float(f"{number:.{digits}g}")


# --- from W&B's blocks


def parse(name: str, block: Mapping[str, Any]) -> Distribution:
    """A parameter's distribution from its block in a sweep file; one that is not named is inferred as W&B does.

    Args:
        name: the parameter's, for messages.
        block: its keys: value, values, probabilities, min, max, mu, sigma, q, distribution.

    Raises:
        UserError: an unknown distribution or key, a missing one, or bounds that hold nothing.
    """
    known = ("distribution", "parameters", *dict.fromkeys(itertools.chain.from_iterable(KEYS.values())))
    for key in block:
        if key not in known:
            raise unknown_name(f"key of parameter {name}", key, known)
    kind = block.get("distribution") or _infer(name, block)
    if kind not in KEYS:
        raise unknown_name(f"distribution of parameter {name}", kind, KEYS)
    keys = KEYS[kind]
    for key in block:
        if key != "distribution" and key not in keys:
            raise UserError(f"parameter {name}: {kind} takes {', '.join(keys)}, not {key}")
    needed = [key for key in keys if key not in _DEFAULTS]
    if not block.keys() >= set(needed):
        raise UserError(f"parameter {name}: {kind} needs {' and '.join(needed)}")
    options = {key: block.get(key, _DEFAULTS.get(key)) for key in keys}
    _check(name, kind, options)
    return Distribution(kind, options)


def _infer(name: str, block: Mapping[str, Any]) -> str:
    ranged = "min" in block or "max" in block
    if ("value" in block) + ("values" in block) + ranged != 1:
        if block.keys() & {"mu", "sigma", "q"}:
            raise UserError(f"parameter {name}: name its distribution, such as normal")
        raise UserError(f"parameter {name}: give exactly one of value, values, min and max, or parameters")
    if "value" in block:
        return "constant"
    if "values" in block:
        return "categorical_w_probabilities" if "probabilities" in block else "categorical"
    ends = [block.get(key) for key in _RANGE]
    return "int_uniform" if all(isinstance(end, int) and not isinstance(end, bool) for end in ends) else "uniform"


def _check(name: str, kind: str, options: Mapping[str, Any]) -> None:
    for key in ("min", "max", "mu", "sigma", "q"):
        if key in options:
            value = options[key]
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(f"parameter {name}: {key} must be a number, got {value!r}")
            if kind == "int_uniform" and not isinstance(value, int):
                raise UserError(f"parameter {name}: {key} of int_uniform must be a whole number, got {value!r}")
            if key in ("sigma", "q") and value <= 0:
                raise UserError(f"parameter {name}: {key} must be above 0, got {value!r}")
    if "min" in options:
        _check_range(name, kind, options["min"], options["max"])
    if kind.endswith("log_normal") and abs(options["mu"]) + 6 * options["sigma"] > math.log(1e300):
        raise UserError(f"parameter {name}: mu and sigma of {kind} are those of the logarithm, and these overflow")
    if "values" in options:
        _check_values(name, options["values"], options.get("probabilities"))


def _check_range(name: str, kind: str, low: float, high: float) -> None:
    if low > high:
        raise UserError(f"parameter {name}: min {low} is above max {high}")
    if kind.endswith("_values"):
        if low <= 0:
            raise UserError(f"parameter {name}: min of {kind} must be above 0, got {low}")
    elif "log" in kind and max(abs(low), abs(high)) > math.log(1e300):
        raise UserError(
            f"parameter {name}: bounds of {kind} are exponents of e, and exp({high:g}) is no number: "
            f"{kind}_values takes the values themselves"
        )


def _check_values(name: str, values: object, probabilities: object) -> None:
    if not isinstance(values, list) or not values:
        raise UserError(f"parameter {name}: values must be a list of at least one, so there are no trials")
    if probabilities is None:
        return
    numbers = isinstance(probabilities, list) and all(
        isinstance(share, int | float) and not isinstance(share, bool) and share >= 0 for share in probabilities
    )
    if not isinstance(probabilities, list) or not numbers or len(probabilities) != len(values):
        raise UserError(f"parameter {name}: probabilities must be {len(values)} numbers from 0, one for each value")
    if not math.isclose(math.fsum(probabilities), 1, abs_tol=1e-6):
        raise UserError(f"parameter {name}: probabilities must sum to 1, got {math.fsum(probabilities):g}")

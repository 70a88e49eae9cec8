"""What an experiment of the bench is, and which there are.

To add one, write a module with an `EXPERIMENT` and a line here; another package uses the entry-point group
`ganbench.theory`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from ganbench.registry import Entry, Registry
from reports.bench import Plot

Value = TypeVar("Value")


def _distinct(values: list[Value]) -> list[Value]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise PydanticCustomError(
                "repeated", "names {value} twice, which would count as more seeds: leave one out", {"value": str(value)}
            )
    return values


Distinct = AfterValidator(_distinct)
"""Of a list of places to measure at: each is named once."""


class Parameters(BaseModel):
    """What may be chosen of an experiment: strict, and unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Curve:
    """One seed's curve: all three lists are equally long; `closed` is None where there is no closed form."""

    plot: str
    """The name of the plot that it belongs to."""
    label: str
    x: Sequence[float]
    measured: Sequence[float]
    closed: Sequence[float] | None = None


@dataclass(frozen=True)
class Experiment:
    """An experiment: what may be chosen, what theory claims, how it is drawn, and how one seed is measured."""

    title: str
    claims: tuple[str, ...]
    plots: tuple[Plot, ...]
    parameters: type[Parameters]
    measure: Callable[[Any, int], list[Curve]]
    """(parameters, seed) → curves; every random draw is a function of the seed."""


EXPERIMENTS = Registry(
    "ganbench.theory",
    "theory",
    [
        Entry(
            "optimal-discriminator",
            "harness.theory.optimal_discriminator:EXPERIMENT",
            "a trained discriminator against p*/(p*+p_G) on two Gaussians",
            "Goodfellow et al. 2014",
        ),
        Entry(
            "gradient-strength",
            "harness.theory.gradient_strength:EXPERIMENT",
            "what three generators learn as the supports separate",
            "Arjovsky et al. 2017",
        ),
        Entry(
            "parallel-lines",
            "harness.theory.parallel_lines:EXPERIMENT",
            "JS stays at log 2 where W is the distance",
            "Arjovsky et al. 2017",
        ),
        Entry(
            "bilinear",
            "harness.theory.bilinear:EXPERIMENT",
            "the saddle u·v: orbit and cure, and the prediction method's error bound",
            "Yadav et al. 2018",
        ),
    ],
)

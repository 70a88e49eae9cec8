"""An experiment's folder, and the walk through its seeds: each one's curves are a file, written when it is measured.

runs/<name>/sweep.yaml theory.json seeds/<seed>.json report/
"""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from ganbench.errors import UserError
from ganbench.files import write_json, write_text
from harness.theory.experiments import EXPERIMENTS, Curve, Experiment
from harness.theory.spec import TheorySpec, choose

if TYPE_CHECKING:
    from reports.bench import Bench

_FILE = "theory.json"

State = Literal["done", "pending", "damaged"]
"""Of a seed; what is damaged is measured again."""


@dataclass(frozen=True)
class Held:
    """What a folder says that it holds."""

    name: str
    description: str
    theory: str
    seeds: tuple[int, ...]
    parameters: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """As `theory.json` has it, and `sweep.yaml`: these are the keys of a theory file."""
        plain = {**asdict(self), "seeds": list(self.seeds)}
        return {key: value for key, value in plain.items() if value or key != "description"}


def is_bench(folder: Path) -> bool:
    """Whether the folder holds an experiment of the bench."""
    return (folder / _FILE).is_file()


def load(folder: Path) -> Held:
    """What `theory.json` says; raises `UserError` where there is none, or one that is damaged."""
    path = folder / _FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Held(
            name=str(raw["name"]),
            description=str(raw.get("description", "")),
            theory=str(raw["theory"]),
            seeds=tuple(map(int, raw["seeds"])),
            parameters=dict(raw["parameters"]),
        )
    except FileNotFoundError:
        raise UserError(f"{folder} holds no experiment of the theory bench: it has no {_FILE}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}): measure anew in another folder") from None


def prepare(folder: Path, spec: TheorySpec) -> Held:
    """Write the folder's files, or take up those that are there: seeds may be added, nothing else may differ.

    Raises:
        UserError: the folder holds something else.
    """
    held = Held(spec.name, spec.description, spec.theory, spec.seeds, spec.parameters.model_dump(mode="json"))
    if is_bench(folder):
        there = load(folder)
        differing = [name for name in held.parameters if there.parameters.get(name) != held.parameters[name]]
        if there.theory != held.theory:
            differing = [f"theory: there {there.theory}, here {held.theory}"]
        if differing:
            raise UserError(f"{folder} holds another experiment ({', '.join(differing)}): give another --out")
        held = replace(held, seeds=tuple(dict.fromkeys((*there.seeds, *held.seeds))))
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already and holds no experiment: give another folder with --out")
    write_json(folder / _FILE, held.as_json())  # first: with it alone, the folder can be taken up
    # not the file as it was read: the command line may have changed what it says
    write_text(folder / "sweep.yaml", yaml.safe_dump(held.as_json(), sort_keys=False, allow_unicode=True))
    return held


def seed_file(folder: Path, seed: int) -> Path:
    """Where one seed's curves are."""
    return folder / "seeds" / f"{seed}.json"


def measure(folder: Path, held: Held, *, told: Callable[[str], None] = lambda _: None) -> None:
    """Measure every seed that is not measured yet, one after the other, on one thread: equal seeds give equal bits.

    A seed whose file is damaged is measured again.

    Args:
        folder: the experiment's.
        held: what `prepare` returned.
        told: hears a line for each seed.

    Raises:
        UserError: the curves cannot be written or compared with their closed form; the seed has no file then.
    """
    import torch

    from harness.trial.environment import environment

    parameters = choose(held.theory, held.parameters)
    experiment = EXPERIMENTS.load(held.theory)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in held.seeds:
            if _state(folder, seed)[0] == "done":
                continue
            began = time.perf_counter()
            curves = experiment.measure(parameters, seed)
            _check(curves, held.theory, experiment)
            seconds = round(time.perf_counter() - began, 2)
            facts = {"seed": seed, "seconds": seconds, "environment": environment()}
            write_json(seed_file(folder, seed), {**facts, "curves": [asdict(curve) for curve in curves]})
            told(f"{held.name} seed {seed}: measured in {seconds:.1f} s")
    finally:
        torch.set_num_threads(threads)


def status(folder: Path) -> list[dict[str, Any]]:
    """One record per seed: its number, its state, and the seconds that it took."""
    states = {seed: _state(folder, seed) for seed in load(folder).seeds}
    return [{"seed": seed, "state": state, "seconds": seconds} for seed, (state, seconds) in states.items()]


def _state(folder: Path, seed: int) -> tuple[State, float | None]:
    """Whether it is measured, and the seconds that it took."""
    if not seed_file(folder, seed).is_file():
        return "pending", None
    try:
        return "done", _read(folder, seed)["seconds"]
    except UserError:
        return "damaged", None


def collect(folder: Path) -> Bench:
    """What the page is written from, of the seeds that are measured.

    Raises:
        UserError: none is, or one is damaged: a page of the others alone would not be what was asked for.
    """
    import pandas as pd

    from reports.bench import CURVES, Bench

    held = load(folder)
    experiment = EXPERIMENTS.load(held.theory)
    measured = [_read(folder, seed) for seed in held.seeds if seed_file(folder, seed).is_file()]
    if not measured:
        raise UserError(f"no seed of {folder} is measured yet: `ganbench sweep run` with the same file measures them")
    rows = [
        (curve["plot"], curve["label"], seed["seed"], x, value, math.nan if curve["closed"] is None else known)
        for seed in measured
        for curve in seed["curves"]
        for x, value, known in zip(
            curve["x"], curve["measured"], curve["closed"] or [math.nan] * len(curve["x"]), strict=True
        )
    ]
    facts: dict[str, dict[str, None]] = {}
    for seed in measured:
        for name, value in seed["environment"].items():
            facts.setdefault(name, {})[str(value)] = None
    seconds = sum(seed["seconds"] for seed in measured) / len(measured)
    return Bench(
        title=experiment.title,
        claims=experiment.claims,
        plots=experiment.plots,
        curves=pd.DataFrame(rows, columns=CURVES),
        seeds=len(held.seeds),
        parameters={name: _said(value) for name, value in held.parameters.items()},
        commands=(
            shlex.join(["ganbench", "sweep", "run", str(folder / "sweep.yaml"), "--out", f"{folder}-again"]),
            shlex.join(["ganbench", "report", str(folder)]),
        ),
        environment={
            **{name: " · ".join(values) for name, values in facts.items()},
            "seconds per seed": f"{seconds:.1f}",
        },
    )


def _read(folder: Path, seed: int) -> dict[str, Any]:
    path = seed_file(folder, seed)
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        facts = {**raw, "seed": int(raw["seed"]), "seconds": float(raw["seconds"])}
        if facts["seed"] != seed or not isinstance(raw["environment"], dict):
            raise ValueError(facts["seed"])
        if any(map(_fault, (Curve(**curve) for curve in raw["curves"]))):
            raise ValueError(raw["curves"])
        return facts
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}): the same `ganbench sweep run` measures this seed again"
        ) from None


def _fault(curve: Curve) -> str | None:
    """What keeps a curve from being drawn, whichever plot it belongs to."""
    lists = [curve.x, curve.measured, *([] if curve.closed is None else [curve.closed])]
    if len({len(values) for values in lists}) > 1:
        return f"has lists of {', '.join(str(len(values)) for values in lists)} values"
    if not all(math.isfinite(value) for values in lists for value in values):
        return "came to NaN or infinity"
    return None


def _check(curves: list[Curve], theory: str, experiment: Experiment) -> None:
    """Raise `UserError` for what could be written but never drawn, or judged against its closed form."""
    plots = {plot.name: plot for plot in experiment.plots}
    seen: set[tuple[str, str, float]] = set()
    for curve in curves:
        what = f"{theory}: {curve.label} in {curve.plot}"
        if curve.plot not in plots:
            raise UserError(f"{what} belongs to no plot of the experiment: name one of {', '.join(plots)}")
        if fault := _fault(curve):
            raise UserError(f"{what} {fault}: choose other parameters, lower ones in most cases")
        plot = plots[curve.plot]
        for x in [] if plot.path else curve.x:
            if (curve.plot, curve.label, x) in seen:
                raise UserError(f"{what} has two points at {x:g}, which would count as two seeds: leave one out")
            seen.add((curve.plot, curve.label, x))
        if plot.error in ("relative", "bound"):
            for x, measured, closed in zip(curve.x, curve.measured, curve.closed or (), strict=False):
                if closed == 0 or not math.isfinite(measured / closed):
                    raise UserError(
                        f"{what} should come to {closed:g} at {x:g}, too little for an error to be a share of it: "
                        "choose lower parameters"
                    )


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

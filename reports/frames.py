"""Tidy frames from elsewhere: a notebook's own scores, and the CSV files that every report keeps of its results."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.errors import UserError
from ganbench.files import write_text
from reports.results import CURVES, OPTIONAL, SCORES, SEARCH, TRIALS, Results, Search

if TYPE_CHECKING:
    from pandas import DataFrame

NEEDED = ("recipe", "seed", "metric", "direction", "value")
UNSTATED = "unstated"
"""The protocol id of scores that do not say theirs."""

FOLDER = "data"
"""Of a report: scores.csv, trials.csv and perhaps search.csv with `Results`' columns, and about.json."""


def from_frame(
    scores: DataFrame,
    *,
    title: str = "Comparison",
    trials: DataFrame | None = None,
    curves: DataFrame | None = None,
    protocols: Mapping[str, Mapping[str, Any]] | None = None,
) -> Results:
    """Results of any tidy frame of scores, such as a notebook's own; what it lacks is filled in.

    Args:
        scores: one row per trial and metric: recipe, seed, metric, direction ("higher" or "lower" is better) and value
            (NaN for a score that failed). Other columns that `Results` documents are taken where they are given.
            Missing ones become: label = metric, checkpoint "last", weights "ema", protocol_id "unstated" (so all rows
            share a table), trial = recipe and seed, no spread, no reason.
        title: heading of the report.
        trials: one row per trial: recipe, seed, and any other of `Results`' columns. None: every trial of `scores` is
            done, and costs what the columns of `scores` with these names say.
        curves: recipe, seed, images, name, value; None: there are none.
        protocols: protocol_id → what it says.

    Raises:
        UserError: a needed column is missing, a seed is no whole number, a value no number, a direction none, or a
            trial has one score twice.

    >>> import pandas as pd
    >>> rows = [("a", 0, 9.0), ("a", 1, 9.2), ("a", 2, 9.1), ("b", 0, 5.0), ("b", 1, 5.3), ("b", 2, 5.1)]
    >>> mine = pd.DataFrame(rows, columns=["recipe", "seed", "value"]).assign(metric="FID", direction="lower")
    >>> from_frame(mine).recipes
    ['a', 'b']
    """
    import pandas as pd

    scores = _typed(scores, "scores", NEEDED)
    filled: dict[str, Any] = {
        "label": scores["metric"], "checkpoint": "last", "weights": "ema", "protocol_id": UNSTATED, "spread": None,
        "reason": None,
    }  # fmt: skip
    scores = scores.assign(**{name: value for name, value in filled.items() if name not in scores})
    twice = scores.duplicated(["trial", "checkpoint", "weights", "protocol_id", "metric"])
    for recipe, seed, metric in scores.loc[twice, ["recipe", "seed", "metric"]].itertuples(index=False):
        raise UserError(
            f"recipe {recipe!r} with seed {seed} has two values of {metric!r}: keep one, or tell them apart"
        )
    if trials is None:
        own = [name for name in TRIALS if name in scores and name not in ("reason", "status")]
        trials = scores[own].drop_duplicates("trial")
    else:
        trials = _typed(trials, "trials", ("recipe", "seed"))
    lacking: dict[str, Any] = {
        "variant": trials["recipe"],
        "status": "done",
        "problems": [[] for _ in range(len(trials))],
    }
    known = [name for name in TRIALS if name in trials]
    trials = trials.assign(**{name: lacking.get(name) for name in TRIALS if name not in known})
    return Results(
        title=title,
        scores=scores.reset_index(drop=True),
        trials=trials.reset_index(drop=True),
        curves=pd.DataFrame(columns=list(CURVES)) if curves is None else _typed(curves, "curves", ("recipe", "seed")),
        grids=[],
        protocols={name: dict(protocol) for name, protocol in (protocols or {}).items()},
        commands=[],
    )


def _typed(frame: DataFrame, what: str, needed: tuple[str, ...]) -> DataFrame:
    """A copy with whole seeds, numbers as values and a name for each trial."""
    import pandas as pd

    if missing := [name for name in needed if name not in frame]:
        raise UserError(f"the frame of {what} lacks the column(s) {', '.join(missing)}: add them")
    frame = frame.copy()
    for name in ("seed", "value", "images"):
        if name in frame:
            try:
                frame[name] = pd.to_numeric(frame[name])
            except (ValueError, TypeError):
                raise UserError(f"column {name} of the frame of {what} holds what is no number: correct it") from None
    if not (frame["seed"] % 1 == 0).all():
        raise UserError(f"column seed of the frame of {what} holds what is no whole number: number the training runs")
    frame["seed"] = frame["seed"].astype(int)
    frame["recipe"] = frame["recipe"].astype(str)
    if "trial" not in frame:
        frame["trial"] = frame["recipe"] + " seed " + frame["seed"].astype(str)
    return frame


# --- the data beside a report

_TEXT = frozenset(
    ("variant", "recipe", "trial", "checkpoint", "weights", "protocol_id", "metric", "label", "direction", "reason",
     "status")
)  # fmt: skip
_JSON = ("problems", "config")
_READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(_TEXT, lambda text: text or None),
    **dict.fromkeys(_JSON, json.loads),
    "settings": str,  # "" is one
    "chosen": lambda text: text == "True",
    "seed": int,
}


def save(results: Results, report: Path) -> None:
    """Write `results` without curves and pictures to the folder `data` of a report's folder; `load` reads it back."""
    search = results.search
    about = {
        "title": results.title,
        "protocols": results.protocols,
        "commands": results.commands,
        "environment": results.environment,
        "search": {"rule": search.rule, "direction": search.direction} if search else None,
        "study": results.study,
    }
    columns = [*TRIALS, *(name for name in OPTIONAL if name in results.trials)]
    frames = {"scores": results.scores[list(SCORES)], "trials": results.trials[columns]}
    if search:
        frames["search"] = search.trials[list(SEARCH)]
    for name, frame in frames.items():
        packed = {column: list(map(_packed, frame[column])) for column in _JSON if column in frame}
        text = frame.assign(**packed).to_csv(index=False, lineterminator="\n")
        write_text(report / FOLDER / f"{name}.csv", text)
    write_text(report / FOLDER / "about.json", json.dumps(about, indent=1) + "\n")


def load(report: Path) -> Results:
    """What `save` wrote to a report's folder, without curves and pictures.

    Raises `UserError` where there is nothing of the kind, or it is damaged.
    """
    import pandas as pd

    folder = report / FOLDER
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        if about["search"]:
            about["search"] = Search(trials=_read(folder / "search.csv"), **about["search"])
        scores, trials = (_read(folder / f"{name}.csv") for name in ("scores", "trials"))
        return Results(scores=scores, trials=trials, curves=pd.DataFrame(columns=list(CURVES)), grids=[], **about)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{report} is no report's folder: it has no {FOLDER}/scores.csv; `ganbench report` writes it"
        ) from None
    except (ValueError, KeyError, TypeError, IndexError, csv.Error) as error:
        raise UserError(f"{folder} is damaged ({type(error).__name__}): write the report again") from None


def _read(path: Path) -> DataFrame:
    """A frame as `save` wrote it, to the last bit; a recipe may be called "NA" or "1"."""
    import pandas as pd

    with path.open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file, strict=True)
    return pd.DataFrame(
        {name: [_READ.get(name, _number)(line[place]) for line in lines] for place, name in enumerate(head)}
    )


def _packed(value: Any) -> str:
    return json.dumps(None if value != value else value)  # pandas may have made NaN of None


def _number(text: str) -> float:
    return float(text) if text else math.nan

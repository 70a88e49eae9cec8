"""From run folders to the tidy frames that the reports are written from: files alone, offline."""

from __future__ import annotations

import math
import shlex
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganbench.errors import UserError
from harness.config import TrialConfig, seedless
from harness.config_text import format_assignments
from harness.labels import recipe_labels
from harness.store import TrialFolder, trial_state
from harness.sweep import search as searches
from harness.sweep.benchmark import Metric
from harness.sweep.folder import load_manifest, read_overrides, trial_folder
from harness.sweep.search import Search
from harness.sweep.spec import study_of
from metrics.catalogue import METRICS, REGISTRY, label_for

if TYPE_CHECKING:
    from pandas import DataFrame

    import reports
    from reports import Results

_KEY = ("recipe", "trial", "seed")
Key = tuple[str, str, int]
"""What `_KEY` names, of one trial."""

_ORDER = [metric.name for metric in METRICS]


@dataclass(frozen=True)
class Found:
    """A trial, and the search that it was a part of if its scores only chose what is compared."""

    folder: TrialFolder
    config: TrialConfig
    search: Search | None = None


def find_trials(paths: Sequence[Path]) -> list[Found]:
    """The trials of sweep folders and the trials named themselves; raises `UserError` where there are none."""
    return [trial for path in paths for trial in _trials_of(path)]


def _trials_of(path: Path) -> Iterator[Found]:
    if not path.is_dir():
        raise UserError(f"no folder at {path}: name a sweep's or a trial's folder")
    if (path / "manifest.json").is_file():
        manifest = load_manifest(path)
        search = Search.from_json(manifest.search) if manifest.search else None
        for key, config in manifest.trials.items():
            chooses = search is not None and not search.reports(config)
            yield Found(trial_folder(path, key), config, search if chooses else None)
    elif (path / "config.yaml").is_file():
        yield Found(TrialFolder(path), TrialFolder(path).config())
    else:
        if (path / "theory.json").is_file():
            raise UserError(f"{path} holds an experiment of the theory bench, without trials: name a sweep or a trial")
        raise UserError(f"{path} holds neither a sweep (manifest.json) nor a trial (config.yaml)")


def collect(paths: Sequence[Path], *, title: str | None = None) -> Results:
    """Everything the reports need, read from the trials' files.

    A trial that has failed, diverged or not been started is a row too: a failure is a result.
    """
    import pandas as pd

    from reports import Grid, Results
    from reports.results import OPTIONAL, SCORES, TRIALS

    everything = find_trials(paths)
    found = [trial for trial in everything if trial.search is None]
    labels = recipe_labels([trial.config for trial in found])
    scores: list[tuple[Any, ...]] = []
    trials: list[dict[str, Any]] = []
    curves = _Curves()
    grids: list[Grid] = []
    gallery: list[Grid] = []
    protocols: dict[str, dict[str, Any]] = {}
    environment: dict[str, dict[str, None]] = {}
    for trial, label in zip(found, labels, strict=True):
        folder, config = trial.folder, trial.config
        key = (label, folder.path.name, config.seed)
        status = folder.status()
        about = {"variant": config.gan.name, "config": config.model_dump(mode="json")}
        trials.append({**about, **dict(zip(_KEY, key, strict=True)), **_trial_row(status)})
        for fact, value in status.get("environment", {}).items():
            environment.setdefault(fact, {})[str(value)] = None
        for result in (folder.scores() or {"results": []})["results"]:
            protocols.setdefault(result["protocol_id"], result["protocol"])
            scores += _score_rows(key, result)
        curves.add(key, folder)
        grids += [
            Grid(recipe=label, seed=config.seed, images=int(picture.stem), path=picture)
            for picture in sorted(folder.samples.glob("*.png"))
        ]
        if folder.gallery_file.exists():
            gallery.append(Grid(label, config.seed, status.get("images", 0), folder.gallery_file))
    return Results(
        title=title or ", ".join(path.name for path in paths),
        scores=pd.DataFrame(scores, columns=SCORES),
        trials=pd.DataFrame(trials, columns=(*TRIALS, *OPTIONAL)),
        curves=curves.frame(),
        grids=grids,
        protocols=protocols,
        commands=_commands(paths),
        environment={fact: list(values) for fact, values in environment.items()},
        gallery=gallery,
        search=_searched(everything),
        study=next((study for path in paths if (study := study_of(path / "sweep.yaml"))), None),
    )


def _searched(trials: Sequence[Found]) -> reports.Search | None:
    """The trials that chose the others' configurations; None where there are none."""
    import pandas as pd

    import reports
    from reports.results import SEARCH

    chose = [(trial, trial.search, trial.search.metric) for trial in trials if trial.search and trial.search.metric]
    if not chose:
        return None
    compared = {seedless(trial.config) for trial in trials if trial.search is None}
    rows = []
    for (trial, search, _), label in zip(chose, recipe_labels([trial.config for trial, *_ in chose]), strict=True):
        config, row = trial.config, _trial_row(trial.folder.status())
        rows.append(
            {
                "variant": config.gan.name,
                "settings": label.removeprefix(config.gan.name).strip(),
                "trial": trial.folder.path.name,
                "seed": config.seed,
                **{name: row[name] for name in ("status", "reason", "problems")},
                "value": searches.value(search, trial.folder) if row["status"] == "done" else None,
                "chosen": seedless(config) in compared,
            }
        )
    rules = " or ".join(dict.fromkeys(_rule(metric) for *_, metric in chose))
    direction: Literal["lower", "higher"] = "lower" if chose[0][2].goal == "minimize" else "higher"
    return reports.Search(rules, pd.DataFrame(rows, columns=SEARCH), direction)


def _rule(metric: Metric) -> str:
    which = "best" if metric.name.startswith("best/") else "last"
    label = next((row.label for row in METRICS if row.name == metric.score), metric.score)
    return f"{which} {label} (selection split)"


def _trial_row(status: dict[str, Any]) -> dict[str, Any]:
    parameters = status.get("parameters")
    return {
        "status": trial_state(status),
        "reason": status.get("reason"),
        "problems": status.get("problems", []),
        **{
            name: status.get(name) for name in ("images", "d_steps", "g_steps", "seconds", "peak_memory_mb", "ensemble")
        },
        "parameters": sum(parameters.values()) if parameters else None,
    }


def _score_rows(key: Key, result: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Rows in the order of `reports.results.SCORES`; tuples, as thousands of trials have a hundred thousand of them."""
    features = result["protocol"]["features"]
    about = (*key, result["checkpoint"], result["weights"], result["protocol_id"])
    return [
        (
            *about,
            metric,
            _label(metric, features),
            *(score[name] for name in ("direction", "value", "spread", "reason")),
        )
        for metric, score in sorted(result["scores"].items(), key=lambda item: _place(item[0]))
    ]


@cache
def _label(metric: str, features: str) -> str:
    if metric not in REGISTRY.names():  # its package is not installed here, and a report needs the files alone
        return f"{metric} ({features})"
    return label_for(metric, features)  # it looks the metric's row up anew each time


def _place(metric: str) -> tuple[int, str]:
    return (_ORDER.index(metric) if metric in _ORDER else len(_ORDER), metric)


class _Curves:
    """Trials' histories as columns: millions of values of thousands of trials take 18 bytes each until the frame."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._lengths: list[int] = []
        self._codes: dict[str, int] = {}
        self._names, self._images, self._values = array("H"), array("q"), array("d")

    def add(self, key: Key, folder: TrialFolder) -> None:
        """The scores and the losses in one trial's history."""
        before = len(self._values)
        for row in folder.history():
            if row["kind"] == "scores":
                values = {name: score["value"] for name, score in row["scores"].items()}
            else:
                values = {name: value for name, value in row.items() if "/" in name}
            for name, value in values.items():
                self._names.append(self._codes.setdefault(name, len(self._codes)))
                self._values.append(math.nan if value is None else value)
            self._images.extend([row["images"]] * len(values))
        self._keys.append(key)
        self._lengths.append(len(self._values) - before)

    def frame(self) -> DataFrame:
        """As `reports.results.CURVES` says."""
        import numpy as np
        import pandas as pd

        from reports.results import CURVES

        recipes, trials, seeds = zip(*self._keys, strict=True) if self._keys else ((), (), ())
        names = np.array(list(self._codes), dtype=object)
        columns = (
            *(np.repeat(np.array(who, dtype=object), self._lengths) for who in (recipes, trials)),
            np.repeat(np.array(seeds, dtype=np.int64), self._lengths),
            np.array(self._images),
            names[np.array(self._names, dtype=np.intp)],
            np.array(self._values),
        )
        return pd.DataFrame(dict(zip(CURVES, columns, strict=True)))


def _commands(paths: Sequence[Path]) -> list[str]:
    """The lines that make these results again, from the specs that the folders keep."""
    made = [
        ("sweep", "run", path / "sweep.yaml", *format_assignments(read_overrides(path)), "--out", f"{path}-again")
        if (path / "sweep.yaml").is_file()
        else ("train", "--config", path / "config.yaml", "--out", f"{path}-again")
        for path in paths
    ]
    return [shlex.join(["ganbench", *map(str, words)]) for words in (*made, ("report", *paths))]

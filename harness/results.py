"""From run folders to the tidy frames that the reports are written from: files alone, offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.errors import UserError
from harness.config import TrialConfig
from harness.labels import recipe_labels
from harness.store import TrialFolder, trial_state
from harness.sweep import search as searches
from harness.sweep.benchmark import Metric
from harness.sweep.folder import load_manifest, trial_folder
from harness.sweep.search import Search
from metrics.catalogue import METRICS, label_for

if TYPE_CHECKING:
    import reports
    from reports import Results

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
        raise UserError(f"{path} holds neither a sweep (manifest.json) nor a trial (config.yaml)")


def collect(paths: Sequence[Path], *, title: str | None = None) -> Results:
    """Everything the reports need, read from the trials' files.

    A trial that has failed, diverged or not been started is a row too: a failure is a result.
    """
    import pandas as pd

    from reports import Grid, Results
    from reports.results import CURVES, SCORES, TRIALS

    everything = find_trials(paths)
    found = [trial for trial in everything if trial.search is None]
    labels = recipe_labels([trial.config for trial in found])
    scores: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    grids: list[Grid] = []
    protocols: dict[str, dict[str, Any]] = {}
    for trial, label in zip(found, labels, strict=True):
        folder, config = trial.folder, trial.config
        key = {"recipe": label, "trial": folder.path.name, "seed": config.seed}
        status = folder.status()
        trials.append({"variant": config.gan.name, **key, **_trial_row(status)})
        for result in (folder.scores() or {"results": []})["results"]:
            protocols[result["protocol_id"]] = result["protocol"]
            scores += _score_rows(key, result)
        curves += _curve_rows(key, folder)
        grids += [
            Grid(recipe=label, seed=config.seed, images=int(picture.stem), path=picture)
            for picture in sorted(folder.samples.glob("*.png"))
        ]
    return Results(
        title=title or ", ".join(path.name for path in paths),
        scores=pd.DataFrame(scores, columns=SCORES),
        trials=pd.DataFrame(trials, columns=TRIALS),
        curves=pd.DataFrame(curves, columns=CURVES),
        grids=grids,
        protocols=protocols,
        commands=_commands(paths),
        search=_searched(everything),
    )


def _searched(trials: Sequence[Found]) -> reports.Search | None:
    """The trials that chose the others' configurations; None where there are none."""
    import pandas as pd

    import reports
    from reports.results import SEARCH

    chose = [(trial, trial.search) for trial in trials if trial.search is not None]
    if not chose:
        return None
    compared = [trial.config for trial in trials if trial.search is None]
    rows, rules = [], []
    for (trial, search), label in zip(chose, recipe_labels([trial.config for trial, _ in chose]), strict=True):
        config, row = trial.config, _trial_row(trial.folder.status())
        rows.append(
            {
                "variant": config.gan.name,
                "settings": label.removeprefix(config.gan.name).strip(),
                "trial": trial.folder.path.name,
                "seed": config.seed,
                **{name: row[name] for name in ("status", "reason", "problems")},
                "value": searches.value(search, trial.folder) if row["status"] == "done" else None,
                "chosen": any(config == other.model_copy(update={"seed": config.seed}) for other in compared),
            }
        )
        rules.append(_rule(search.metric))
    return reports.Search(" or ".join(dict.fromkeys(rules)), pd.DataFrame(rows, columns=SEARCH))


def _rule(metric: Metric | None) -> str:
    assert metric is not None, "a search in phases has a metric"
    which = "best" if metric.name.startswith("best/") else "last"
    label = next((row.label for row in METRICS if row.name == metric.score), metric.score)
    return f"{which} {label} (selection split)"


def _trial_row(status: dict[str, Any]) -> dict[str, Any]:
    parameters = status.get("parameters")
    return {
        "status": trial_state(status),
        "reason": status.get("reason"),
        "problems": status.get("problems", []),
        **{name: status.get(name) for name in ("images", "d_steps", "g_steps", "seconds")},
        "parameters": sum(parameters.values()) if parameters else None,
    }


def _score_rows(key: dict[str, Any], result: dict[str, Any]) -> list[dict[str, Any]]:
    features = result["protocol"]["features"]
    return [
        {
            **key,
            **{name: result[name] for name in ("checkpoint", "weights", "protocol_id")},
            "metric": metric,
            "label": label_for(metric, features),
            **{name: score[name] for name in ("direction", "value", "spread", "reason")},
        }
        for metric, score in sorted(result["scores"].items(), key=lambda item: _place(item[0]))
    ]


def _place(metric: str) -> tuple[int, str]:
    return (_ORDER.index(metric) if metric in _ORDER else len(_ORDER), metric)


def _curve_rows(key: dict[str, Any], folder: TrialFolder) -> Iterator[dict[str, Any]]:
    for row in folder.history():
        if row["kind"] == "scores":
            values = {name: score["value"] for name, score in row["scores"].items()}
        else:
            values = {name: value for name, value in row.items() if "/" in name}
        for name, value in values.items():
            yield {**key, "images": row["images"], "name": name, "value": value}


def _commands(paths: Sequence[Path]) -> list[str]:
    """The lines that make these results again, from the specs that the folders keep."""
    made = [
        f"ganbench sweep run {path / 'sweep.yaml'} --out {path}-again"
        if (path / "sweep.yaml").is_file()
        else f"ganbench train --config {path / 'config.yaml'} --out {path}-again"
        for path in paths
    ]
    return [*made, f"ganbench report {' '.join(map(str, paths))}"]

"""From run folders to the tidy frames that the reports are written from: files alone, offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.errors import UserError
from harness.config import TrialConfig
from harness.labels import recipe_labels
from harness.store import TrialFolder, trial_state
from harness.sweep.folder import load_manifest, trial_folder
from metrics.catalogue import METRICS, label_for

if TYPE_CHECKING:
    from reports import Results

_ORDER = [metric.name for metric in METRICS]


def find_trials(paths: Sequence[Path]) -> list[tuple[TrialFolder, TrialConfig]]:
    """The trials of sweep folders and the trials named themselves; raises `UserError` where there are none."""
    return [trial for path in paths for trial in _trials_of(path)]


def _trials_of(path: Path) -> Iterator[tuple[TrialFolder, TrialConfig]]:
    if not path.is_dir():
        raise UserError(f"no folder at {path}: name a sweep's or a trial's folder")
    if (path / "manifest.json").is_file():
        for key, config in load_manifest(path).trials.items():
            yield trial_folder(path, key), config
    elif (path / "config.yaml").is_file():
        yield TrialFolder(path), TrialFolder(path).config()
    else:
        raise UserError(f"{path} holds neither a sweep (manifest.json) nor a trial (config.yaml)")


def collect(paths: Sequence[Path], *, title: str | None = None) -> Results:
    """Everything the reports need, read from the trials' files.

    A trial that has failed or has not been started is a row too: a failure is a result.
    """
    import pandas as pd

    from reports import Grid, Results
    from reports.results import CURVES, SCORES, TRIALS

    found = find_trials(paths)
    labels = recipe_labels([config for _, config in found])
    scores: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    grids: list[Grid] = []
    protocols: dict[str, dict[str, Any]] = {}
    for (folder, config), label in zip(found, labels, strict=True):
        key = {"recipe": label, "trial": folder.path.name, "seed": config.seed}
        status = folder.status()
        trials.append({**key, **_trial_row(status)})
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
    )


def _trial_row(status: dict[str, Any]) -> dict[str, Any]:
    parameters = status.get("parameters")
    return {
        "status": trial_state(status),
        "reason": status.get("reason"),
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

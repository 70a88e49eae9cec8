from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd

from reports.results import Results
from reports.settings import settings


def with_configs(results: Results, of: Callable[[str, int], object]) -> Results:
    configs = [of(recipe, seed) for recipe, seed in zip(results.trials["recipe"], results.trials["seed"], strict=True)]
    return dataclasses.replace(results, trials=results.trials.assign(config=pd.Series(configs, dtype=object)))


def test_what_is_shared_and_what_differs(make_study: Callable[..., Results]) -> None:
    results = with_configs(
        make_study(["a", "b"], seeds=2),
        lambda recipe, seed: {
            "gan": {"name": recipe, "betas": [0.5, 0.999], **({"clip": 0.01} if recipe == "b" else {})},
            "images": 1000 + seed,
            "ema": True,
            "weights": None,
            "seed": seed,
        },
    )
    found = settings(results, ["a", "b"])
    assert found is not None
    assert found.shared == {"gan.betas": "0.5, 0.999", "images": "1000, 1001", "ema": "true", "weights": "null"}
    assert found.varied == {"gan.name": {"a": "a", "b": "b"}, "gan.clip": {"a": "—", "b": "0.01"}}


def test_without_configurations_there_is_nothing_to_tell(make_study: Callable[..., Results]) -> None:
    results = with_configs(make_study(["a"], seeds=1), lambda *_: None)
    assert settings(results, ["a"]) is None

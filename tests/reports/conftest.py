"""A made-up study with the shape of a real one: recipes × seeds × metrics, curves, grids and a failure."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reports.results import CURVES, SCORES, SEARCH, TRIALS, Grid, Results, Search

METRICS = {
    "fid": ("FID (digits)", "lower", 20.0),
    "kid": ("KID (digits)", "lower", 0.02),
    "is": ("IS (digits)", "higher", 7.0),
    "precision": ("Precision (digits)", "higher", 0.8),
    "recall": ("Recall (digits)", "higher", 0.5),
    "f1": ("F1 (digits)", "higher", 0.6),
}
PROTOCOL = {
    "features": "digits", "weights_sha256": "0f" * 32, "resize": {"kernel": "none", "size": 28},
    "quantisation": "round((x+1)*127.5), clamped", "n_real": 1000, "n_fake": 1000, "k": 3, "ema": True,
}  # fmt: skip


def study(
    recipes: Sequence[str] = ("vanilla", "ns", "lsgan", "wgan", "wgan-gp", "sngan", "ttur", "progressive"),
    seeds: int = 3,
    *,
    failed: Sequence[tuple[str, int]] = (),
    states: Mapping[tuple[str, int], str] | None = None,
    flagged: Sequence[tuple[str, int]] = (),
    protocol_of: Callable[[str, int], str] = lambda recipe, seed: "a1b2c3d4e5f6",
    value: Callable[[str, int, str], float] | None = None,
    grids: Path | None = None,
) -> Results:
    """A study; `value(recipe, seed, metric)` overrides the made-up scores, NaN standing for a failed score.

    `states` are those of the trials that are not done, (recipe, seed) → status; `failed` is short for such. In the
    trials of `flagged`, a collapse was seen.
    """
    ends = {**dict.fromkeys(failed, "failed"), **(states or {})}
    rng = np.random.default_rng(7)
    scores: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    pictures: list[Grid] = []
    for i, recipe in enumerate(recipes):
        for seed in range(seeds):
            trial = f"{i:04d}{seed:04d}"
            who: dict[str, Any] = {"recipe": recipe, "trial": trial, "seed": seed}
            state = ends.get((recipe, seed), "done")
            broke = state != "done"
            problem = {"kind": "collapse", "images": 6_000, "detail": "recall was below 0.01 at 3 looks in a row"}
            trials.append(
                {
                    "variant": recipe.split(" ")[0],
                    **who,
                    "status": state,
                    "reason": "the generator made NaN at step 812" if broke else None,
                    "problems": [problem] if (recipe, seed) in flagged else [],
                    "images": 9_000 if broke else 20_000,
                    "d_steps": 312,
                    "g_steps": 312 // (1 + i % 5),
                    "seconds": 61.4 + 9 * i + seed,
                    "parameters": 1_200_000,
                    "peak_memory_mb": None if broke else 600 + i,
                    "config": {"gan": {"name": recipe, "lr": 1e-4 * (1 + i)}, "data": {"name": "digits"}, "seed": seed},
                }
            )
            for name, (label, direction, scale) in METRICS.items():
                sign = 1 if direction == "lower" else -0.25
                final = scale * (1 + sign * 0.1 * abs(i - 4) + 0.02 * rng.standard_normal())
                score = final if value is None else value(recipe, seed, name)
                row = {**who, "metric": name, "label": label, "direction": direction, "spread": 0.01, "reason": None}
                start = scale * (6 if direction == "lower" else 0.15)
                if not broke:
                    reason = None if np.isfinite(score) else "the covariance is not finite"
                    main = {"checkpoint": "last", "weights": "ema", "protocol_id": protocol_of(recipe, seed)}
                    scores.append({**row, **main, "value": score, "reason": reason})
                    raw = {"checkpoint": "last", "weights": "raw", "protocol_id": "raw"}
                    scores.append({**row, **raw, "value": score * 1.5})
                untrained = {"checkpoint": "untrained", "weights": None, "protocol_id": "untrained"}
                scores.append({**row, **untrained, "value": start * (1 + 0.01 * seed)})
                floor = {"checkpoint": "floor", "weights": None, "protocol_id": "floor"}
                scores.append({**row, **floor, "value": scale * (0.1 if direction == "lower" else 1.2)})
                for images in range(2_000, 9_000 if broke else 20_001, 2_000):
                    progress = 1 - np.exp(-images / 4_000)
                    noisy = (start + (final - start) * progress) * (1 + 0.03 * rng.standard_normal())
                    curves.append({**who, "images": images, "name": name, "value": noisy})
            for images in range(64, 9_000 if broke else 20_000, 64):
                for j, loss in enumerate(("loss/discriminator", "loss/generator")):
                    noisy = (0.7 + 0.4 * j) * (1 + i * 0.3) + 0.1 * rng.standard_normal()
                    curves.append({**who, "images": images, "name": loss, "value": noisy})
            if grids is not None:
                path = grids / f"{trial}.png"
                Image.fromarray(rng.integers(0, 256, (112, 112), dtype=np.uint8)).save(path)
                pictures.append(Grid(recipe, seed, 9_000 if broke else 20_000, path))
    return Results(
        title="Eight recipes on digits",
        scores=pd.DataFrame(scores, columns=list(SCORES)),
        trials=pd.DataFrame(trials, columns=list(TRIALS)),
        curves=pd.DataFrame(curves, columns=list(CURVES)),
        grids=pictures,
        protocols={name: {**PROTOCOL, "n_fake": 1000 + i} for i, name in enumerate(("a1b2c3d4e5f6", "ffff00001111"))},
        commands=["ganbench sweep run sweeps/quick.yaml --out runs/quick", "ganbench report runs/quick"],
    )


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Results]:
    return study


NASTY = [
    "<script>alert(1)</script>", r"50% & $x_1^2$ #{\bf a} ~\input{x}", "[pipe | star*]", "`tick` \"quote\" é α 中",
]  # fmt: skip


@pytest.fixture(scope="session")
def nasty() -> Results:
    """Names that would be markup wherever they are not escaped; the second recipe has a failure."""
    return study(NASTY, failed=[(NASTY[1], 2)])


@pytest.fixture(scope="session")
def searched_study() -> Results:
    """One recipe, and the search that chose it; of the other variant that was searched, nothing has a score."""
    rows = [
        {
            "variant": "wgan", "settings": "lr_generator=0.01", "trial": "t", "seed": 0, "status": "done",
            "reason": None, "problems": [], "value": 3.25, "chosen": True,
        },
        {
            "variant": "a_b", "settings": "", "trial": "u", "seed": 0, "status": "failed",
            "reason": "killed", "problems": [], "value": None, "chosen": False,
        },
    ]  # fmt: skip
    search = Search("best FID (selection split)", pd.DataFrame(rows, columns=list(SEARCH)))
    return dataclasses.replace(study(["wgan"]), search=search)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TOLD = "result-of-the-test"


class Browser:
    """Opens a copy of a page with one script more, and reads what that script found."""

    def __init__(self, index: Path, folder: Path) -> None:
        self._html = index.read_text()
        self._folder = folder

    def run(self, steps: str, *options: str, width: int = 1280) -> tuple[dict[str, Any], str]:
        """What `steps` left in the object `found`, and what the browser's console said."""
        assert CHROMIUM is not None
        script = f"""addEventListener("load", () => {{ const found = {{}}; const $ = (s) => document.querySelector(s);
          const $$ = (s) => [...document.querySelectorAll(s)];
          const fire = (item, kind) => item.dispatchEvent(new Event(kind, {{ bubbles: true }}));
          {steps}
          const pre = document.createElement("pre"); pre.id = "{TOLD}"; pre.textContent = btoa(JSON.stringify(found));
          document.body.append(pre); }});"""
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        html, replaced = re.subn(r"script-src '", f"script-src 'sha256-{digest}' '", self._html)
        assert replaced == 1
        copy = self._folder / "copy.html"
        copy.write_text(html.replace("</body>", f"<script>{script}</script></body>"))
        run = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", f"--window-size={width},900",
             "--enable-logging=stderr", "--virtual-time-budget=5000", f"--user-data-dir={self._folder / 'profile'}",
             *options, "--dump-dom", copy.as_uri()],
            capture_output=True, text=True, timeout=180, check=True,
        )  # fmt: skip
        told = re.search(rf'<pre id="{TOLD}">([^<]*)</pre>', run.stdout)
        assert told, run.stdout[-500:]
        console = "\n".join(line for line in run.stderr.splitlines() if "CONSOLE" in line)
        found: dict[str, Any] = json.loads(base64.b64decode(told[1]))
        return found, console


@pytest.fixture(scope="session")
def open_page() -> Callable[[Path, Path], Browser]:
    """A real browser for the page at a path, with a folder of its own."""
    if CHROMIUM is None:
        pytest.skip("no chromium, chromium-browser or google-chrome")
    return Browser

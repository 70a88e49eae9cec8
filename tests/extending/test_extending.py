"""docs/extending.md's package, installed as anybody would install it, and tried through the command line."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).with_name("ganbench-example")
TEXT = (ROOT / "docs" / "extending.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_pages_blocks_are_the_packages_files():
    shown = dict(re.findall(r"^`([\w./]+)`\n\n```(?:toml|python)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
    files = {
        str(path.relative_to(PACKAGE)): path.read_text()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert shown == files


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a Python that has the package installed in a folder of its own; no network is used."""
    folder = tmp_path_factory.mktemp("extending")
    source, target = folder / "source", folder / "site"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))  # building writes beside the sources
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--no-input"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", str(target), str(source)]
    subprocess.run(pip, check=True, timeout=120, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"})
    path = [str(target), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "GANBENCH_CACHE": str(folder / "cache")}


DRIVER = """
import contextlib, io, json, shlex, sys
from harness import cli

said = []
for command in json.loads(sys.argv[1]):
    sys.argv = shlex.split(command)
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        cli.main()
    said.append(text.getvalue())
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def ganbench(installed, tmp_path_factory):
    """What commands print, one after the other in one process that has the package: it is imported once."""
    place = tmp_path_factory.mktemp("place")

    def run(*commands: str, **settings: str) -> list[str]:
        ended = subprocess.run(
            [sys.executable, "-c", DRIVER, json.dumps(commands)],
            cwd=place,
            env={**installed, **settings},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert ended.returncode == 0, ended
        assert "ganbench:" not in ended.stderr, ended.stderr
        return json.loads(ended.stdout)

    run.place = place
    return run


@pytest.mark.slow
def test_its_names_are_listed_and_its_sweep_is_understood(ganbench):
    (spec,) = blocks("yaml")
    (ganbench.place / "mine.yaml").write_text(spec)
    names = {"gans": "chi2-gan", "networks": "skip-mlp", "datasets": "spirals", "metrics": "energy"}
    *lists, planned = ganbench(*(f"ganbench list {what}" for what in names), "ganbench sweep run mine.yaml --dry-run")
    assert [text.splitlines()[-1].split() for text in lists] == [
        [name, "from", "ganbench-example"] for name in names.values()
    ]
    assert "chi2-gan" in planned
    assert "wgan-gp" in planned


@pytest.mark.slow
def test_it_passes_every_check_as_the_page_shows(ganbench):
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("ganbench check ")]
    (shown,) = blocks("text")
    *said, found = ganbench(*commands)
    lines = [line.split(" – ")[0] for text in said for line in text.splitlines()]
    lines += [f"ok      metric energy: {finding['check']}" for finding in json.loads(found)["checks"] if finding["ok"]]
    assert lines == shown.splitlines()


@pytest.mark.slow
def test_its_parts_are_trained_scored_and_reported_together(ganbench):
    (use,) = (block for block in blocks("sh") if "ganbench train" in block)
    train, evaluate, report = use.splitlines()
    small = "--images 512 --wandb disabled evaluation.n_fake=64"
    trained, scored, reported, told = ganbench(
        train.replace("--images 200000", small),
        f"{evaluate} -n 200 --json",
        report,
        f"ganbench train --gan projection --network skip-mlp --dataset spirals {small} evaluation.metrics=[energy]",
    )
    assert "Energy distance (identity)" in trained
    assert "Energy distance (identity)" in told
    scores = json.loads(scored)
    assert scores["protocol"]["dataset"] == "spirals"
    assert scores["scores"]["energy"]["value"] > scores["floor"]["scores"]["energy"]["value"]
    config = (ganbench.place / "runs/mine/config.yaml").read_text()
    assert "name: chi2-gan" in config
    assert "network: skip-mlp" in config
    assert "Energy distance" in reported
    (elsewhere,) = ganbench("ganbench report runs/mine --out elsewhere", PYTHONPATH=str(ROOT))
    assert "energy (identity)" in elsewhere


def example(name: str) -> ModuleType:
    """A module of the package, which is not installed here."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", PACKAGE / "ganbench_example" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_energy_distance_of_two_points_each_is_what_paper_and_pencil_say():
    real, fake = (SimpleNamespace(features=np.array(side, np.float32)[:, None]) for side in ([0, 1], [3, 5]))
    between, within = (3 + 5 + 2 + 4) / 4, (1, 2)
    assert example("energy").energy(SimpleNamespace(real=real, fake=fake)) == pytest.approx(2 * between - sum(within))
    alone = SimpleNamespace(features=fake.features[:1])
    assert math.isnan(example("energy").energy(SimpleNamespace(real=real, fake=alone)))


def test_the_chi2_loss_of_the_optimal_discriminator_is_minus_the_divergence():
    """Two laws on two points, p = (¾, ¼) and q = (½, ½): D* = 2(p/q − 1) = (1, −1), and χ² = Σ(p−q)²/q = ¼."""
    losses = example("chi2_gan").PearsonChi2()
    best = torch.tensor([1.0, -1.0], requires_grad=True)
    real, fake = best[[0, 0, 0, 1]], best[[0, 1]]
    loss = losses.discriminator_loss(real, fake)
    loss.backward()
    assert loss.item() == pytest.approx(-0.25)
    assert best.grad.abs().max() == 0
    assert losses.generator_loss(fake).item() == 0

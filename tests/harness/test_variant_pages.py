"""The variants' pages (docs/variants) say what the catalogue, the games and the command line say."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer.main
from PIL import Image

import gans
from gans.catalogue import PRESETS
from gans.recipe import Recipe
from harness.cli import app
from harness.config import resolve
from harness.config_text import parse_assignments
from harness.data.sampler import RoundLoader, Sampler
from harness.trial.trainer import lean_trainer

PAGES = Path(__file__).parents[2] / "docs" / "variants"


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text()


def said(recipe: Recipe, option: str) -> str:
    return "–" if option in recipe.idle() else json.dumps(getattr(recipe, option)).strip('"')


def test_every_variant_has_its_page_and_no_page_is_left_over():
    assert {path.stem for path in PAGES.glob("*.md")} == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_of_presets_is_the_catalogues(name):
    author, common = PRESETS[name]["author"], PRESETS[name]["common"]
    rows = re.findall(r"^\| `gan\.(\w+)` \| (.+) \| (.+) \|$", page(name), re.MULTILINE)
    assert rows == [(option, said(author, option), said(common, option)) for option, _, _ in rows]
    plain = Recipe()
    unusual = {
        option
        for option in Recipe.model_fields
        for recipe in (author, common)
        if option not in recipe.idle() and getattr(recipe, option) != getattr(plain, option)
    }
    assert unusual <= {option for option, _, _ in rows}


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_logged_is_what_the_page_lists(name):
    logged = set()
    for preset in PRESETS[name]:
        small = {"width": 4, "latent_dim": 4, "batch_size": 4}
        small |= dict.fromkeys(("generator_batch", "generator_width", "width_at"))
        gan = gans.build(name, preset=preset, image_shape=(1, 8, 8), classes=2, **small)
        labels = np.arange(40) % 2 if gan.condition.classes else None
        sampler = Sampler(np.zeros((40, 1, 8, 8), np.uint8), batch_size=4, seed=0, labels=labels)
        loader = RoundLoader(sampler, n_critic=gan.recipe.n_critic, plan=[range(1)])
        lean_trainer(device="cpu").fit(gan, loader)
        logged |= {value for record in gan.drain() for value in record.values}
    section = page(name).split("## What is logged")[1].split("\n## ")[0]
    assert set(re.findall(r"`((?:loss|health)/\w+)`", section)) == logged


@pytest.mark.parametrize("name", PRESETS)
def test_a_pages_commands_make_trials_of_both_presets(name):
    command = typer.main.get_command(app).commands["train"]
    presets = set()
    (block,) = re.findall(r"^```sh\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        options = command.make_context(line, shlex.split(line)[2:]).params
        given = {key: options[key] for key in ("gan", "network", "dataset", "images") if options[key] is not None}
        config = resolve({**given, **parse_assignments(options["assignments"] or [])})
        presets.add(config.gan.preset)
    assert presets == {"author", "common"}


def test_the_curves_are_drawn_from_folders(trained, tiny, train, tmp_path):
    metrics = {"evaluation.metrics": ["fid", "high_quality"]}
    train(tiny("vanilla", "ring8", **metrics), tmp_path / "ring")
    script = runpy.run_path(str(PAGES / "curves.py"))
    assert script["main"](trained, tmp_path / "ring", tmp_path) == [tmp_path / "vanilla.png"]
    with Image.open(tmp_path / "vanilla.png") as picture:
        assert picture.width > picture.height > 200


@pytest.mark.parametrize("name", PRESETS)
def test_the_curve_is_shown_and_small(name):
    assert f"]({name}.png)" in page(name)
    assert (PAGES / f"{name}.png").stat().st_size < 60_000

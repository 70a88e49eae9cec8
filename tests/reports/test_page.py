"""The page in a real browser: what its script does, under the page's own rules for scripts."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reports
from reports.results import Grid, Results

Make = Callable[..., Results]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome")
NASTY = "<script>alert('x')</script> & \"q\""
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


@pytest.fixture(scope="module")
def browser(make_study: Make, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    folder = tmp_path_factory.mktemp("page")
    made = make_study(["wgan-gp", NASTY, "bad"], failed=[("bad", 2)], grids=folder)
    early = []
    for grid in made.grids:
        path = folder / f"early-{grid.path.name}"
        Image.fromarray(np.zeros((112, 112), dtype=np.uint8)).save(path)
        early.append(Grid(grid.recipe, grid.seed, 0, path))
    index = reports.write(dataclasses.replace(made, grids=[*made.grids, *early]), folder / "report")
    return Browser(index, folder)


def test_nothing_is_wrong_in_the_console_and_all_is_laid_out(browser: Browser) -> None:
    found, console = browser.run(
        """found.pictures = document.images.length && $$("img").every((image) => image.naturalWidth === 112);
        found.figures = Math.min(...$$("figure svg").map((svg) => svg.getBoundingClientRect().width));
        found.overflow = document.documentElement.scrollWidth - innerWidth;
        found.controls = $$("[data-script]").every((item) => !item.hidden);
        found.names = $$("th").filter((head) => head.textContent.includes("<script>alert")).length;""",
        width=500,
    )
    assert console == ""
    assert found["pictures"]
    assert found["figures"] > 200
    assert found["overflow"] <= 0  # wide things scroll in their own boxes
    assert found["controls"]
    assert found["names"] >= 2  # the name is text, in the table and beside the samples


def test_a_column_sorts_both_ways_with_missing_values_last(browser: Browser) -> None:
    found, console = browser.run(
        """const head = $$("table.scores thead th")[2]; const button = head.querySelector("button");
        const column = () => $$("table.scores tbody:first-of-type tr").map((row) => row.cells[2].dataset.value);
        button.click(); found.rising = column(); found.first = head.getAttribute("aria-sort");
        button.click(); found.falling = column(); found.second = head.getAttribute("aria-sort");
        found.references = $$("table.scores tbody.references tr").length;
        $$("table.scores thead th")[0].querySelector("button").click();
        found.names = $$("table.scores tbody:first-of-type tr").map((row) => row.cells[0].textContent);
        found.tabbable = button.tabIndex;"""
    )
    assert console == ""
    rising = [float(value) for value in found["rising"]]
    assert rising == sorted(rising)
    assert [float(value) for value in found["falling"]] == rising[::-1]
    assert (found["first"], found["second"], found["tabbable"]) == ("ascending", "descending", 0)
    assert found["references"] == 2
    assert found["names"][0] == NASTY


def test_chips_and_search_hide_a_recipe_everywhere(browser: Browser) -> None:
    found, console = browser.run(
        """const seen = (s) => $$(s).filter((item) => getComputedStyle(item).display !== "none").length;
        const state = () => ({ rows: seen("table.scores tbody:first-of-type tr"), pictures: seen(".samples tbody tr"),
          lines: seen("svg .recipe-0") > 0, others: seen("svg .recipe-1") > 0, says: $("#found").textContent });
        found.before = state();
        const chip = $$(".chip input")[0]; chip.click(); found.chip = state(); found.name = chip.value;
        $("#everything").click(); found.again = state();
        $("#search").value = "BAD"; fire($("#search"), "input"); found.search = state();"""
    )
    assert console == ""
    assert found["name"] == "wgan-gp"
    everything = {"rows": 3, "pictures": 3, "lines": True, "others": True, "says": ""}
    assert found["before"] == found["again"] == everything
    assert found["chip"] == {"rows": 2, "pictures": 2, "lines": False, "others": True, "says": "2 of 3 recipes"}
    assert found["search"] == {"rows": 1, "pictures": 1, "lines": False, "others": False, "says": "1 of 3 recipes"}


def test_the_slider_shows_earlier_samples(browser: Browser) -> None:
    found, console = browser.run(
        """const slider = $("#time"); const image = $(".samples img");
        found.last = [slider.max, slider.value, image.src, image.nextElementSibling.textContent];
        slider.value = 0; fire(slider, "input");
        found.first = [image.src, image.nextElementSibling.textContent, $("#shown-at").textContent];
        found.spoken = slider.getAttribute("aria-valuetext");
        slider.value = slider.max; fire(slider, "input"); found.back = image.src;"""
    )
    assert console == ""
    top, value, source, words = found["last"]
    assert (top, value, words) == ("2", "2", "after 20,000 images")  # at 0, at 9,000 where one failed, and at 20,000
    assert found["first"][0] != source == found["back"]
    assert found["first"][1:] == ["after 0 images", "after 0 images"]
    assert found["spoken"] == "after 0 images"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_chosen(browser: Browser, scheme: str) -> None:
    number = {"dark": 0, "light": 1}[scheme]
    found, console = browser.run(
        """const paper = () => getComputedStyle(document.body).backgroundColor; const button = $("#theme");
        const strokes = () => $$("svg .recipe-0 path").map((path) => getComputedStyle(path).stroke);
        const line = () => strokes().find((stroke) => stroke !== "none");
        found.auto = [paper(), button.textContent]; found.line = line();
        button.click(); found.light = [paper(), button.textContent];
        button.click(); found.dark = [paper(), button.textContent]; found.night = line();
        button.click(); found.again = button.textContent;""",
        f"--blink-settings=preferredColorScheme={number}",
    )
    assert console == ""
    assert found["auto"][0] == found[scheme][0]
    assert found["light"][0] != found["dark"][0]
    assert [found[name][1] for name in ("auto", "light", "dark")] == ["Theme: auto", "Theme: light", "Theme: dark"]
    assert found["again"] == "Theme: auto"
    assert (found["line"] == found["night"]) == (scheme == "dark")  # lines have colours for either paper


def test_printing_opens_what_is_folded(browser: Browser) -> None:
    found, _ = browser.run("""fire(window, "beforeprint"); found.open = $$("details").every((box) => box.open);""")
    assert found["open"]

"""The page in a real browser: what its script does, under the page's own rules for scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reports
from reports.results import Grid, Results

Make = Callable[..., Results]
Open = Callable[[Path, Path], Any]
NASTY = "<script>alert('x')</script> & \"q\""


@pytest.fixture(scope="module")
def browser(make_study: Make, open_page: Open, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("page")
    made = make_study(["wgan-gp", NASTY, "bad"], failed=[("bad", 2)], grids=folder)
    early = []
    for grid in made.grids:
        path = folder / f"early-{grid.path.name}"
        Image.fromarray(np.zeros((112, 112), dtype=np.uint8)).save(path)
        early.append(Grid(grid.recipe, grid.seed, 0, path))
    index = reports.write(dataclasses.replace(made, grids=[*made.grids, *early]), folder / "report")
    return open_page(index, folder)


def test_nothing_is_wrong_in_the_console_and_all_is_laid_out(browser: Any) -> None:
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


def test_a_column_sorts_both_ways_with_missing_values_last(browser: Any) -> None:
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


def test_chips_and_search_hide_a_recipe_everywhere(browser: Any) -> None:
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


def test_the_slider_shows_earlier_samples(browser: Any) -> None:
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
def test_the_theme_follows_the_system_until_it_is_chosen(browser: Any, scheme: str) -> None:
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


def test_printing_opens_what_is_folded(browser: Any) -> None:
    found, _ = browser.run("""fire(window, "beforeprint"); found.open = $$("details").every((box) => box.open);""")
    assert found["open"]

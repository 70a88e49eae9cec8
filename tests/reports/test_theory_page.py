"""A page of theory: its numbers, its bytes, and itself in a real browser."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ganbench.errors import UserError
from reports.bench import CURVES, Bench, Deviation, Plot, deviations, table, verdict
from reports.figures.theory import bands, draw
from reports.theory import to_text, write

Open = Callable[[Path, Path], Any]
NASTY = "<script>alert('x')</script> & \"q\""
PLOTS = (
    Plot("height", "Height", "x", "h", "How high.", log_x=True),
    Plot("ratio", "Ratio", "x", "r", "How much.", error="relative", log_y=True),
    Plot("limit", "Limit", "x", "b", "How near.", error="bound"),
    Plot("way", "Way", "u", "v", "Where.", error="none", path=True),
    Plot("free", "Free", "x", "y", "No closed form.", error="none"),
)


def bench(seeds: int = 3, planned: int | None = None) -> Bench:
    rows: list[tuple[str, str, int, float, float, float]] = []
    for seed in range(seeds):
        for x in (1.0, 10.0, 100.0):
            rows += [
                ("height", NASTY, seed, x, x + 0.01 * (seed + 1) * x, x),
                ("ratio", "r", seed, x, 1.1 * x, x),
                ("limit", "b", seed, x, 0.5, x),
                ("free", "f", seed, x, x, math.nan),
                ("way", "w", seed, 1 / x, x / 100, math.nan),
            ]
    return Bench(
        title=f"A title {NASTY}",
        claims=("h = x",),
        plots=PLOTS,
        curves=pd.DataFrame(rows, columns=list(CURVES)),
        seeds=planned or seeds,
        parameters={"steps": 3},
        commands=(f"ganbench sweep run {NASTY}",),
        environment={"torch": "2"},
    )


def test_deviations_are_what_their_plot_says() -> None:
    height, ratio, limit = deviations(bench())
    assert (height.largest, height.at, height.points) == (pytest.approx(3.0), 100.0, 3)
    assert height.mean.point == pytest.approx((1 + 2 + 3) / 3)
    assert height.mean.low is not None
    assert ratio.largest == pytest.approx(0.1)
    assert (limit.largest, limit.at) == (0.5, 1.0)
    assert [line[0].text for line in table(deviations(bench())).rows] == [NASTY, "r", "b"]
    told = verdict(deviations(bench()))
    assert told[1] == "Ratio: off by at most 0.1 of the closed form (r; on average 0.1 ± 0, n = 3 seeds)."
    assert "Limit: at most 0.5 of the bound is used" in to_text(bench())


def test_below_three_seeds_there_is_no_interval() -> None:
    assert deviations(bench(2))[0].mean.low is None
    assert "n = 2 seeds" in verdict(deviations(bench(2)))[0]
    assert "n = 1 seed)" in verdict(deviations(bench(1)))[0]


def test_everything_is_written_and_the_same_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(bench(), tmp_path / name)
    first, second = (
        {path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("a", "b")
    )
    assert first == second
    figures = {f"figures/{plot.name}.{ending}" for plot in PLOTS for ending in ("svg", "png", "pdf", "csv")}
    assert set(first) == {"index.html", *(f"table.{ending}" for ending in ("md", "tex", "csv", "json")), *figures}
    html = first["index.html"].decode()
    assert "alert('x')</script>" not in html
    assert not re.search(r"url\((?!#)|@import|src=\"(?!data:)", html)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    facts = json.loads(first["table.json"])
    assert [row["plot"] for row in facts["curves"]] == ["height", "ratio", "limit"]
    assert "<script>" not in first["table.md"].decode()
    assert r"\begin{table*}" in first["table.tex"].decode()


def test_a_logarithmic_plot_without_a_positive_value_is_drawn() -> None:
    good = bench()
    curves = good.curves[good.curves["plot"] == "ratio"].assign(measured=0.0, closed=math.nan)
    [drawing] = draw(dataclasses.replace(good, curves=curves))
    assert drawing.name == "ratio"
    assert (drawing.data["mean"] == 0).all()


def test_a_seed_that_was_measured_twice_counts_once() -> None:
    good = bench(2)
    twice = dataclasses.replace(good, curves=pd.concat([good.curves, good.curves], ignore_index=True))
    for one in (good, twice):
        table_of = bands(one.curves[one.curves["plot"] == "height"])
        assert set(table_of["n"]) == {2}
        assert table_of["low"].isna().all()
        assert table_of["mean"].tolist() == pytest.approx([1.015, 10.15, 101.5])
        assert [(found.points, found.mean.n) for found in deviations(one)] == [(3, 2)] * 3


def test_a_page_works_its_deviations_out_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def counted(one: Bench) -> list[Deviation]:
        asked.append(one)
        return deviations(one)

    monkeypatch.setattr("reports.theory.deviations", counted)
    write(bench(), tmp_path)
    assert len(asked) == 1


def test_words_of_the_errors_are_sorted_as_words(tmp_path: Path) -> None:
    html = write(bench(), tmp_path).read_text()
    assert re.findall(r'data-sort="(\w+)"', html) == ["text"] * 3 + ["number"] * 5


def test_seeds_that_are_missing_are_told(tmp_path: Path) -> None:
    assert "2 not measured yet" in write(bench(3, planned=5), tmp_path).read_text()


def test_a_frame_that_cannot_be_drawn_is_refused() -> None:
    good = bench()
    for curves, message in (
        (good.curves.head(0), "no seed was measured"),
        (good.curves.drop(columns="closed"), "closed"),
        (good.curves.replace("free", "other"), "'other' belong to no plot"),
    ):
        with pytest.raises(UserError, match=message):
            Bench("t", (), PLOTS, curves, 3)


def test_in_a_browser_nothing_is_wrong_and_the_table_sorts(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write(bench(), tmp_path / "report"), tmp_path)
    found, console = page.run(
        """found.figures = $$("figure svg").map((svg) => svg.getBoundingClientRect().width);
        found.overflow = document.documentElement.scrollWidth - innerWidth;
        found.controls = $$("[data-script]").every((item) => !item.hidden);
        const head = $$("table.errors thead th")[4]; head.querySelector("button").click();
        found.sorted = $$("table.errors tbody tr").map((row) => Number(row.cells[4].dataset.value));
        const paper = () => getComputedStyle(document.body).backgroundColor; const button = $("#theme");
        button.click(); found.light = paper(); button.click(); found.dark = paper();
        found.title = $("h1").textContent;""",
        width=500,
    )
    assert console == ""
    assert len(found["figures"]) == 5
    assert min(found["figures"]) > 200
    assert found["overflow"] <= 0
    assert found["controls"]
    assert found["sorted"] == sorted(found["sorted"])
    assert found["light"] != found["dark"]
    assert found["title"] == f"A title {NASTY}"

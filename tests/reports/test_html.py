from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import reports
from ganbench.errors import UserError
from reports.results import Grid, Results

Make = Callable[..., Results]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCRIPT = "<script>alert('x')</script> & \"q\""


class Page(HTMLParser):
    """Tags with attributes, and the text outside style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def results(make_study: Make, tmp_path_factory: pytest.TempPathFactory) -> Results:
    grids = tmp_path_factory.mktemp("grids")
    made = make_study(
        ["wgan-gp", SCRIPT, "bad"],
        failed=[("bad", 0), ("bad", 1)],
        states={("bad", 2): "diverged"},
        flagged=[(SCRIPT, 1)],
        grids=grids,
    )
    early = Grid("wgan-gp", 0, 500, grids / "absent.png")  # an earlier grid is not shown, so not even read
    return dataclasses.replace(made, grids=[*made.grids, early])


@pytest.fixture(scope="module")
def index(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reports.write(results, tmp_path_factory.mktemp("report"))


def test_everything_is_written(index: Path) -> None:
    assert index.name == "index.html"
    names = {path.relative_to(index.parent).as_posix() for path in index.parent.rglob("*") if path.is_file()}
    figures = {f"scores-{name}" for name in ("fid", "kid", "is", "precision", "recall", "f1")} | {"losses"}
    files = {f"figures/{name}.{ending}" for name in figures for ending in ("svg", "png", "csv")}
    assert names == {"index.html", "table.md", "table.tex", "table.csv", *files}


def test_names_stay_text_and_nothing_is_loaded_from_elsewhere(index: Path) -> None:
    html = index.read_text()
    page = Page(html)
    assert page.count("script") == page.count("link") == page.count("iframe") == 0
    assert SCRIPT in page.text
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_ids_are_unique_and_references_resolve(index: Path) -> None:
    html = index.read_text()
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', html)) <= set(ids)


def test_the_page_tells_verdict_failures_protocol_and_commands(index: Path) -> None:
    text = " ".join(Page(index.read_text()).text.split())
    for expected in (
        "has the best mean of 2 recipes",
        "3 of 9 trials failed or diverged and count in no mean: bad 3 of 3.",
        "bad, seed 1, failed: the generator made NaN at step 812",
        "3/3 (44–100 %)",
        "Protocol a1b2c3d4e5f6",
        "ganbench sweep run sweeps/quick.yaml --out runs/quick",
        "untrained generator",
        "after 9,000 images, then failed",
        "after 9,000 images, then diverged",
    ):
        assert expected in text


def test_the_same_results_give_the_same_bytes(results: Results, index: Path, tmp_path: Path) -> None:
    reports.write(results, tmp_path)
    first = {p.relative_to(index.parent): p.read_bytes() for p in index.parent.rglob("*") if p.is_file()}
    second = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert first == second


def test_a_report_without_curves_grids_or_scores_is_still_a_page(make_study: Make, tmp_path: Path) -> None:
    made = make_study(["a"], seeds=1, failed=[("a", 0)])
    bare = dataclasses.replace(
        made, scores=made.scores.head(0), curves=made.curves.head(0), protocols={}, commands=[], grids=[]
    )
    text = Page(reports.write(bare, tmp_path).read_text()).text
    assert "nothing to compare" in text
    assert "0 of 1" in text


def test_a_grid_that_is_no_picture_is_named(results: Results, tmp_path: Path) -> None:
    (tmp_path / "odd.png").write_bytes(b"not a picture")
    for name in ("odd.png", "absent.png"):
        broken = dataclasses.replace(results, grids=[Grid("bad", 0, 1, tmp_path / name)])
        with pytest.raises(UserError, match=name):
            reports.write(broken, tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome: the page is not rendered")
def test_a_browser_shows_table_figures_and_pictures(results: Results, index: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    # the page itself forbids scripts; a copy without that rule carries one that reports what was laid out
    probe = """<script>addEventListener("load", () => { const d = document.documentElement.dataset;
      const sizes = s => [...document.querySelectorAll(s)].map(e => Math.round(e.getBoundingClientRect().width));
      d.pictures = [...document.images].map(e => e.naturalWidth).join(); d.figures = sizes("figure svg").join();
      d.rows = document.querySelectorAll("table.scores tbody tr").length;
      d.overflow = document.documentElement.scrollWidth - innerWidth; })</script></body>"""
    html, replaced = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n', "", index.read_text())
    assert replaced == 1
    copy = tmp_path / "copy.html"
    copy.write_text(html.replace("</body>", probe))
    run = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=600,900",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", copy.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    shown = dict(re.findall(r'data-(\w+)="([^"]*)"', run.stdout[:2000]))
    assert shown["pictures"] == ",".join(["112"] * 9)
    assert all(int(width) > 200 for width in shown["figures"].split(","))
    assert shown["figures"].count(",") == 6
    assert shown["rows"] == "5"
    assert int(shown["overflow"]) <= 0  # wide things scroll in their own boxes


def test_importing_reports_loads_nothing_heavy() -> None:
    code = "import reports, sys; print(*{'numpy', 'pandas', 'matplotlib', 'scipy', 'jinja2'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_every_exported_name_is_there() -> None:
    assert all(hasattr(reports, name) for name in reports.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = reports.nonsense

from __future__ import annotations

import dataclasses
import re
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
SCRIPT = "<script>alert('x')</script> & \"q\""
FIGURES = {
    *(f"scores-{name}" for name in ("fid", "kid", "is", "precision", "recall", "f1")),
    "precision-recall", "checkpoints", "budget", "profile", "losses",
}  # fmt: skip


class Page(HTMLParser):
    """Tags with attributes, and the text outside style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def results(make_study: Make, tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make_study(
        ["wgan-gp", SCRIPT, "bad"],
        failed=[("bad", 0), ("bad", 1)],
        states={("bad", 2): "diverged"},
        flagged=[(SCRIPT, 1)],
        grids=tmp_path_factory.mktemp("grids"),
    )
    return dataclasses.replace(
        made, environment={"torch": ["2.15.0"], "device": ["x86_64", SCRIPT]}, gallery=made.grids[:1]
    )


@pytest.fixture(scope="module")
def index(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reports.write(results, tmp_path_factory.mktemp("report"))


def test_everything_is_written(index: Path) -> None:
    assert index.name == "index.html"
    names = {path.relative_to(index.parent).as_posix() for path in index.parent.rglob("*") if path.is_file()}
    files = {f"figures/{name}.{ending}" for name in FIGURES for ending in ("svg", "png", "pdf", "csv")}
    data = {f"data/{name}" for name in ("scores.csv", "trials.csv", "about.json")}
    assert names == {"index.html", *(f"table.{ending}" for ending in ("md", "tex", "csv", "json")), *data, *files}


def test_names_stay_text_and_nothing_is_loaded_from_elsewhere(index: Path) -> None:
    html = index.read_text()
    page = Page(html)
    assert page.count("link") == page.count("iframe") == 0
    assert [attributes.get("type") for tag, attributes in page.tags if tag == "script"] == ["application/json", None]
    assert "alert('x')" not in "".join(re.findall(r"<script.*?</script>", html, flags=re.DOTALL))
    assert SCRIPT in page.text
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_only_the_pages_own_script_may_run(index: Path) -> None:
    html = index.read_text()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-")
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")


def test_ids_are_unique_and_references_resolve(index: Path) -> None:
    html = index.read_text()
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', html)) <= set(ids)


def test_the_page_tells_everything_without_its_script(index: Path) -> None:
    html = index.read_text()
    text = " ".join(Page(html).text.split())
    for expected in (
        "3 recipes · 9 trials · 3 training seeds · 20,000 images a trial",
        "has the best mean of 2 recipes",
        "bad, seeds 0, 1, failed: the generator made NaN at step 812",
        "bad, seed 2, diverged: the generator made NaN at step 812",
        "3/3 (44–100 %)",
        "Protocol a1b2c3d4e5f6",
        "ganbench sweep run sweeps/quick.yaml --out runs/quick",
        "untrained generator",
        "after 9,000 images, then failed",
        "after 9,000 images, then diverged",
        "Nearest training images",
        f"x86_64 · {SCRIPT}",
        "What they share: 1 setting",
        "Where the recipes differ",
    ):
        assert expected in text, expected
    assert html.count("data-script hidden") == len(re.findall("data-script", html)) - 1  # the script names it once
    assert "<img src=" in html


def test_the_same_results_give_the_same_bytes(results: Results, index: Path, tmp_path: Path) -> None:
    reports.write(results, tmp_path)
    first = {p.relative_to(index.parent): p.read_bytes() for p in index.parent.rglob("*") if p.is_file()}
    second = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert first == second


def test_a_report_without_curves_grids_or_scores_is_still_a_page(make_study: Make, tmp_path: Path) -> None:
    made = make_study(["a"], seeds=1, failed=[("a", 0)])
    bare = dataclasses.replace(
        made, scores=made.scores.head(0), curves=made.curves.head(0), protocols={}, commands=[], grids=[],
        trials=made.trials.assign(config=None),
    )  # fmt: skip
    text = Page(reports.write(bare, tmp_path).read_text()).text
    assert "othing to compare" in text
    assert "0 of 1" in text
    assert not any(words in text for words in ("Scores over the budget", "Training health", "Configuration", "Samples"))


def test_mixed_protocols_are_told_apart(make_study: Make, tmp_path: Path) -> None:
    made = make_study(["a", "b"], seeds=1, protocol_of=lambda r, _: {"a": "a1b2c3d4e5f6", "b": "ffff00001111"}[r])
    html = reports.write(made, tmp_path).read_text()
    text = " ".join(Page(html).text.split())
    assert "2 protocols, not comparable" in text
    assert html.count('<table class="scores">') == 2


def test_failures_without_end_are_folded(make_study: Make, tmp_path: Path) -> None:
    recipes = [f"r{i}" for i in range(25)]
    made = make_study(recipes, seeds=1, failed=[(recipe, 0) for recipe in recipes])
    html = reports.write(dataclasses.replace(made, curves=made.curves.head(0)), tmp_path).read_text()
    assert "<summary>5 more</summary>" in html
    assert "r24, seed 0" in Page(html).text


def test_a_grid_that_is_no_picture_is_named(results: Results, tmp_path: Path) -> None:
    (tmp_path / "odd.png").write_bytes(b"not a picture")
    bare = dataclasses.replace(results, curves=results.curves.head(0))
    for name in ("odd.png", "absent.png"):
        broken = dataclasses.replace(bare, grids=[Grid("bad", 0, 1, tmp_path / name)])
        with pytest.raises(UserError, match=name):
            reports.write(broken, tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["many seeds", "many recipes"])
def test_two_thousand_trials_make_a_page_that_opens(make_study: Make, tmp_path: Path, shape: str) -> None:
    """Their time and memory stand in docs/report.md; here, that the page stays small and says what it leaves out."""
    made = make_study(seeds=250) if shape == "many seeds" else make_study([f"r{i}" for i in range(2000)], seeds=1)
    some = made.curves[made.curves["images"] % 640 == 0]
    html = reports.write(dataclasses.replace(made, curves=some), tmp_path).read_text()
    assert len(html.encode()) < 15_000_000
    assert "2,000 trials" in html
    assert ("12 best of 2,000 recipes" in html) == (shape == "many recipes")
    assert ("1,988 recipes that the figures leave out" in html) == (shape == "many recipes")


def test_importing_reports_loads_nothing_heavy() -> None:
    code = "import reports, sys; print(*{'numpy', 'pandas', 'matplotlib', 'scipy', 'jinja2'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_every_exported_name_is_there() -> None:
    assert all(hasattr(reports, name) for name in reports.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = reports.nonsense

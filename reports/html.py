"""The report as one self-contained page beside its tables and figures: no script, nothing from the network."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ganbench.errors import UserError
from ganbench.files import write_text
from reports.figures import INK, Drawing, Style, draw, save, styles
from reports.ranking import Comparison, comparison
from reports.results import Grid, Results
from reports.sentences import verdict
from reports.tables import endings, headers, protocol_words, searching, texts, to_csv, to_latex, to_markdown


@dataclass(frozen=True)
class Picture:
    """A PNG inside the page: data URI, width and height in pixels."""

    uri: str
    width: int
    height: int
    images: int


def write(results: Results, folder: Path) -> Path:
    """Write index.html, table.{md,tex,csv} and figures/ to `folder`; returns the path of index.html.

    The same results give the same bytes. Raises `UserError` for a sample grid that is missing or no PNG, and
    `OSError` as the file system gives it.
    """
    folder = Path(folder)
    compared = comparison(results)
    drawings = draw(results, compared)
    page = render(results, compared, drawings)
    for name, text in (
        ("table.md", to_markdown(compared)),
        ("table.tex", to_latex(compared)),
        ("table.csv", to_csv(compared)),
    ):
        write_text(folder / name, text)
    save(drawings, folder / "figures")
    index = folder / "index.html"
    write_text(index, page)
    return index


def render(results: Results, compared: Comparison, drawings: Sequence[Drawing]) -> str:
    """The page as text; every name in it is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    last: dict[tuple[str, int], Grid] = {}
    for grid in sorted(results.grids, key=lambda grid: grid.images):
        last[grid.recipe, grid.seed] = grid
    early = results.trials[results.trials["status"].isin(["failed", "diverged", "pruned"])]
    return environment.get_template("index.html.j2").render(
        title=results.title,
        verdict=verdict(compared),
        comparison=compared,
        headers=headers,
        texts=texts,
        endings=endings,
        search=searching(compared),
        protocol_words=protocol_words,
        swatches={recipe: _swatch(style) for recipe, style in styles(results).items()},
        # safe: matplotlib escapes the names it draws, and a test holds it to that
        figures=[(drawing, Markup(_inline(drawing))) for drawing in drawings],
        recipes=results.recipes,
        seeds=sorted({int(seed) for seed in results.trials["seed"]}),
        pictures={key: _picture(grid) for key, grid in last.items()},
        ended_early=dict(zip(zip(early["recipe"], early["seed"], strict=True), early["status"], strict=True)),
        commands=results.commands,
    )


def _inline(drawing: Drawing) -> str:
    """The figure as an element of the page: in the page's text colour, without ids that nothing refers to."""
    svg = drawing.svg.decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", svg)
    return svg.replace(INK, "currentColor").replace("<svg", '<svg role="img"', 1)


def _swatch(style: Style) -> str:
    return "currentColor" if style.colour == INK else style.colour


def _picture(grid: Grid) -> Picture:
    from PIL import Image, UnidentifiedImageError

    try:
        data = Path(grid.path).read_bytes()
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            width, height = image.size
    except (FileNotFoundError, UnidentifiedImageError):
        raise UserError(f"the sample grid {grid.path} is missing or no PNG: sample again or leave it out") from None
    return Picture(f"data:image/png;base64,{base64.b64encode(data).decode()}", width, height, grid.images)

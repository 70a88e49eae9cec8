"""The report as one self-contained page beside its tables and figures: no network, and readable without scripts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.files import write_text
from reports.figures import INK, PALE, PALETTE, Drawing, Style, draw, drawn_recipes, recipe_styles, remove_others, save
from reports.figures.studies import draw as draw_study
from reports.frames import save as save_frames
from reports.html_tables import table_html
from reports.latex import to_latex
from reports.machine import effects_csv, study_csv, to_csv, to_json
from reports.markdown import to_markdown
from reports.pictures import NEAREST, SAMPLES, Album, album
from reports.ranking import comparison
from reports.results import Results
from reports.rows import Comparison, Failure
from reports.sentences import verdict
from reports.settings import settings
from reports.studies import Study, study
from reports.tables import protocol_words, tables

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
CHIPS = 32
"""Recipes that can be switched on and off one by one; more are found by the search."""

OF_EFFECTS = ("effects", "levels")
"""Tables that have a section of their own."""

_VARIABLES = {**{colour.lower(): f"var(--c{i})" for i, colour in enumerate(PALETTE)}, PALE: "var(--pale)"}


def write(results: Results, folder: Path, *, baseline: str | None = None) -> Path:
    """Write index.html, table.{md,tex,csv,json}, figures/ and data/ to `folder`; returns the path of index.html.

    A factorial sweep has effects.csv, too, and one with another study has study.csv; what an earlier report wrote and
    this one does not is removed.

    The same results give the same bytes. Raises `UserError` for a picture that is missing or no PNG and for a baseline
    that is no recipe, and `OSError` as the file system gives it.
    """
    folder = Path(folder)
    compared = comparison(results, baseline=baseline)
    shown = study(results, compared)
    figures = {**draw(results, compared), "study": draw_study(shown) if shown else []}
    page = render(results, compared, figures, shown)
    for name, text in (
        ("table.md", to_markdown(compared, shown)),
        ("table.tex", to_latex(compared, shown)),
        ("table.csv", to_csv(compared)),
        ("table.json", to_json(compared, shown)),
        ("effects.csv", effects_csv(compared)),
        ("study.csv", study_csv(shown)),
    ):
        if text is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_text(folder / name, text)
    save_frames(results, folder)
    drawings = [drawing for made in figures.values() for drawing in made]
    save(drawings, folder / "figures")
    remove_others(drawings, folder / "figures")
    index = folder / "index.html"
    write_text(index, page)
    return index


def render(
    results: Results, compared: Comparison, figures: Mapping[str, Sequence[Drawing]], shown: Study | None = None
) -> str:
    """The page as text; every name in it is escaped."""
    from markupsafe import Markup

    swatches = {recipe: _variable(style) for recipe, style in recipe_styles(results, compared).items()}
    drawn = drawn_recipes(results, compared)
    samples = album(results.grids, drawn, room=SAMPLES)
    nearest = album(results.gallery, drawn, room=NEAREST)
    chosen = settings(results, drawn)
    failures = _grouped(compared.failures)
    # safe, as the figures: whoever writes these escapes the names that they hold, and tests hold them to it
    written = [
        (block, [(table, Markup(table_html(table, swatches))) for table in tables(block, compared)])
        for block in compared.blocks
    ]
    effects = [
        (block, [pair for pair in of_it if pair[0].name in OF_EFFECTS]) for block, of_it in written if block.effects
    ]
    early = results.trials[results.trials["status"].isin(["failed", "diverged", "pruned"])]
    sections = {
        "table": "Table",
        "study": "Study" if shown else "",
        "effects": "Effects" if effects else "",
        "curves": "Curves" if figures["curves"] else "",
        "standing": "Standing" if figures["standing"] else "",
        "health": "Health" if figures["health"] else "",
        "samples": "Samples" if samples.pictures else "",
        "nearest": "Nearest" if nearest.pictures else "",
        "failures": f"Failures ({len(compared.failures):,})",
        "protocol": "Protocol",
        "commands": "Commands" if results.commands or chosen else "",
    }
    page = templates().get_template("index.html.j2")
    return page.render(
        title=results.title,
        facts=_facts(results, compared),
        verdict=verdict(compared),
        sections=[(name, words) for name, words in sections.items() if words],
        comparison=compared,
        blocks=[(block, [pair for pair in of_it if pair[0].name not in OF_EFFECTS]) for block, of_it in written],
        effects=effects,
        study=shown,
        study_tables=[(part.table, Markup(table_html(part.table, swatches))) for part in shown.parts] if shown else [],
        protocol_words=protocol_words,
        swatches=swatches,
        figures={name: [(drawing, Markup(inline(drawing))) for drawing in made] for name, made in figures.items()},
        recipes=results.recipes,
        chips=1 < len(results.recipes) <= CHIPS,
        left_out=_left_out(len(results.recipes) - len(drawn)),
        samples=samples,
        numbers={key: i for i, key in enumerate(samples.pictures)},
        nearest=nearest,
        failures=failures,
        ended_early=dict(zip(zip(early["recipe"], early["seed"], strict=True), early["status"], strict=True)),
        environment=results.environment,
        commands=results.commands,
        settings=chosen,
        data=_data(results, samples),
        **script_words(),
    )


def templates() -> Environment:
    """Where the pages' templates are; what is filled in is escaped, and a name that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def script_words() -> dict[str, Markup]:
    """The style and the script of every page, and the hash by which its policy admits that script alone."""
    from markupsafe import Markup

    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    return {
        "style": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": Markup(f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"),
    }


@dataclass(frozen=True)
class Failed:
    """The same failure of one recipe, in one or several seeds."""

    recipe: str
    seeds: str
    what: str
    reason: str


def _grouped(failures: Iterable[Failure]) -> list[Failed]:
    seeds: dict[tuple[str, str, str], list[int]] = {}
    for failure in failures:
        seeds.setdefault((failure.recipe, failure.what, failure.reason), []).append(failure.seed)
    return [
        Failed(recipe, f"seed{'s' * (len(found) > 1)} {', '.join(map(str, sorted(found)))}", what, reason)
        for (recipe, what, reason), found in seeds.items()
    ]


def _facts(results: Results, compared: Comparison) -> list[str]:
    """What was compared, in a few words."""
    trials, seeds = len(results.trials), results.trials["seed"].nunique()
    facts = [
        _counted(len(results.recipes), "recipe"), _counted(trials, "trial"), _counted(seeds, "training seed"),
    ]  # fmt: skip
    images = [row.images for block in compared.blocks for row in block.rows if row.images is not None]
    if images:
        low, high = round(min(images)), round(max(images))
        facts.append(f"{high:,} images a trial" if high <= 1.01 * low else f"{low:,} to {high:,} images a trial")
    if len(compared.blocks) > 1:
        facts.append(f"{len(compared.blocks)} protocols, not comparable")
    return facts


def _left_out(number: int) -> str:
    """What is said where not every recipe has a place."""
    return f"The {number:,} recipes that the figures leave out are left out here too." if number > 0 else ""


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _data(results: Results, samples: Album) -> dict[str, Any]:
    """What the page's script reads; a trial's last picture is in the page already."""
    return {
        "recipes": results.recipes,
        "times": samples.times,
        "frames": [[[frame.images, frame.uri] for frame in frames[:-1]] for frames in samples.pictures.values()],
    }


def inline(drawing: Drawing) -> str:
    """The figure as an element of the page, in its colours; recipes' marks become classes, ids nobody names go."""
    svg = drawing.svg.decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="(recipe-\d+)"', r' class="\1"', svg)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda match: _VARIABLES.get(match[0], match[0]), svg.replace(INK, "currentColor"))
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(drawing.title)}"', 1)


def _variable(style: Style) -> str:
    return _VARIABLES[style.colour.lower()]

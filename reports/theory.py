"""A page of theory: each measured curve against its closed form, self-contained like every other page of ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganbench.files import write_text
from reports.bench import Bench, Deviation, deviations, table, verdict
from reports.figures import Drawing, save
from reports.figures.theory import draw
from reports.html import inline, script_words, templates
from reports.html_tables import table_html
from reports.latex import tables_latex
from reports.markdown import escaped, table_markdown
from reports.tables import Table


@dataclass(frozen=True, eq=False)
class _Told:
    """A bench and what is said of it, worked out once for all formats."""

    bench: Bench
    found: Sequence[Deviation]
    verdict: Sequence[str]
    errors: Table


def write(bench: Bench, folder: Path) -> Path:
    """Write index.html, table.{md,tex,csv,json} and figures/ to `folder`; returns the path of index.html.

    The same bench gives the same bytes. Raises `OSError` as the file system gives it.
    """
    folder = Path(folder)
    drawings = draw(bench)
    found = deviations(bench)
    told = _Told(bench, found, verdict(found), table(found))
    page = _render(told, drawings)
    rows = _rows(found)
    for name, text in (
        ("table.md", _markdown(told)),
        ("table.tex", tables_latex(bench.title, [told.errors], [told.errors.note])),
        ("table.csv", _csv(rows)),
        ("table.json", _json(told, rows)),
    ):
        write_text(folder / name, text)
    save(drawings, folder / "figures")
    index = folder / "index.html"
    write_text(index, page)
    return index


def to_text(bench: Bench) -> str:
    """The verdict, a sentence a line, for a terminal."""
    return "\n".join([bench.title, *(f"  {sentence}" for sentence in verdict(deviations(bench)))])


def _render(told: _Told, drawings: Sequence[Drawing]) -> str:
    """The page as text; every name in it is escaped."""
    from markupsafe import Markup

    bench = told.bench
    measured = bench.curves["seed"].nunique()
    curves = bench.curves.groupby(["plot", "curve"]).ngroups
    missing = [f"{bench.seeds - measured} not measured yet"] if measured < bench.seeds else []
    page = templates().get_template("theory.html.j2")
    return page.render(
        title=bench.title,
        facts=[f"{curves} curves", f"{measured} seed{'s' * (measured != 1)}", *missing],
        verdict=told.verdict,
        claims=bench.claims,
        # safe: whoever writes these escapes the names that they hold
        figures=[(drawing, Markup(inline(drawing))) for drawing in drawings],
        errors=told.errors,
        errors_html=Markup(table_html(told.errors)),
        parameters=bench.parameters,
        environment=bench.environment,
        commands=bench.commands,
        **script_words(),
    )


def _markdown(told: _Told) -> str:
    """The verdict and the table of errors."""
    errors = told.errors
    parts = [
        f"## {escaped(told.bench.title)}",
        *map(escaped, told.verdict),
        *([table_markdown(errors), escaped(errors.note)] if errors.rows else []),
    ]
    return "\n\n".join(parts) + "\n"


def _rows(found: Sequence[Deviation]) -> list[dict[str, Any]]:
    """For machines: each curve's deviation with its interval; a missing number is None."""
    return [
        {
            "plot": one.plot.name,
            "curve": one.curve,
            "error": one.plot.error,
            "mean": one.mean.point,
            "low": one.mean.low,
            "high": one.mean.high,
            "n": one.mean.n,
            "largest": one.largest,
            "at": one.at,
            "points": one.points,
        }
        for one in found
    ]


def _json(told: _Told, rows: Sequence[dict[str, Any]]) -> str:
    """The rows, what was chosen, and the verdict."""
    facts = {
        "title": told.bench.title,
        "parameters": dict(told.bench.parameters),
        "curves": rows,
        "verdict": told.verdict,
    }
    return json.dumps(facts, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows with a header line."""
    import pandas as pd

    return pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")

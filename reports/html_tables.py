"""The comparison's tables as HTML: of the report's page, or as a fragment for a notebook or another page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from reports.rows import Comparison
from reports.studies import Study, all_tables
from reports.tables import Line, Table, Text, failure_sentences, protocol_sentence


def to_html(comparison: Comparison, swatches: Mapping[str, str] | None = None, study: Study | None = None) -> str:
    """A fragment of headings, tables, notes and failures, without style; every name in it is escaped."""
    parts = [f"<h2>{escape(comparison.title)}</h2>"]
    for block in comparison.blocks:
        if len(comparison.blocks) > 1:
            parts.append(f"<h3>Protocol {escape(block.protocol_id)}</h3>")
        for table in all_tables(block, comparison, study):
            parts += [f"<h4>{escape(table.heading)}</h4>", table_html(table, swatches)]
            parts += [f"<p>{escape(note)}</p>" for note in [table.note] if note]
        parts.append(f"<p>{escape(protocol_sentence(block))}</p>")
    for heading, sentences in (("Notes", comparison.notes), ("Failures", tuple(failure_sentences(comparison)))):
        if sentences:
            items = "".join(f"<li>{escape(sentence)}</li>\n" for sentence in sentences)
            parts.append(f"<h4>{heading}</h4>\n<ul>\n{items}</ul>")
    return "\n".join(parts) + "\n"


def table_html(table: Table, swatches: Mapping[str, str] | None = None) -> str:
    """One `<table>` whose class is the table's name.

    Heads tell by `data-sort` how their column is sorted ("number" where any cell has a value, else "text"), cells by
    `data-value` by what ("" where there is nothing), and rows by `data-recipe` whose they are. References have a
    `<tbody class="references">`.

    Args:
        table: what it says.
        swatches: a colour, as CSS takes it, to be shown before each recipe's name.
    """
    heads = (
        f'<th scope="col" data-sort="{"number" if numeric else "text"}">{_head(text)}</th>'
        for text, numeric in zip(table.head, _numeric(table), strict=True)
    )
    parts = [f'<table class="{table.name}">', "<thead><tr>", *heads, "</tr></thead>"]
    for lines, kind in ((table.rows, ""), (table.references, ' class="references"')):
        if lines:
            parts += [f"<tbody{kind}>", *(_row(line, swatches or {}) for line in lines), "</tbody>"]
    return "\n".join([*parts, "</table>"])


def _numeric(table: Table) -> list[bool]:
    """Of each column, whether it holds numbers; names never do."""
    lines = (*table.rows, *table.references)
    return [place > 0 and any(line[place].value is not None for line in lines) for place in range(len(table.head))]


def _row(line: Line, swatches: Mapping[str, str]) -> str:
    recipe = escape(line[0].text)
    colour = swatches.get(line[0].text)
    swatch = f'<span class="swatch" style="background:{escape(colour)}"></span>' if colour else ""
    cells = "".join(map(_cell, line[1:]))
    return f'<tr data-recipe="{recipe}"><th scope="row">{swatch}{recipe}</th>{cells}</tr>'


def _cell(cell: Text) -> str:
    value = "" if cell.value is None else f"{cell.value:.12g}"
    text = f"<strong>{escape(cell.text)}</strong>" if cell.bold else escape(cell.text)
    return f'<td data-value="{value}"{" class=none" if cell.text == "0" else ""}>{text}</td>'


_TOGETHER = ((" ↑", "\u00a0↑"), (" ↓", "\u00a0↓"), ("n of m", "n\u00a0of\u00a0m"), ("-", "\u2011"))


def _head(text: str) -> str:
    """The head of a column, which breaks into lines only where it reads well."""
    for apart, together in _TOGETHER:
        text = text.replace(apart, together)
    return escape(text)

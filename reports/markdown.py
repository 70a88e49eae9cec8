"""The comparison as Markdown, ready for a README."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from reports.rows import Comparison
from reports.studies import Study, all_tables
from reports.tables import Table, Text, failure_sentences, protocol_sentence


def to_markdown(comparison: Comparison, study: Study | None = None) -> str:
    """Tables with their notes and failures; names stay text."""
    parts = [f"## {escaped(comparison.title)}"]
    several = len(comparison.blocks) > 1
    for block in comparison.blocks:
        if several:
            parts.append(f"### Protocol {escaped(block.protocol_id)}")
        for table in all_tables(block, comparison, study):
            if table.name != "scores":
                parts.append(f"{'#' * (3 + several)} {escaped(table.heading)}")
            parts.append(table_markdown(table))
            if table.note:
                parts.append(escaped(table.note))
        parts.append(escaped(protocol_sentence(block)))
    parts.append("\n".join(f"- {escaped(note)}" for note in comparison.notes))
    if comparison.failures:
        parts.append("Failures:")
        parts.append("\n".join(f"- {escaped(sentence)}" for sentence in failure_sentences(comparison)))
    return "\n\n".join(parts) + "\n"


def table_markdown(table: Table) -> str:
    """One table as Markdown's pipes."""
    lines = [_pipes(map(escaped, table.head)), _pipes([":--", *["--:"] * (len(table.head) - 1)])]
    return "\n".join([*lines, *(_row(line) for line in (*table.rows, *table.references))])


def _row(cells: Sequence[Text]) -> str:
    return _pipes(f"**{escaped(cell.text)}**" if cell.bold else escaped(cell.text) for cell in cells)


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Plain text for Markdown: nothing in it is markup or HTML."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", flat)

"""The comparison as a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence

from reports.rows import Comparison
from reports.sentences import verdict
from reports.tables import CHOSEN, Table, tables

SHOWN = ("scores", "differences", "effects", "endings", "levels", "search")
HEADED = ("differences", "effects", "levels", "search")
"""Tables that a terminal shows (the others are in the report), and those that need their heading."""


def to_text(comparison: Comparison, *, width: int | None = None) -> str:
    """The verdict and the tables, aligned for a terminal; `to_markdown` has the costs, the notes and the protocol too.

    Of the metrics, the first are kept that `width` columns have room for, one at least.
    """
    parts = [f"{comparison.title}: {' '.join(verdict(comparison))}"]
    for block in comparison.blocks:
        if len(comparison.blocks) > 1:
            parts.append(f"Protocol {block.protocol_id}")
        metrics = {metric.header for metric in block.metrics}
        for table in tables(block, comparison):
            if table.name in SHOWN:
                parts += [table.heading] if table.name in HEADED else []
                places = [place for place, head in enumerate(table.head) if head in metrics]
                parts.append(_fitted(_words(table), places, width))
    return "\n\n".join(parts) + "\n"


def _words(table: Table) -> list[Sequence[str]]:
    return [table.head, *([cell.text for cell in line] for line in (*table.rows, *table.references))]


def _fitted(rows: Sequence[Sequence[str]], metrics: Sequence[int], width: int | None) -> str:
    """The rows without the last of the metrics, which are in these columns, so that they fit."""
    text = _aligned(rows)
    for left_out in range(1, len(metrics)):
        if width is None or len(text.splitlines()[1]) <= width:
            break
        gone = set(metrics[-left_out:])
        text = _aligned([[cell for place, cell in enumerate(row) if place not in gone] for row in rows])
        text += f"\n… {left_out} more metric{'s' * (left_out > 1)} in the report"
    return text


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as need be, the first and the chosen settings to the left; a rule below the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *lines = (
        "  ".join(
            cell.ljust(width) if place == 0 or rows[0][place] == CHOSEN else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "\n".join([head, "─" * (sum(widths) + 2 * len(widths) - 2), *lines])

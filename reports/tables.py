"""One comparison, written as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reports.ranking import Block, Cell, Comparison, Row

MISSING = "—"


@dataclass(frozen=True)
class Text:
    """A cell as it is read, still to be escaped by whoever writes it."""

    text: str
    bold: bool = False


def headers(block: Block) -> list[str]:
    """Column heads of a block's table."""
    return ["recipe", *(metric.header for metric in block.metrics), "n", "failed", "images", "G / D steps", "device-s"]


def texts(row: Row, block: Block) -> list[Text]:
    """A row's cells in the order of `headers`."""
    scores = [_score(row.cells[metric.name], row.n) for metric in block.metrics]
    if row.kind == "reference":
        return [Text(row.recipe), *scores, Text(str(row.n)), Text(""), Text(""), Text(""), Text("")]
    failed = f"{row.failed} of {row.trials}" + (f", {row.unfinished} unfinished" if row.unfinished else "")
    steps = MISSING if row.g_steps is None else f"{_count(row.g_steps)} / {_count(row.d_steps)}"
    return [
        Text(row.recipe),
        *scores,
        Text(str(row.n)),
        Text(failed),
        Text(_count(row.images)),
        Text(steps),
        Text(MISSING if row.seconds is None else _seconds(row.seconds)),
    ]


def protocol_words(protocol: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A protocol's entries as (name, value) in words, nested ones joined by a blank; hashes are cut to 12 digits."""
    words: list[tuple[str, str]] = []
    for name, value in protocol.items():
        if isinstance(value, Mapping):
            words += [(f"{_spaced(name)} {inner}", text) for inner, text in protocol_words(value)]
        else:
            words.append((_spaced(name), _word(value)))
    return words


def to_markdown(comparison: Comparison) -> str:
    """Tables with their notes and failures, ready for a README; names stay text."""
    parts = [f"## {_markdown(comparison.title)}"]
    for block in comparison.blocks:
        if len(comparison.blocks) > 1:
            parts.append(f"### Protocol {_markdown(block.protocol_id)}")
        head = headers(block)
        lines = [_pipes(map(_markdown, head)), _pipes([":--", *["--:"] * (len(head) - 1)])]
        lines += [
            _pipes(f"**{_markdown(c.text)}**" if c.bold else _markdown(c.text) for c in texts(row, block))
            for row in (*block.rows, *block.references)
        ]
        parts += ["\n".join(lines), _markdown(_protocol_sentence(block))]
    parts.append("\n".join(f"- {_markdown(note)}" for note in comparison.notes))
    if comparison.failures:
        parts.append("Failures:")
        parts.append("\n".join(f"- {_markdown(sentence)}" for sentence in _failure_sentences(comparison)))
    return "\n\n".join(parts) + "\n"


def to_latex(comparison: Comparison) -> str:
    """One `table*` per block for any LaTeX engine; needs the package booktabs and nothing else."""
    parts = ["% needs \\usepackage{booktabs}"]
    for place, block in enumerate(comparison.blocks):
        head = headers(block)
        rows = [
            " & ".join(f"\\textbf{{{_latex(c.text)}}}" if c.bold else _latex(c.text) for c in texts(row, block))
            for row in block.rows
        ]
        references = [" & ".join(_latex(c.text) for c in texts(row, block)) for row in block.references]
        notes = [_protocol_sentence(block)]
        if place == 0:
            notes += [*comparison.notes, *_failure_sentences(comparison)]
        parts.append(
            "\n".join(
                [
                    "\\begin{table*}",
                    "\\centering\\scriptsize\\setlength{\\tabcolsep}{3pt}",
                    f"\\caption{{{_latex(comparison.title)}}}",
                    f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
                    "\\toprule",
                    f"{' & '.join(map(_latex, head))} \\\\",
                    "\\midrule",
                    *(f"{row} \\\\" for row in rows),
                    *(["\\midrule"] if references else []),
                    *(f"{row} \\\\" for row in references),
                    "\\bottomrule",
                    "\\end{tabular}",
                    *(f"\n\\smallskip\\parbox{{\\linewidth}}{{\\raggedright {_latex(note)}}}" for note in notes),
                    "\\end{table*}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat dict per row for machines: for each metric <name>_mean, _low, _high, _n (None where missing)."""
    rows: list[dict[str, Any]] = []
    names = list(dict.fromkeys(metric.name for block in comparison.blocks for metric in block.metrics))
    for block in comparison.blocks:
        for row in (*block.rows, *block.references):
            record: dict[str, Any] = {"protocol_id": block.protocol_id, "kind": row.kind, "recipe": row.recipe}
            for name in names:
                value = row.cells.get(name, Cell()).interval
                record[f"{name}_mean"] = value.point if value else None
                record[f"{name}_low"] = value.low if value else None
                record[f"{name}_high"] = value.high if value else None
                record[f"{name}_n"] = value.n if value else 0
            counted = row.kind == "recipe"
            record |= {
                "n": row.n,
                "trials": row.trials if counted else None,
                "failed": row.failed if counted else None,
                "unfinished": row.unfinished if counted else None,
                "images": row.images,
                "g_steps": row.g_steps,
                "d_steps": row.d_steps,
                "seconds": row.seconds,
            }
            rows.append(record)
    return rows


def to_csv(comparison: Comparison) -> str:
    """`records` as CSV with a header line; floats in full, missing values empty."""
    import pandas as pd

    return pd.DataFrame(records(comparison)).to_csv(index=False, lineterminator="\n")


def _score(cell: Cell, n: int) -> Text:
    value = cell.interval
    if value is None:
        return Text(MISSING)
    half = value.half_width
    decimals = _decimals(value.point, 4) if not half else _decimals(half, 2)
    text = f"{value.point:.{decimals}f}"
    if half is not None:
        text += f" ± {half:.{decimals}f}" if half else " ± 0"
    if value.n != n:
        text += f" (n = {value.n})"
    return Text(text.replace("-", "−"), cell.best)


def _decimals(value: float, digits: int) -> int:
    """Decimals that show `digits` significant digits of `value`, at most 6."""
    return 0 if value == 0 else min(6, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def _count(value: float | None) -> str:
    return MISSING if value is None else f"{round(value):,}"


def _seconds(value: float) -> str:
    return f"{value:,.{_decimals(value, 2)}f}"


def _spaced(name: str) -> str:
    return str(name).replace("_", " ")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_word, value))
    text = "none" if value is None else str(value)
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1…", text)


def _protocol_sentence(block: Block) -> str:
    if not block.protocol_id:
        return "Protocol: none, since nothing was scored."
    words = "; ".join(f"{name}: {value}" for name, value in protocol_words(block.protocol)) or "not recorded"
    return f"Protocol {block.protocol_id} — {words}."


def _failure_sentences(comparison: Comparison) -> Iterator[str]:
    for failure in comparison.failures:
        yield f"{failure.recipe}, seed {failure.seed}, {failure.what}: {failure.reason}"


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    """Plain text for Markdown: nothing in it is markup or HTML."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", flat)


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}",  # [ and * after a row's end would be read as its options
    '"': "{''}", "`": "{`}", "±": r"$\pm$", "−": "$-$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "—": "---", "–": "--", "…": r"\ldots{}", "×": r"$\times$",
}  # fmt: skip


def _latex(text: str) -> str:
    """Plain text for LaTeX; a character that pdfLaTeX may not know is written as its code point."""

    def known(c: str) -> bool:
        return c.isprintable() and (c.isascii() or ("À" <= c <= "ÿ" and c not in "ÐÞðþ÷"))

    flat = " ".join(text.split())
    return "".join(_LATEX.get(c, c if known(c) else f"\\texttt{{U+{ord(c):04X}}}") for c in flat)

"""One comparison, written as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.ranking import Block, Cell, Comparison, Row, Searched
from reports.sentences import verdict
from reports.statistics import Proportion

MISSING = "—"
CHOSEN = "chosen"
LISTED = 16
"""Recipes up to which the end of each one's trials is told; of more, that of the variants' trials."""
ENDINGS = ("failed", "diverged", "flagged", "pruned", "unfinished")


@dataclass(frozen=True)
class Text:
    """A cell as it is read, still to be escaped by whoever writes it."""

    text: str
    bold: bool = False


def headers(block: Block) -> list[str]:
    """Column heads of a block's table."""
    n = "n of m" if _short(block) else "n"
    return ["recipe", *(metric.header for metric in block.metrics), n, "images", "G / D steps", "device-s"]


def texts(row: Row, block: Block) -> list[Text]:
    """A row's cells in the order of `headers`."""
    scores = [_score(row.cells[metric.name], row.n) for metric in block.metrics]
    if row.kind == "reference":
        return [Text(row.recipe), *scores, Text(str(row.n)), Text(""), Text(""), Text("")]
    steps = MISSING if row.g_steps is None else f"{_count(row.g_steps)} / {_count(row.d_steps)}"
    return [
        Text(row.recipe),
        *scores,
        Text(f"{row.n} of {row.trials}" if _short(block) else str(row.n)),
        Text(_count(row.images)),
        Text(steps),
        Text(MISSING if row.seconds is None else _seconds(row.seconds)),
    ]


def endings(block: Block) -> list[list[str]]:
    """How the recipes' trials ended, a head and a row each; [] where every trial is done and no problem was flagged."""
    kinds = [kind for kind in ENDINGS if any(getattr(row, kind) for row in block.rows)]
    together = block.variants
    apart = [row for row in block.rows if row.variant not in {row.variant for row in together}]
    each = block.rows if len(block.rows) <= LISTED else apart
    return _endings("recipe", [*each, *together], kinds) if kinds else []


def searching(comparison: Comparison) -> list[list[str]]:
    """What the search tried of each variant and what it chose, a head and a row each; [] where nothing was searched."""
    found = comparison.searched
    if not found:
        return []
    rows = [one.row for one in found]
    kinds = [kind for kind in ENDINGS if any(getattr(row, kind) for row in rows)]
    head, *ends = _endings("variant", rows, kinds)
    return [
        [*head, comparison.rule, CHOSEN],
        *([*end, *_choice(one)] for end, one in zip(ends, found, strict=True)),
    ]


def _choice(found: Searched) -> list[str]:
    value = MISSING if found.best is None else f"{found.best:.{_decimals(found.best, 4)}f}".replace("-", "−")
    return [value, MISSING if found.chosen is None else found.chosen or "its only configuration"]


def _endings(what: str, rows: Sequence[Row], kinds: Sequence[str]) -> list[list[str]]:
    failing = any(row.failures and row.failures.k for row in rows)
    head = [what, "trials", "scored", *kinds, *(["failure rate (95 % interval)"] if failing else [])]
    return [
        head,
        *(
            [row.recipe, f"{row.trials:,}", f"{row.n:,}", *(f"{getattr(row, kind):,}" for kind in kinds)]
            + ([_rate(row.failures)] if failing else [])
            for row in rows
        ),
    ]


def _short(block: Block) -> bool:
    """Whether any recipe has fewer scores than trials."""
    return any(row.n < row.trials for row in block.shown)


def _rate(failures: Proportion | None) -> str:
    """k/n with the interval in whole per cents."""
    if failures is None:
        return MISSING
    return f"{failures.k}/{failures.n} ({100 * failures.low:.0f}–{100 * failures.high:.0f} %)"


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
        parts.append(_markdown_table(headers(block), (texts(row, block) for row in (*block.shown, *block.references))))
        if ended := endings(block):
            parts.append(_markdown_table(ended[0], _plain(ended[1:])))
        parts.append(_markdown(_protocol_sentence(block)))
    if search := searching(comparison):
        parts += ["### The search", _markdown_table(search[0], _plain(search[1:]))]
    parts.append("\n".join(f"- {_markdown(note)}" for note in comparison.notes))
    if comparison.failures:
        parts.append("Failures:")
        parts.append("\n".join(f"- {_markdown(sentence)}" for sentence in _failure_sentences(comparison)))
    return "\n\n".join(parts) + "\n"


def to_text(comparison: Comparison, *, width: int | None = None) -> str:
    """The verdict and the tables, aligned for a terminal; `to_markdown` has the notes and the protocol too.

    Of the metrics, the first are kept that `width` columns have room for, one at least.
    """
    parts = [f"{comparison.title}: {' '.join(verdict(comparison))}"]
    for block in comparison.blocks:
        if len(comparison.blocks) > 1:
            parts.append(f"Protocol {block.protocol_id}")
        rows = [[cell.text for cell in texts(row, block)] for row in (*block.shown, *block.references)]
        parts += [_fitted([headers(block), *rows], len(block.metrics), width), _aligned(endings(block))]
    search = searching(comparison)
    parts += ["The search" if search else "", _aligned(search)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _fitted(rows: Sequence[Sequence[str]], metrics: int, width: int | None) -> str:
    """The rows without the last of the metrics that are in the columns after the first, so that they fit."""
    for kept in range(metrics, 0, -1):
        text = _aligned([[*row[: 1 + kept], *row[1 + metrics :]] for row in rows])
        if width is None or len(text.splitlines()[1]) <= width or kept == 1:
            more = metrics - kept
            return text + (f"\n… {more} more metric{'s' * (more > 1)} in the report" if more else "")
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as need be, the first and the chosen settings to the left; a rule below the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 or rows[0][place] == CHOSEN else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines[:1], *(["─" * (sum(widths) + 2 * len(widths) - 2)] if lines else []), *lines[1:]])


def _plain(rows: Iterable[Iterable[str]]) -> Iterator[Iterable[Text]]:
    return (map(Text, row) for row in rows)


def _markdown_table(head: Sequence[str], rows: Iterable[Iterable[Text]]) -> str:
    lines = [_pipes(map(_markdown, head)), _pipes([":--", *["--:"] * (len(head) - 1)])]
    lines += [_pipes(f"**{_markdown(c.text)}**" if c.bold else _markdown(c.text) for c in row) for row in rows]
    return "\n".join(lines)


def to_latex(comparison: Comparison) -> str:
    """One `table*` per block for any LaTeX engine; needs the package booktabs and nothing else."""
    parts = ["% needs \\usepackage{booktabs}"]
    for place, block in enumerate(comparison.blocks):
        notes = [_protocol_sentence(block)]
        if place == 0:
            notes += [*comparison.notes, *_failure_sentences(comparison)]
        more = [endings(block), searching(comparison) if place == 0 else []]
        scored, references = ([texts(row, block) for row in rows] for rows in (block.shown, block.references))
        parts.append(
            "\n".join(
                [
                    "\\begin{table*}",
                    "\\centering\\scriptsize\\setlength{\\tabcolsep}{3pt}",
                    f"\\caption{{{_latex(comparison.title)}}}",
                    *_tabular(headers(block), scored, references),
                    *(
                        line
                        for table in filter(None, more)
                        for line in ("", "\\medskip", *_tabular(table[0], [[*map(Text, row)] for row in table[1:]]))
                    ),
                    *(f"\n\\smallskip\\parbox{{\\linewidth}}{{\\raggedright {_latex(note)}}}" for note in notes),
                    "\\end{table*}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _tabular(head: Sequence[str], *groups: Sequence[Sequence[Text]]) -> Iterator[str]:
    """Lines of a table; groups of rows are ruled off."""
    columns = "".join(r"p{.3\linewidth}" if name == CHOSEN else "r" for name in head[1:])
    yield f"\\begin{{tabular}}{{l{columns}}}"
    yield "\\toprule"
    yield f"{' & '.join(map(_latex, head))} \\\\"
    for rows in filter(None, groups):
        yield "\\midrule"
        for row in rows:
            yield " & ".join(f"\\textbf{{{_latex(c.text)}}}" if c.bold else _latex(c.text) for c in row) + " \\\\"
    yield "\\bottomrule"
    yield "\\end{tabular}"


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
            rate = row.failures if counted else None
            record |= {
                "n": row.n,
                "trials": row.trials if counted else None,
                **{name: getattr(row, name) if counted else None for name in ENDINGS},
                "failure_rate": rate.share if rate else None,
                "failure_rate_low": rate.low if rate else None,
                "failure_rate_high": rate.high if rate else None,
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

"""The comparison as LaTeX, for any engine; it needs the package booktabs and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil

from reports.rows import Block, Comparison
from reports.studies import Study, all_tables
from reports.tables import CHOSEN, Line, Table, Text, failure_sentences, protocol_sentence

HEIGHT = 60
"""Lines in scriptsize under the caption on a page of a two-column article."""
WIDTH = 98
"""Digits that stand side by side on it."""
GAP = 1.5
"""Digits' worth of space between two columns."""
NAME = 30
"""Characters from which a recipe's name is broken into lines."""
SETTINGS = 30
"""Digits' worth of space for the settings that a search chose."""
FAILURES = 20
"""Failures that are told one by one."""


def to_latex(comparison: Comparison, study: Study | None = None) -> str:
    r"""`table*` environments to be `\input`: names stay text, and what is too large for a page goes on on the next."""
    pages = [page for block in comparison.blocks for page in _pages(block, comparison, study)]
    return _floats(comparison.title, pages)


def tables_latex(title: str, tables: Iterable[Table], notes: Iterable[str] = ()) -> str:
    """Other tables than a comparison's, with notes below them, likewise."""
    paper = _Paper()
    for table in tables:
        for part in _narrow(table):
            _put_table(paper, part)
    for note in notes:
        _put_note(paper, note)
    return _floats(title, paper.pages)


def _floats(title: str, pages: Sequence[Sequence[str]]) -> str:
    caption = _escaped(title)
    floats = [
        "\n".join(
            [
                "\\begin{table*}",
                "\\centering\\scriptsize\\setlength{\\tabcolsep}{3pt}",
                f"\\caption{{{caption}{' (continued)' if number else ''}}}",
                *page,
                "\\end{table*}",
            ]
        )
        for number, page in enumerate(pages)
    ]
    # LaTeX holds some fifty floats that have found no page yet; \clearpage sets them
    return "\n\n".join(["% needs \\usepackage{booktabs}", "\n\n\\clearpage\n\n".join(floats)]) + "\n"


# --- what stands on which page


@dataclass
class _Paper:
    """Pages, each the lines of one float, filled from the top."""

    pages: list[list[str]] = field(default_factory=lambda: [[]])
    left: int = HEIGHT

    def make_room(self, height: int) -> None:
        """Go on on a new page unless so many lines of print fit on this one."""
        if self.left < height and self.pages[-1]:
            self.pages.append([])
            self.left = HEIGHT

    def put(self, height: int, lines: Iterable[str]) -> None:
        """Lines of LaTeX that print as `height` lines."""
        self.make_room(height)
        self.pages[-1] += lines
        self.left -= height


def _pages(block: Block, comparison: Comparison, study: Study | None) -> list[list[str]]:
    """All tables of a block, then its notes; under the first block's stand those of the comparison, too."""
    paper = _Paper()
    for table in all_tables(block, comparison, study):
        for part in _narrow(table):
            _put_table(paper, part)
        if table.note:
            _put_note(paper, table.note)
    _put_note(paper, protocol_sentence(block))
    if block is comparison.blocks[0]:
        for note in (*comparison.notes, *islice(failure_sentences(comparison), FAILURES)):
            _put_note(paper, note)
        if (more := len(comparison.failures) - FAILURES) > 0:
            _put_note(paper, f"{more} more failures are told in the report's page.")
    return paper.pages


def _put_note(paper: _Paper, note: str) -> None:
    lines = ["", f"\\smallskip\\parbox{{\\linewidth}}{{\\raggedright {_escaped(note)}}}"]
    paper.put(ceil(len(note) / WIDTH) + 1, lines)


def _narrow(table: Table) -> Iterator[Table]:
    """The table, or parts that hold its columns side by side on a page; each begins with the recipes' names."""
    heads = [max(map(len, _halves(head))) for head in table.head]
    cells = [max(map(len, column)) for column in zip(*_words(table), strict=True)]
    widths = [max(pair) + GAP for pair in zip(heads, cells, strict=True)]
    if table.head[-1] == CHOSEN:
        widths[-1] = SETTINGS + GAP
    name = min(widths[0], NAME / 2 + GAP)
    parts: list[list[int]] = [[]]
    used = name
    for place, width in enumerate(widths[1:], start=1):
        if parts[-1] and used + width > WIDTH:
            parts.append([])
            used = name
        parts[-1].append(place)
        used += width
    for part in parts:
        columns = (0, *part)
        yield Table(
            table.name,
            table.heading,
            tuple(table.head[place] for place in columns),
            tuple(tuple(line[place] for place in columns) for line in table.rows),
            tuple(tuple(line[place] for place in columns) for line in table.references),
        )


def _words(table: Table) -> Iterator[list[str]]:
    for line in (*table.rows, *table.references):
        yield [cell.text for cell in line]


def _put_table(paper: _Paper, table: Table) -> None:
    """The table, or parts of it that end with their page."""
    long = any(len(words[0]) > NAME for words in _words(table))
    lines = [*((line, 0) for line in table.rows), *((line, 1) for line in table.references)]
    heights = [max(_height(line[0], NAME) if long else 1, _height(line[-1], SETTINGS)) for line, _ in lines]
    start = 0
    while start < len(lines):
        height = 6  # heading, head and rules
        paper.make_room(min(height + sum(heights[start:]), HEIGHT // 4))
        end = start
        while end < len(lines) and (end == start or height + heights[end] <= paper.left):
            height += heights[end]
            end += 1
        groups = [[line for line, group in lines[start:end] if group == wanted] for wanted in (0, 1)]
        paper.put(height, _tabular(table, groups, long=long))
        start = end


def _height(cell: Text, width: int) -> int:
    """Lines of a cell that is broken: words leave a part of each empty."""
    return ceil(len(cell.text) / (width * 0.7))


# --- LaTeX


def _tabular(table: Table, groups: Sequence[Sequence[Line]], *, long: bool) -> Iterator[str]:
    """Lines of a table with its heading; groups of rows are ruled off."""
    yield f"\n\\medskip {_escaped(table.heading)}\n\n\\smallskip"
    names = f"p{{{NAME / 2:.0f}em}}" if long else "l"
    others = "".join(f"p{{{SETTINGS / 2:.0f}em}}" if head == CHOSEN else "r" for head in table.head[1:])
    yield f"\\begin{{tabular}}{{{names}{others}}}"
    yield "\\toprule"
    yield f"{' & '.join(map(_head, table.head))} \\\\"
    for lines in filter(None, groups):
        yield "\\midrule"
        for name, *cells in lines:
            text = f"\\raggedright {_escaped(name.text)}" if long else _escaped(name.text)
            yield " & ".join([text, *map(_cell, cells)]) + " \\\\"
    yield "\\bottomrule"
    yield "\\end{tabular}"


def _halves(text: str) -> tuple[str, str]:
    """A head in two lines, where it has a parenthesis: metrics say their features behind their names."""
    above, gap, below = text.partition(" (")
    return (above, f"({below}") if gap else (text, "")


def _head(text: str) -> str:
    above, below = map(_escaped, _halves(text))
    return f"\\shortstack{{{above}\\\\{below}}}" if below else above


def _cell(cell: Text) -> str:
    return f"\\textbf{{{_escaped(cell.text)}}}" if cell.bold else _escaped(cell.text)


_LOWER = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon varphi chi "
    "psi omega"
)
_UPPER = "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}",  # [ and * after a row's end would be read as its options
    '"': "{''}", "`": "{`}", "±": r"$\pm$", "−": "$-$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\to$",
    "—": "---", "–": "--", "…": r"\ldots{}", "×": r"$\times$", "†": r"\dag{}", "‖": r"$\Vert$", "·": r"$\cdot$",
    "√": r"$\surd$", "∞": r"$\infty$", "≤": r"$\le$", "≥": r"$\ge$", "≠": r"$\ne$", "≈": r"$\approx$", "÷": r"$\div$",
    "∇": r"$\nabla$", "∂": r"$\partial$", "∈": r"$\in$", "∫": r"$\int$", "←": r"$\leftarrow$", "½": r"$\frac12$",
    "ū": r"$\bar{u}$", "§": r"\S{}", "ᵀ": r"$^T$", "ᵏ": r"$^k$", "⁻": "$^-$",
    **{c: f"$^{digit}$" for digit, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{c: f"$_{digit}$" for digit, c in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{c: f"$\\{name}$" for c, name in zip("αβγδεζηθικλμνξπρστυφχψω", _LOWER.split(), strict=True)},
    **{c: f"$\\{name}$" for c, name in zip("ΓΔΘΛΞΠΣΦΨΩ", _UPPER.split(), strict=True)},
}  # fmt: skip
_ACCENTS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar"}
"""Marks that stand behind their letter."""


def _escaped(text: str) -> str:
    """Plain text for LaTeX; a character that pdfLaTeX may not know is written as its code point."""

    def known(c: str) -> bool:
        return c.isprintable() and (c.isascii() or ("À" <= c <= "ÿ" and c not in "ÐÞðþ÷"))

    def written(c: str, accent: str = "") -> str:
        if accent and c.isascii() and c.isalpha():
            return f"$\\{_ACCENTS[accent]}{{{c}}}$"
        return "".join(_LATEX.get(one, one if known(one) else f"\\texttt{{U+{ord(one):04X}}}") for one in c + accent)

    flat = " ".join(text.split())
    pairs = re.findall(f"(.)([{''.join(_ACCENTS)}]?)", flat)
    return "".join(written(*pair) for pair in pairs)

"""The drawing kit: one look for every figure, one style per recipe, and the same bytes for the same input.

Drawn through matplotlib's object interface: no pyplot, no display.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from ganbench.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from reports.rows import Metric

INK = "#1c1d20"  # of text and axes; the page replaces it by its own text colour
PALE = "#9a9a9a"  # of what is only there to be compared with
# Okabe & Ito (2008), told apart by colour-blind readers; a grey for their yellow, which is hard to see on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK, "#8F8F8F")
Dash = Literal["-", "--", ":", "-."]
DASHES: tuple[Dash, ...] = ("-", "--", ":", "-.")
Step = Literal["pre", "post"] | None
"""Whether a value holds up to its x, from there on, or is joined to the next."""
DRAWN = 12
"""Recipes in one figure: of more, nobody could tell the lines apart."""
LABEL = 30
"""Characters of a recipe's name in a legend."""
DPI = 150
ENDINGS = ("svg", "png", "pdf", "csv")

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.color": "#888888",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",  # text stays text: selectable, searchable, and the file small
    "text.color": INK,
    "text.parse_math": False,  # a recipe's name may hold a dollar sign
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Style:
    """How a recipe is drawn everywhere: "#rrggbb" and matplotlib's line style."""

    colour: str
    dash: Dash


@dataclass(frozen=True, eq=False)
class Drawing:
    """A finished figure: file stem, title, caption and alternative in plain text, the pictures, and what was drawn."""

    name: str
    title: str
    caption: str
    wide: bool
    """Whether it wants the page's whole width."""
    svg: bytes
    png: bytes
    pdf: bytes
    data: DataFrame


def styles(recipes: Sequence[str]) -> dict[str, Style]:
    """A style for every recipe: eight colours, then the same dashed."""
    return {
        recipe: Style(PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)])
        for i, recipe in enumerate(recipes)
    }


def save(drawings: Sequence[Drawing], folder: Path) -> None:
    """Write each drawing to `folder` as .svg, .png, .pdf and its data as .csv."""
    for drawing in drawings:
        data = drawing.data.to_csv(index=False, lineterminator="\n").encode()
        for ending, content in zip(ENDINGS, (drawing.svg, drawing.png, drawing.pdf, data), strict=True):
            write_atomic(folder / f"{drawing.name}.{ending}", partial(_put, content))


def remove_others(drawings: Sequence[Drawing], folder: Path) -> None:
    """Remove what `save` has once written to `folder` and that is none of these drawings; other files stay.

    A drawing is told by its four files: whoever puts a file of their own there has no such four.
    """
    names = {drawing.name for drawing in drawings}
    for svg in folder.glob("*.svg"):
        files = [folder / f"{svg.stem}.{ending}" for ending in ENDINGS]
        if svg.stem not in names and all(file.is_file() for file in files):
            for file in files:
                file.unlink()


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """A figure of that many inches; drawn and saved inside the block, it has our style."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the pixels lack it; SVG keeps the text
        yield Figure(figsize=(width, height), layout="constrained")


def finish(figure: Figure, name: str, *, title: str, caption: str, data: DataFrame, wide: bool = False) -> Drawing:
    """The figure in its three formats; call it inside `canvas`.

    It is placed once, while its pixels are drawn, and drawn once per format: `savefig` would do both twice each time.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from PIL import Image

    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_visible(False)  # transparent: the page has its own paper
    figure.set_dpi(DPI)
    pixels: Any = FigureCanvasAgg(figure)  # Any: matplotlib leaves the writers' methods untyped
    pixels.draw()
    figure.set_layout_engine("none")
    drawn = Image.fromarray(np.asarray(pixels.buffer_rgba()), "RGBA")
    png, svg, pdf = io.BytesIO(), io.BytesIO(), io.BytesIO()
    paper = Image.new("RGBA", drawn.size, "white")
    Image.alpha_composite(paper, drawn).convert("RGB").save(png, format="PNG", dpi=(DPI, DPI))
    with mpl.rc_context({"svg.hashsalt": name}):  # fixed, and different per figure: one page holds several
        vectors: Any = FigureCanvasSVG(figure)
        vectors.print_svg(svg, metadata={"Date": None, "Creator": None})
    pages: Any = FigureCanvasPdf(figure)
    pages.print_pdf(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return Drawing(name, title, caption, wide, svg.getvalue(), png.getvalue(), pdf.getvalue(), data)


def in_columns(number: int) -> int:
    """Columns for that many panels: four, or three where that leaves fewer gaps."""
    return min(number, 3 if number in (5, 6, 9) else 4)


def panels(figure: Figure, number: int, *, columns: int, shared: bool = False) -> Iterator[Axes]:
    """`number` axes row by row; `shared` gives them the same limits, and numbers only along the edges."""
    lines = -(-number // columns)
    first: Axes | None = None
    for place in range(number):
        like = first if shared else None
        axes = figure.add_subplot(lines, columns, place + 1, sharex=like, sharey=like)
        first = first or axes
        if shared:
            axes.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= number)
        yield axes


def line(
    axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike, style: Style, *, tag: str | None = None, step: Step = None
) -> None:
    """A recipe's line; `tag` names its recipe for the page (`Scene.tag`)."""
    drawstyle: Any = f"steps-{step}" if step else "default"
    axes.plot(x, y, color=style.colour, linestyle=style.dash, linewidth=1.6, gid=tag, drawstyle=drawstyle)


def band(
    axes: Axes,
    x: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    colour: str,
    *,
    tag: str | None = None,
    step: Step = None,
) -> None:
    """The interval around a line; nothing where there is none."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    if np.isfinite(low).any():
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, gid=tag, step=step)


def images_axis(axes: Axes, *, label: bool = True) -> None:
    """Images shown along x, from 0, in thousands or millions."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short_count(x)))
    axes.set_xlim(left=0)
    if label:
        axes.set_xlabel("real images shown to the discriminator")


def score_axis(axes: Axes, metric: Metric, values: npt.ArrayLike) -> None:
    """The metric along y with its direction, as far as `values` go; logarithmic where they span more than a decade."""
    axes.set_ylabel(metric.header)
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    low, high = finite.min(), finite.max()
    if low > 0 and high > 10 * low and metric.direction == "lower":
        decades(axes, low, high)
        axes.set_ylabel(f"{metric.header} (log scale)")
        axes.set_ylim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
    elif high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def decades(axes: Axes, low: float, high: float) -> None:
    """A logarithmic y axis with plain numbers, for values from `low` to `high`."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def legend(
    figure: Figure, entries: Sequence[tuple[str, str, Dash | Literal["none"], str]], *, columns: int = 4
) -> None:
    """Entries of (label, colour, dash, marker) below the axes, in as many columns as their labels leave room for."""
    from matplotlib.lines import Line2D

    longest = max(len(label) for label, *_ in entries)
    figure.legend(
        handles=[
            Line2D([], [], color=colour, linestyle=dash, marker=marker, linewidth=1.6, markersize=5, label=label)
            for label, colour, dash, marker in entries
        ],
        loc="outside lower center",
        ncols=max(1, min(len(entries), columns, round(columns * 17 / max(longest, 12)))),
        columnspacing=1.0,
        handlelength=1.6,
    )


def recipe_legend(figure: Figure, labels: Iterable[str], style: dict[str, Style], *, columns: int = 4) -> None:
    """One entry per recipe."""
    recipes = list(labels)
    names = shortened(recipes)
    legend(figure, [(names[r], style[r].colour, style[r].dash, "") for r in recipes], columns=columns)


def shortened(recipes: Sequence[str]) -> dict[str, str]:
    """Names of at most `LABEL` characters and a number, each once, for where there is little room."""
    short: dict[str, str] = {}
    for place, recipe in enumerate(recipes, 1):
        name = recipe if len(recipe) <= LABEL else f"{place}: {recipe[: LABEL - 4].rstrip()}…"
        short[recipe] = name
    return short


def seeds_words(numbers: Iterable[int]) -> str:
    """How many training seeds something is taken over, where it is not everywhere the same.

    >>> seeds_words([3, 2, 3])
    '2 to 3 training seeds'
    """
    found = sorted(numbers)
    low, high = found[0], found[-1]
    number = str(high) if low == high else f"{low} to {high}"
    return f"{number} training seed{'s' * (high > 1)}"


def slug(name: str) -> str:
    """`name` as part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "unnamed"


def _short_count(x: float) -> str:
    return f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1000:g}k" if x else "0"


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)

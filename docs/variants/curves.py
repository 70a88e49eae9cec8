"""The variants' curves on their pages: `python docs/variants/curves.py runs/quickstart runs/modes`.

Reads the folders of the two shipped sweeps and writes NAME.png beside this file for each variant that they hold: FID on
the digits, high-quality share on the ring of eight Gaussians, and its first seed's samples at the end. The second may
be left out: `python docs/variants/curves.py runs/further`.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from harness.results import collect
from reports.figures import PALETTE, Style, bands
from reports.figures.canvas import band, canvas, decades, finish, images_axis, line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

    from reports import Results

OTHERS = Style("#b8b8b8", "-")
OURS = Style(PALETTE[0], "-")
GRID = 4
"""Rows and columns of samples."""


def main(digits: Path, ring: Path | None, folder: Path) -> list[Path]:
    """Write every variant's picture to `folder`; returns their paths."""
    images, points = collect([digits]), collect([ring]) if ring else None
    fid, quality = table(images, "fid"), table(points, "high_quality") if points else None
    with_points = set(points.trials["variant"]) if points else set()
    written = []
    for variant in sorted(set(images.trials["variant"])):
        on_ring = variant in with_points
        with canvas(8.0 if on_ring else 5.2, 2.5) as figure:
            ratios = [2, 2, 1.7] if on_ring else [2, 1.7]
            axes = list(figure.subplots(1, len(ratios), width_ratios=ratios, squeeze=False)[0])
            curves(axes.pop(0), fid, variant, "FID (digits) ↓", logarithmic=True)
            if quality is not None and on_ring:
                curves(axes.pop(0), quality, variant, "high-quality share (ring8) ↑", logarithmic=False)
            samples(axes.pop(0), images, variant)
            drawing = finish(figure, variant, title=variant, caption="", data=fid)
        path = folder / f"{variant}.png"
        few = Image.open(io.BytesIO(drawing.png)).quantize(64, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
        written.append(path)
    return written


def table(results: Results, metric: str) -> DataFrame:
    """Mean over seeds and its interval by recipe and images shown, of one metric on the selection split."""
    chosen = results.curves[results.curves["name"] == metric]
    return bands(chosen, geometric=metric == "fid")


def curves(axes: Axes, scores: DataFrame, variant: str, label: str, *, logarithmic: bool) -> None:
    """The variant's curve with its band before everybody else's."""
    for recipe in sorted(set(scores["recipe"]), key=lambda recipe: recipe == variant):
        part, style = scores[scores["recipe"] == recipe], OURS if recipe == variant else OTHERS
        line(axes, part["images"], part["mean"], style)
        if recipe == variant:
            band(axes, part["images"], part["low"], part["high"], style.colour)
    images_axis(axes, label=False)
    axes.set_xlabel("real images shown")
    axes.set_ylabel(label)
    if logarithmic:
        decades(axes, scores["mean"].min(), scores["mean"].max())


def samples(axes: Axes, results: Results, variant: str) -> None:
    """The first samples of the first seed's last grid."""
    grids = [grid for grid in results.grids if grid.recipe == variant]
    last = max(grids, key=lambda grid: (-grid.seed, grid.images))
    pixels = np.asarray(Image.open(last.path).convert("L"))
    side = pixels.shape[1] // 8 * GRID  # a grid has eight columns
    axes.imshow(pixels[:side, :side], cmap="gray", interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(f"seed {last.seed} at {last.images:,}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: curves.py QUICKSTART [MODES]")
    modes = Path(sys.argv[2]) if len(sys.argv) == 3 else None
    for picture in main(Path(sys.argv[1]), modes, Path(__file__).parent):
        print(picture)

"""Every figure of a report, as SVG, PNG and PDF with its data beside."""

from __future__ import annotations

from reports.figures.canvas import DRAWN, INK, PALE, PALETTE, Drawing, Style, remove_others, save, styles
from reports.figures.effects import forest
from reports.figures.reach import budget, profile
from reports.figures.scene import drawn_recipes, recipe_styles, scenes
from reports.figures.standing import checkpoints, plane
from reports.figures.training import POINTS, bands, health, score_curves
from reports.results import Results
from reports.rows import Comparison

__all__ = [
    "DRAWN",
    "INK",
    "PALE",
    "PALETTE",
    "POINTS",
    "Drawing",
    "Style",
    "bands",
    "draw",
    "drawn_recipes",
    "recipe_styles",
    "remove_others",
    "save",
    "styles",
]


def draw(results: Results, comparison: Comparison) -> dict[str, list[Drawing]]:
    """Every figure that the results allow, by the page's sections: "effects", "curves", "standing" and "health"."""
    drawings: dict[str, list[Drawing]] = {"effects": [], "curves": [], "standing": [], "health": []}
    for scene in scenes(results, comparison):
        if drawing := forest(scene):
            drawings["effects"].append(drawing)
        drawings["curves"] += score_curves(scene)
        for figure in (plane, checkpoints, budget, profile):
            if drawing := figure(scene):
                drawings["standing"].append(drawing)
        drawings["health"] += health(scene)
    return drawings

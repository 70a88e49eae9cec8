"""What a figure draws from: the results of one protocol, the recipes shown of it, and what each caption must say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.figures.canvas import DASHES, DRAWN, PALE, PALETTE, Style, slug, styles
from reports.ranking import final_scores
from reports.results import Results
from reports.rows import Block, Comparison

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Scene:
    """One block of the comparison with the frames behind it.

    Attributes:
        results: everything there is.
        block: the protocol's rows and metrics.
        recipes: those drawn, in the order of the trials.
        styles: of every recipe of the results.
        note: the end of each caption: which recipes are left out, and the protocol where there are several.
        protocol_note: the same of a figure that leaves no recipe out.
        suffix: of file names, apart for each block.
    """

    results: Results
    block: Block
    recipes: list[str]
    styles: dict[str, Style]
    note: str
    protocol_note: str
    suffix: str

    @property
    def curves(self) -> DataFrame:
        """The curves of the recipes that are drawn."""
        curves = self.results.curves
        return curves[curves["trial"].isin(self.block.trials) & curves["recipe"].isin(self.recipes)]

    @property
    def trials(self) -> DataFrame:
        """The trials of this block, of all its recipes."""
        return self.results.trials[self.results.trials["trial"].isin(self.block.trials)]

    @property
    def final(self) -> DataFrame:
        """The scores that the table is taken from."""
        scores = final_scores(self.results)
        return scores[scores["trial"].isin(self.block.trials) & (scores["protocol_id"] == self.block.protocol_id)]

    def tag(self, recipe: str) -> str:
        """The mark on what is drawn of a recipe, from which the page makes a class."""
        return f"recipe-{self.results.recipes.index(recipe)}"


def shown(block: Block) -> list[str]:
    """The recipes of a block that its figures show: the best by its first metric, at most `DRAWN`."""
    return [row.recipe for row in block.shown][:DRAWN]


def drawn_recipes(results: Results, comparison: Comparison) -> list[str]:
    """All recipes that any figure shows, in the order of the trials."""
    drawn = {recipe for block in comparison.blocks for recipe in shown(block)}
    return [recipe for recipe in results.recipes if recipe in drawn]


def recipe_styles(results: Results, comparison: Comparison) -> dict[str, Style]:
    """One style per recipe throughout; where there are too many, those that are drawn have a colour."""
    recipes = results.recipes
    few = len(recipes) <= len(PALETTE) * len(DASHES)
    chosen = recipes if few else drawn_recipes(results, comparison)
    return {**dict.fromkeys(recipes, Style(PALE, "-")), **styles(chosen)}


def scenes(results: Results, comparison: Comparison) -> list[Scene]:
    """One per block."""
    style = recipe_styles(results, comparison)
    made = []
    for place, block in enumerate(comparison.blocks):
        drawn = set(shown(block))
        note = ""
        if len(block.shown) > DRAWN:
            by = f" by {block.metrics[0].label}" if block.metrics else ""
            note += f" Drawn: the {DRAWN} best of {len(block.shown):,} recipes{by}; the table has all."
        protocol_note = f" Protocol {block.protocol_id}." if len(comparison.blocks) > 1 else ""
        recipes = [recipe for recipe in results.recipes if recipe in drawn]
        suffix = f"-{slug(block.protocol_id)}" if place else ""
        made.append(Scene(results, block, recipes, style, note + protocol_note, protocol_note, suffix))
    return made

"""What a comparison allows one to say, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from reports.ranking import Comparison, Row, ranked
from reports.statistics import FEWEST, Interval

NAMED = 4
"""Recipes that the verdict names for their failures."""


def verdict(result: Comparison) -> list[str]:
    """What the first block's first metric allows one to say, and what failed: one to four sentences."""
    block = result.blocks[0]
    order = ranked(block.rows, block.metrics[0]) if block.metrics else []
    if not order:
        sentences = ["No recipe has a score yet, so there is nothing to compare."]
    else:
        label = block.metrics[0].label
        (best, mean), others = order[0], order[1:]
        under = f" under protocol {block.protocol_id}" if len(result.blocks) > 1 else ""
        if not others:
            sentences = [f"Only {best.recipe} has a score of {label}{under}, so there is nothing to compare it with."]
        elif tied := [row.recipe for row, value in others if value.point == mean.point]:
            shared = _listed([best.recipe, *tied])
            sentences = [f"By {label}, {shared} share the best mean of {len(order)} recipes{under}."]
        else:
            over = f", taken over the {best.n} of {best.trials} trials that have a score" if best.lost else ""
            sentences = [f"By {label}, {best.recipe} has the best mean of {len(order)} recipes{under}{over}."]
            sentences.append(_separation(best, mean, others))
    return [
        *sentences,
        *_losses([row for block in result.blocks for row in block.rows]),
        *_search_losses([found.row for found in result.searched]),
        *(
            f"None of the {found.row.trials} configurations tried of {found.row.recipe} has a score, so it is missing."
            for found in result.searched
            if not (found.row.n or found.row.unfinished)
        ),
    ]


def _search_losses(rows: list[Row]) -> Iterator[str]:
    """A sentence on the search's trials that failed or were flagged."""
    trials = sum(row.trials for row in rows)
    if bad := sum(row.lost + row.flagged for row in rows):
        whose = _shares([(row.recipe, row.lost + row.flagged, row.trials) for row in rows])
        yield f"Of the {trials} trials of the search, {bad} failed, diverged or were flagged: {whose}."


def _losses(rows: list[Row]) -> Iterator[str]:
    """Sentences on the trials that failed or were flagged, and whose they are."""
    trials = sum(row.trials for row in rows)
    if lost := sum(row.lost for row in rows):
        whose = _shares([(row.recipe, row.lost, row.trials) for row in rows])
        yield f"{lost} of {trials} trials failed or diverged and count in no mean: {whose}."
    if flagged := sum(row.flagged for row in rows):
        whose = _shares([(row.recipe, row.flagged, row.trials) for row in rows])
        yield f"Problems were flagged in {flagged} of {trials} trials that have scores, which count: {whose}."
    if pruned := sum(row.pruned for row in rows):
        yield f"{pruned} of {trials} trials were pruned: stopped early, as worse than others at the same point."


def _shares(counts: list[tuple[str, int, int]]) -> str:
    """Which recipes have them, the worst first; of many, as many as can be read."""
    some = sorted((row for row in counts if row[1]), key=lambda row: -row[1] / row[2])
    words = [f"{recipe} {count} of {trials}" for recipe, count, trials in some[:NAMED]]
    more = len(some) - len(words)
    return _listed([*words, *([f"{more} more recipe{'s' * (more > 1)}"] if more else [])])


def _separation(best: Row, mean: Interval, others: list[tuple[Row, Interval]]) -> str:
    """One sentence on whether the best stands apart from the others."""
    unknown = [row.recipe for row, value in ((best, mean), *others) if value.low is None]
    overlapping = [row.recipe for row, value in others if value.low is not None and not mean.apart(value)]
    if best.recipe in unknown:
        return f"It has fewer than {FEWEST} training seeds and so no interval: the order may be chance."
    if overlapping:
        sentence = f"Its 95 % interval (n = {mean.n} training seeds) overlaps that of {_listed(overlapping)}"
        return f"{sentence}: by their intervals they cannot be told apart."
    if unknown:
        return f"Whether it is better than {_listed(unknown)} cannot be told: fewer than {FEWEST} training seeds there."
    return f"Its 95 % interval (n = {mean.n} training seeds) is apart from every other recipe's."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

"""The comparison in sentences: the verdict above the tables and the notes below them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reports.digits import between
from reports.effects import Contrast, Effect, Effects
from reports.rows import Block, Comparison, Metric, Row, Searched
from reports.statistics import FEWEST, Interval

NAMED = 4
"""Recipes that a sentence names; of more it gives the number."""


def verdict(result: Comparison) -> list[str]:
    """What the first block's first metric allows one to say, and how the trials ended: two or three sentences.

    A baseline adds one on how the others compare with it, a search one on what it lost, and a factorial sweep says what
    its factors do.
    """
    block = result.blocks[0]
    where = f" under protocol {block.protocol_id}" if len(result.blocks) > 1 else ""
    return [
        *(
            _ranking(block, block.metrics[0], where)
            if block.metrics
            else ["No recipe has a score yet, so there is nothing to compare."]
        ),
        *(_against(result.baseline, block) if result.baseline is not None else []),
        *(_effects(block.effects, block.metrics[0], where) if block.effects and block.metrics else []),
        *_endings([row for block in result.blocks for row in block.rows]),
        *_losses_of_search(result.searched),
    ]


def _ranking(block: Block, metric: Metric, where: str) -> list[str]:
    """Who has the best mean, and from whom it can be told apart."""
    ranked = [row for row in block.rows if row.cells[metric.name].interval]
    if not ranked:
        return ["No recipe has a score yet, so there is nothing to compare."]
    best, *others = ranked
    if not others:
        return [f"Only {best.recipe} has a score of {metric.label}{where}, so there is nothing to compare it with."]
    points = {row.recipe: value.point for row in ranked if (value := row.cells[metric.name].interval)}
    if shared := [row for row in others if points[row.recipe] == points[best.recipe]]:
        names = some([best.recipe, *(row.recipe for row in shared)])
        rest = others[len(shared) :]
        return [
            f"By {metric.label}, {names} share the best mean of {len(ranked):,} recipes{where}.",
            *([f"Of the others, {_separation(ranked, rest, metric, best.recipe)}"] if rest else []),
        ]
    over = f", taken over the {best.n} of {best.trials} trials that have a score" if best.lost else ""
    return [
        f"By {metric.label}, {best.recipe} has the best mean of {len(ranked):,} recipes{where}{over}.",
        _separation(ranked, others, metric, "It"),
    ]


def _separation(ranked: list[Row], others: list[Row], metric: Metric, subject: str) -> str:
    """One sentence on whether the best stands apart from `others`."""
    cells = {row.recipe: row.cells[metric.name] for row in ranked}
    n = len(cells[ranked[0].recipe].scores)
    if n < FEWEST:
        return f"{subject} has fewer than {FEWEST} training seeds and so no interval: the order may be chance."
    few = [row.recipe for row in others if len(cells[row.recipe].scores) < FEWEST]
    tied = [row.recipe for row in others if cells[row.recipe].tied]
    worse = [row.recipe for row in others if row.recipe not in {*few, *tied}]
    tested = sum(len(cell.scores) >= FEWEST for cell in cells.values())
    how = f"at 95 %; n = {n} training seeds"
    if tested > 2:
        how += f", corrected for {tested * (tested - 1) // 2:,} comparisons"
    parts = []
    if tied:
        parts.append(f"is tied with {some(tied)}")
    if worse:
        every = "every other recipe" if len(worse) == len(ranked) - 1 else some(worse)
        parts.append(f"is surely better than {every}")
    said = f"{subject} {' and '.join(parts)} ({how})" if parts else ""
    unknown = f"of {some(few)} it cannot be told, for want of {FEWEST} training seeds" if few else ""
    text = "; ".join(filter(None, (said, unknown)))
    return f"{text[0].upper()}{text[1:]}." if subject == "It" else f"{text}."


def _against(baseline: str, block: Block) -> Iterator[str]:
    """How the others compare with the baseline by the first metric; nothing where none can."""
    if not block.metrics:
        return
    metric = block.metrics[0]
    judged = {said: [row.recipe for row in block.rows if row.cells[metric.name].against == said] for said in
              ("better", "worse", "tied")}  # fmt: skip
    parts = [
        f"{some(recipes)} {'is' if len(recipes) == 1 else 'are'} {'tied with it' if said == 'tied' else said}"
        for said, recipes in judged.items()
        if recipes
    ]
    if parts:
        yield f"Compared with the baseline {baseline} by {metric.label}, {'; '.join(parts)}."


def _effects(shown: Effects, metric: Metric, where: str) -> Iterator[str]:
    """What the factors do to a score, and whether they change each other's effects."""
    if shown.refused or metric.name not in shown.found:
        reason = shown.refused or f"no training seed has a {metric.label} of every recipe"
        yield f"The effects of single options cannot be told: {reason}."
        return
    pairs = list(zip(shown.contrasts, shown.found[metric.name], strict=True))
    n, lost = len(pairs[0][1].by_seed), len(shown.lost[metric.name])
    seeds = f"{n} of {n + lost} training seeds" if lost else f"{n} training seed{'s' * (n > 1)}"
    if n < FEWEST:
        yield f"With scores of all recipes in only {seeds}, the effects of single options have no interval."
        return
    mains = [pair for pair in pairs if pair[0].order == 1]
    sure = [f"{_instead(one)} {_does(effect.interval, metric.label)}" for one, effect in mains if effect.sure]
    unsure = [_instead(one) for one, effect in mains if not effect.sure]
    over = f"Over {seeds}{where} and averaged over the other factors, "
    if sure:
        yield f"{over}{some(sure, 'effect')}."
    if unsure:
        yield f"{'Of' if sure else f'{over}of'} {some(unsure, 'level')} no effect is surely different from 0."
    yield _interactions([pair for pair in pairs if pair[0].order > 1])


def _interactions(pairs: list[tuple[Contrast, Effect]]) -> str:
    sure = [f"{contrast.label} ({between(effect.interval)})" for contrast, effect in pairs if effect.sure]
    if not sure:
        return "No interaction is surely different from 0."
    return f"Surely different from 0 of {len(pairs)} interactions: {some(sure, 'interaction')}."


def _instead(contrast: Contrast) -> str:
    """A main effect's level and what it is compared with."""
    return f"{contrast.factors[0]}={contrast.levels[0]} instead of {contrast.firsts[0]}"


def _does(effect: Interval, label: str) -> str:
    """What an effect does to a score, by how much."""
    if effect.point > 0 or effect.low is None or effect.high is None:
        return f"raises {label} by {between(effect)}"
    return f"lowers {label} by {between(Interval(-effect.high, -effect.point, -effect.low, effect.n))}"


def _endings(rows: list[Row]) -> Iterator[str]:
    """One sentence on the trials that failed, were flagged or pruned or have not ended, and whose they are."""
    trials = sum(row.trials for row in rows)
    parts = []
    if lost := sum(row.lost for row in rows):
        whose = _shares([(row.recipe, row.lost, row.trials) for row in rows])
        parts.append(f"{lost:,} of {trials:,} trials failed or diverged and count in no mean: {whose}")
    if flagged := sum(row.flagged for row in rows):
        whose = _shares([(row.recipe, row.flagged, row.trials) for row in rows])
        parts.append(
            f"problems were flagged in {flagged:,} of {trials:,} trials that have scores, which count: {whose}"
        )
    if pruned := sum(row.pruned for row in rows):
        parts.append(f"{pruned:,} of {trials:,} trials were pruned, that is stopped early as worse than others")
    if unfinished := sum(row.unfinished for row in rows):
        parts.append(f"{unfinished:,} of {trials:,} trials {'has' if unfinished == 1 else 'have'} not ended")
    if trials:
        well = f"none of the {trials:,} trials failed or was" if trials > 1 else "the only trial neither failed nor was"
        yield _sentence(parts or [f"{well} flagged"])


def _losses_of_search(searched: tuple[Searched, ...]) -> Iterator[str]:
    """One sentence on the search's trials that failed or were flagged, and on variants that it lost altogether."""
    rows = [found.row for found in searched]
    parts = []
    if bad := sum(row.lost + row.flagged for row in rows):
        whose = _shares([(row.recipe, row.lost + row.flagged, row.trials) for row in rows])
        trials = sum(row.trials for row in rows)
        parts.append(f"of the {trials:,} trials of the search, {bad:,} failed, diverged or were flagged: {whose}")
    parts += [
        f"none of the {row.trials:,} configurations tried of {row.recipe} has a score, so it is missing"
        for row in rows
        if not (row.n or row.unfinished)
    ]
    if parts:
        yield _sentence(parts)


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _shares(counts: list[tuple[str, int, int]]) -> str:
    """Which recipes have them, the worst first."""
    worst = sorted((row for row in counts if row[1]), key=lambda row: -row[1] / row[2])
    return some([f"{recipe} {count} of {trials}" for recipe, count, trials in worst])


def some(names: list[str], noun: str = "recipe") -> str:
    """As many names as can be read, and the number of the others."""
    more = len(names) - NAMED
    listed = [*names[:NAMED], *([f"{more:,} more {noun}{'s' * (more > 1)}"] if more > 0 else [])]
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def notes(
    blocks: tuple[Block, ...], baseline: str | None = None, searched: tuple[Searched, ...] = ()
) -> tuple[str, ...]:
    """What has to be said under the tables of these blocks."""
    rows = [row for block in blocks for row in block.rows]
    said = [
        "±: half-width of the 95 % t interval of the mean over training seeds; n: training seeds with scores "
        f"(last checkpoint, EMA weights). Below n = {FEWEST} there is no interval and no ±. "
        "(n = …) in a cell: fewer seeds have that score. —: no score.",
        "Bold: surely better than every other recipe of the column. Surely: Welch's t test of the difference of the "
        "means at 95 %, corrected (Holm) for all pairs of the column. rank: from 1 + the number of recipes that are "
        "surely better, to the number of those with a score less those surely worse; recipes whose difference may "
        "be 0 are tied, which does not prove them equal.",
        "images: real images shown to the discriminator. G / D steps: updates of generator and discriminator. "
        "device-s: seconds of training. parameters: of both networks. peak MiB: the most memory that the trial's "
        "process had. All are means over the n trials. real / fake: samples that each score compares.",
    ]
    if baseline is not None:
        said.append(
            f"Differences: the recipe's mean less that of the baseline {baseline}, each with its own 95 % interval "
            f"(Welch). better, worse: surely so, corrected (Holm) for the comparisons with the baseline."
        )
        if not any(cell.difference for row in rows for cell in row.cells.values()):
            said.append(f"No difference to {baseline} can be taken: it shares no score with another recipe here.")
    if any(row.n < row.trials for block in blocks for row in block.shown):
        said.append(
            "n of m: of the recipe's m trials, n have scores; the others count in no mean. A mean without the seeds "
            "that went wrong flatters its recipe."
        )
    if together := [(row.recipe, row.together, row.n) for row in rows if row.together]:
        rest = " The other trials were trained alone." if any(row.together < row.n for row in rows) else ""
        said.append(
            f"Trained as ensembles of seeds, trials: {_shares(together)}. Seeds that are trained together give the "
            f"results of single runs up to rounding, which grows in training: other digits, one distribution.{rest}"
        )
    if searched:
        said.append(
            "Compared are the trials of the last phase alone: of each variant the configuration that the search chose, "
            "trained anew with seeds that it was not chosen by. The scores of the search are lucky ones."
        )
    if any(row.failures and row.failures.k for row in (*rows, *(found.row for found in searched))):
        said.append(
            "failure rate: of the trials that ended, those that failed, diverged or were flagged, with Wilson's 95 % "
            "interval. flagged: scored, but with a problem (vanished gradient, collapse, a critic that always wins). "
            "Pruned trials, stopped early for a better one's sake, are not counted in it."
        )
    if any(block.references for block in blocks):
        said.append(
            "Reference rows are not ranked: an untrained generator, and real images scored against other real ones."
        )
    if len(blocks) > 1:
        said.append("Rows with different protocol ids stand in different tables: their scores must not be compared.")
    budgets = [row.images for row in rows if row.images is not None]
    if budgets and max(budgets) > 1.01 * min(budgets):
        said.append("The recipes were not shown the same number of images: this is not a comparison under one budget.")
    return tuple(said)


def effect_notes(shown: Effects, scores: Mapping[str, str], n: int) -> Iterator[str]:
    """What has to be said under a table of effects on `scores` (label → name), taken over `n` seeds at most."""
    crossed = shown.crossing
    assert crossed is not None, "there is a table of effects"
    yield (
        "a: x → y: the mean score with y less that with x, over all combinations of the other factors. a × b: by how "
        "much the effect of the one grows as the other changes (a difference of differences), and so on. ±: half-width "
        f"of the 95 % t interval over the effects in each of n = {n} training seeds, which all {len(crossed.places)} "
        "recipes share. Bold: surely better. †: surely worse. Both are corrected (Holm) for the "
        f"{len(shown.contrasts)} effects of the column."
    )
    alike: dict[tuple[tuple[int, tuple[str, ...]], ...], list[str]] = {}
    for label, name in scores.items():
        if lost := shown.lost[name]:
            alike.setdefault(tuple(lost.items()), []).append(label)
    for seeds, labels in alike.items():
        told = "; ".join(f"{seed} (for want of {some(list(recipes))})" for seed, recipes in seeds)
        yield f"In no effect on {some(labels, 'score')}, as some recipe has none of it: training seed {told}."
    for factor in crossed.factors:
        if factor.along:
            yield f"An effect of {factor.name} is also that of {some(list(factor.along), 'option')}, which it decides."
    if crossed.mixed:
        yield f"Combinations of factors decide {some(list(crossed.mixed), 'option')}: no effect is free of them."

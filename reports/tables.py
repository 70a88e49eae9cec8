"""What every table says, cell by cell: the one source of Markdown, LaTeX, HTML; whoever writes one escapes the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from reports.digits import decimals, number
from reports.effects import Effect
from reports.published import SOURCES, published_fid
from reports.ranks import Outcome, rank_text
from reports.rows import Block, Cell, Comparison, Row, Searched, summed
from reports.sentences import effect_notes
from reports.statistics import FEWEST, Interval, Proportion

MISSING = "—"
CHOSEN = "chosen"
"""Head of the column of settings: text, which may be long."""
LISTED = 16
"""Recipes up to which the end of each one's trials is told; of more, that of the variants' trials."""
ENDINGS = ("failed", "diverged", "flagged", "pruned", "unfinished")


@dataclass(frozen=True)
class Text:
    """A cell as it is read, still to be escaped by whoever writes it; `value` is what a column is sorted by."""

    text: str
    value: float | None = None
    bold: bool = False


Line = tuple[Text, ...]


@dataclass(frozen=True)
class Table:
    """One table: a head, a line per recipe that begins with its name, and lines that are not ranked."""

    name: Literal[
        "scores", "differences", "costs", "endings", "published", "search", "errors", "study", "effects", "levels"
    ]
    heading: str
    head: tuple[str, ...]
    rows: tuple[Line, ...]
    references: tuple[Line, ...] = ()
    note: str = ""


def tables(block: Block, comparison: Comparison) -> list[Table]:
    """Of one protocol's rows: scores, costs, and what else there is to say; the search's with the first block."""
    found = (
        _scores(block),
        _differences(block, comparison.baseline),
        _effects(block),
        _levels(block),
        _costs(block),
        _endings(block),
        _search(comparison) if block is comparison.blocks[0] else None,
        _published(block),
    )
    return [table for table in found if table is not None and (table.rows or table.references)]


def _scores(block: Block) -> Table:
    short = _short(block)
    return Table(
        name="scores",
        heading="Scores",
        head=(
            "recipe", "rank", *(metric.header for metric in block.metrics), "n of m" if short else "n", "seeds",
            "real / fake",
        ),
        rows=tuple(_score_line(row, block, short=short) for row in block.shown),
        references=tuple(_score_line(row, block, short=False) for row in block.references),
    )  # fmt: skip


def _score_line(row: Row, block: Block, *, short: bool) -> Line:
    return (
        Text(row.recipe),
        _rank(row),
        *(_score(row.cells[metric.name], row.n) for metric in block.metrics),
        Text(f"{row.n} of {row.trials}" if short else str(row.n), row.n),
        Text(_runs(row.seeds), len(row.seeds)),
        Text(f"{_count(row.n_real)} / {_count(row.n_fake)}", row.n_fake),
    )


def _differences(block: Block, baseline: str | None) -> Table | None:
    """Each recipe minus the baseline; None in a block that has no difference to show."""
    rows = [row for row in block.shown if any(cell.difference for cell in row.cells.values())]
    if baseline is None or not rows:
        return None
    return Table(
        name="differences",
        heading=f"Difference to {baseline}",
        head=("recipe", *(metric.header for metric in block.metrics)),
        rows=tuple(
            (Text(row.recipe), *(_difference(row.cells[metric.name]) for metric in block.metrics)) for row in rows
        ),
        note=(f"Bold: surely better than {baseline}. †: surely worse. The others cannot be told apart from it."),
    )


def _difference(cell: Cell) -> Text:
    value = cell.difference
    if value is None:
        return Text(MISSING)
    return _change(value, cell.against, f" (n = {value.n})" if value.low is None else "")


def _change(value: Interval, judged: Outcome | None, few: str) -> Text:
    """With its sign, bold for better and marked for worse."""
    sign = "+" if value.point > 0 else ""
    worse = " †" if judged == "worse" else ""
    return Text(f"{sign}{number(value)}{few}{worse}", value.point, judged == "better")


def _effects(block: Block) -> Table | None:
    """What each factor does to each score, and each set of factors together; None where nothing was asked or known."""
    shown = block.effects
    if shown is None or shown.crossing is None or not shown.found:
        return None
    n = max(len(found[0].by_seed) for found in shown.found.values())
    return Table(
        name="effects",
        heading="Effects of the factors",
        head=("effect", *(metric.header for metric in block.metrics)),
        rows=tuple(
            (Text(contrast.label), *(_effect(shown.found.get(metric.name), place, n) for metric in block.metrics))
            for place, contrast in enumerate(shown.contrasts)
        ),
        note=" ".join(effect_notes(shown, {metric.label: metric.name for metric in block.metrics}, n)),
    )


def _effect(found: Sequence[Effect] | None, place: int, n: int) -> Text:
    if found is None:
        return Text(MISSING)
    one = found[place]
    few = "" if one.interval.n == n >= FEWEST else f" (n = {one.interval.n})"
    return _change(one.interval, one.outcome, few)


def _levels(block: Block) -> Table | None:
    """How the trials of each factor's levels ended; None where all went well, or there are no factors."""
    crossed = block.effects.crossing if block.effects else None
    if crossed is None:
        return None
    rows = [
        summed(f"{factor.name}={level}", [row for row in block.rows if crossed.places[row.recipe][place] == number])
        for place, factor in enumerate(crossed.factors)
        for number, level in enumerate(factor.levels)
    ]
    kinds = [kind for kind in ENDINGS if any(getattr(row, kind) for row in rows)]
    return _ended("levels", "How the trials of each level ended", "level", rows, kinds) if kinds else None


def _costs(block: Block) -> Table:
    return Table(
        name="costs",
        heading="Costs per trial",
        head=("recipe", "images", "G / D steps", "device-s", "parameters", "peak MiB"),
        rows=tuple(
            (
                Text(row.recipe),
                Text(_count(row.images), row.images),
                Text(MISSING if row.g_steps is None else f"{_count(row.g_steps)} / {_count(row.d_steps)}", row.g_steps),
                Text(MISSING if row.seconds is None else _seconds(row.seconds), row.seconds),
                Text(_count(row.parameters), row.parameters),
                Text(_count(row.peak_memory_mb), row.peak_memory_mb),
            )
            for row in block.shown
        ),
    )


def _endings(block: Block) -> Table | None:
    """How the recipes' trials ended; None where every trial is done and no problem was flagged."""
    kinds = [kind for kind in ENDINGS if any(getattr(row, kind) for row in block.rows)]
    together = block.variants
    apart = [row for row in block.rows if row.variant not in {row.variant for row in together}]
    each = block.rows if len(block.rows) <= LISTED else apart
    return _ended("endings", "How the trials ended", "recipe", [*each, *together], kinds) if kinds else None


def _search(comparison: Comparison) -> Table | None:
    """What the search tried of each variant and what it chose; None where nothing was searched."""
    found = comparison.searched
    rows = [one.row for one in found]
    if not rows:
        return None
    kinds = [kind for kind in ENDINGS if any(getattr(row, kind) for row in rows)]
    table = _ended("search", "The search", "variant", rows, kinds)
    return replace(
        table,
        head=(*table.head, comparison.rule, CHOSEN),
        rows=tuple((*line, *_choice(one)) for line, one in zip(table.rows, found, strict=True)),
    )


def _choice(found: Searched) -> Line:
    value = MISSING if found.best is None else f"{found.best:.{decimals(found.best, 4)}f}".replace("-", "−")
    settings = MISSING if found.chosen is None else found.chosen or "its only configuration"
    return (Text(value, found.best), Text(settings))


def _ended(
    name: Literal["endings", "search", "levels"], heading: str, whose: str, rows: Sequence[Row], kinds: Sequence[str]
) -> Table:
    """How the trials of some rows ended, by `kinds` of ends."""
    failing = any(row.failures and row.failures.k for row in rows)
    return Table(
        name=name,
        heading=heading,
        head=(whose, "trials", "scored", *kinds, *(["failure rate (95 % interval)"] if failing else [])),
        rows=tuple(
            (
                Text(row.recipe),
                *(Text(f"{n:,}", n) for n in (row.trials, row.n, *(getattr(row, kind) for kind in kinds))),
                *([_rate(row.failures)] if failing else []),
            )
            for row in rows
        ),
    )


def _published(block: Block) -> Table | None:
    """Other people's FIDs beside ours; None where none is known of this dataset and these variants."""
    known = published_fid(str(block.protocol.get("dataset", "")))
    rows = [row for row in block.shown if row.variant in known]
    ours = [metric for metric in block.metrics if metric.name == "fid"]
    if not rows or not ours:
        return None
    sources = [source for source in SOURCES if any(source in known[row.variant] for row in rows)]
    return Table(
        name="published",
        heading="Published FIDs, each of another protocol",
        head=("recipe", f"{ours[0].header}, here", *sources),
        rows=tuple(
            (
                Text(row.recipe),
                *(Text(cell.text, cell.value) for cell in [_score(row.cells["fid"], row.n)]),
                *(_quoted(known[row.variant].get(source)) for source in sources),
            )
            for row in rows
        ),
        note=(
            "For orientation only: the published figures were taken with other networks, budgets, sample sizes and "
            "choices of checkpoint. None of them compares with the column of this report, nor with another source's."
        ),
    )


def _quoted(figure: str | None) -> Text:
    digits = re.match(r"[\d.]+", figure or "")
    return Text(figure or MISSING, float(digits[0]) if digits else None)


# --- sentences around the tables


def protocol_words(protocol: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A protocol's entries as (name, value) in words, nested ones joined by a blank; hashes are cut to 12 digits."""
    words: list[tuple[str, str]] = []
    for name, value in protocol.items():
        if isinstance(value, Mapping):
            words += [(f"{_spaced(name)} {inner}", text) for inner, text in protocol_words(value)]
        else:
            words.append((_spaced(name), _word(value)))
    return words


def protocol_sentence(block: Block) -> str:
    """All that is known of how a block's scores were taken."""
    if not block.protocol_id:
        return "Protocol: none, since nothing was scored."
    words = "; ".join(f"{name}: {value}" for name, value in protocol_words(block.protocol)) or "not recorded"
    return f"Protocol {block.protocol_id} — {words}."


def failure_sentences(comparison: Comparison) -> Iterator[str]:
    """Each failure with its reason."""
    for failure in comparison.failures:
        yield f"{failure.recipe}, seed {failure.seed}, {failure.what}: {failure.reason}"


# --- numbers as they are read


def _short(block: Block) -> bool:
    """Whether any recipe has fewer scores than trials."""
    return any(row.n < row.trials for row in block.shown)


def _rank(row: Row) -> Text:
    if row.kind == "reference":
        return Text("")
    return Text(MISSING) if row.ranks is None else Text(rank_text(row.ranks), sum(row.ranks) / 2)


def _score(cell: Cell, n: int) -> Text:
    value = cell.interval
    if value is None:
        return Text(MISSING)
    return Text(number(value) + (f" (n = {value.n})" if value.n != n else ""), value.point, cell.best)


def _rate(failures: Proportion | None) -> Text:
    """k/n with the interval in whole per cents."""
    if failures is None:
        return Text(MISSING)
    return Text(share(failures), failures.share)


def share(value: Proportion) -> str:
    """So many of how many, and Wilson's interval.

    >>> from reports.statistics import proportion
    >>> share(proportion(0, 5))
    '0/5 (0–43 %)'
    """
    return f"{value.k}/{value.n} ({100 * value.low:.0f}–{100 * value.high:.0f} %)"


def _runs(numbers: Iterable[int]) -> str:
    """Whole numbers in ascending order, shortened where they follow each other.

    >>> _runs([0, 1, 2, 5, 7, 8])
    '0–2, 5, 7, 8'
    """
    runs: list[list[int]] = []
    for one in numbers:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _count(value: float | None) -> str:
    return MISSING if value is None else f"{round(value):,}"


def _seconds(value: float) -> str:
    return f"{value:,.{decimals(value, 2)}f}"


def _spaced(name: str) -> str:
    return str(name).replace("_", " ")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_word, value))
    text = "none" if value is None else str(value)
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1…", text)

"""The comparison for machines: JSON with all that the tables know, and CSV with one flat row per line of a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reports.published import published_fid
from reports.rows import COSTS, Block, Cell, Comparison, Row
from reports.statistics import Interval
from reports.studies import Study
from reports.tables import ENDINGS


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat dict per row; None where nothing is known.

    Of each metric: <name>_mean, _low, _high (of the 95 % interval), _n (seeds), _best (whether it is surely the best),
    _rank_low and _rank_high, and to the baseline _difference, _difference_low and _difference_high.
    """
    names = list(dict.fromkeys(metric.name for block in comparison.blocks for metric in block.metrics))
    rows: list[dict[str, Any]] = []
    for block in comparison.blocks:
        for row in (*block.rows, *block.references):
            facts = _row(row, block)
            scores, rate = facts.pop("scores"), facts.pop("failure_rate") or {}
            ranks = facts.pop("ranks")
            del facts["published"]
            rows.append(
                {
                    "protocol_id": block.protocol_id,
                    **facts,
                    "seeds": " ".join(map(str, row.seeds)),
                    **_ends("rank", ranks),
                    "failure_rate": rate.get("share"),
                    "failure_rate_low": rate.get("low"),
                    "failure_rate_high": rate.get("high"),
                    **{
                        f"{name}_{key}": value
                        for name in names
                        for key, value in _flat(scores.get(name) or _score(Cell())).items()
                    },
                }
            )
    return rows


def to_csv(comparison: Comparison) -> str:
    """`records` as CSV with a header line; floats in full, missing values empty."""
    return _csv(records(comparison))


def effects_csv(comparison: Comparison) -> str | None:
    """Every effect on every score as CSV, one a row with its 95 % interval and Holm's p; None where there are none."""
    rows = [
        {"protocol_id": block.protocol_id, **row, **{name: " × ".join(row[name]) for name in ("factors", "levels")}}
        for block in comparison.blocks
        for row in _effect_rows(block)
    ]
    return _csv({name: value for name, value in row.items() if name != "seeds"} for row in rows) if rows else None


def study_csv(study: Study | None) -> str | None:
    """The lines of a study's tables as CSV; None where there are none."""
    if study is None:
        return None
    return _csv({"protocol_id": part.scene.block.protocol_id, **row} for part in study.parts for row in part.records)


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    import pandas as pd

    return pd.DataFrame(list(rows), dtype=object).to_csv(index=False, lineterminator="\n")


def to_json(comparison: Comparison, study: Study | None = None) -> str:
    """The whole comparison: per protocol its rows with their scores, and the verdict, the notes and the failures.

    A missing number is null. A score has its mean over `n` training seeds, the ends of its 95 % interval, `best`,
    `ranks` (the range of ranks that it may have), its `difference` to the baseline, and `seeds`: each one's own score.
    Of a factorial sweep, a protocol has `effects`: likewise, with `p` after Holm's correction. Of a sweep that was made
    for a study, it has `study`: the lines of the study's tables.
    """
    from reports import verdict

    value = {
        "title": comparison.title,
        "verdict": verdict(comparison),
        "baseline": comparison.baseline,
        "blocks": [
            {
                "protocol_id": block.protocol_id,
                "protocol": block.protocol,
                "metrics": [
                    {"name": metric.name, "label": metric.label, "direction": metric.direction}
                    for metric in block.metrics
                ],
                "rows": [_row(row, block) for row in (*block.rows, *block.references)],
                "effects": _effects(block),
                "study": [row for part in study.of(block) for row in part.records] if study else None,
            }
            for block in comparison.blocks
        ],
        "search": {
            "rule": comparison.rule,
            "variants": [
                {"variant": found.row.recipe, **_counts(found.row), "best": found.best, "chosen": found.chosen}
                for found in comparison.searched
            ],
        }
        if comparison.searched
        else None,
        "notes": comparison.notes,
        "failures": [
            {"recipe": failure.recipe, "seed": failure.seed, "what": failure.what, "reason": failure.reason}
            for failure in comparison.failures
        ],
    }
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _row(row: Row, block: Block) -> dict[str, Any]:
    published = published_fid(str(block.protocol.get("dataset", ""))).get(row.variant or "", {})
    return {
        "kind": row.kind,
        "recipe": row.recipe,
        "variant": row.variant,
        "ranks": row.ranks,
        "seeds": row.seeds,
        "n_real": row.n_real,
        "n_fake": row.n_fake,
        "scores": {metric.name: _score(row.cells[metric.name]) for metric in block.metrics},
        **_counts(row),
        **{name: getattr(row, name) for name in COSTS},
        "published": {"fid": dict(published)} if published else {},
    }


def _effects(block: Block) -> dict[str, Any] | None:
    shown = block.effects
    if shown is None:
        return None
    crossed = shown.crossing
    return {
        "refused": shown.refused,
        "factors": [
            {"name": factor.name, "levels": factor.levels, "along": factor.along}
            for factor in (crossed.factors if crossed else ())
        ],
        "mixed": crossed.mixed if crossed else (),
        "effects": list(_effect_rows(block)),
        "lost": {
            name: {str(seed): recipes for seed, recipes in seeds.items()} for name, seeds in shown.lost.items() if seeds
        },
    }


def _effect_rows(block: Block) -> Iterator[dict[str, Any]]:
    """One per effect and score."""
    shown = block.effects
    if shown is None:
        return
    for metric in block.metrics:
        if metric.name not in shown.found:
            continue
        for contrast, effect in zip(shown.contrasts, shown.found[metric.name], strict=True):
            yield {
                "effect": contrast.label,
                "order": contrast.order,
                "factors": contrast.factors,
                "levels": contrast.levels,
                "metric": metric.name,
                **_interval(effect.interval),
                "p": effect.p,
                "outcome": effect.outcome,
                "seeds": {str(seed): value for seed, value in sorted(effect.by_seed.items())},
            }


def _counts(row: Row) -> dict[str, Any]:
    """How the trials ended; references have none."""
    counted = row.kind == "recipe"
    rate = row.failures if counted else None
    return {
        "n": row.n,
        "trials": row.trials if counted else None,
        **{name: getattr(row, name) if counted else None for name in ENDINGS},
        "failure_rate": {"share": rate.share, "low": rate.low, "high": rate.high, "n": rate.n} if rate else None,
    }


def _score(cell: Cell) -> dict[str, Any]:
    return {
        **_interval(cell.interval),
        "seeds": {str(seed): score for seed, score in sorted(cell.scores.items())},
        "best": cell.best,
        "ranks": cell.ranks,
        "tied": cell.tied,
        "difference": _interval(cell.difference) if cell.difference else None,
        "against": cell.against,
    }


def _interval(value: Interval | None) -> dict[str, Any]:
    if value is None:
        return {"mean": None, "low": None, "high": None, "n": 0}
    return {"mean": value.point, "low": value.low, "high": value.high, "n": value.n}


def _flat(score: dict[str, Any]) -> dict[str, Any]:
    difference = score["difference"] or _interval(None)
    return {
        **{name: score[name] for name in ("mean", "low", "high", "n", "best")},
        **_ends("rank", score["ranks"]),
        "difference": difference["mean"],
        "difference_low": difference["low"],
        "difference_high": difference["high"],
    }


def _ends(name: str, ranks: tuple[int, int] | None) -> dict[str, int | None]:
    low, high = ranks or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}

"""Short texts for the terminal: what can be named, and a trial's scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metrics.catalogue import REGISTRY, label_for

if TYPE_CHECKING:
    from harness.places import Entry


def lines(what: Literal["gans", "networks", "datasets", "features", "metrics"]) -> Iterator[str]:
    """One line per known name: name, what it is, and its paper."""
    rows = [(entry.name, entry.summary, entry.paper) for entry in _registry(what).entries()]
    width = max(len(name) for name, _, _ in rows)
    for name, summary, paper in rows:
        yield f"{name:<{width}}  {summary}" + (f" — {paper}" if paper else "")


def _registry(what: str) -> Any:
    if what == "gans":
        from gans.catalogue import VARIANTS

        return VARIANTS
    if what == "networks":
        from gans.networks import NETWORKS

        return NETWORKS
    if what == "datasets":
        from harness.data.catalogue import DATASETS

        return DATASETS
    if what == "features":
        from metrics.features import FEATURES

        return FEATURES
    return REGISTRY


def score_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Scores of one subject, or of one trial's several, side by side: value ± spread over generation seeds.

    Those that compare class by class follow in a table of their own, as they have a protocol of their own.
    """
    told = [result for result in results if "by_class" in result["protocol"]]
    told += [{**result, "gap": None, **result["by_class"]} for result in results if result.get("by_class")]
    others = [result for result in results if "by_class" not in result["protocol"] and result["scores"]]
    return "\n\n".join(_table(part) for part in (others, told) if part)


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    first = results[0]
    header = ["", *(_title(result, first) for result in results)]
    rows = [
        [label_for(name, first["protocol"]["features"]), *(_cell(result["scores"].get(name)) for result in results)]
        for name in first["scores"]
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    table = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [header, *rows]
    ]
    protocol = first["protocol"]
    gap = first.get("gap")
    if gap:
        label = label_for("fid", protocol["features"])
        table.append(
            f"{label} against {gap['n_real']} held-out samples {_cell(gap['test'])}, against as many training samples "
            f"{_cell(gap['train'])}: a gap of {_cell(gap['value'])} (above 0: nearer to what was trained on)"
        )
    seeds = protocol["generation_seeds"]
    spread = (
        f"± standard deviation over {seeds} generation seeds of one training" if seeds > 1 else "one draw, no spread"
    )
    return "\n".join(
        [
            *table,
            f"protocol {first['protocol_id']}: {protocol['features']} features, {protocol['n_fake']} fakes against "
            f"{protocol['n_real']} real of {protocol['dataset']} ({protocol['split']} split); {spread}",
        ]
    )


def _title(result: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    title = " ".join(part for part in (result["checkpoint"], result["weights"]) if part) or "score"
    n = result["protocol"]["n_fake"]
    return title if n == first["protocol"]["n_fake"] else f"{title} (n={n})"


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "–"
    if score["value"] is None:
        return f"failed: {score['reason']}"
    spread = "" if score["spread"] is None else f" ± {score['spread']:.3g}"
    return f"{score['value']:.4g}{spread}"


def cache_table(folder: Path, entries: Sequence[Entry]) -> str:
    """What the cache folder holds, one line each, and the total."""
    rows = [
        f"{entry.content:<44}  {entry.bytes / 2**20:>8.1f} MiB  used {_age(entry.seconds_unused)} ago"
        + ("" if entry.usable else "  (no longer used: `ganbench cache prune` removes it)")
        for entry in entries
    ]
    total = sum(entry.bytes for entry in entries) / 2**20
    return "\n".join([*rows, f"{folder}: {len(entries)} entries, {total:.1f} MiB"])


def _age(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} seconds"

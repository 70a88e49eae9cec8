"""`ganbench check`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer


def check(
    asked: Annotated[
        str, typer.Argument(metavar="NAME|MODULE:OBJECT", help="A registered name, or what is not installed yet.")
    ],
    kind: Annotated[
        Literal["variant", "network", "dataset", "metric"] | None,
        typer.Option("--as", help="What it is, where a name is several things or an object does not show it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every finding, as one JSON document.")] = False,
) -> None:
    """Try a variant, network, dataset or metric against what ganbench asks of it; exit code 1 where a check failed."""
    from harness.conformance import check as findings

    kept = []
    for finding in findings(asked, kind):
        kept.append(finding)
        if not as_json:
            typer.echo(finding.line())
    healthy = all(finding.ok for finding in kept)
    if as_json:
        checks = [finding.as_json() for finding in kept]
        typer.echo(json.dumps({"target": asked, "ok": healthy, "checks": checks}, indent=2, ensure_ascii=False))
    if not healthy:
        raise typer.Exit(1)

"""What `ganbench sweep` and `ganbench report` do with an experiment of the theory bench."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from ganbench.errors import UserError


def run(path: Path, assignments: Sequence[str], out: Path | None, *, dry_run: bool) -> None:
    """Measure what is not measured yet of the file's experiment, then write its page and say what it found."""
    from harness.theory import folder as folders
    from harness.theory.spec import read_theory

    spec = read_theory(path, assignments)
    if dry_run:
        typer.echo(f"{spec.theory}: seeds {', '.join(map(str, spec.seeds))}; no trial is trained")
        for name, value in spec.parameters.model_dump().items():
            typer.echo(f"  {name}: {value}")
        return
    folder = out or Path("runs") / spec.name
    held = folders.prepare(folder, spec)
    try:
        folders.measure(folder, held, told=lambda line: typer.echo(line, err=True))
    except KeyboardInterrupt:
        typer.echo(f"stopped; the same command continues where it was ({folder})", err=True)
        raise typer.Exit(130) from None
    index, text = write_page([folder])
    typer.echo(text)
    typer.echo(f"report: {index}")


def show(folder: Path, *, as_json: bool) -> None:
    """How far its seeds are."""
    from harness.theory import folder as folders

    rows = folders.status(folder)
    if as_json:
        typer.echo("\n".join(json.dumps(row) for row in rows))
        return
    done = sum(row["state"] == "done" for row in rows)
    typer.echo(f"{folders.load(folder).name}: {done} of {len(rows)} seeds measured")
    for row in rows:
        seconds = "" if row["seconds"] is None else f" in {row['seconds']:.1f} s"
        typer.echo(f"  seed {row['seed']}: {row['state']}{seconds}")


def write_page(paths: Sequence[Path], out: Path | None = None, *, baseline: str | None = None) -> tuple[Path, str]:
    """Write the page of one experiment's folder; its index.html, and what a terminal shows of it."""
    from harness.theory.folder import collect
    from reports.theory import to_text, write

    if len(paths) > 1:
        raise UserError("an experiment of the theory bench has a page of its own: name its folder alone")
    if baseline is not None:
        raise UserError("an experiment of the theory bench compares with its closed form: leave out --baseline")
    bench = collect(paths[0])
    return write(bench, out or paths[0] / "report"), to_text(bench)

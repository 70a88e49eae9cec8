"""`ganbench sweep …`; nothing heavy is imported until a command needs it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from ganbench.errors import UserError
from harness.options import (
    Assignments,
    DataDir,
    Device,
    Download,
    Private,
    Project,
    SkipBroken,
    Wandb,
    have_data,
    say_where,
    tracking_of,
    write_report,
)

app = typer.Typer(help="Run, watch and list sweeps.", no_args_is_help=True, rich_markup_mode=None)

ASK_ABOVE = 1000
"""Trials from which a sweep is asked about before it starts."""


@app.command("run")
def sweep_run(
    spec: Annotated[Path, typer.Argument(help="A W&B sweep YAML, or the name of a shipped one (`sweep list`).")],
    assignments: Assignments = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep; default runs/<name>.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; default one per GPU, or core, it may use.")
    ] = None,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="ray: on a cluster (`ganbench[ray]`).")] = "local",
    address: Annotated[str | None, typer.Option(help="The Ray cluster's address; default: one started here.")] = None,
    time_limit: Annotated[
        float | None, typer.Option(min=1, help="Seconds after which a trial is ended, failed.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and stop.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also train what failed before.")] = False,
    data_dir: DataDir = None,
    download: Download = False,
    skip_broken: SkipBroken = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a large sweep.")] = False,
    device: Device = "auto",
    wandb: Wandb = "auto",
    project: Project = "ganbench",
    private: Private = False,
) -> None:
    """Train every trial of a sweep that is not done yet, then write and print the comparison."""
    from harness.config import trial_id
    from harness.config_text import parse_assignments
    from harness.labels import recipe_labels
    from harness.precheck import check_ensembles, check_names, check_sweep
    from harness.sweep import shipped
    from harness.sweep.folder import prepare, trial_folder
    from harness.sweep.scheduler import run_sweep
    from harness.sweep.spec import read_spec
    from harness.theory.spec import is_theory

    path = shipped.find(spec)
    if is_theory(path):
        from harness.theory import commands as theory

        theory.run(path, assignments or [], out, dry_run=dry_run)
        return
    given = [*(assignments or []), *(["data.skip_broken=true"] if skip_broken else [])]
    sweep = read_spec(path, parse_assignments(given))
    for trial in sweep.trials:
        check_names(trial)
    if sweep.ensemble:
        check_ensembles(sweep.trials)
    if dry_run:
        for trial, label in zip(sweep.trials, recipe_labels(sweep.trials), strict=True):
            typer.echo(f"{label} seed {trial.seed}: {trial.images:,} images of {trial.data.name}")
        if sweep.planned > len(sweep.trials):
            typer.echo(f"and up to {sweep.planned - len(sweep.trials)} more that the search takes from their results")
        return
    if sweep.planned > ASK_ABOVE and not yes:
        shown = sum(trial.images for trial in sweep.trials)
        _confirm(sweep.planned, shown * sweep.planned // len(sweep.trials))
    have_data(*(trial.data.name for trial in sweep.trials), folder=data_dir, download=download)
    folder = out or Path("runs") / sweep.name
    begun = (folder / "manifest.json").is_file()
    states = (trial_folder(folder, trial_id(trial)).status().get("state") if begun else None for trial in sweep.trials)
    check_sweep(trial for trial, state in zip(sweep.trials, states, strict=True) if state != "done")
    tracking = tracking_of(wandb, project, private, group=folder.name)
    outcome = run_sweep(
        folder,
        tracking=tracking,
        manifest=prepare(folder, sweep),
        jobs=jobs,
        retry_failed=retry_failed,
        device=device,
        time_limit=time_limit,
        executor=executor,
        address=address,
    )
    if outcome.interrupted:
        typer.echo(f"stopped; the same command continues where it was ({folder})", err=True)
        raise typer.Exit(outcome.exit_code)
    index, text = write_report([folder])
    typer.echo(text)
    typer.echo(f"report: {index}")
    say_where(tracking, folder)
    for number, what in ((len(outcome.failed), "failed"), (len(outcome.diverged), "diverged")):
        if number:
            typer.echo(
                f"{number} trial{'s' * (number > 1)} {what}; `ganbench sweep status {folder}` says why", err=True
            )
    raise typer.Exit(outcome.exit_code)


@app.command("status")
def sweep_status(
    folder: Annotated[Path, typer.Argument(help="A sweep's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per trial.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew each second until the sweep ends.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List every trial, however many there are.")] = False,
) -> None:
    """Progress, rate, time left, best scores and failures of a sweep, and what each trial is doing."""
    from harness.sweep.overview import Reader
    from harness.theory.folder import is_bench

    if as_json and watch:
        raise UserError("--watch and --json do not go together: give one of them")
    if watch and not sys.stdout.isatty():
        raise UserError("--watch needs a terminal: leave it out, or give --json")
    if is_bench(folder):
        from harness.theory import commands as theory

        theory.show(folder, as_json=as_json)
        return
    reader = Reader(folder)
    if as_json:
        typer.echo("\n".join(json.dumps(asdict(trial)) for trial in reader.read().trials))
        return
    from harness.sweep import board

    if watch:
        board.watch(reader, everything=everything)
    else:
        board.show(reader.read(), everything=everything)


@app.command("retry")
def sweep_retry(
    folder: Annotated[Path, typer.Argument(help="A sweep's folder.")],
    diverged: Annotated[bool, typer.Option("--diverged", help="Also those that diverged.")] = False,
) -> None:
    """Queue the failed trials again; the next `sweep run` continues each from its last checkpoint."""
    from harness.sweep.folder import requeue
    from harness.theory.folder import is_bench

    if is_bench(folder):
        raise UserError(f"{folder} holds no trials: `ganbench sweep run` with the same file measures what is missing")
    ids = requeue(folder, diverged=diverged)
    if not ids:
        typer.echo("no trial is queued again: none has failed")
        return
    said = "1 trial is" if len(ids) == 1 else f"{len(ids)} trials are"
    typer.echo(f"{said} queued again; `ganbench sweep run` with the same specification trains them")


@app.command("export")
def sweep_export(
    spec: Annotated[Path, typer.Argument(help="A W&B sweep YAML, or the name of a shipped one.")],
) -> None:
    """Print the sweep as `wandb sweep` takes it; each agent then calls `ganbench train`."""
    import yaml

    from harness.sweep import shipped
    from harness.sweep.spec import as_wandb_sweep, read_spec, wandb_gaps
    from harness.theory.spec import is_theory

    path = shipped.find(spec)
    if is_theory(path):
        raise UserError(f"{path} trains no GAN, so there is no sweep for W&B: `ganbench sweep run` measures it")
    sweep = read_spec(path)
    typer.echo(yaml.safe_dump(as_wandb_sweep(sweep), sort_keys=False), nl=False)
    for gap in wandb_gaps(sweep):
        typer.echo(f"note: {gap}", err=True)


@app.command("list")
def sweep_list() -> None:
    """The sweeps that are shipped with ganbench."""
    from harness.sweep import shipped
    from harness.sweep.spec import read_summary
    from harness.theory.spec import is_theory, read_heading

    for path in shipped.specs():
        what = "seeds" if is_theory(path) else "trials"
        _, planned, description = (read_heading if what == "seeds" else read_summary)(path)
        typer.echo(f"{shipped.name_of(path):<30} {planned:>4} {what:<6}  {description}")


def _confirm(trials: int, images: int) -> None:
    """Ask before a sweep that was perhaps not meant to be so large; where nobody can answer, refuse."""
    text = f"{trials:,} trials, {images:,} real images to be shown in all"
    if not sys.stdin.isatty():
        raise UserError(f"this sweep is large ({text}): add --yes to run it")
    if not typer.confirm(f"This sweep has {text}. Run it?", err=True):
        raise typer.Exit(2)

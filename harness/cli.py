"""The command line. Nothing heavy is imported until a command needs it: help costs a tenth of a second.

Results go to stdout, progress and logs to stderr. Exit codes: 0 done, 1 some trial or check failed, 2 a mistake
in what was asked.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganbench import __version__
from ganbench.errors import UserError

if TYPE_CHECKING:
    from harness.config import TrackingConfig

app = typer.Typer(
    help="Train GAN recipes under one budget, score them under one protocol, and see which is better, how sure.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
sweep_app = typer.Typer(help="Run, watch and list sweeps.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(sweep_app, name="sweep")
cache_app = typer.Typer(help="Show and prune the stored features.", rich_markup_mode=None)
app.add_typer(cache_app, name="cache")

ASK_ABOVE = 1000
"""Trials from which a sweep is asked about before it starts."""

Assignments = Annotated[
    list[str] | None, typer.Argument(metavar="[key=value]...", help="Any field of the config, such as gan.n_critic=5.")
]
Wandb = Annotated[
    Literal["auto", "online", "offline", "disabled"],
    typer.Option("--wandb", help="auto: online when logged in and reachable, else offline."),
]
Project = Annotated[str, typer.Option(help="W&B project.")]
Private = Annotated[bool, typer.Option("--private", help="Keep host, command line, git and system facts out of W&B.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU where there is one.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


# --- training and sampling


@app.command()
def train(
    assignments: Assignments = None,
    gan: Annotated[str | None, typer.Option(help="Variant; `ganbench list gans` names them.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Embedded dataset, image folder, zip or npz.")] = None,
    network: Annotated[str | None, typer.Option(help="Network pair; `ganbench list networks`.")] = None,
    images: Annotated[int | None, typer.Option(help="Budget: real images shown to the discriminator.")] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of the config; the options above win over it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<variant>-<dataset>-<id>.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; results are equal for equal counts only.")] = 1,
    device: Device = "auto",
    wandb: Wandb = "auto",
    project: Project = "ganbench",
    private: Private = False,
) -> None:
    """Train one variant and score it; an interrupted run continues, a finished one is only shown."""
    from harness.config import check_names, load_config_file, merge, parse_assignments, resolve, trial_id

    options = {"gan": gan, "dataset": dataset, "network": network, "images": images, "seed": seed}
    given = {key: value for key, value in options.items() if value is not None}
    file = load_config_file(config) if config else {}
    resolved = resolve(merge(file, given, parse_assignments(assignments or [])))
    check_names(resolved)
    folder = out or Path("runs") / f"{resolved.gan.name}-{Path(resolved.data.name).stem}-{trial_id(resolved)}"
    _set_threads(threads)

    from harness.experiment import DivergedError, run_trial
    from harness.sweep.progress import open_view

    where = _tracking(wandb, project, private)
    key, label = trial_id(resolved), f"{resolved.gan.name} on {resolved.data.name} seed {resolved.seed}"
    with open_view({key: resolved.images}, before=0) as view:
        view.started(key, label)
        try:
            scores = run_trial(
                resolved, folder, tracking=where, progress=lambda facts: view.advanced(key, facts), device=device
            )
        except DivergedError as error:  # a result, and no fault of the program: no traceback
            view.note(f"{label} diverged: {error} ({folder / 'status.json'} keeps this)")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            view.note(f"stopped; the same command continues where it was ({folder})")
            raise typer.Exit(130) from None
    typer.echo(_score_table(scores["results"]))
    typer.echo(f"run: {folder}")
    _say_where(where, folder)


@app.command()
def sample(
    source: Annotated[Path, typer.Argument(help="A trial's folder or a checkpoint.")],
    out: Annotated[Path, typer.Option(help="A .png (grid), a .npz, or a folder for one PNG per image.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 64,
    seed: Annotated[int, typer.Option(help="Sample i depends on the seed and i alone.")] = 0,
    weights: Annotated[Literal["ema", "raw"], typer.Option(help="Moving average or last weights.")] = "ema",
) -> None:
    """Draw samples from a trained generator."""
    from harness.generators import load_generator, save_samples

    gan, config = load_generator(source)
    save_samples(gan.sample(n, seed=seed, weights=weights), out, config)
    typer.echo(out)


# --- scores


@app.command()
def evaluate(
    real: Annotated[str, typer.Option(help="Dataset, image folder, zip or npz.")],
    fake: Annotated[str, typer.Option(help="A trial's folder, a checkpoint, an image folder, zip or npz.")],
    metrics: Annotated[str | None, typer.Option(help="Comma-separated; `ganbench list metrics`. Default: all.")] = None,
    features: Annotated[
        str, typer.Option(help="Feature network; `ganbench list features`, module:object or a TorchScript file.")
    ] = "auto",
    weights: Annotated[Path | None, typer.Option(help="The feature network's weights file.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch published weights that are missing.")] = False,
    n: Annotated[int | None, typer.Option("-n", min=2, help="Samples per draw of a generator; 1000.")] = None,
    seeds: Annotated[int | None, typer.Option(min=3, help="Draws of a generator, whose spread is shown; 3.")] = None,
    size: Annotated[int | None, typer.Option(help="Side to which both sides' images are resized.")] = None,
    split: Annotated[
        Literal["test", "train"], typer.Option(help="The real set's part that is compared with.")
    ] = "test",
    k: Annotated[int, typer.Option(min=1, help="Neighbours of precision, recall, density and coverage.")] = 3,
    splits: Annotated[int, typer.Option(min=1, help="Splits of the Inception Score.")] = 10,
    bare: Annotated[bool, typer.Option("--bare", help="Without the floor and the test-train gap.")] = False,
    gallery: Annotated[
        Path | None, typer.Option(help="A .png of the fakes nearest to the training set, with their neighbours.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Scores and protocol as JSON.")] = False,
) -> None:
    """Score a generator or a set of samples against a dataset's held-out split."""
    from harness.feature_bar import FeatureBar
    from harness.generators import evaluate_source

    with FeatureBar() as bar:
        result = evaluate_source(
            real=real,
            fake=fake,
            metrics=[name.strip() for name in metrics.split(",")] if metrics else None,
            features=features,
            weights=weights,
            download=download,
            n=n,
            seeds=seeds,
            size=size,
            split=split,
            k=k,
            splits=splits,
            bare=bare,
            gallery=gallery,
            advance=bar,
        )
    columns = [result, result["floor"]] if result["floor"] else [result]
    typer.echo(json.dumps(result, indent=2) if as_json else _score_table(columns))
    for warning in result["warnings"]:
        typer.echo(f"note: {warning}", err=True)


@cache_app.callback(invoke_without_command=True)
def cache_list(context: typer.Context) -> None:
    """What is stored, how large it is and when it was last used."""
    if context.invoked_subcommand is None:
        from harness.feature_store import default_folder, entries
        from harness.listing import cache_table

        folder = default_folder()
        typer.echo(cache_table(folder, entries(folder)))


@cache_app.command("prune")
def cache_prune(
    older_than: Annotated[float | None, typer.Option(help="Also what was not used for so many days.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
) -> None:
    """Remove what is damaged or was made by other code or libraries, and so is never read again."""
    from harness.feature_store import default_folder, prune

    removed = prune(default_folder(), unused_days=older_than, everything=everything)
    typer.echo(f"removed {len(removed)} entries, {sum(entry.bytes for entry in removed) / 2**20:.1f} MiB")


# --- sweeps


@sweep_app.command("run")
def sweep_run(
    spec: Annotated[Path, typer.Argument(help="A W&B sweep YAML, or the name of a shipped one (`sweep list`).")],
    assignments: Assignments = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep; default runs/<name>.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trials at a time; default one per core.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and stop.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also train what failed before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a large sweep.")] = False,
    device: Device = "auto",
    wandb: Wandb = "auto",
    project: Project = "ganbench",
    private: Private = False,
) -> None:
    """Train every trial of a sweep that is not done yet, then write and print the comparison."""
    from harness.config import check_names, parse_assignments, trial_id
    from harness.labels import recipe_labels
    from harness.precheck import check_sweep
    from harness.sweep import shipped
    from harness.sweep.folder import prepare, status
    from harness.sweep.scheduler import run_sweep
    from harness.sweep.spec import read_spec

    sweep = read_spec(shipped.find(spec), parse_assignments(assignments or []))
    for config in {trial.model_copy(update={"seed": 0}).model_dump_json(): trial for trial in sweep.trials}.values():
        check_names(config)
    if dry_run:
        for trial, label in zip(sweep.trials, recipe_labels(sweep.trials), strict=True):
            typer.echo(f"{label} seed {trial.seed}: {trial.images:,} images of {trial.data.name}")
        return
    if len(sweep.trials) > ASK_ABOVE and not yes:
        _confirm(len(sweep.trials), sum(trial.images for trial in sweep.trials))
    folder = out or Path("runs") / sweep.name
    begun = status(folder) if (folder / "manifest.json").is_file() else []
    done = {row.id for row in begun if row.state == "done"}
    check_sweep(trial for trial in sweep.trials if trial_id(trial) not in done)
    tracking = _tracking(wandb, project, private, group=folder.name)
    prepare(folder, sweep)
    outcome = run_sweep(folder, tracking=tracking, jobs=jobs, retry_failed=retry_failed, device=device)
    if outcome.interrupted:
        typer.echo(f"stopped; the same command continues where it was ({folder})", err=True)
        raise typer.Exit(outcome.exit_code)
    index = _write_report([folder])
    typer.echo(index.with_name("table.md").read_text())
    typer.echo(f"report: {index}")
    _say_where(tracking, folder)
    if outcome.failed:
        typer.echo(f"{len(outcome.failed)} trials failed; `ganbench sweep status {folder}` says why", err=True)
    raise typer.Exit(outcome.exit_code)


@sweep_app.command("status")
def sweep_status(
    folder: Annotated[Path, typer.Argument(help="A sweep's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per trial.")] = False,
) -> None:
    """What each trial of a sweep is doing, and why any failed."""
    from collections import Counter
    from dataclasses import asdict

    from harness.sweep.folder import status

    rows = status(folder)
    if as_json:
        typer.echo("\n".join(json.dumps(asdict(row)) for row in rows))
        return
    width = max(len(row.label) for row in rows)
    for row in rows:
        share = f"{row.images / row.total_images:4.0%}"
        reason = f"  {row.reason}" if row.reason else ""
        typer.echo(f"{row.id}  {row.label:<{width}}  {row.state:<11} {share}  {row.seconds:7.1f} s{reason}")
    typer.echo(", ".join(f"{count} {state}" for state, count in Counter(row.state for row in rows).items()))


@sweep_app.command("export")
def sweep_export(
    spec: Annotated[Path, typer.Argument(help="A W&B sweep YAML, or the name of a shipped one.")],
) -> None:
    """Print the sweep as `wandb sweep` takes it; each agent then calls `ganbench train`."""
    import yaml

    from harness.sweep import shipped
    from harness.sweep.spec import as_wandb_sweep, read_spec

    typer.echo(yaml.safe_dump(as_wandb_sweep(read_spec(shipped.find(spec))), sort_keys=False), nl=False)


@sweep_app.command("list")
def sweep_list() -> None:
    """The sweeps that are shipped with ganbench."""
    from harness.sweep import shipped
    from harness.sweep.spec import read_spec

    specs = [read_spec(path) for path in shipped.specs()]
    for spec in specs:
        typer.echo(f"{spec.name:<12} {len(spec.trials):>4} trials  {spec.description}")


# --- reports


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Sweep or trial folders.")],
    fmt: Annotated[
        Literal["md", "tex", "csv", "html"], typer.Option("--format", help="What is printed (html: its path).")
    ] = "md",
    out: Annotated[Path | None, typer.Option(help="Where it is written; default <folder>/report.")] = None,
) -> None:
    """Write the comparison: table.md, table.tex, table.csv, figures and index.html."""
    index = _write_report(folders, out)
    typer.echo(f"{index}\n" if fmt == "html" else index.with_name(f"table.{fmt}").read_text(), nl=False)


@app.command("list")
def list_(
    what: Annotated[Literal["gans", "networks", "datasets", "features", "metrics"], typer.Argument()],
) -> None:
    """Everything that can be named, one line each with its paper."""
    from harness.listing import lines

    typer.echo("\n".join(lines(what)))


@app.command()
def doctor() -> None:
    """Device, versions, feature weights, W&B mode, disk, and a self-test of the metrics."""
    from harness.doctor import diagnose

    healthy, text = diagnose()
    typer.echo(text)
    if not healthy:
        raise typer.Exit(1)


@app.command()
def sync(folder: Annotated[Path, typer.Argument(help="A sweep's or trial's folder.")]) -> None:
    """Push offline W&B runs and say which did not arrive."""
    from harness.sync import sync as push

    results = push(folder)
    for result in results:
        typer.echo(f"{'arrived' if result.arrived else 'missing'}  {result.run_dir}  {result.message}".rstrip())
    if not all(result.arrived for result in results):
        raise typer.Exit(1)


# --- helpers


def _tracking(mode: str, project: str, private: bool, *, group: str | None = None) -> TrackingConfig:
    """The tracking asked for, with `auto` decided: once, not by each trial against a server that is down."""
    from harness.config import TrackingConfig
    from harness.tracking import resolve_mode

    asked = TrackingConfig.model_validate({"mode": mode, "project": project, "private": private, "group": group})
    return asked.model_copy(update={"mode": resolve_mode(asked)})


def _say_where(tracking: TrackingConfig, folder: Path) -> None:
    if tracking.mode == "offline":
        typer.echo(f"W&B runs are offline; `ganbench sync {folder}` pushes them", err=True)


def _confirm(trials: int, images: int) -> None:
    """Ask before a sweep that was perhaps not meant to be so large; where nobody can answer, refuse."""
    text = f"{trials:,} trials, {images:,} real images to be shown in all"
    if not sys.stdin.isatty():
        raise UserError(f"this sweep is large ({text}): add --yes to run it")
    if not typer.confirm(f"This sweep has {text}. Run it?", err=True):
        raise typer.Exit(2)


def _set_threads(threads: int) -> None:
    """Before torch is imported: its OpenMP reads the environment once. PASSIVE: idle threads do not spin."""
    os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OMP_WAIT_POLICY="PASSIVE")


def _write_report(folders: list[Path], out: Path | None = None) -> Path:
    from harness.results import collect
    from reports import write

    return write(collect(folders), out or folders[0] / "report")


def _score_table(results: list[dict[str, Any]]) -> str:
    from harness.listing import score_table

    return score_table(results)


_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ENOENT: "no such place",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EEXIST: "there is a file, not a folder,",
    errno.ENOTDIR: "there is a file, not a folder,",
    errno.EISDIR: "there is a folder, not a file,",
}


_TYPERS_WORDS = {
    "No such option: ": "No such option ",
    ". Did you mean": ": did you mean",
    ". Choose from:": ": choose from",
    "Value error, ": "",
    "Input should": "it should",
}


def _usage_sentence(error: typer.TyperException) -> str:
    """What typer says of a mistake in the command line, in one sentence."""
    near = getattr(error, "possibilities", None)
    text = f"{error.message}: did you mean {' or '.join(near)}?" if near else error.format_message()
    for theirs, ours in _TYPERS_WORDS.items():
        text = text.replace(theirs, ours)
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "ganbench"
    text = " ".join(text.split()).rstrip(".")
    return f"{text[:1].lower()}{text[1:]} (`{command} --help` shows what it takes)"


def main() -> None:
    """Entry point: turns a user's mistake into one sentence on stderr and exit code 2."""
    try:
        sys.exit(app(prog_name="ganbench", standalone_mode=False))
    except typer.TyperException as error:
        text = error.format_message()
        # a command without arguments is answered with its help
        print(text if text.startswith("Usage:") else f"ganbench: {_usage_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except typer.Abort:  # Ctrl-C or Ctrl-D at a question
        sys.exit(130)
    except UserError as error:
        print(f"ganbench: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        where = error.filename or "the output folder"
        print(
            f"ganbench: {_DISK_ERRORS[error.errno]} at {where}: make room there or give another place with --out; "
            "what was written before is intact",
            file=sys.stderr,
        )
        sys.exit(2)

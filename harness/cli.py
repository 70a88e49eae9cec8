"""The command line. Nothing heavy is imported until a command needs it: help costs a tenth of a second.

Results go to stdout, progress and logs to stderr. Exit codes: 0 done, 1 some trial or check failed, 2 a mistake
in what was asked.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganbench import __version__
from ganbench.errors import UserError
from harness.conformance.command import check
from harness.mistakes import disk_sentence, usage_sentence
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
from harness.sweep_commands import app as sweep_commands

if TYPE_CHECKING:
    from harness.config import TrialConfig

app = typer.Typer(
    help="Train GAN recipes under one budget, score them under one protocol, and see which is better, how sure.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(sweep_commands, name="sweep")
app.command()(check)
cache_app = typer.Typer(help="Show and prune the stored features and decoded images.", rich_markup_mode=None)
app.add_typer(cache_app, name="cache")


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
    dataset: Annotated[
        str | None, typer.Option(help="Dataset (`ganbench list datasets`), image folder, zip or npz.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Network pair; `ganbench list networks`.")] = None,
    images: Annotated[int | None, typer.Option(help="Budget: real images shown to the discriminator.")] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of the config; the options above win over it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<variant>-<dataset>-<id>.")] = None,
    data_dir: DataDir = None,
    download: Download = False,
    skip_broken: SkipBroken = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; results are equal for equal counts only.")] = 1,
    device: Device = "auto",
    wandb: Wandb = "auto",
    project: Project = "ganbench",
    private: Private = False,
) -> None:
    """Train one variant and score it; an interrupted run continues, a finished one is only shown."""
    from harness.config import merge, resolve, trial_id
    from harness.config_text import load_config_file, parse_assignments
    from harness.precheck import check_names

    options = {"gan": gan, "dataset": dataset, "network": network, "images": images, "seed": seed}
    given = {key: value for key, value in options.items() if value is not None}
    given |= {"data.skip_broken": True} if skip_broken else {}
    file = load_config_file(config) if config else {}
    resolved = resolve(merge(file, given, parse_assignments(assignments or [])))
    check_names(resolved)
    have_data(resolved.data.name, folder=data_dir, download=download)
    folder = out or Path("runs") / f"{resolved.gan.name}-{Path(resolved.data.name).stem}-{trial_id(resolved)}"
    _set_threads(threads)
    if sys.stderr.isatty():  # decoding many images has a bar of its own, which does not mix with the training's
        _decode_before(resolved, folder)

    from harness.sweep.progress import open_view
    from harness.trial.endings import StoppedError
    from harness.trial.experiment import run_trial

    where = tracking_of(wandb, project, private)
    key, label = trial_id(resolved), f"{resolved.gan.name} on {resolved.data.name} seed {resolved.seed}"
    with open_view({key: resolved.images}, before=0) as view:
        view.started(key, label)
        try:
            scores = run_trial(
                resolved, folder, tracking=where, progress=lambda facts: view.advanced(key, facts), device=device
            )
        except StoppedError as error:  # a result, and no fault of the program: no traceback
            view.note(f"{label} {error.state}: {error} ({folder / 'status.json'} keeps this)")
            raise typer.Exit(1) from None
        except (KeyboardInterrupt, SystemExit) as leave:  # Ctrl-C, or SIGTERM
            view.note(f"stopped; the same command continues where it was ({folder})")
            raise typer.Exit(130 if isinstance(leave, KeyboardInterrupt) else 143) from None
    if not scores:  # one of several machines, and not the first, which says it all
        return
    typer.echo(_score_table(scores["results"]))
    typer.echo(f"run: {folder}")
    say_where(where, folder)


@app.command()
def sample(
    source: Annotated[Path, typer.Argument(help="A trial's folder or a checkpoint.")],
    out: Annotated[Path, typer.Option(help="A .png (grid), a .npz, or a folder for one PNG per image.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 64,
    seed: Annotated[int, typer.Option(help="Sample i depends on the seed and i alone.")] = 0,
    weights: Annotated[Literal["ema", "raw"], typer.Option(help="Moving average or last weights.")] = "ema",
    label: Annotated[int | None, typer.Option("--class", help="Of a conditional game: this class alone.")] = None,
) -> None:
    """Draw samples from a trained generator; a conditional one's grid has a row for each class."""
    from harness.trial.generators import labels_for, load_generator, save_samples

    gan, config = load_generator(source)
    labels = labels_for(gan, n, seed=seed, out=out, wanted=label)
    # a variant of another package may know of no labels
    told = {} if labels is None else {"labels": labels}
    save_samples(gan.sample(n, seed=seed, weights=weights, **told), out, config, labels)
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
    data_dir: DataDir = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a dataset's files and published weights that are missing.")
    ] = False,
    skip_broken: SkipBroken = False,
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
    from harness.scoring.feature_bar import FeatureBar
    from harness.trial.generators import evaluate_source

    have_data(real, folder=data_dir, download=download)
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
            skip_broken=skip_broken,
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
        from harness.cache import entries
        from harness.listing import cache_table
        from harness.places import cache_folder

        folder = cache_folder()
        typer.echo(cache_table(folder, entries(folder)))


@cache_app.command("prune")
def cache_prune(
    older_than: Annotated[float | None, typer.Option(help="Also what was not used for so many days.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
) -> None:
    """Remove what is damaged or was made by other code or libraries, and so is never read again."""
    from harness.cache import prune
    from harness.places import cache_folder

    removed = prune(cache_folder(), unused_days=older_than, everything=everything)
    typer.echo(f"removed {len(removed)} entries, {sum(entry.bytes for entry in removed) / 2**20:.1f} MiB")


# --- reports


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Sweep or trial folders.")],
    fmt: Annotated[
        Literal["md", "tex", "csv", "json", "html"], typer.Option("--format", help="What is printed (html: its path).")
    ] = "md",
    out: Annotated[Path | None, typer.Option(help="Where it is written; default <folder>/report.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Recipe whose scores the others' differences are taken to.")
    ] = None,
    wandb: Annotated[bool, typer.Option("--wandb", help="Also save it as a W&B report and workspace.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --wandb: write its specification instead.")] = False,
) -> None:
    """Write the comparison: table.{md,tex,csv,json}, its data, figures and index.html."""
    if dry_run and not wandb:
        raise UserError("--dry-run belongs to --wandb: give both, or leave it out")
    index, _ = write_report(folders, out, baseline=baseline)
    typer.echo(f"{index}\n" if fmt == "html" else index.with_name(f"table.{fmt}").read_text(), nl=False)
    if wandb:
        _to_wandb(folders, index.parent, baseline=baseline, dry_run=dry_run)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Compared with: a sweep, trial or report, or FOLDER:RECIPE.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Judged: likewise.")],
    metrics: Annotated[str | None, typer.Option(help="Comma-separated names; default all that both have.")] = None,
    paired: Annotated[bool, typer.Option("--paired", help="Take the differences of equal seeds.")] = False,
    each: Annotated[
        bool, typer.Option("--each", help="Fail on every interval on the worse side, uncorrected for their number.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per difference.")] = False,
) -> None:
    """Every score's difference B − A with its interval; exit code 1 where B is surely worse."""
    from harness.compare import find_side
    from reports.versus import versus, versus_markdown, versus_records

    names = [name.strip() for name in metrics.split(",")] if metrics else None
    result = versus(find_side(a), find_side(b), metrics=names, paired=paired)
    if as_json:
        typer.echo("\n".join(json.dumps(record) for record in versus_records(result)))
    else:
        typer.echo(versus_markdown(result), nl=False)
    if result.worse(each=each):
        raise typer.Exit(1)


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


def _to_wandb(paths: list[Path], folder: Path, *, baseline: str | None, dry_run: bool) -> None:
    from harness.publish import publish, write_spec

    if dry_run:
        typer.echo(f"W&B would be given {write_spec(paths, folder, baseline=baseline)}", err=True)
        return
    published = publish(paths, folder, baseline=baseline)
    typer.echo(f"W&B report: {published.report}\nW&B workspace: {published.workspace}", err=True)
    for number, why in (
        (published.missing, "until the server has them: see `ganbench sync`"),
        (published.untracked, "that were trained without W&B"),
    ):
        if number:
            typer.echo(f"W&B's panels lack {number} trials {why}", err=True)


def _decode_before(config: TrialConfig, folder: Path) -> None:
    """See to it that the data of a trial which is still to be trained are decoded and stored."""
    from harness.data import load_for
    from harness.store import TrialFolder

    if TrialFolder(folder).scores() is None:
        load_for(config.data)


def _set_threads(threads: int) -> None:
    """Before torch is imported: its OpenMP reads the environment once. PASSIVE: idle threads do not spin."""
    os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OMP_WAIT_POLICY="PASSIVE")


def _score_table(results: list[dict[str, Any]]) -> str:
    from harness.listing import score_table

    return score_table(results)


def main() -> None:
    """Entry point: turns a user's mistake into one sentence on stderr and exit code 2."""
    try:
        sys.exit(app(prog_name="ganbench", standalone_mode=False))
    except typer.TyperException as error:
        text = error.format_message()
        # a command without arguments is answered with its help
        print(text if text.startswith("Usage:") else f"ganbench: {usage_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except typer.Abort:  # Ctrl-C or Ctrl-D at a question
        sys.exit(130)
    except UserError as error:
        print(f"ganbench: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sentence = disk_sentence(error)
        if sentence is None:
            raise
        print(f"ganbench: {sentence}", file=sys.stderr)
        sys.exit(2)

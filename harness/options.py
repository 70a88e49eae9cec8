"""What several commands share: options with their help, and what is done with them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from harness.config import TrackingConfig

Assignments = Annotated[
    list[str] | None, typer.Argument(metavar="[key=value]...", help="Any field of the config, such as gan.n_critic=5.")
]
Wandb = Annotated[
    Literal["auto", "online", "offline", "disabled"],
    typer.Option("--wandb", help="auto: online when logged in and reachable, else offline."),
]
Project = Annotated[str, typer.Option(help="W&B project.")]
Private = Annotated[bool, typer.Option("--private", help="Keep host, command line, git and system facts out of W&B.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the datasets by name, as torchvision keeps them; else $GANBENCH_DATA."),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch a dataset's files that are missing.")]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave image files out that cannot be read; the protocol counts them.")
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU where there is one.")]


def have_data(*names: str, folder: Path | None, download: bool) -> None:
    """See to it that the published sets among the datasets `names` are on this machine, before anything else starts."""
    from harness.data.published import ensure
    from harness.places import use_data_folder

    use_data_folder(folder)
    ensure(*names, download=download)


def tracking_of(mode: str, project: str, private: bool, *, group: str | None = None) -> TrackingConfig:
    """The tracking asked for, with `auto` decided: once, not by each trial against a server that is down."""
    from harness.config import TrackingConfig
    from harness.tracking.tracker import resolve_mode

    asked = TrackingConfig.model_validate({"mode": mode, "project": project, "private": private, "group": group})
    return asked.model_copy(update={"mode": resolve_mode(asked)})


def say_where(tracking: TrackingConfig, folder: Path) -> None:
    """Tell the user how what the W&B server does not have gets there."""
    if tracking.mode == "offline":
        typer.echo(f"W&B runs are offline; `ganbench sync {folder}` pushes them", err=True)
    elif tracking.mode == "online":
        from harness.sync import missing

        if trials := missing(folder):
            which = str(folder) if trials == [folder.resolve()] else f"{len(trials)} trials of {folder}"
            typer.echo(f"the W&B server lacks some of {which}; `ganbench sync {folder}` pushes it", err=True)


def write_report(folders: list[Path], out: Path | None = None, *, baseline: str | None = None) -> tuple[Path, str]:
    """Write the comparison of sweeps or trials; its index.html, and what a terminal shows of it."""
    from harness.theory.folder import is_bench

    if any(map(is_bench, folders)):
        from harness.theory.commands import write_page

        return write_page(folders, out, baseline=baseline)
    from harness.results import collect
    from reports import comparison, to_text, write

    results = collect(folders)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    index = write(results, out or folders[0] / "report", baseline=baseline)
    return index, to_text(comparison(results, baseline=baseline), width=width)

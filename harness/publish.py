"""The W&B report and workspace of what a report folder shows: found, saved, and kept known for the next time."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.errors import UserError
from ganbench.files import write_json
from harness.results import Found, collect, find_trials
from harness.tracking import server as wandb_server
from harness.tracking.client import end_service, within
from harness.tracking.journal import Journal, has_arrived

if TYPE_CHECKING:
    from reports.wandb_report import Draft, Mirror, Page

PUBLISH_SECONDS = 120.0
"""How long W&B may take for a report and a workspace; its client waits for ever."""

PAGES = "wandb.json"
"""In a report's folder: the pages on W&B that show it."""

SPEC = "wandb-spec.json"
"""In a report's folder: what `--dry-run` would have saved."""


@dataclass(frozen=True)
class Published:
    """What became of a report on W&B."""

    report: str
    """URL of the report."""
    workspace: str
    """URL of the workspace view."""
    missing: int
    """Trials whose runs the server is not known to have, so that its panels lack them."""
    untracked: int
    """Trials that were trained without W&B, so that its panels lack them for good."""


def publish(paths: Sequence[Path], folder: Path, *, baseline: str | None = None) -> Published:
    """Save the comparison of `paths` as a W&B report and a workspace view, or update those that are known.

    Args:
        paths: Sweeps and trials, as for the local report.
        folder: The local report's folder, which keeps what the pages are called.
        baseline: The recipe that the others are compared with.

    Raises:
        UserError: the trials have no runs on W&B, or in several projects; there is no login; or the server does not
            take it.
    """
    trials = find_trials(paths)
    mirror = _mirror(trials)
    if not wandb_server.logged_in():
        raise UserError(
            "there is no W&B login: run `wandb login`, set WANDB_API_KEY, or add --dry-run to write the specification"
        )
    try:
        wandb_server.probe()
    except Exception as error:
        raise _refusal(error) from None

    import wandb

    from reports.wandb_report import publish as save

    made = _draft(paths, mirror, baseline)
    pages = _Pages(folder / PAGES, mirror)
    wandb.termsetup(wandb.Settings(silent=True), None)  # what it would say, our caller says
    well = False
    try:
        within(time.monotonic() + PUBLISH_SECONDS, lambda: save(made, known=pages.known, keep=pages.keep))
        well = True
    except Exception as error:
        raise _refusal(error) from None
    finally:
        end_service(by_force=not well)
    drawn = [(_journal(trial), trial.folder.status()) for trial in trials if trial.search is None]
    return Published(
        report=pages.known["report"].url,
        workspace=pages.known["workspace"].url,
        missing=sum(not _arrived(journal) for journal, _ in drawn if journal),
        untracked=sum(bool(status) for journal, status in drawn if journal is None),
    )


def write_spec(paths: Sequence[Path], folder: Path, *, baseline: str | None = None) -> Path:
    """Write what `publish` would save to `folder`, asking no server; the file's path.

    Raises:
        UserError: the trials have no runs on W&B, or in several projects.
    """
    from reports.wandb_report import spec

    made = _draft(paths, _mirror(find_trials(paths)), baseline)
    write_json(folder / SPEC, spec(made))
    return folder / SPEC


def _draft(paths: Sequence[Path], mirror: Mirror, baseline: str | None) -> Draft:
    from reports import comparison
    from reports.wandb_report import draft

    results = collect(paths)
    return draft(results, comparison(results, baseline=baseline), mirror)


class _Pages:
    """The file of the pages known; those of another server, project or entity do not count."""

    def __init__(self, file: Path, mirror: Mirror) -> None:
        self.file = file
        self.where = {
            "server": wandb_server.client_settings().base_url,
            "entity": mirror.entity,
            "project": mirror.project,
        }
        self.known = self._read()

    def _read(self) -> dict[str, Page]:
        from reports.wandb_report import Page

        try:
            facts: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
            if any(facts[name] != value for name, value in self.where.items()):
                return {}
            return {name: Page(**page) for name, page in facts["pages"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none, or none that can be read
            return {}

    def keep(self, name: str, page: Page) -> None:
        """Note that it is saved."""
        self.known[name] = page
        pages = {name: asdict(page) for name, page in self.known.items()}
        write_json(self.file, {**self.where, "pages": pages})


def _journal(trial: Found) -> Journal | None:
    """What the trial's mirror is known to be; None for one that was trained without W&B, or not at all."""
    return Journal.read(trial.folder.path)


def _mirror(trials: Sequence[Found]) -> Mirror:
    """Where the trials' runs are."""
    from reports.wandb_report import Mirror

    journals = {trial.folder.path.name: _journal(trial) for trial in trials}
    known = {trial: journal.identity for trial, journal in journals.items() if journal}
    if not known:
        raise UserError(
            "none of these trials was tracked by W&B, so its panels would be empty: "
            "train with --wandb online or offline, or read the local report"
        )
    places = {(identity.entity, identity.project) for identity in known.values()}
    projects = {project for _, project in places}
    entities = {entity for entity, _ in places if entity}
    if len(projects) > 1 or len(entities) > 1:
        named = sorted(f"{entity}/{project}" if entity else project for entity, project in places)
        raise UserError(f"these trials are in several W&B projects ({', '.join(named)}): report on each by itself")
    groups = {identity.group for identity in known.values()}
    return Mirror(
        project=projects.pop(),
        entity=entities.pop() if entities else None,
        groups=tuple(sorted(filter(None, groups))) if all(groups) else (),
        runs={trial: identity.run_id for trial, identity in known.items()},
        private=any(identity.private for identity in known.values()),
    )


def _arrived(journal: Journal) -> bool:
    return journal.arrived if journal.is_online else has_arrived(journal.path / "wandb" / journal.run_dir)


def _refusal(error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    server = wandb_server.client_settings().base_url
    return UserError(
        f"the W&B server at {server} did not take the report ({reason}): try again, push what it lacks with "
        "`ganbench sync`, or add --dry-run to write the specification"
    )

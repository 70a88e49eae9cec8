"""The comparison as a Weights & Biases report and a saved workspace view: the same story, with W&B's live panels.

Text and tables are those of the local report, to the byte; the panels draw the runs that mirror the trials. Such a
run logs `images`, `scores/<metric>`, `loss/…`, `health/…` and the picture `samples`, sums up `final/<metric>` and
`spent/seconds`, and has the trial's configuration as its config.

Needs a second to import, so nothing imports this module before a W&B report is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import study, to_markdown, verdict
from reports.figures import recipe_styles
from reports.results import Results
from reports.rows import Block, Comparison, Metric
from reports.settings import Settings, settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # theirs: it uses what pydantic has deprecated
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

TITLE = 128
"""Characters that W&B takes for a title."""

COLUMNS = 24
"""Width of a panel grid, in W&B's units."""

VARIANT = "gan.name"
"""The setting that names a trial's variant."""

MOST_RUNS = 1000
"""W&B draws no more in one panel."""


@dataclass(frozen=True)
class Mirror:
    """Which runs on W&B mirror the trials.

    Attributes:
        project: where they are.
        entity: user or team of the project; None stands for the default one of whoever is logged in.
        groups: W&B groups that hold every run; () where some run is in none.
        runs: trial id → id of its run.
        private: the commands, which hold paths of the machine, stay out.
    """

    project: str
    entity: str | None
    groups: tuple[str, ...]
    runs: Mapping[str, str]
    private: bool = False


@dataclass(frozen=True)
class Page:
    """What has been saved on W&B, and where it is read."""

    id: str
    url: str


@dataclass(frozen=True, eq=False)
class Draft:
    """The report and the workspace view as the library has them, made without asking a server."""

    report: wr.Report
    workspace: ws.Workspace


def draft(results: Results, compared: Comparison, mirror: Mirror) -> Draft:
    """Tell the comparison of the results, as the local tables have it, with panels of the runs that mirror them."""
    story = _Story(results, compared, mirror)
    return Draft(story.report(), story.workspace())


def spec(made: Draft) -> dict[str, Any]:
    """What `publish` would save, JSON-able; the same results give the same specification.

    It lacks the project's internal id, which only the server knows.
    """
    report, workspace = made.report, made.workspace
    # not public, and so held to one minor version of the library
    models = {"report": report._to_model(), "workspace": workspace._to_model()}
    return {
        "entity": report.entity or None,
        "project": report.project,
        "title": report.title,
        **{
            name: json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
            for name, model in models.items()
        },
    }


def publish(made: Draft, *, known: Mapping[str, Page], keep: Callable[[str, Page], None]) -> None:
    """Save the report and the workspace view, or bring those that are known up to date.

    Args:
        made: what is saved; its project must be on the server.
        known: "report" and "workspace", as far as they were saved before; one that is gone is made anew.
        keep: called with each name and page as soon as it is saved, so that it is not made twice.

    Raises:
        Exception: whatever W&B's client raises when the server does not take them.
    """
    import wandb

    report, workspace = made.report, made.workspace
    entity = report.entity or wandb.Api().default_entity
    if not entity:
        raise ValueError("the login has no default entity")
    report.entity = workspace.entity = entity
    for block in report.blocks:
        for runs in block.runsets if isinstance(block, wr.PanelGrid) else ():
            runs.entity, runs.project = entity, report.project  # which has the client ask for the project's id
    if old := _loaded(wr.Report.from_url, known.get("report")):
        # what people wrote beside it, such as comments, stays with it
        old.title, old.description = report.title, report.description
        old.width, old.blocks = report.width, report.blocks
        report = old
    report.save()
    keep("report", Page(report.id, _address(report)))

    if view := _loaded(ws.Workspace.from_url, known.get("workspace")):
        workspace._internal_id, workspace._internal_name = view._internal_id, view._internal_name
    workspace.save()
    keep("workspace", Page(workspace._internal_id, workspace.url))


def _address(report: wr.Report) -> str:
    """The report's URL with a title that neither ends its path nor adds to it: the client puts it there as it is."""
    end = f"/{report.entity}/{report.project}/reports/"
    title = re.sub(r"[^A-Za-z0-9]+", "-", report.title).strip("-") or "report"
    return f"{report.url.partition(end)[0]}{end}{title}--{report.id}"


def _loaded(load: Callable[[str], Any], page: Page | None) -> Any:
    """What is there already; None where nothing is, or it cannot be read, so that a new one is made."""
    try:
        return load(page.url) if page else None
    except Exception:  # deleted, or of a form that this library does not know: a dead server fails the next request
        return None


class _Story:
    """The blocks, panels and sections of one comparison."""

    def __init__(self, results: Results, compared: Comparison, mirror: Mirror) -> None:
        self.results = results
        self.compared = compared
        self.mirror = mirror
        self.title = results.title if len(results.title) <= TITLE else f"{results.title[: TITLE - 1]}…"
        self.telling = _telling_keys(results)
        self.keys = list(self.telling)
        self.names = list(dict.fromkeys(results.curves["name"]))
        self.limit = min(MOST_RUNS, max(10, len(results.trials)))

    # --- the report

    def report(self) -> wr.Report:
        """The report; its sets of runs name no project, so that the library asks no server for it."""
        return wr.Report(
            entity=self.mirror.entity or "",
            project=self.mirror.project,
            title=self.title,
            description=verdict(self.compared)[0],
            width="fluid",
            blocks=list(self._blocks()),
        )

    def _blocks(self) -> Iterator[Any]:
        several = len(self.compared.blocks) > 1
        yield wr.TableOfContents()
        yield wr.H1("Verdict")
        for sentence in verdict(self.compared):
            yield wr.P(sentence)
        yield wr.H1("Scores")
        yield wr.MarkdownBlock(to_markdown(self.compared, study(self.results, self.compared)))
        for block in self.compared.blocks:
            under = f" under protocol {block.protocol_id}" if several else ""
            yield from self._score_blocks(block, under)
        losses, health = self._curves("loss/"), self._curves("health/")
        if losses or health:
            yield wr.H1("Losses and health")
            yield wr.P("Losses of different objectives are not comparable. Lines: mean over seeds; band: all seeds.")
            yield self._grid("training", [*losses, *health])
        if self.mirror.runs:
            yield wr.H1("Samples")
            yield wr.P("The same latents at every look at a trial; the slider goes through the training.")
            yield self._grid("samples", [self._samples()], height=16, grouped=False)
            yield wr.H1("Runs side by side")
            yield self._grid("comparer", [wr.RunComparer(diff_only="split")], height=14, grouped=False)
        if self.results.commands and not self.mirror.private:
            yield wr.H1("Commands")
            yield wr.CodeBlock("\n".join(self.results.commands), language=None)

    def _score_blocks(self, block: Block, under: str) -> Iterator[Any]:
        """The panels of one protocol's trials."""
        if not block.metrics:
            return
        trials = block.trials if under else None
        if lines := self._scores(block.metrics):
            yield wr.H1(f"Scores over the budget{under}")
            yield wr.P(
                "On the selection split while training, over the real images shown to the discriminator. Line: mean "
                "over a recipe's seeds; band: lowest to highest seed."
            )
            yield self._grid(f"scores{under}", lines, block=block, trials=trials)
        yield wr.H1(f"Final scores{under}")
        yield wr.P(
            "Last checkpoint, EMA weights. Bar: mean over a recipe's seeds; whisker: one standard error, which is all "
            "that W&B draws: the 95 % intervals are in the table above."
        )
        bars: list[Any] = [self._bar(metric) for metric in block.metrics]
        yield self._grid(f"final{under}", [*bars, *_plane(block.metrics)], block=block, trials=trials)
        yield wr.H1(f"Settings and scores{under}")
        yield self._grid(
            f"settings{under}", [self._parallel(block.metrics)], height=12, block=block, trials=trials, grouped=False
        )

    def _grid(
        self,
        name: str,
        panels: Sequence[Any],
        *,
        height: int | None = None,
        block: Block | None = None,
        trials: frozenset[str] | None = None,
        grouped: bool = True,
    ) -> wr.PanelGrid:
        """Panels over runs: three in a row, or one alone where it has a `height` of its own."""
        runs = wr.Runset(
            name="recipes" if grouped else "runs",
            filters=self._compared(trials),
            groupby=[f"config.{key}" for key in self.keys] if grouped else [],
            order=[_order(block.metrics[0])] if block else [wr.OrderBy("Name", ascending=True)],
        )
        runs._id = _stable(name)
        width = COLUMNS if height else COLUMNS // 3
        for place, panel in enumerate(panels):
            line, column = divmod(place, COLUMNS // width)
            panel.layout = wr.Layout(column * width, line * (height or 8), width, height or 8)
            panel._id = _stable(name, str(place))
        colours = self._colours() if grouped else {}
        return wr.PanelGrid(
            runsets=[runs],
            panels=list(panels),
            custom_run_colors={
                wr.RunsetGroup("recipes", (wr.RunsetGroupKey(wr.Config(self.keys[0]), value),)): colour
                for value, colour in colours.items()
            },
        )

    def _compared(self, trials: frozenset[str] | None = None) -> expr.And:
        """The runs of these trials, or of all that are compared, one by one: no other run may move a mean."""
        chosen = trials or frozenset(self.results.trials["trial"])
        ids = (run for trial, run in self.mirror.runs.items() if trial in chosen)
        return expr.And(expr.Metric("ID").isin(sorted(ids)))

    def _live(self) -> expr.And:
        """The runs of the groups, later ones too; of runs without a group, those that are compared.

        The library parses its own filters as text, and some characters of a group's name would not survive that.
        """
        groups = self.mirror.groups
        if groups and all(re.fullmatch(r"[\w .,:/()+-]+", group) for group in groups):
            return expr.And(expr.Metric("Group").isin(list(groups)))
        return self._compared()

    def _colours(self) -> dict[str, str]:
        """The local report's colour of each recipe, by the value that names it; {} where it takes several to do so."""
        if len(self.telling) != 1:
            return {}
        (values,) = self.telling.values()
        styles = recipe_styles(self.results, self.compared)
        return {value: styles[recipe].colour for recipe, value in values.items()}

    # --- the workspace

    def workspace(self) -> ws.Workspace:
        """The saved view: whatever is in the sweeps by now, grouped by recipe, over images shown."""
        metrics = list(dict.fromkeys(metric for block in self.compared.blocks for metric in block.metrics))
        bars: list[Any] = [self._bar(metric) for metric in metrics]
        sections = {
            "Scores": [*self._scores(metrics), *bars, *_plane(metrics)],
            "Losses": self._curves("loss/"),
            "Health": self._curves("health/"),
            "Samples": [self._samples()],
        }
        for name, panels in sections.items():
            for place, panel in enumerate(panels):
                panel._id = _stable("workspace", name, str(place))
        view = ws.Workspace(
            entity=self.mirror.entity or "",
            project=self.mirror.project,
            name=_plain(self.title),
            sections=[
                ws.Section(name=name, panels=list(panels), is_open=True) for name, panels in sections.items() if panels
            ],
            settings=ws.WorkspaceSettings(x_axis="images", max_runs=self.limit),
            runset_settings=ws.RunsetSettings(
                filters=self._live(),
                groupby=[ws.Config(key) for key in self.keys],
                pinned_columns=[f"summary:final/{metric.name}" for metric in metrics],
                group_colors=dict(self._colours()),
            ),
        )
        view._internal_runset_id = _stable("workspace")
        return view

    # --- panels

    def _scores(self, metrics: Sequence[Metric]) -> list[Any]:
        return [
            self._line(f"{metric.header}, selection split", f"scores/{metric.name}", metric.label)
            for metric in metrics
            if metric.name in self.names
        ]

    def _curves(self, prefix: str) -> list[Any]:
        return [self._line(name, name, name.removeprefix(prefix)) for name in self.names if name.startswith(prefix)]

    def _line(self, title: str, key: str, unit: str) -> Any:
        return wr.LinePlot(
            title=title,
            x="images",
            y=[key],
            title_x="real images shown",
            title_y=unit,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=self.limit,
            **self._grouping(),
        )

    def _bar(self, metric: Metric) -> Any:
        return wr.BarPlot(
            title=f"{metric.header}, last checkpoint",
            metrics=[f"final/{metric.name}"],
            title_x=metric.label,
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
            max_runs_to_show=self.limit,
            max_bars_to_show=self.limit,
            **self._grouping(),
        )

    def _grouping(self) -> dict[str, Any]:
        """A panel can group by one entry only; by several it follows its set of runs."""
        return {"groupby": wr.Config(self.keys[0])} if len(self.keys) == 1 else {}

    def _parallel(self, metrics: Sequence[Metric]) -> Any:
        axes = [wr.ParallelCoordinatesPlotColumn(wr.Config(key), display_name=key) for key in (*self.keys, "seed")]
        axes += [
            wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(f"final/{metric.name}"), display_name=metric.header)
            for metric in metrics
        ]
        cost = wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric("spent/seconds"), display_name="device-s")
        return wr.ParallelCoordinatesPlot(title="one line per trial", columns=[*axes, cost])

    def _samples(self) -> Any:
        return wr.MediaBrowser(title="samples", media_keys=["samples"], num_columns=4, gallery_axis="step")


def _plane(metrics: Sequence[Metric]) -> list[Any]:
    """Recall over precision, one point per trial, where both were scored."""
    if not {"precision", "recall"} <= {metric.name for metric in metrics}:
        return []
    precision, recall = wr.SummaryMetric("final/precision"), wr.SummaryMetric("final/recall")
    return [wr.ScatterPlot(title="precision and recall, both higher is better", x=precision, y=recall)]


def _order(metric: Metric) -> wr.OrderBy:
    return wr.OrderBy(wr.SummaryMetric(f"final/{metric.name}"), ascending=metric.direction == "lower")


def _telling_keys(results: Results) -> dict[str, dict[str, str]]:
    """Few settings that together tell every recipe from every other, in the config's order: setting → recipe → value.

    One setting at a time, that which splits most, and the variant before others.
    """
    known = settings(results, results.recipes)
    if known is None:
        return {}
    chosen: list[str] = []
    parts = 1
    while len(chosen) < len(known.varied):
        counts = {setting: _parts(known, [*chosen, setting]) for setting in known.varied}
        best = max(counts, key=lambda setting: (counts[setting], setting == VARIANT))
        if counts[best] == parts:
            break
        chosen.append(best)
        parts = counts[best]
    if not chosen and VARIANT in known.shared:  # one recipe is a group, too
        return {VARIANT: dict.fromkeys(results.recipes, known.shared[VARIANT])}
    return {setting: values for setting, values in known.varied.items() if setting in chosen}


def _parts(known: Settings, chosen: Sequence[str]) -> int:
    """How many classes of recipes these settings make."""
    return len(set(zip(*(known.varied[setting].values() for setting in chosen), strict=True)))


def _stable(*names: str) -> str:
    """An id in W&B's form that is the same each time, so that an update leaves untouched what has not changed."""
    return hashlib.blake2b("/".join(names).encode(), digest_size=6).hexdigest()


def _plain(title: str) -> str:
    """A title without the signs that W&B takes for emoji and refuses in a view's name."""
    kept = "".join(c for c in title if unicodedata.category(c) not in ("So", "Sk", "Sm", "Sc", "Cs"))
    return " ".join(kept.split()) or "comparison"

"""The story: a tidy frame of results in; statistics, tables, figures and one self-contained page out.

Nothing here knows GANs, metrics, or where files of a run lie: whoever has results fills a `Results`
(its frames and their columns are documented there) and calls `write(results, folder)`.
Everything is loaded when first used, so that `import reports` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.frames import from_frame
    from reports.html import write
    from reports.html_tables import to_html
    from reports.latex import to_latex
    from reports.machine import records, to_csv, to_json
    from reports.markdown import to_markdown
    from reports.ranking import Comparison, comparison
    from reports.results import Grid, Results, Search
    from reports.sentences import verdict
    from reports.statistics import (
        BudgetCurve,
        Interval,
        Proportion,
        budget_curve,
        difference,
        difference_p,
        holm,
        interval,
        iqm,
        performance_profile,
        probability_of_improvement,
        proportion,
    )
    from reports.studies import Study, study
    from reports.terminal import to_text

_HOME = {
    "BudgetCurve": "statistics",
    "Comparison": "ranking",
    "Grid": "results",
    "Interval": "statistics",
    "Proportion": "statistics",
    "Results": "results",
    "Search": "results",
    "Study": "studies",
    "budget_curve": "statistics",
    "comparison": "ranking",
    "difference": "statistics",
    "difference_p": "statistics",
    "from_frame": "frames",
    "holm": "statistics",
    "interval": "statistics",
    "iqm": "statistics",
    "performance_profile": "statistics",
    "probability_of_improvement": "statistics",
    "proportion": "statistics",
    "records": "machine",
    "study": "studies",
    "to_csv": "machine",
    "to_html": "html_tables",
    "to_json": "machine",
    "to_latex": "latex",
    "to_markdown": "markdown",
    "to_text": "terminal",
    "verdict": "sentences",
    "write": "html",
}

__all__ = [
    "BudgetCurve",
    "Comparison",
    "Grid",
    "Interval",
    "Proportion",
    "Results",
    "Search",
    "Study",
    "budget_curve",
    "comparison",
    "difference",
    "difference_p",
    "from_frame",
    "holm",
    "interval",
    "iqm",
    "performance_profile",
    "probability_of_improvement",
    "proportion",
    "records",
    "study",
    "to_csv",
    "to_html",
    "to_json",
    "to_latex",
    "to_markdown",
    "to_text",
    "verdict",
    "write",
]


def __getattr__(name: str) -> Any:
    try:
        return getattr(importlib.import_module(f"reports.{_HOME[name]}"), name)
    except KeyError:
        raise AttributeError(f"module 'reports' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return __all__

"""The story: a tidy frame of results in; statistics, tables, figures and one self-contained page out.

Nothing here knows GANs, metrics, or where files of a run lie: whoever has results fills a `Results`
(its frames and their columns are documented there) and calls `write(results, folder)`.
Everything is loaded when first used, so that `import reports` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.html import write
    from reports.ranking import Comparison, comparison
    from reports.results import Grid, Results, Search
    from reports.sentences import verdict
    from reports.statistics import Interval, Proportion, interval, iqm, probability_of_improvement, proportion
    from reports.tables import records, to_csv, to_latex, to_markdown, to_text

_HOME = {
    "Comparison": "ranking",
    "Grid": "results",
    "Interval": "statistics",
    "Proportion": "statistics",
    "Results": "results",
    "Search": "results",
    "comparison": "ranking",
    "interval": "statistics",
    "iqm": "statistics",
    "probability_of_improvement": "statistics",
    "proportion": "statistics",
    "records": "tables",
    "to_csv": "tables",
    "to_latex": "tables",
    "to_markdown": "tables",
    "to_text": "tables",
    "verdict": "sentences",
    "write": "html",
}

__all__ = [
    "Comparison",
    "Grid",
    "Interval",
    "Proportion",
    "Results",
    "Search",
    "comparison",
    "interval",
    "iqm",
    "probability_of_improvement",
    "proportion",
    "records",
    "to_csv",
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

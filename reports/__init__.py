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
    from reports.ranking import Comparison, comparison, verdict
    from reports.results import Grid, Results
    from reports.statistics import Interval, interval, iqm, probability_of_improvement
    from reports.tables import records, to_csv, to_latex, to_markdown

_HOME = {
    "Comparison": "ranking",
    "Grid": "results",
    "Interval": "statistics",
    "Results": "results",
    "comparison": "ranking",
    "interval": "statistics",
    "iqm": "statistics",
    "probability_of_improvement": "statistics",
    "records": "tables",
    "to_csv": "tables",
    "to_latex": "tables",
    "to_markdown": "tables",
    "verdict": "ranking",
    "write": "html",
}

__all__ = [
    "Comparison",
    "Grid",
    "Interval",
    "Results",
    "comparison",
    "interval",
    "iqm",
    "probability_of_improvement",
    "records",
    "to_csv",
    "to_latex",
    "to_markdown",
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

from __future__ import annotations

from collections.abc import Callable

from reports import to_text, verdict
from reports.ranking import comparison
from reports.results import Results

Make = Callable[..., Results]


def test_a_terminal_is_shown_the_verdict_and_as_many_metrics_as_fit(searched_study: Results) -> None:
    compared = comparison(searched_study)
    text = to_text(compared)
    assert text.startswith(f"Eight recipes on digits: {verdict(compared)[0]}")
    assert "The search\n\nvariant" in text
    lines = text.splitlines()
    for metric in ("FID", "KID", "IS", "Precision", "Recall", "F1"):
        assert any(line.startswith("recipe ") and f"{metric} (digits)" in line for line in lines)
    narrow = to_text(compared, width=90).splitlines()
    table = narrow[narrow.index(next(line for line in narrow if line.startswith("recipe "))) :]
    table = table[: table.index("")]
    assert max(map(len, table)) <= 90
    assert "FID (digits)" in table[0]
    assert table[-1] == "… 4 more metrics in the report"
    assert "FID (digits)" in to_text(compared, width=1)


def test_differences_are_shown_too(make_study: Make) -> None:
    text = to_text(comparison(make_study(["a", "b"]), baseline="a"))
    assert text.index("rank") < text.index("Difference to a")


def test_protocols_are_told_apart(make_study: Make) -> None:
    text = to_text(
        comparison(
            make_study(["a", "b"], protocol_of=lambda recipe, _: "ffff00001111" if recipe == "b" else "a1b2c3d4e5f6")
        )
    )
    assert text.index("Protocol a1b2c3d4e5f6") < text.index("Protocol ffff00001111")

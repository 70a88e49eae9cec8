from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

from reports import to_html
from reports.html_tables import table_html
from reports.ranking import comparison
from reports.results import Results
from reports.tables import Table, Text, tables

Make = Callable[..., Results]


class Cells(HTMLParser):
    """Rows of a fragment: attributes of the row, and (attributes, text) of each cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.classes: list[str | None] = []
        self.rows: list[tuple[dict[str, str | None], list[tuple[dict[str, str | None], str]]]] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "table":
            self.classes.append(dict(attrs)["class"])
        if tag == "tr":
            self.rows.append((dict(attrs), []))
        if tag in ("td", "th"):
            self.rows[-1][1].append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1][1]:
            attributes, text = self.rows[-1][1][-1]
            self.rows[-1][1][-1] = (attributes, (text + data).strip())


def test_rows_say_whose_they_are_and_cells_what_they_are_sorted_by(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], value=lambda recipe, seed, _: "ab".index(recipe) + 1 + seed / 10))
    html = table_html(tables(compared.blocks[0], compared)[0], {"a": "#0072B2"})
    found = Cells(html)
    head, first, *_ = found.rows
    assert [cell[0].get("data-sort") for cell in head[1]] == ["text", *["number"] * (len(head[1]) - 1)]
    assert first[0]["data-recipe"] == "a"
    assert first[1][0] == ({"scope": "row"}, "a")
    value = first[1][2][0]["data-value"]
    assert value
    assert float(value) == 1.1
    assert "<strong>1.10 ± 0.25</strong>" in html
    assert '<span class="swatch" style="background:#0072B2"></span>a' in html
    assert html.count('<tbody class="references">') == 1


def test_a_column_of_words_is_sorted_as_words() -> None:
    rows = ((Text("a"), Text("Height"), Text("0.5", 0.5)), (Text("b"), Text("Ratio"), Text("—")))
    head, *_ = Cells(table_html(Table("errors", "Errors", ("curve", "figure", "mean"), rows))).rows
    assert [cell[0]["data-sort"] for cell in head[1]] == ["text", "text", "number"]


def test_names_stay_text(nasty: Results) -> None:
    found = Cells(to_html(comparison(nasty, baseline=nasty.recipes[0])))
    assert "script" not in found.tags
    assert {row[0].get("data-recipe") for row in found.rows} >= set(nasty.recipes)


def test_a_fragment_holds_every_table(make_study: Make) -> None:
    found = Cells(to_html(comparison(make_study(["a", "b"], failed=[("a", 1)]), baseline="a")))
    assert found.classes == ["scores", "differences", "costs", "endings"]

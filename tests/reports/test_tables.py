from __future__ import annotations

import csv
import dataclasses
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from reports.ranking import Cell, Row, comparison
from reports.results import SEARCH, Results, Search
from reports.sentences import verdict
from reports.statistics import Interval
from reports.tables import (
    ENDINGS,
    LISTED,
    endings,
    headers,
    protocol_words,
    records,
    searching,
    texts,
    to_csv,
    to_latex,
    to_markdown,
    to_text,
)

Make = Callable[..., Results]
NASTY = [
    "<script>alert(1)</script>", r"50% & $x_1^2$ #{\bf a} ~\input{x}", "[pipe | star*]", "`tick` \"quote\" é α 中",
]  # fmt: skip


@pytest.fixture(scope="module")
def nasty(make_study: Make) -> Results:
    return make_study(NASTY, failed=[(NASTY[1], 2)])


def cell_text(make_study: Make, value: Interval | None, n: int) -> str:
    block = comparison(make_study(["a"])).blocks[0]
    cells = {metric.name: Cell(value) for metric in block.metrics}
    return texts(Row("a", "recipe", cells, n), block)[1].text


@pytest.mark.parametrize(
    ("value", "n", "expected"),
    [
        (Interval(10.0, 12.345, 14.69, 5), 5, "12.3 ± 2.3"),
        (Interval(12.315, 12.345, 12.375, 5), 5, "12.345 ± 0.030"),
        (Interval(900.0, 1234.5, 1569.0, 5), 5, "1234 ± 334"),
        (Interval(-0.0014, -0.0012, -0.001, 3), 3, "−0.00120 ± 0.00020"),
        (Interval(0.5, 0.5, 0.5, 3), 3, "0.5000 ± 0"),
        (Interval(None, 12.3456, None, 2), 2, "12.35"),
        (Interval(10.0, 12.345, 14.69, 4), 5, "12.3 ± 2.3 (n = 4)"),
        (None, 0, "—"),
    ],
)
def test_decimals_follow_the_intervals_width(make_study: Make, value: Interval | None, n: int, expected: str) -> None:
    assert cell_text(make_study, value, n) == expected


def test_markdown_has_a_row_for_everyone_in_order(make_study: Make) -> None:
    compared = comparison(make_study(failed=[("wgan", 1)]))
    text = to_markdown(compared)
    table, ended = ([line for line in part.splitlines() if line.startswith("|")] for part in text.split("\n\n")[1:3])
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    names = [line.split("|")[1].strip() for line in table[2:]]
    assert names == [*(row.recipe for row in compared.blocks[0].rows), "untrained generator", "real vs real (floor)"]
    assert "FID (digits) ↓" in table[0]
    assert "IS (digits) ↑" in table[0]
    assert "| 2 of 3 |" in next(line for line in table if line.startswith("| wgan |"))
    assert "| 3 of 3 |" in next(line for line in table if line.startswith("| ttur |"))
    assert "| wgan | 3 | 2 | 1 | 1/3 (6–79 %) |" in ended
    assert "| ttur | 3 | 3 | 0 | 0/3 (0–56 %) |" in ended
    assert "- wgan, seed 1, failed: the generator made NaN at step 812" in text
    assert "Protocol a1b2c3d4e5f6 — features: digits; weights sha256: 0f0f0f0f0f0f…; resize kernel: none" in text


def test_bold_cells_are_bold_in_markdown_and_latex(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"], value=lambda recipe, seed, _: "ab".index(recipe) + 1 + seed / 10))
    assert to_markdown(compared).count("**1.10 ± 0.25**") == 2  # FID and KID
    assert to_markdown(compared).count("**2.10 ± 0.25**") == 4  # the four where higher is better
    assert to_latex(compared).count(r"\textbf{1.10 $\pm$ 0.25}") == 2


def test_recipes_without_scores_show_dashes_and_their_count(make_study: Make) -> None:
    text = to_markdown(comparison(make_study(["ok", "bad"], failed=[("bad", seed) for seed in range(3)])))
    assert "| bad | — | — | — | — | — | — | 0 of 3 | — | — | — |" in text
    assert "| bad | 3 | 0 | 3 | 3/3 (44–100 %) |" in text


def test_a_clean_sweep_says_nothing_of_failures(make_study: Make) -> None:
    compared = comparison(make_study(["a", "b"]))
    assert endings(compared.blocks[0]) == []
    assert headers(compared.blocks[0])[-4:] == ["n", "images", "G / D steps", "device-s"]
    assert "failure rate" not in to_markdown(compared) + to_latex(compared)
    rates = csv.DictReader(io.StringIO(to_csv(compared)))
    assert {(row["failure_rate"], row["failed"]) for row in rates if row["kind"] == "recipe"} == {("0.0", "0.0")}


def test_how_the_trials_ended(make_study: Make) -> None:
    states = {("a", 1): "diverged", ("a", 2): "failed", ("a", 3): "pruned", ("b", 0): "pending", ("b", 1): "running"}
    block = comparison(make_study(["a", "b", "c"], seeds=5, states=states, flagged=[("a", 0)])).blocks[0]
    head, *rows = endings(block)
    assert head == ["recipe", "trials", "scored", *ENDINGS, "failure rate (95 % interval)"]
    assert sorted(rows) == [
        ["a", "5", "2", "1", "1", "1", "1", "0", "3/4 (30–95 %)"],  # the flagged one too, the pruned one not
        ["b", "5", "3", "0", "0", "0", "0", "2", "0/3 (0–56 %)"],
        ["c", "5", "5", "0", "0", "0", "0", "0", "0/5 (0–43 %)"],
    ]


def test_pruned_trials_are_no_failures(make_study: Make) -> None:
    block = comparison(make_study(["a"], states={("a", 1): "pruned"})).blocks[0]
    assert endings(block) == [["recipe", "trials", "scored", "pruned"], ["a", "3", "2", "1"]]


def test_a_rate_of_nothing_is_none(make_study: Make) -> None:
    states = {("a", seed): "pending" for seed in range(3)} | {("b", 0): "diverged"}
    block = comparison(make_study(["a", "b"], states=states)).blocks[0]
    assert endings(block)[-1] == ["a", "3", "0", "0", "3", "—"]


def test_blocks_of_other_protocols_are_marked_with_their_id(make_study: Make) -> None:
    compared = comparison(
        make_study(["a", "b"], protocol_of=lambda recipe, _: "ffff00001111" if recipe == "b" else "a1b2c3d4e5f6")
    )
    text = to_markdown(compared)
    assert text.index("### Protocol a1b2c3d4e5f6") < text.index("| a |") < text.index("### Protocol ffff00001111")
    assert text.index("### Protocol ffff00001111") < text.index("| b |")
    latex = to_latex(compared)
    assert latex.count(r"\begin{table*}") == 2
    assert "Protocol ffff00001111 --- features: digits" in latex


def test_names_stay_text_in_markdown(nasty: Results) -> None:
    text = to_markdown(comparison(nasty))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert r"\[pipe \| star\*\]" in text
    assert r"\`tick\`" in text


def test_csv_round_trip(nasty: Results) -> None:
    compared = comparison(nasty)
    found = list(csv.DictReader(io.StringIO(to_csv(compared))))
    expected = records(compared)
    assert len(found) == len(expected) == 6
    for read, row in zip(found, expected, strict=True):
        assert list(read) == list(row)
        for name, value in row.items():
            text = read[name]
            assert text == "" if value is None else (text == value if isinstance(value, str) else float(text) == value)
    fid = compared.blocks[0].rows[0].cells["fid"].interval
    assert fid is not None
    assert [float(found[0][f"fid_{part}"]) for part in ("mean", "low", "high", "n")] == [
        fid.point, fid.low, fid.high, fid.n,
    ]  # fmt: skip


def test_latex_is_well_formed_and_names_stay_text(nasty: Results) -> None:
    compared = comparison(nasty)
    text = to_latex(compared)
    body = re.sub(r"\\[\\{}%&#$_]", "", text.split("\n", 1)[1])  # without the comment line and escaped characters
    depth = 0
    for character in body:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert body.count("$") % 2 == 0
    assert body.isascii() or set(filter(lambda c: not c.isascii(), body)) == {"é"}
    for character in "%#^~":
        assert character not in body
    assert re.findall(r"\\begin\{(.+?)\}", text) == re.findall(r"\\end\{(.+?)\}", text)[::-1]
    columns = len(headers(compared.blocks[0]))
    assert rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}" in text
    table = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in table.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 1 + len(NASTY) + 2
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == columns - 1
        assert not row.startswith(("[", "*"))  # \\ would take them for its own arguments
    known = {"textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textbf",
             "texttt", "ldots", "pm", "uparrow", "downarrow", "midrule", "toprule"}  # fmt: skip
    assert set(re.findall(r"\\([a-zA-Z]+)", table)) <= known  # \input and \bf of the name are no commands


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed: the table is not compiled")
def test_latex_compiles(nasty: Results, tmp_path: Path) -> None:
    (tmp_path / "table.tex").write_text(to_latex(comparison(nasty)), encoding="utf-8")
    document = "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\begin{document}\\input{table}\\end{document}"
    (tmp_path / "main.tex").write_text(document)
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:]
    assert (tmp_path / "main.pdf").stat().st_size > 0


def test_a_protocol_reads_in_words() -> None:
    protocol = {"n_real": 10, "ema": False, "weights": None, "seeds": [0, 1], "resize": {"side": 28}, "hash": "ab" * 32}
    assert protocol_words(protocol) == [
        ("n real", "10"), ("ema", "no"), ("weights", "none"), ("seeds", "0, 1"), ("resize side", "28"),
        ("hash", "abababababab…"),
    ]  # fmt: skip


def test_of_many_recipes_the_ends_are_told_by_variant(make_study: Make) -> None:
    recipes = [*(f"a x={number}" for number in range(LISTED)), "b"]
    block = comparison(make_study(recipes, states={("a x=3", 1): "failed"})).blocks[0]
    head, *rows = endings(block)
    assert head == ["recipe", "trials", "scored", "failed", "failure rate (95 % interval)"]
    assert sorted(rows) == [["a, 16 recipes", "48", "47", "1", "1/48 (0–11 %)"], ["b", "3", "3", "0", "0/3 (0–56 %)"]]
    few = endings(comparison(make_study(["a x=1", "a x=2", "b"], states={("a x=1", 1): "failed"})).blocks[0])
    assert {row[0] for row in few[1:]} == {"a x=1", "a x=2", "b", "a, 2 recipes"}


def searched_study(make_study: Make) -> Results:
    rows = [
        {
            "variant": "wgan", "settings": "lr_generator=0.01", "trial": "t", "seed": 0, "status": "done",
            "reason": None, "problems": [], "value": 3.25, "chosen": True,
        },
        {
            "variant": "a_b", "settings": "", "trial": "u", "seed": 0, "status": "failed",
            "reason": "killed", "problems": [], "value": None, "chosen": False,
        },
    ]  # fmt: skip
    search = Search("best FID (selection split)", pd.DataFrame(rows, columns=list(SEARCH)))
    return dataclasses.replace(make_study(["wgan"]), search=search)


def test_a_search_is_a_table_of_its_own(make_study: Make) -> None:
    compared = comparison(searched_study(make_study))
    head = ["variant", "trials", "scored", "failed", "failure rate (95 % interval)", "best FID (selection split)"]
    assert searching(compared) == [
        [*head, "chosen"],
        ["wgan", "1", "1", "0", "0/1 (0–79 %)", "3.250", "lr_generator=0.01"],
        ["a_b", "1", "0", "1", "1/1 (21–100 %)", "—", "—"],
    ]
    assert "| wgan | 1 | 1 | 0 | 0/1 (0–79 %) | 3.250 | lr\\_generator=0.01 |" in to_markdown(compared)
    assert r"wgan & 1 & 1 & 0 & 0/1 (0--79 \%) & 3.250 & lr\_generator=0.01 \\" in to_latex(compared)
    assert searching(comparison(make_study(["wgan"]))) == []


def test_a_terminal_is_shown_the_verdict_and_as_many_metrics_as_fit(make_study: Make) -> None:
    compared = comparison(searched_study(make_study))
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

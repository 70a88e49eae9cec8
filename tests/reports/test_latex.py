from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reports import to_latex
from reports.latex import tables_latex
from reports.ranking import comparison
from reports.results import Results
from reports.rows import Comparison
from reports.tables import Table, Text

Make = Callable[..., Results]
needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def compile_log(compared: Comparison, folder: Path) -> str:
    """What pdfLaTeX says of an article with the comparison's tables."""
    return compile_text(to_latex(compared), folder)


def compile_text(text: str, folder: Path) -> str:
    """What pdfLaTeX says of an article with these tables in two columns."""
    (folder / "table.tex").write_text(text, encoding="utf-8")
    document = "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\begin{document}\\input{table}\\end{document}"
    (folder / "main.tex").write_text(document)
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:]
    assert (folder / "main.pdf").stat().st_size > 0
    return run.stdout


def tabulars(text: str) -> list[str]:
    return re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, flags=re.DOTALL)


def test_it_is_well_formed_and_names_stay_text(nasty: Results) -> None:
    text = to_latex(comparison(nasty, baseline=nasty.recipes[1]))
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
    open_ones: list[str] = []
    for what, environment in re.findall(r"\\(begin|end)\{(.+?)\}", text):
        if what == "begin":
            open_ones.append(environment)
        else:
            assert open_ones.pop() == environment
    assert not open_ones
    known = {"textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textbf",
             "texttt", "ldots", "pm", "uparrow", "downarrow", "midrule", "toprule", "bottomrule", "shortstack", "dag",
             "alpha", "begin", "end", "raggedright"}  # fmt: skip
    for table in tabulars(text):
        columns = table[table.index("}{") + 2 : table.index("\n") - 1]
        rows = [line for line in table.splitlines() if line.endswith(r" \\")]
        assert len(rows) >= 1 + len(nasty.recipes) - 1
        for row in rows:
            assert len(re.findall(r"(?<!\\)&", row)) == columns.count("r")
            assert not row.startswith(("[", "*"))  # \\ would take them for its own arguments
        assert set(re.findall(r"\\([a-zA-Z]+)", table)) <= known  # \input and \bf of the name are no commands


def test_the_surely_best_is_bold(make_study: Make) -> None:
    text = to_latex(
        comparison(make_study(["a", "b"], value=lambda recipe, seed, _: "ab".index(recipe) + 1 + seed / 10))
    )
    assert text.count(r"\textbf{1.10 $\pm$ 0.25}") == 2


def test_every_column_and_recipe_is_somewhere(make_study: Make) -> None:
    results = make_study(failed=[("wgan", 1)])
    compared = comparison(results, baseline="ns")
    text = to_latex(compared)
    for metric in compared.blocks[0].metrics:
        name, features = metric.label.split(" (")
        assert f"\\shortstack{{{name}\\\\({features} $" in text
    assert all(table.count("\nwgan &") == 1 for table in tabulars(text))
    assert {"rank", "n of m", "seeds", "real / fake", "peak MiB"} <= {
        head.strip() for line in text.splitlines() if line.startswith("recipe &") for head in line[:-3].split("&")
    }


def test_each_protocol_has_floats_of_its_own(make_study: Make) -> None:
    text = to_latex(
        comparison(
            make_study(["a", "b"], protocol_of=lambda recipe, _: "ffff00001111" if recipe == "b" else "a1b2c3d4e5f6")
        )
    )
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") >= 2
    assert "Protocol ffff00001111 --- features: digits" in text


SIGNS = "σ(D) N(θ, 1) C_α/√k αβ λ·r(x) p² û ū v̂ x̄ ñ 2·JS ∞ ≤ ≠ π Δ φ ‖∇f‖ √(1 − s + s²) L₁ ε γ"


def test_what_theory_is_written_in_is_printed() -> None:
    text = tables_latex("t", [Table("errors", SIGNS, (SIGNS, "n"), ((Text(SIGNS), Text("5")),))], [SIGNS])
    assert "U+" not in text
    assert r"$\sigma$(D) N($\theta$, 1) C\_$\alpha$/$\surd$k" in text
    assert r"$\hat{v}$ $\bar{x}$" in text
    assert "U+4E2D" in tables_latex("t", [], ["中"])


@needs_latex
def test_what_theory_is_written_in_compiles(tmp_path: Path) -> None:
    table = Table("errors", SIGNS, ("curve", "n"), ((Text(SIGNS), Text("5")),))
    compile_text(tables_latex(SIGNS, [table], [SIGNS]), tmp_path)


@needs_latex
def test_it_compiles_whatever_the_names(nasty: Results, tmp_path: Path) -> None:
    compile_log(comparison(nasty, baseline=nasty.recipes[0]), tmp_path)


@needs_latex
def test_it_fits_the_page(make_study: Make, tmp_path: Path) -> None:
    results = make_study(failed=[("wgan", 1)], flagged=[("ttur", 0)])
    results.protocols["a1b2c3d4e5f6"]["dataset"] = "cifar10"
    log = compile_log(comparison(results, baseline="ns"), tmp_path)
    assert "Overfull" not in log
    assert "Float too large" not in log


@needs_latex
def test_a_search_of_hundreds_of_configurations_goes_on_over_pages(make_study: Make, tmp_path: Path) -> None:
    names = [f"wgan-gp gan.lr_generator={i / 1e5:.6f} gan.n_critic={i % 5} gan.batch_size=64" for i in range(120)]
    log = compile_log(comparison(make_study(names, seeds=1, failed=[(name, 0) for name in names[::4]])), tmp_path)
    assert "Overfull" not in log
    assert "Float too large" not in log
    assert "10 more failures are told" in (tmp_path / "table.tex").read_text()


@needs_latex
def test_the_settings_that_a_search_chose_are_broken_into_lines(searched_study: Results, tmp_path: Path) -> None:
    assert searched_study.search
    trials = searched_study.search.trials.assign(settings="lr_generator=0.00123 penalty_weight=0.5 beta1=0.6 " * 3)
    results = replace(searched_study, search=replace(searched_study.search, trials=trials))
    assert "Overfull" not in compile_log(comparison(results), tmp_path)
    assert r"lr\_generator=0.00123" in (tmp_path / "table.tex").read_text()

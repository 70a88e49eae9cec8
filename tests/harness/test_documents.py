"""The commands that the documents show exist, with the options that they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from harness.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "variants").glob("*.md"))
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "sweeps/README.md",
    "docs/scaling.md",
    "docs/report.md",
    "docs/speed.md",
    "docs/extending.md",
    "docs/combining.md",
    "docs/theory.md",
    *PAGES,
)


def shown_commands() -> list[str]:
    lines = []
    for name in DOCUMENTS:
        for block in re.findall(r"^```(?:sh)?\n(.*?)^```", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL):
            lines += [re.split("[#>|]", line)[0].strip() for line in block.splitlines() if line.startswith("ganbench ")]
    return lines


def test_there_are_commands_to_check():
    assert len(shown_commands()) >= 10


@pytest.mark.parametrize("line", shown_commands())
def test_a_shown_command_is_understood(line):
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(line, words)  # raises for an option, argument or choice that does not exist


def test_shown_files_exist():
    for name in DOCUMENTS:
        folder = (ROOT / name).parent
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert (folder / target).exists(), f"{name} links to {target}"


def test_the_notebook_of_the_reports_page_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs/report.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert "ours has the best mean of 2 recipes" in capsys.readouterr().out
    assert (tmp_path / "report" / "index.html").is_file()


def test_the_reports_page_tells_every_column():
    from reports.results import CURVES, SCORES, TRIALS

    text = (ROOT / "docs/report.md").read_text()
    assert [name for name in {*CURVES, *SCORES, *TRIALS} if f"`{name}`" not in text] == []

from __future__ import annotations

import re
from collections.abc import Callable

from reports import to_markdown
from reports.ranking import comparison
from reports.results import Results

Make = Callable[..., Results]


def test_markdown_has_a_row_for_everyone_in_order(make_study: Make) -> None:
    compared = comparison(make_study(failed=[("wgan", 1)]))
    text = to_markdown(compared)
    scores, costs, ended = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    for table in (scores, costs, ended):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    names = [line.split("|")[1].strip() for line in scores[2:]]
    recipes = [row.recipe for row in compared.blocks[0].rows]
    assert names == [*recipes, "untrained generator", "real vs real (floor)"]
    assert [line.split("|")[1].strip() for line in costs[2:]] == recipes
    assert "| FID (digits) ↓ |" in scores[0]
    assert "| IS (digits) ↑ |" in scores[0]
    assert "| 2 of 3 |" in next(line for line in scores if line.startswith("| wgan |"))
    assert "| wgan | 3 | 2 | 1 | 1/3 (6–79 %) |" in ended
    assert "- wgan, seed 1, failed: the generator made NaN at step 812" in text
    assert "Protocol a1b2c3d4e5f6 — features: digits; weights sha256: 0f0f0f0f0f0f…; resize kernel: none" in text


def test_the_surely_best_is_bold(make_study: Make) -> None:
    text = to_markdown(
        comparison(make_study(["a", "b"], value=lambda recipe, seed, _: "ab".index(recipe) + 1 + seed / 10))
    )
    assert text.count("**1.10 ± 0.25**") == 2  # FID and KID
    assert text.count("**2.10 ± 0.25**") == 4  # the four where higher is better


def test_the_baselines_differences_come_with_their_note(make_study: Make) -> None:
    text = to_markdown(comparison(make_study(["a", "b"]), baseline="a"))
    assert text.index("### Difference to a") < text.index("surely better than a") < text.index("### Costs per trial")


def test_blocks_of_other_protocols_are_marked_with_their_id(make_study: Make) -> None:
    text = to_markdown(
        comparison(
            make_study(["a", "b"], protocol_of=lambda recipe, _: "ffff00001111" if recipe == "b" else "a1b2c3d4e5f6")
        )
    )
    assert text.index("### Protocol a1b2c3d4e5f6") < text.index("| a |") < text.index("### Protocol ffff00001111")
    assert text.index("### Protocol ffff00001111") < text.index("| b |")


def test_names_stay_text(nasty: Results) -> None:
    text = to_markdown(comparison(nasty))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert r"\[pipe \| star\*\]" in text
    assert r"\`tick\`" in text

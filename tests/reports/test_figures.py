from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reports.figures import POINTS, bands, draw, save, styles
from reports.ranking import comparison
from reports.results import Results

Make = Callable[..., Results]


def curve(recipe: str, seed: int, images: list[int], values: list[float], name: str = "fid") -> pd.DataFrame:
    return pd.DataFrame({"recipe": recipe, "trial": f"{recipe}{seed}", "seed": seed, "images": images, "name": name,
                         "value": values})  # fmt: skip


def test_bands_by_hand() -> None:
    curves = pd.concat([curve("a", 0, [10, 20, 30], [1.0, 2.0, np.nan]), curve("a", 1, [10, 20], [3.0, 6.0])])
    expected = [("a", "fid", 10, 2.0, 1.0, 3.0, 2), ("a", "fid", 20, 4.0, 2.0, 6.0, 2)]
    assert list(bands(curves).itertuples(index=False, name=None)) == expected


def test_long_curves_are_averaged_without_losing_their_mean_or_end() -> None:
    images = list(range(10, 20_001, 10))
    band = bands(pd.concat([curve("a", s, images, [float(i + s) for i in images]) for s in range(2)]))
    assert len(band) == POINTS
    assert band["images"].max() == 20_000
    assert band["mean"].mean() == pytest.approx(np.mean(images) + 0.5)
    np.testing.assert_allclose(band["high"] - band["low"], 1.0)


def test_every_recipe_has_one_style_of_its_own(make_study: Make) -> None:
    found = styles(make_study([f"r{i}" for i in range(20)], seeds=1))
    assert len({(style.colour, style.dash) for style in found.values()}) == 20


def test_a_figure_per_metric_and_one_of_losses_with_axes_named(make_study: Make) -> None:
    results = make_study(["a", "b"], seeds=2)
    drawings = draw(results, comparison(results))
    assert [drawing.name for drawing in drawings] == [
        "scores-fid", "scores-kid", "scores-is", "scores-precision", "scores-recall", "scores-f1", "losses",
    ]  # fmt: skip
    svg = drawings[0].svg.decode()
    assert "FID (digits) ↓" in svg
    assert "real images shown to the discriminator" in svg
    assert "IS (digits) ↑" in drawings[2].svg.decode()


def test_the_same_results_draw_the_same_bytes(make_study: Make) -> None:
    results = make_study(["a", "b"], seeds=2, failed=[("b", 1)])
    one, two = (draw(results, comparison(results)) for _ in range(2))
    assert [(d.svg, d.png) for d in one] == [(d.svg, d.png) for d in two]
    assert not re.search(rb"<dc:date>|20\d\d-\d\d-\d\d", one[0].svg)


def test_names_are_drawn_as_text_and_the_file_is_xml(make_study: Make) -> None:
    names = ["<script>x</script>", "$\\frac{1}", "_hidden & 中"]
    results = make_study(names, seeds=1)
    for drawing in draw(results, comparison(results)):
        texts = {"".join(node.itertext()).strip() for node in ElementTree.fromstring(drawing.svg).iter()}
        assert set(names) <= texts
        assert b"<script" not in drawing.svg


def test_other_protocols_are_not_drawn_together(make_study: Make) -> None:
    results = make_study(["a", "b"], seeds=1, protocol_of=lambda recipe, _: f"p/{recipe}")
    found = {drawing.name: set(drawing.data["recipe"]) for drawing in draw(results, comparison(results))}
    assert found["scores-fid"] == {"a"}
    assert found["scores-fid-p-b"] == {"b"}


def test_no_curves_no_figures(make_study: Make) -> None:
    results = make_study(["a"], seeds=1)
    bare = dataclasses.replace(results, curves=results.curves.head(0))
    assert draw(bare, comparison(bare)) == []


def test_saved_beside_their_data(make_study: Make, tmp_path: Path) -> None:
    results = make_study(["a", "b"], seeds=2)
    drawing = draw(results, comparison(results))[0]
    save([drawing], tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "scores-fid.csv", "scores-fid.png", "scores-fid.svg",
    ]  # fmt: skip
    assert Image.open(io.BytesIO((tmp_path / "figures/scores-fid.png").read_bytes())).size[0] > 500
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "figures/scores-fid.csv"), drawing.data, check_dtype=False)

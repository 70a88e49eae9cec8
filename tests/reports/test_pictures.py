from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reports.pictures import LARGE, SEEDS, Picture, album
from reports.results import Grid

ROOM = 10_000_000


def grid(folder: Path, recipe: str, seed: int, images: int, side: int = 16) -> Grid:
    path = folder / f"{recipe}-{seed}-{images}.png"
    noise = np.random.default_rng(images + seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return Grid(recipe, seed, images, path)


@pytest.fixture
def grids(tmp_path: Path) -> list[Grid]:
    return [grid(tmp_path, recipe, seed, images) for recipe in "ab" for seed in (3, 7) for images in (0, 50, 100)]


def times(found: Mapping[tuple[str, int], Sequence[Picture]]) -> dict[tuple[str, int], list[int]]:
    return {key: [picture.images for picture in pictures] for key, pictures in found.items()}


def test_all_of_them_where_there_is_room(grids: list[Grid]) -> None:
    found = album(reversed(grids), ["b", "a"], room=ROOM)
    assert times(found.pictures) == {(recipe, seed): [0, 50, 100] for recipe in "ba" for seed in (3, 7)}
    assert (found.times, found.seeds, found.recipes, found.notes) == ([0, 50, 100], [3, 7], ["b", "a"], ())
    picture = found.pictures["a", 3][0]
    assert base64.b64decode(picture.uri.removeprefix("data:image/png;base64,")) == grids[0].path.read_bytes()
    assert (picture.width, picture.height) == (16, 16)


def test_others_recipes_are_left_out(grids: list[Grid]) -> None:
    assert album(grids, ["a"], room=ROOM).recipes == ["a"]
    assert album(grids, [], room=ROOM).pictures == {}


def test_with_less_room_looks_in_between_give_way_first(grids: list[Grid]) -> None:
    size = max(
        len(picture.uri) for frames in album(grids, ["a", "b"], room=ROOM).pictures.values() for picture in frames
    )
    found = album(grids, ["a", "b"], room=9 * size)
    assert set(map(tuple, times(found.pictures).values())) == {(0, 100)}
    assert "2 of up to 3 points in time" in found.notes[0]
    found = album(grids, ["a", "b"], room=4 * size)
    assert set(map(tuple, times(found.pictures).values())) == {(100,)}


def test_then_later_seeds_of_every_recipe(grids: list[Grid]) -> None:
    size = max(
        len(picture.uri) for frames in album(grids, ["a", "b"], room=ROOM).pictures.values() for picture in frames
    )
    found = album(grids, ["a", "b"], room=2 * size)
    assert list(found.pictures) == [("a", 3), ("b", 3)]
    assert "2 of 4 trials" in found.notes[0]
    assert list(album(grids, ["a", "b"], room=1).pictures) == [("a", 3)]  # one at least


def test_large_pictures_are_compressed_and_that_is_said(tmp_path: Path) -> None:
    large = grid(tmp_path, "a", 0, 1, side=300)
    assert large.path.stat().st_size > LARGE
    found = album([large], ["a"], room=ROOM)
    [picture] = found.pictures["a", 0]
    data = base64.b64decode(picture.uri.removeprefix("data:image/webp;base64,"))
    assert len(data) < large.path.stat().st_size
    assert Image.open(io.BytesIO(data)).size == (300, 300)
    assert "compressed" in found.notes[0]
    assert album([large], ["a"], room=ROOM) == found


def test_of_very_many_seeds_some_are_read(tmp_path: Path) -> None:
    there = [grid(tmp_path, "a", seed, 1) for seed in range(SEEDS)]
    absent = [Grid("a", seed, 1, tmp_path / "absent.png") for seed in range(SEEDS, 200)]
    found = album([*there, *absent], ["a"], room=ROOM)
    assert found.seeds == list(range(SEEDS))
    assert f"{SEEDS} of 200 trials" in found.notes[0]

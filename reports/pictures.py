"""The pictures that the page carries inside it: which fit, and their bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ganbench.errors import UserError
from reports.results import Grid

if TYPE_CHECKING:
    from PIL.Image import Image

SAMPLES = 2_600_000
"""Characters of the page for the grids of samples."""
NEAREST = 700_000
"""Characters for the nearest training images."""
LARGE = 48_000
"""Bytes from which a picture is compressed with loss for the page."""
SEEDS = 8
"""Seeds of a recipe whose samples are shown."""


@dataclass(frozen=True)
class Picture:
    """A picture as the page holds it: data URI, width and height in pixels, images shown before it was drawn."""

    uri: str
    width: int
    height: int
    images: int


@dataclass(frozen=True)
class Album:
    """The pictures of some trials over time, by (recipe, seed) and oldest first, and what had to be left out."""

    pictures: dict[tuple[str, int], tuple[Picture, ...]]
    notes: tuple[str, ...]

    @property
    def times(self) -> list[int]:
        """Images shown at which any trial has a picture, rising."""
        return sorted({picture.images for frames in self.pictures.values() for picture in frames})

    @property
    def seeds(self) -> list[int]:
        """The seeds that have pictures."""
        return sorted({seed for _, seed in self.pictures})

    @property
    def recipes(self) -> list[str]:
        """The recipes that have pictures, in their order."""
        return list(dict.fromkeys(recipe for recipe, _ in self.pictures))


def album(grids: Iterable[Grid], recipes: Sequence[str], *, room: int) -> Album:
    """The pictures of `recipes` that fit into `room` characters: last ones first, then looks evenly over time.

    Where not all last ones fit, later seeds give way, then later recipes. Raises `UserError` for a picture that is to
    be shown and is missing or none.
    """
    trials = _by_trial(grids, recipes)
    if not trials:
        return Album({}, ())
    load = cache(_picture)
    shown: dict[tuple[str, int], dict[int, Picture]] = {}
    for key in _first_seeds_first(trials, recipes):
        picture = load(trials[key][-1])
        if shown and len(picture.uri) > room:
            break
        room -= len(picture.uri)
        shown[key] = {picture.images: picture}
    looks = max(len(trials[key]) for key in shown)
    whole = looks
    while looks > 1:
        earlier = {key: [load(grid) for grid in _spread(trials[key], looks)[:-1]] for key in shown}
        if sum(len(picture.uri) for pictures in earlier.values() for picture in pictures) <= room:
            for key, pictures in earlier.items():
                shown[key] |= {picture.images: picture for picture in pictures}
            break
        looks -= 1
    notes = []
    if len(shown) < len(trials):
        notes.append(
            f"To keep the page small, {len(shown)} of {len(trials)} trials are shown, the first seeds of each recipe."
        )
    if looks < whole:
        notes.append(f"To keep the page small, {looks} of up to {whole} points in time are shown.")
    if any(picture.uri.startswith("data:image/webp") for frames in shown.values() for picture in frames.values()):
        notes.append("Large pictures are compressed with loss here; the trials' folders hold the originals.")
    in_order = sorted(shown, key=lambda key: (recipes.index(key[0]), key[1]))
    frames = {key: tuple(shown[key][images] for images in sorted(shown[key])) for key in in_order}
    return Album(frames, tuple(notes))


def _by_trial(grids: Iterable[Grid], recipes: Sequence[str]) -> dict[tuple[str, int], list[Grid]]:
    """Grids of each trial of `recipes`, oldest first; trials by their seeds."""
    wanted = set(recipes)
    trials: dict[tuple[str, int], list[Grid]] = {}
    for grid in sorted((grid for grid in grids if grid.recipe in wanted), key=lambda grid: (grid.seed, grid.images)):
        trials.setdefault((grid.recipe, grid.seed), []).append(grid)
    return trials


def _first_seeds_first(trials: Iterable[tuple[str, int]], recipes: Sequence[str]) -> list[tuple[str, int]]:
    """The first seed of every recipe, then the second of every one that has it, and so on up to `SEEDS`."""
    seeds: dict[str, list[int]] = {}
    for recipe, seed in trials:
        seeds.setdefault(recipe, []).append(seed)
    return [
        (recipe, seeds[recipe][turn])
        for turn in range(SEEDS)
        for recipe in recipes
        if turn < len(seeds.get(recipe, ()))
    ]


def _spread(grids: Sequence[Grid], number: int) -> list[Grid]:
    """At most `number` of them, evenly, the first and the last among them."""
    if len(grids) <= number:
        return list(grids)
    if number == 1:
        return [grids[-1]]
    return [grids[round(i * (len(grids) - 1) / (number - 1))] for i in range(number)]


def _picture(grid: Grid) -> Picture:
    import PIL.Image

    kind = "png"
    try:
        data = Path(grid.path).read_bytes()
        with PIL.Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            width, height = image.size
            if len(data) > LARGE:
                kind, data = "webp", _compressed(image)
    except (FileNotFoundError, PIL.UnidentifiedImageError):
        raise UserError(f"the picture {grid.path} is missing or no PNG: make it again or leave it out") from None
    return Picture(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", width, height, grid.images)


def _compressed(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="WEBP", quality=80, method=4)
    return buffer.getvalue()

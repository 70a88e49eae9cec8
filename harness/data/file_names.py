"""What the names of image files say: their order, their splits and their classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ganbench.errors import UserError
from harness.data.dataset import SPLITS

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
SPLIT_FOLDERS = {split: split for split in SPLITS} | {"val": "selection", "validation": "selection"}


_SUSPICIOUS = re.compile(r"(^|/)(\.|__MACOSX)")
_DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts numbers inside names by value: 2.png before 10.png."""
    pieces = _DIGITS.split(name)
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], name


def _is_litter(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part not in {".", ".."})


def image_names(path: Path, files: Iterable[str]) -> list[str]:
    """The image files among `files`, in natural order, without what operating systems leave behind."""
    # nearly no name holds either, and there may be a million
    visible = [name for name in files if not (_SUSPICIOUS.search(name) and any(map(_is_litter, name.split("/"))))]
    names = sorted((name for name in visible if name.lower().endswith(SUFFIXES)), key=natural_key)
    if not names:
        held = f"{len(visible)} files, none of them an image" if visible else "nothing"
        raise UserError(f"{path} holds {held}: put files ending in {', '.join(SUFFIXES)} there")
    return names


def split_of_each(where: str, names: Sequence[str], folders: Sequence[Sequence[str]]) -> list[str] | None:
    """The split of each file by its first folder; None when the folders are not splits."""
    tops = {parts[0] for parts in folders if parts}
    if not tops & {"train", "test"}:
        return None
    if missing := {"train", "test"} - tops:
        present = ", ".join(sorted(tops))
        raise UserError(
            f"{where} has the folders {present} but no {missing.pop()}: name the splits train, selection and test"
        )
    for name, parts in zip(names, folders, strict=True):
        if not parts or parts[0] not in SPLIT_FOLDERS:
            raise UserError(f"{name} in {where} lies beside the splits train and test: move it into one of them")
    return [SPLIT_FOLDERS[parts[0]] for parts in folders]


def labels_of(folders: Sequence[Sequence[str]]) -> np.ndarray | None:
    """The class of each file: the number of its first folder among all; None unless there are two or more."""
    classes = sorted({parts[0] for parts in folders if parts}, key=natural_key)
    if len(classes) < 2 or not all(folders):
        return None
    number = {name: place for place, name in enumerate(classes)}
    return np.array([number[parts[0]] for parts in folders], np.int64)

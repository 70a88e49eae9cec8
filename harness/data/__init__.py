"""The data a trial learns from and is judged by: a registered name, or the path of one's own images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.errors import UserError
from harness.data.catalogue import DATASETS

if TYPE_CHECKING:
    from harness.data.dataset import Dataset, Mixture

__all__ = ["DATASETS", "Dataset", "Mixture", "load"]


def __getattr__(name: str) -> Any:
    if name in {"Dataset", "Mixture"}:
        from harness.data import dataset  # brings numpy, which listing the datasets does not need

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(name_or_path: str, *, size: int | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """The dataset of that name, or the images in that folder, zip archive or .npz file, or the points in the last.

    A registered name wins over a folder called the same; `./name` reaches the folder.

    Args:
        name_or_path: one of `DATASETS`, or a path (see `harness.data.image_files` and `harness.data.npz`).
        size: side of the images in pixels; None keeps their own (or the dataset's default).
        n: number of training images or points; None: all of them (or the dataset's default).
        seed: of everything that is drawn or chosen: points, polygons, splits, subsets.

    Raises:
        UserError: for every mistake in the name, the options or the files.
    """
    for key, value, least in (("size", size, 1), ("n", n, 2), ("seed", seed, 0)):
        if value is not None and value < least:
            raise UserError(f"data.{key} is {value}: it must be at least {least}")
    if not name_or_path:
        raise UserError("data.name is empty: give a dataset's name or the path of a folder, zip or npz file of images")
    path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111 (Path.expanduser raises for an unknown ~user)
    looks_like_path = len(path.parts) > 1 or name_or_path[0] in "./~" or path.suffix.lower() in {".zip", ".npz"}
    if not looks_like_path and (name_or_path in DATASETS.names() or not path.exists()):
        try:
            loader = DATASETS.load(name_or_path)
        except UserError as error:
            raise UserError(f"{error}; the path of a folder, zip or npz file of images does as well") from None
        dataset: Dataset = loader(size=size, n=n, seed=seed)
        return dataset
    return _load_path(path, size=size, n=n, seed=seed)


def _load_path(path: Path, *, size: int | None, n: int | None, seed: int) -> Dataset:
    from harness.data import image_files, npz

    if not path.exists():
        raise UserError(f"there is no {path}: give an existing folder, zip or npz file, or a dataset's name")
    if path.is_dir():
        return image_files.load_folder(path, size=size, n=n, seed=seed)
    if path.suffix.lower() == ".zip":
        return image_files.load_zip(path, size=size, n=n, seed=seed)
    if path.suffix.lower() == ".npz":
        return npz.load(path, size=size, n=n, seed=seed)
    raise UserError(f"{path} is neither a folder nor a .zip nor an .npz file: put the images into one of these")

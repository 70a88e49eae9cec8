"""The data a trial learns from and is judged by: a registered name, or the path of one's own images."""

from __future__ import annotations

import inspect
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.errors import UserError
from harness.data.catalogue import DATASETS
from harness.image_options import AS_IS, ImageOptions

if TYPE_CHECKING:
    from harness.config import DataConfig
    from harness.data.dataset import Dataset, Mixture

__all__ = ["DATASETS", "Dataset", "ImageOptions", "Mixture", "load", "load_for"]


def __getattr__(name: str) -> Any:
    if name in {"Dataset", "Mixture"}:
        from harness.data import dataset  # brings numpy, which listing the datasets does not need

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_for(config: DataConfig) -> Dataset:
    """The dataset of a trial, as `load` has it."""
    return load(
        config.name,
        size=config.size,
        n=config.n,
        seed=config.seed,
        options=ImageOptions(
            resize=config.resize,
            crop=config.crop,
            pad=config.pad,
            flip=config.flip,
            skip_broken=config.skip_broken,
        ),
    )


def load(
    name_or_path: str,
    *,
    size: int | None = None,
    n: int | None = None,
    seed: int = 0,
    options: ImageOptions = AS_IS,
) -> Dataset:
    """The dataset of that name, or the images in that folder, zip archive or .npz file, or the points in the last.

    A registered name wins over a folder called the same; `./name` reaches the folder.

    Args:
        name_or_path: one of `DATASETS`, of which the published ones lie in `harness.places.data_folder`, or a path
            (see `harness.data.image_files` and `harness.data.npz`).
        size: side of the images in pixels; None keeps their own (or the dataset's default).
        n: number of training images or points; None: all of them (or the dataset's default).
        seed: of everything that is drawn or chosen: points, polygons, splits, subsets.
        options: crop, kernel, padding and flip of images, and what becomes of broken files.

    Raises:
        UserError: for every mistake in the name, the options or the files.
    """
    for key, value, least in (("size", size, 1), ("n", n, 2), ("seed", seed, 0), ("pad", options.pad, 1)):
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
        if "options" in inspect.signature(loader).parameters:
            dataset: Dataset = loader(size=size, n=n, seed=seed, options=options)
            return dataset
        return _with_options(loader(size=size, n=n, seed=seed), options)
    return _load_path(path, size=size, n=n, seed=seed, options=options)


def _with_options(dataset: Dataset, options: ImageOptions) -> Dataset:
    """What a loader that knows none of the options leaves to do."""
    where = f"dataset {dataset.name}"
    for name in ("resize", "crop"):
        if getattr(options, name) != getattr(AS_IS, name):
            raise UserError(f"data.{name} cannot be chosen for {where}, which is made in the size asked for: leave it")
    if dataset.kind == "points" and (options.pad is not None or options.flip):
        raise UserError(f"data.{'flip' if options.flip else 'pad'} is for images, but {where} has points: leave it out")
    if options.pad is None and not options.flip:
        return dataset
    if options.pad is not None and dataset.polygons:
        raise UserError(f"data.pad would move the borders that {where} is judged by: give data.size={options.pad}")
    from harness.data.resizing import describe_late, fit_all

    padding = ImageOptions(crop="none", pad=options.pad)
    train, selection, test = (fit_all(part, None, padding, where=where) for part in dataset.splits().values())
    said = dataset.preprocessing | describe_late(options)
    return replace(dataset, train=train, selection=selection, test=test, preprocessing=said, known_fingerprint=None)


def _load_path(path: Path, *, size: int | None, n: int | None, seed: int, options: ImageOptions) -> Dataset:
    from harness.data import image_files, npz

    if not path.exists():
        raise UserError(f"there is no {path}: give an existing folder, zip or npz file, or a dataset's name")
    if path.is_dir():
        return image_files.load_folder(path, size=size, n=n, seed=seed, options=options)
    if path.suffix.lower() == ".zip":
        return image_files.load_zip(path, size=size, n=n, seed=seed, options=options)
    if path.suffix.lower() == ".npz":
        return npz.load(path, size=size, n=n, seed=seed, options=options)
    raise UserError(f"{path} is neither a folder nor a .zip nor an .npz file: put the images into one of these")

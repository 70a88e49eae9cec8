"""From the arrays in a published set's files to a dataset in its official split."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganbench.errors import UserError
from harness.data import pixel_store
from harness.data.content import content_of
from harness.data.dataset import SPLITS, Dataset
from harness.data.resizing import DoesNotFitError, describe, fit_planes
from harness.data.splitting import hold_out, subset
from harness.image_options import ImageOptions
from harness.places import data_folder


@dataclass(frozen=True)
class Part:
    """The official training or test part."""

    count: int
    images: Callable[[], np.ndarray]
    """Reads them, uint8 (count, C, H, W); not called where the pixel store has them."""
    labels: np.ndarray | None = None
    """int64 (count,)."""


def official(
    name: str,
    train: Part,
    test: Part,
    *,
    files: Sequence[Path],
    size: int | None,
    n: int | None,
    seed: int,
    options: ImageOptions,
) -> Dataset:
    """`train` without the tenth that is held out for selection (or `n` of it), that tenth, and the whole of `test`.

    Args:
        name: the set's.
        train: the official training part.
        test: the official test part.
        files: what the parts are read from, below the data folder.
        size: side in pixels; None keeps the files' own.
        n: number of training images; None: all.
        seed: of what is held out, and of which `n`.
        options: crop, kernel, padding and flip.

    Raises:
        UserError: too few images for that, or images that the options do not fit.
    """
    kept, held_out = hold_out(train.count, seed=seed, where=name)
    indices = {
        "train": subset(kept, n, seed=seed, where=name),
        "selection": held_out,
        "test": np.arange(test.count),
    }
    counts = {split: len(index) for split, index in indices.items()}
    order = np.concatenate(list(indices.values()))
    first_test = counts["train"] + counts["selection"]
    read_train, read_test = once(train.images), once(test.images)

    def decode(row: int) -> np.ndarray:
        images = read_test() if row >= first_test else read_train()
        try:
            return fit_planes(images[order[row]], size, options)
        except DoesNotFitError as error:
            raise UserError(f"each of the images of {name} {error.what}: {error.remedy}") from None

    pixels = pixel_store.build(
        {
            "set": name,
            "content": content_of(files, data_folder() / name),  # one memory for each set
            "seed": seed,
            "n": n,
            "size": size,
            "resize": options.resize,
            "crop": options.crop,
            "pad": options.pad,
        },
        counts,
        decode,
        title=name,
    )
    labels = None
    if train.labels is not None and test.labels is not None:
        of = {"train": train.labels, "selection": train.labels, "test": test.labels}
        labels = {split: of[split][index] for split, index in indices.items()}
    return Dataset(
        name,
        *(pixels.parts[split] for split in SPLITS),
        labels=labels,
        preprocessing=describe(size, options),
        summary=f"{sum(counts.values())} images of {name}",
        known_fingerprint=pixels.fingerprint,
    )


def once(read: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
    """`read`, called at most once, by whichever thread is first."""
    lock, result = threading.Lock(), list[np.ndarray]()

    def first() -> np.ndarray:
        with lock:
            if not result:
                result.append(read())
        return result[0]

    return first


def damaged(path: Path, what: str, why: Any) -> UserError:
    """The error for a published file that is not what its name says."""
    reason = " ".join(str(why).split()).rstrip(".") or type(why).__name__
    return UserError(f"{path} is damaged or not {what} ({reason}): remove it and fetch the set again")

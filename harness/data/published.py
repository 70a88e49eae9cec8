"""The published image sets that are read from torchvision's own files: what they need, where, and how it is fetched.

The root that torchvision asks for is `harness.places.data_folder`, one for all sets; it is no part of a trial's
identity. Free of torch and numpy, so that a missing file is told before anything heavy is imported.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganbench.errors import UserError
from harness.places import data_folder

LSUN_CATEGORIES = (
    "bedroom",
    "bridge",
    "church_outdoor",
    "classroom",
    "conference_room",
    "dining_room",
    "kitchen",
    "living_room",
    "restaurant",
    "tower",
)


@dataclass(frozen=True)
class Published:
    """One set's files below the data folder."""

    files: tuple[tuple[str, ...], ...]
    """What has to be there; of the alternatives in an inner tuple, the first that is there is read."""
    source: str
    """Who gives it to people, for those who have to fetch it themselves."""
    torchvision: str = ""
    """The class of `torchvision.datasets` that fetches it; empty: none does."""
    calls: Sequence[Mapping[str, Any]] = field(default=({},))
    """Keywords of that class: one call fetches one part of it."""
    megabytes: int = 0
    """To be fetched."""


def _idx(folder: str) -> tuple[tuple[str, ...], ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple((f"{folder}/raw/{name}-ubyte", f"{folder}/raw/{name}-ubyte.gz") for name in names)


def _each(folder: str, *names: str) -> tuple[tuple[str, ...], ...]:
    return tuple((f"{folder}/{name}",) for name in names)


_STL10 = _each("stl10_binary", "train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")

PUBLISHED = {
    "mnist": Published(_idx("MNIST"), "yann.lecun.com/exdb/mnist", "MNIST", megabytes=12),
    "fashion-mnist": Published(
        _idx("FashionMNIST"), "github.com/zalandoresearch/fashion-mnist", "FashionMNIST", megabytes=31
    ),
    "kmnist": Published(_idx("KMNIST"), "codh.rois.ac.jp/kmnist", "KMNIST", megabytes=21),
    "cifar10": Published(
        _each("cifar-10-batches-py", *(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
        "www.cs.toronto.edu/~kriz/cifar.html",
        "CIFAR10",
        megabytes=170,
    ),
    "cifar100": Published(
        _each("cifar-100-python", "train", "test"), "www.cs.toronto.edu/~kriz/cifar.html", "CIFAR100", megabytes=169
    ),
    "svhn": Published(
        (("train_32x32.mat", "svhn/train_32x32.mat"), ("test_32x32.mat", "svhn/test_32x32.mat")),
        "ufldl.stanford.edu/housenumbers",
        "SVHN",
        ({"split": "train"}, {"split": "test"}),
        megabytes=246,
    ),
    "stl10": Published(_STL10, "cs.stanford.edu/~acoates/stl10", "STL10", megabytes=2640),
    "stl10-unlabelled": Published(
        (*_STL10[2:], ("stl10_binary/unlabeled_X.bin",)), "cs.stanford.edu/~acoates/stl10", "STL10", megabytes=2640
    ),
    "celeba": Published(
        (
            ("celeba/img_align_celeba.zip", "celeba/img_align_celeba"),
            ("celeba/list_eval_partition.txt",),
        ),
        "mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "CelebA",
        megabytes=1440,
    ),
    **{
        f"lsun-{category.replace('_', '-')}": Published(
            ((f"{category}_train_lmdb/data.mdb", f"lsun/{category}_train_lmdb/data.mdb"),), "www.yf.io/p/lsun"
        )
        for category in LSUN_CATEGORIES
    },
}


def find(name: str) -> list[Path]:
    """The files of the set `name`, in the order of its table.

    Raises:
        UserError: one is not there: which, where, and how to get it.
    """
    root, published = data_folder(), PUBLISHED[name]
    found = []
    for alternatives in published.files:
        path = next((root / file for file in alternatives if (root / file).exists()), None)
        if path is None:
            raise UserError(_missing(name, root / alternatives[0]))
        found.append(path)
    return found


def present() -> list[str]:
    """The names of the sets whose files are all there."""
    root = data_folder()
    return [
        name
        for name, published in PUBLISHED.items()
        if all(any((root / file).exists() for file in alternatives) for alternatives in published.files)
    ]


def ensure(*names: str, download: bool) -> None:
    """Refuse, or fetch, the published sets among the dataset names and paths `names` that are not there.

    Raises:
        UserError: files are missing and may not be fetched, or cannot be.
    """
    for name in dict.fromkeys(names):
        if name not in PUBLISHED:
            continue
        try:
            find(name)
        except UserError:
            if not download:
                raise
            _fetch(name)
            find(name)


def _missing(name: str, path: Path) -> str:
    published = PUBLISHED[name]
    fetch = f"add --download to fetch {_amount(published.megabytes)}" if published.torchvision else _by_hand(name)
    return (
        f"{name} is not on this machine, as there is no {path}: {fetch}, "
        "or give the folder that torchvision calls its root with --data-dir (or GANBENCH_DATA)"
    )


def _by_hand(name: str) -> str:
    published = PUBLISHED[name]
    wanted = ", ".join(alternatives[0] for alternatives in published.files[:3])
    wanted += ", …" if len(published.files) > 3 else ""
    return f"fetch it from {published.source} and put {wanted} into {data_folder()}"


def _amount(megabytes: int) -> str:
    return f"{megabytes} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


def _fetch(name: str) -> None:
    """By torchvision, which knows each file's address and checksum."""
    published = PUBLISHED[name]
    if not published.torchvision:
        raise UserError(f"{name} cannot be fetched with --download: {_by_hand(name)}")
    from torchvision import datasets

    with _quiet(name):
        for keywords in published.calls:
            getattr(datasets, published.torchvision)(str(data_folder()), download=True, **keywords)


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """torchvision prints what it tries to stdout, which is for results; its progress bar goes to stderr."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except Exception as error:  # no connection, a refusal, another checksum, a full disk, a package that is missing
        reason = " ".join(str(error).split()).rstrip(".:") or type(error).__name__
        raise UserError(f"{name} could not be fetched ({reason}): try again later, or {_by_hand(name)}") from None

"""Published sets in their true formats, made small: `write_set("cifar10")` puts one where `load("cifar10")` looks."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Arrays = dict[str, np.ndarray]
"""images and labels of "train" and "test", as a loader should give them."""

SHAPES = {"mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "kmnist": (1, 28, 28), "stl10": (3, 96, 96)}
IDX_FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of this test's own, and an empty cache."""
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def write_set(data_folder: Path) -> Callable[..., Arrays]:
    """Write `train` and `test` images of the set `name`; returns them."""

    def write(name: str, *, train: int = 30, test: int = 8, **options: Any) -> Arrays:
        rng = np.random.default_rng(sum(name.encode()))
        shape = SHAPES.get(name, (3, 32, 32))
        held: Arrays = {}
        for part, count in (("train", train), ("test", test)):
            held[part] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
            held[f"{part} labels"] = np.arange(count) % 10
        writer = {"svhn": _svhn, "stl10": _stl10, "cifar10": _cifar10, "cifar100": _cifar100}
        writer.get(name, _idx)(data_folder, name, held, **options)
        return held

    return write


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _idx(root: Path, name: str, held: Arrays, packed: bool = False) -> None:
    for part, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = held[part][:, 0], held[f"{part} labels"].astype(np.uint8)
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            path = root / IDX_FOLDERS[name] / "raw" / f"{prefix}-{what}-ubyte{'.gz' if packed else ''}"
            content = header + array.tobytes()
            _put(path, gzip.compress(content) if packed else content)


def python2_pickle(arrays: dict[str, np.ndarray], labels: dict[str, list[int]]) -> bytes:
    """What Python 2's cPickle made of CIFAR's batches: every name and every array's bytes are a `str` of bytes."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    pickled = b"\x80\x02}("
    for name, array in arrays.items():
        content = array.tobytes()
        pickled += text(name.encode()) + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        pickled += number(0) + b"\x85" + text(b"b") + b"\x87R(" + number(1)
        pickled += number(array.shape[0]) + number(array.shape[1]) + b"\x86"
        pickled += b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
        pickled += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        pickled += b"\x89T" + struct.pack("<i", len(content)) + content + b"tb"
    for name, values in labels.items():
        pickled += text(name.encode()) + b"](" + b"".join(map(number, values)) + b"e"
    return pickled + b"u."


def _cifar10(root: Path, name: str, held: Arrays) -> None:
    folder = root / "cifar-10-batches-py"
    batches = zip(np.array_split(held["train"], 5), np.array_split(held["train labels"], 5), strict=True)
    files = {f"data_batch_{number}": batch for number, batch in enumerate(batches, start=1)}
    files["test_batch"] = (held["test"], held["test labels"])
    for file, (images, labels) in files.items():
        _put(folder / file, python2_pickle({"data": images.reshape(len(images), -1)}, {"labels": labels.tolist()}))


def _cifar100(root: Path, name: str, held: Arrays) -> None:
    for part in ("train", "test"):
        images, fine = held[part], held[f"{part} labels"].tolist()
        labels = {"coarse_labels": [label // 5 for label in fine], "fine_labels": fine}
        _put(root / "cifar-100-python" / part, python2_pickle({"data": images.reshape(len(images), -1)}, labels))


def _svhn(root: Path, name: str, held: Arrays, folder: str = ".") -> None:
    from scipy.io import savemat

    (root / folder).mkdir(exist_ok=True)
    for part in ("train", "test"):
        labels = np.where(held[f"{part} labels"] == 0, 10, held[f"{part} labels"]).astype(np.uint8)
        content = {"X": held[part].transpose(2, 3, 1, 0), "y": labels[:, None]}
        savemat(root / folder / f"{part}_32x32.mat", content, do_compression=True)


def _stl10(root: Path, name: str, held: Arrays, unlabelled: np.ndarray | None = None) -> None:
    for part in ("train", "test"):
        _put(root / "stl10_binary" / f"{part}_X.bin", held[part].transpose(0, 1, 3, 2).tobytes())
        _put(root / "stl10_binary" / f"{part}_y.bin", (held[f"{part} labels"] + 1).astype(np.uint8).tobytes())
    if unlabelled is not None:
        _put(root / "stl10_binary" / "unlabeled_X.bin", unlabelled.transpose(0, 1, 3, 2).tobytes())


@pytest.fixture
def write_celeba(data_folder: Path) -> Callable[..., list[bytes]]:
    """Write CelebA as a zip or a folder of 178×218 JPEGs, one colour each; returns them in the partition's order."""

    def write(
        counts: tuple[int, int, int] = (24, 6, 5), *, where: str = "zip", identities: bool = False
    ) -> list[bytes]:
        folder = data_folder / "celeba"
        folder.mkdir()
        names = [f"{number:06}.jpg" for number in range(1, sum(counts) + 1)]
        pictures = [photo(number, (178, 218)) for number in range(len(names))]
        parts = np.repeat([0, 1, 2], counts)
        lines = [f"{name} {part}" for name, part in zip(names, parts, strict=True)]
        (folder / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
        if identities:
            (folder / "identity_CelebA.txt").write_text("".join(f"{name} {10 + i}\n" for i, name in enumerate(names)))
        if where == "zip":
            with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
                for name, content in zip(names, pictures, strict=True):
                    archive.writestr(f"img_align_celeba/{name}", content)
        else:
            for name, content in zip(names, pictures, strict=True):
                _put(folder / "img_align_celeba" / name, content)
        return pictures

    return write


def photo(number: int, size: tuple[int, int]) -> bytes:
    """A JPEG of one grey-blue, a function of `number`, that a centre crop leaves alone."""
    stream = io.BytesIO()
    Image.new("RGB", size, (5 * number % 256, 100, 200)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture
def write_lsun(data_folder: Path) -> Callable[..., None]:
    """Write `count` photos of one of LSUN's categories as an lmdb environment; LSUN's own are WebP."""
    lmdb = pytest.importorskip("lmdb")

    def write(category: str = "bedroom", count: int = 40, folder: str = ".") -> None:
        place = data_folder / folder / f"{category}_train_lmdb"
        place.mkdir(parents=True)
        with lmdb.open(str(place), map_size=2**24) as environment, environment.begin(write=True) as transaction:
            for number in range(count):
                stream = io.BytesIO()
                Image.new("RGB", (300 + number, 256), (5 * number % 256, 9, 99)).save(stream, "WEBP", lossless=True)
                transaction.put(f"{number * 2654435761 % 2**32:08x}".encode(), stream.getvalue())

    return write

"""The published sets, written small in their true formats: what comes out of them, and how mistakes are told."""

import gzip
import io
import os
import pickle
import re
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ganbench.errors import UserError
from harness.data import cifar, idx, load
from harness.data.published import PUBLISHED
from harness.image_options import ImageOptions

ARRAYS = ("mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100", "svhn", "stl10")
"""Sets whose files are arrays."""


def as_files(data):
    """The official parts that a dataset came from, as sorted (image, label) pairs."""
    pairs = {
        split: [(image.tobytes(), int(label)) for image, label in zip(part, data.labels[split], strict=True)]
        for split, part in data.splits().items()
    }
    return sorted(pairs["train"] + pairs["selection"]), pairs["test"]


def held_pairs(held, part):
    return [(image.tobytes(), int(label)) for image, label in zip(held[part], held[f"{part} labels"], strict=True)]


@pytest.mark.parametrize("name", ARRAYS)
def test_every_image_comes_back_with_its_label_in_its_official_part(write_set, name):
    held = write_set(name)
    data = load(name)
    assert data.name == name
    assert data.shape == held["train"].shape[1:]
    assert [len(part) for part in data.splits().values()] == [27, 3, 8]
    assert data.preprocessing == {}
    train, test = as_files(data)
    assert train == sorted(held_pairs(held, "train"))
    assert test == held_pairs(held, "test")


@pytest.mark.parametrize("name", ARRAYS)
def test_torchvision_reads_the_same_from_the_same_files(write_set, data_folder, monkeypatch, name):
    from torchvision import datasets

    write_set(name)
    theirs = getattr(datasets, PUBLISHED[name].torchvision)
    module = sys.modules[theirs.__module__]
    monkeypatch.setattr(module, "check_integrity", lambda *_: True)  # these files have other checksums
    monkeypatch.setattr(theirs, "_check_integrity", lambda _: True, raising=False)
    monkeypatch.setattr(theirs, "_load_meta", lambda _: None, raising=False)  # the classes' names
    part = {"split": "test"} if name in {"svhn", "stl10"} else {"train": False}
    images, labels = zip(*theirs(str(data_folder), **part), strict=True)
    data = load(name)
    assert data.labels is not None
    assert data.labels["test"].tolist() == list(labels)
    for ours, image in zip(data.test, images, strict=True):
        assert np.array_equal(ours.transpose(1, 2, 0).squeeze(), np.asarray(image))


@pytest.mark.parametrize("name", ARRAYS)
def test_the_split_and_the_subset_follow_the_seed_and_the_pixels_the_options(write_set, name):
    write_set(name)
    first, again, other = load(name), load(name), load(name, seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    few = load(name, n=10, size=16, options=ImageOptions(resize="box", pad=20))
    assert len(few.train) == 10
    assert few.labels is not None
    assert len(few.labels["train"]) == 10
    assert few.shape == (first.shape[0], 20, 20)
    assert few.preprocessing == {
        "crop": "centre square",
        "resize": "16×16 Pillow box (antialiased)",
        "pad": "to 20×20 with 0",
    }
    assert not few.train[..., :2].any()
    expected = Image.fromarray(first.test[0, 0]).resize((16, 16), Image.Resampling.BOX)
    assert np.array_equal(few.test[0, 0, 2:-2, 2:-2], np.asarray(expected))


def test_packed_and_unpacked_idx_files_are_the_same_data(write_set, data_folder):
    write_set("mnist", packed=True)
    packed = load("mnist").fingerprint
    assert not list(data_folder.rglob("*-ubyte"))
    write_set("mnist")
    assert load("mnist").fingerprint == packed


def test_svhn_may_have_a_folder_of_its_own_and_its_tens_are_zeros(write_set):
    held = write_set("svhn", folder="svhn")
    data = load("svhn")
    assert data.labels is not None
    assert data.labels["test"].tolist() == held["test labels"].tolist()
    assert 0 in data.labels["test"]


def test_stl10_has_the_unlabelled_photos_as_a_set_of_their_own(write_set):
    unlabelled = np.random.default_rng(9).integers(0, 256, (40, 3, 96, 96), dtype=np.uint8)
    held = write_set("stl10", unlabelled=unlabelled)
    data = load("stl10-unlabelled", size=48)
    assert data.labels is None
    assert [len(part) for part in data.splits().values()] == [36, 4, 8]
    native = load("stl10-unlabelled")
    seen = {image.tobytes() for part in (native.train, native.selection) for image in part}
    assert seen == {image.tobytes() for image in unlabelled}
    assert np.array_equal(native.test, held["test"])


def test_a_second_load_decodes_nothing(write_set, monkeypatch):
    write_set("cifar10")
    first = load("cifar10")
    monkeypatch.setattr("harness.data.official.fit_planes", None)
    again = load("cifar10")
    assert again.fingerprint == first.fingerprint
    assert all(np.array_equal(*pair) for pair in zip(first.splits().values(), again.splits().values(), strict=True))


def test_files_that_changed_are_read_again(write_set, data_folder):
    write_set("stl10")
    before = load("stl10").fingerprint
    path = data_folder / "stl10_binary" / "train_X.bin"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    assert load("stl10").fingerprint != before


# --- damaged files


class Spoilt:
    """Runs code when it is unpickled by anything that lets it."""

    def __reduce__(self):
        return os.system, ("touch should-not-be-here",)


def cut(content):
    return content[: len(content) // 2]


def with_long_header(content):
    return content[:4] + b"\xff\xff\xff\xff" + content[8:]


DAMAGES = {
    "mnist cut": ("mnist", "MNIST/raw/train-images-idx3-ubyte", cut, r"announces 23520 bytes and holds \d+"),
    "mnist longer": (
        "mnist",
        "MNIST/raw/t10k-labels-idx1-ubyte",
        lambda c: c + b"x",
        "announces 8 bytes and holds more",
    ),
    "mnist empty": ("mnist", "MNIST/raw/train-labels-idx1-ubyte", lambda c: b"", "unpack requires a buffer of 4 bytes"),
    "mnist other": (
        "mnist",
        "MNIST/raw/train-images-idx3-ubyte",
        lambda c: b"\0\0\x0d\3" + c[4:],
        "not announce 3 axes",
    ),
    "mnist bomb": ("mnist", "MNIST/raw/train-images-idx3-ubyte", with_long_header, r"it announces \d+ bytes"),
    "cifar10 cut": ("cifar10", "cifar-10-batches-py/data_batch_2", cut, ""),
    "cifar10 text": ("cifar10", "cifar-10-batches-py/test_batch", lambda c: b"<html>not found</html>", ""),
    "cifar10 code": (
        "cifar10",
        "cifar-10-batches-py/data_batch_5",
        lambda c: pickle.dumps({"data": Spoilt(), "labels": []}),
        r"it asks for posix\.system, which could run code when read",
    ),
    "cifar100 lists": (
        "cifar100",
        "cifar-100-python/test",
        lambda c: pickle.dumps({"data": [1, 2], "fine_labels": [1]}),
        "'list' object has no attribute 'dtype'",
    ),
    "svhn text": ("svhn", "test_32x32.mat", lambda c: b"MATLAB 5.0 MAT-file, it says" + bytes(200), ""),
    "svhn empty": ("svhn", "train_32x32.mat", lambda c: b"", ""),
    "stl10 cut": ("stl10", "stl10_binary/train_X.bin", cut, "7 labels|it ends within image|30 labels for 15 images"),
    "stl10 labels": ("stl10", "stl10_binary/test_y.bin", lambda c: bytes(8), "a class above 10 or below 1"),
    "stl10 few labels": ("stl10", "stl10_binary/test_y.bin", cut, "4 labels for 8 images"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_with_the_remedy_in_one_sentence(write_set, data_folder, damage, monkeypatch):
    monkeypatch.chdir(data_folder)
    name, file, spoil, why = DAMAGES[damage]
    write_set(name)
    path = data_folder / file
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError) as caught:
        load(name)
    sentence = str(caught.value)
    assert file.rpartition("/")[2] in sentence
    assert "damaged or not" in sentence
    assert "remove it and fetch the set again" in sentence
    assert re.search(why, sentence)
    assert "\n" not in sentence
    assert not (data_folder / "should-not-be-here").exists()


def test_a_damaged_packed_file_is_named(write_set, data_folder):
    write_set("kmnist", packed=True)
    path = data_folder / "KMNIST" / "raw" / "train-images-idx3-ubyte.gz"
    good = path.read_bytes()
    for bad in (good[:200], b"plain", gzip.compress(b"plain")):
        path.write_bytes(bad)
        with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is damaged or not an IDX file"):
            load("kmnist")


@pytest.mark.parametrize("what", [np.array([1, "x"], dtype=object), io.BytesIO, print, np.float64(1), {1}])
def test_only_arrays_and_plain_containers_are_unpickled(write_set, data_folder, what):
    write_set("cifar100")
    (data_folder / "cifar-100-python" / "train").write_bytes(pickle.dumps({"data": what, "fine_labels": [0]}))
    with pytest.raises(UserError, match=r"train is damaged or not one of CIFAR's files"):
        load("cifar100")


def test_python_3s_pickles_of_the_same_arrays_are_read_too(write_set, data_folder):
    held = write_set("cifar100")
    before = load("cifar100").fingerprint
    for protocol in (2, 4):
        for part in ("train", "test"):
            batch = {"data": held[part].reshape(len(held[part]), -1), "fine_labels": held[f"{part} labels"].tolist()}
            (data_folder / "cifar-100-python" / part).write_bytes(pickle.dumps(batch, protocol=protocol))
        assert load("cifar100").fingerprint == before


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_was_overwritten_is_read_or_refused(write_set, data_folder, data):
    write_set("mnist", test=2)
    write_set("cifar100", test=2)
    for path, read in (
        (data_folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte", lambda path: (idx.read(path, ndim=3), None)),
        (data_folder / "cifar-100-python" / "test", cifar.read),
    ):
        content = bytearray(path.read_bytes())
        headers = st.one_of(st.integers(0, 100), st.integers(-100, -1), st.integers(0, len(content) - 1))
        for place, value in data.draw(st.lists(st.tuples(headers, st.integers(0, 255)), max_size=3)):
            content[place] = value
        path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
        with suppress(UserError):
            images, labels = read(path)
            assert images.dtype == np.uint8
            assert labels is None or len(labels) == len(images)


# --- options that do not fit


def test_sizes_and_numbers_that_do_not_fit(write_set):
    write_set("mnist")
    with pytest.raises(UserError, match=r"each of the images of mnist has 28×28 pixels, too many for data\.pad=20"):
        load("mnist", options=ImageOptions(pad=20))
    with pytest.raises(UserError, match=r"data\.n=28 asks for more than the 27 training images of mnist"):
        load("mnist", n=28)
    write_set("mnist", train=15)
    with pytest.raises(UserError, match="mnist holds 15 training images, too few"):
        load("mnist")


def test_every_published_set_is_in_the_catalogue_and_tried_in_these_tests():
    tried = {*ARRAYS, "stl10-unlabelled", "celeba", *(name for name in PUBLISHED if name.startswith("lsun-"))}
    assert set(PUBLISHED) == tried


# --- sets of image files


@pytest.mark.parametrize("where", ["zip", "folder"])
def test_celeba_comes_in_its_official_parts_in_their_order(write_celeba, where):
    pictures = write_celeba(where=where)
    data = load("celeba")
    assert [len(part) for part in data.splits().values()] == [24, 6, 5]
    assert data.shape == (3, 64, 64)
    assert data.preprocessing["resize"] == "64×64 Pillow Lanczos (antialiased)"
    assert data.labels is None
    colours = [np.asarray(Image.open(io.BytesIO(picture)))[0, 0] for picture in pictures]
    for place, image in enumerate(np.concatenate(list(data.splits().values()))):
        assert np.abs(image.astype(int) - colours[place][:, None, None].astype(int)).max() <= 2
    assert load("celeba", size=32, n=10, options=ImageOptions(crop=108)).train.shape == (10, 3, 32, 32)


def test_celebas_identities_are_its_labels(write_celeba):
    write_celeba(identities=True)
    data = load("celeba", n=12)
    assert data.labels is not None
    assert data.labels["selection"].tolist() == [34, 35, 36, 37, 38, 39]
    assert data.labels["test"].tolist() == [40, 41, 42, 43, 44]
    reds = data.train[:, 0].mean(axis=(1, 2))
    assert np.abs(reds - 5 * (data.labels["train"] - 10)).max() <= 2


def test_celebas_files_have_to_belong_together(write_celeba, data_folder):
    write_celeba(where="folder")
    folder = data_folder / "celeba"
    (folder / "img_align_celeba" / "000007.jpg").rename(folder / "moved.jpg")
    with pytest.raises(
        UserError, match=r"lacks 1 of the 35 images that list_eval_partition\.txt names, such as 000007"
    ):
        load("celeba")
    (folder / "moved.jpg").rename(folder / "img_align_celeba" / "000007.jpg")
    (folder / "identity_CelebA.txt").write_text("000001.jpg 5\n")
    with pytest.raises(UserError, match=r"identity_CelebA\.txt is damaged .* \(it lacks 000002\.jpg\)"):
        load("celeba")
    partition = folder / "list_eval_partition.txt"
    for text, why in (("000001.jpg zero\n", "invalid literal"), ("000001.jpg 0\n", "it puts nothing into part 0")):
        partition.write_text(text)
        with pytest.raises(UserError, match=rf"list_eval_partition\.txt is damaged .*{why}"):
            load("celeba")


def test_a_broken_face_is_named_or_left_out_with_its_label(write_celeba, data_folder, capsys):
    write_celeba(where="folder", identities=True)
    broken = data_folder / "celeba" / "img_align_celeba" / "000026.jpg"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(UserError, match=r"^000026\.jpg in .*img_align_celeba is .*--skip-broken"):
        load("celeba")
    data = load("celeba", options=ImageOptions(skip_broken=True))
    assert data.labels is not None
    assert data.labels["selection"].tolist() == [34, 36, 37, 38, 39]
    assert data.preprocessing["left out"] == "1 broken file"


def test_lsun_is_split_by_the_seed_and_read_photo_by_photo(write_lsun):
    write_lsun(count=40)
    data, again, other = load("lsun-bedroom"), load("lsun-bedroom"), load("lsun-bedroom", seed=1)
    assert [len(part) for part in data.splits().values()] == [32, 4, 4]
    assert data.shape == (3, 64, 64)
    assert data.fingerprint == again.fingerprint != other.fingerprint
    reds = np.concatenate([part[:, 0, 0, 0] for part in data.splits().values()])
    assert sorted(reds.tolist()) == [5 * number for number in range(40)]
    few = load("lsun-bedroom", n=10, size=32)
    assert few.train.shape == (10, 3, 32, 32)
    assert np.array_equal(few.test[:, 0, 0, 0], data.test[:, 0, 0, 0])


def test_lsun_holds_out_no_more_than_is_needed_to_score(write_lsun, monkeypatch):
    from harness.data import lsun

    monkeypatch.setattr(lsun, "HELD_OUT", 3)
    write_lsun("church_outdoor", count=50, folder="lsun")
    data = load("lsun-church-outdoor")
    assert [len(part) for part in data.splits().values()] == [44, 3, 3]
    assert len({int(image[0, 0, 0]) for part in data.splits().values() for image in part}) == 50


def test_lsun_without_its_package_or_with_a_damaged_file(write_lsun, data_folder, monkeypatch):
    write_lsun("tower")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "lmdb", None)
        with pytest.raises(UserError, match=r"lsun-tower is read by the package lmdb: .*ganbench\[lsun\]"):
            load("lsun-tower")
    (data_folder / "tower_train_lmdb" / "data.mdb").write_bytes(b"no database")
    with pytest.raises(UserError, match="tower_train_lmdb is damaged or not an LMDB environment"):
        load("lsun-tower")

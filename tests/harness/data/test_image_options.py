"""Crop, kernel, padding and flip of images, alike for every kind of source and recorded; broken files left out."""

import io
import json
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from ganbench.errors import UserError
from harness.config import DataConfig, resolve, trial_id
from harness.data import ImageOptions, image_files, load, load_for, npz, pixel_store
from harness.image_options import Kernel

FLIPPED = "training images mirrored left to right with probability 1/2"
NOISE = np.random.default_rng(0).integers(0, 256, (24, 3, 20, 28), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["in memory", "stored"])
def keeping(request, monkeypatch):
    """Small folders are decoded anew each time; here also as if they were large."""
    if request.param == "stored":
        monkeypatch.setattr(image_files, "KEEP_FROM_BYTES", 0)
    return request.param


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, format=kind)
    return buffer.getvalue()


def write(folder, images=NOISE):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        (folder / f"{number}.png").write_bytes(encoded(image))
    return folder


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*.png"):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize(
    ("size", "options", "shape", "said"),
    [
        (None, ImageOptions(), (3, 20, 28), {}),
        (
            16,
            ImageOptions(resize="box"),
            (3, 16, 16),
            {"crop": "centre square", "resize": "16×16 Pillow box (antialiased)"},
        ),
        (16, ImageOptions(crop="none"), (3, 16, 16), {"crop": "none", "resize": "16×16 Pillow Lanczos (antialiased)"}),
        (None, ImageOptions(crop=12), (3, 12, 12), {"crop": "centre square of 12"}),
        (
            8,
            ImageOptions(crop=12, resize="bilinear", pad=10),
            (3, 10, 10),
            {
                "crop": "centre square of 12",
                "resize": "8×8 Pillow bilinear (antialiased)",
                "pad": "to 10×10 with 0",
            },
        ),
        (None, ImageOptions(pad=32), (3, 32, 32), {"pad": "to 32×32 with 0"}),
        (
            None,
            ImageOptions(flip=True),
            (3, 20, 28),
            {"flip": FLIPPED},
        ),
    ],
)
def test_folders_zips_and_arrays_are_treated_alike_and_say_so(tmp_path, keeping, size, options, shape, said):
    folder = write(tmp_path / "d")
    np.savez(tmp_path / "d.npz", images=NOISE)
    sets = [
        load(str(path), size=size, options=options)
        for path in (folder, zipped(folder, tmp_path / "d.zip"), tmp_path / "d.npz")
    ]
    assert {dataset.fingerprint for dataset in sets} == {sets[0].fingerprint}
    assert all(dataset.shape == shape and dataset.preprocessing == said for dataset in sets)


def test_padding_is_black_all_around_and_an_odd_pixel_goes_to_the_right_and_below(tmp_path):
    padded = load(str(write(tmp_path / "d", NOISE[:, :, :20, :17])), options=ImageOptions(pad=22)).train
    plain = load(str(tmp_path / "d")).train
    assert np.array_equal(padded[:, :, 1:21, 2:19], plain)
    assert not padded[:, :, :1].any()
    assert not padded[:, :, 21:].any()
    assert not padded[:, :, :, :2].any()
    assert not padded[:, :, :, 19:].any()


def test_kernels_differ_and_the_crop_is_the_centre(tmp_path):
    folder = str(write(tmp_path / "d"))
    kinds = {load(folder, size=8, options=ImageOptions(resize=kernel)).fingerprint for kernel in get_args(Kernel)}
    assert len(kinds) == 4
    whole, cropped = load(folder), load(folder, options=ImageOptions(crop=12))
    assert np.array_equal(cropped.test, whole.test[:, :, 4:16, 8:20])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (ImageOptions(crop=24), "has 28×20 pixels, too few for data.crop=24: lower data.crop"),
        (ImageOptions(pad=24), "has 28×20 pixels, too many for data.pad=24: raise data.pad or give data.size"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, options, sentence):
    folder = write(tmp_path / "d")
    np.savez(tmp_path / "d.npz", images=NOISE)
    others = r"\(so it is with 23 more: 1\.png, 2\.png, 3\.png, …\)"
    with pytest.raises(UserError, match=rf"^0\.png in .* {others}: ") as caught:
        load(str(folder), options=options)
    before, after = sentence.split(": ")
    assert before in str(caught.value)
    assert str(caught.value).endswith(after)
    with pytest.raises(UserError, match=f"^each of the images of .*npz {sentence}$"):
        load(str(tmp_path / "d.npz"), options=options)


def test_what_a_registered_loader_does_not_do_is_done_for_it_or_refused():
    plain, padded = load("digits"), load("digits", options=ImageOptions(pad=10, flip=True))
    assert np.array_equal(padded.test[:, :, 1:9, 1:9], plain.test)
    assert padded.test.sum() == plain.test.sum()
    assert set(padded.preprocessing) == {"pad", "flip"}
    assert padded.fingerprint != plain.fingerprint
    for name, options, sentence in (
        ("digits", ImageOptions(resize="box"), "data.resize cannot be chosen for dataset digits"),
        ("digits", ImageOptions(crop=4), "data.crop cannot be chosen for dataset digits"),
        ("digits", ImageOptions(pad=0), "data.pad is 0: it must be at least 1"),
        ("ring8", ImageOptions(pad=10), "data.pad is for images, but dataset ring8 has points"),
        ("ring8", ImageOptions(flip=True), "data.flip is for images, but dataset ring8 has points"),
        ("polygons", ImageOptions(pad=20), "data.pad would move the borders .*: give data.size=20"),
    ):
        with pytest.raises(UserError, match=sentence):
            load(name, n=10, options=options)


def test_the_options_reach_the_loader_from_a_trials_config(tmp_path):
    folder = write(tmp_path / "d")
    config = DataConfig(name=str(folder), size=8, resize="box", crop=12, pad=10, flip=True, skip_broken=True)
    options = ImageOptions(resize="box", crop=12, pad=10, flip=True, skip_broken=True)
    by_hand = load(str(folder), size=8, options=options)
    assert load_for(config).fingerprint == by_hand.fingerprint
    assert load_for(config).preprocessing == by_hand.preprocessing


def test_the_options_are_part_of_a_trials_identity_unless_they_do_nothing():
    asked = {"gan": "vanilla", "dataset": "digits"}
    plain = trial_id(resolve(asked))
    assert plain == "213383fbf876"  # what it was before there were such options
    changes = {"data.resize": "box", "data.crop": 4, "data.pad": 10, "data.flip": True, "data.skip_broken": True}
    ids = {trial_id(resolve({**asked, option: value})) for option, value in changes.items()}
    assert len(ids | {plain}) == 6
    for option, value, sentence in (
        ("data.crop", "middle", r'^data\.crop: give centre, none or a number of pixels from 1 \(got "middle"\)$'),
        ("data.crop", 0, r"^data\.crop: give centre, none or a number of pixels from 1 \(got 0\)$"),
        ("data.resize", "nearest", "data.resize must be 'lanczos', 'bicubic', 'bilinear' or 'box': got"),
        ("data.pad", 0, "data.pad must be at least 1: got 0"),
    ):
        with pytest.raises(UserError, match=sentence):
            resolve({**asked, option: value})


# --- broken files


@pytest.fixture
def partly_broken(tmp_path):
    """300 images of two classes in their splits, three of which cannot be read."""
    for split, count in (("train", 100), ("test", 50)):
        for name in ("cat", "dog"):
            write(tmp_path / "d" / split / name, np.resize(NOISE, (count, *NOISE.shape[1:])))
    for name in ("train/cat/7.png", "train/dog/30.png", "test/dog/2.png"):
        file = tmp_path / "d" / name
        file.write_bytes(file.read_bytes()[:200])
    return tmp_path / "d"


@pytest.mark.parametrize("where", ["folder", "zip"])
def test_broken_files_are_listed_or_left_out_and_counted(partly_broken, keeping, where, tmp_path, capsys):
    path = partly_broken if where == "folder" else zipped(partly_broken, tmp_path / "d.zip")
    sentence = r"^test/dog/2\.png in .* is damaged .* \(so it is with 2 more: train/cat/7\.png, train/dog/30\.png\): "
    for _ in range(2):
        with pytest.raises(UserError, match=sentence + "remove or replace it, or leave broken files out with --skip-"):
            load(str(path))
    for _ in range(2):
        dataset = load(str(path), options=ImageOptions(skip_broken=True))
        assert [len(part) for part in dataset.splits().values()] == [178, 20, 99]
        assert dataset.preprocessing == {"left out": "3 broken files"}
        assert dataset.labels is not None
        assert np.bincount(dataset.labels["test"]).tolist() == [50, 49]
        assert dataset.summary == f"297 images of {path.name}"
        said = capsys.readouterr().err
        assert said.endswith("3 broken files (test/dog/2.png, train/cat/7.png, train/dog/30.png)\n")
    with pytest.raises(UserError, match=sentence):
        load(str(path))


def test_good_files_of_another_kind_are_not_called_broken(partly_broken):
    Image.new("RGBA", (28, 20)).save(partly_broken / "train" / "cat" / "9.png")
    with pytest.raises(UserError, match=r"^train/cat/9\.png in .* has transparency, which GANs here do not model: "):
        load(str(partly_broken), options=ImageOptions(skip_broken=True))
    Image.new("L", (28, 20)).save(partly_broken / "train" / "cat" / "9.png")
    with pytest.raises(UserError, match=r"^train/cat/9\.png in .* is grey while most are in colour: convert all"):
        load(str(partly_broken), options=ImageOptions(skip_broken=True))


def test_a_link_that_leads_nowhere_is_a_broken_file(tmp_path, keeping):
    folder = write(tmp_path / "d")
    (folder / "3.png").unlink()
    (folder / "3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"^3\.png in .* is damaged or cannot be read \(.*No such file"):
        load(str(folder))
    assert load(str(folder), options=ImageOptions(skip_broken=True)).preprocessing == {"left out": "1 broken file"}


# --- large sets are stored


def test_a_folder_and_its_zip_share_one_entry_and_another_choice_is_another(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "KEEP_FROM_BYTES", 0)
    folder = write(tmp_path / "d")
    decoded = []
    decode = image_files.decode_bytes
    monkeypatch.setattr(image_files, "decode_bytes", lambda *args: decoded.append(1) or decode(*args))
    first = load(str(folder))
    assert len(decoded) == 25  # the first one for the shape, too
    assert load(str(zipped(folder, tmp_path / "d.zip"))).fingerprint == first.fingerprint
    assert len(decoded) == 25
    for change in ({"size": 8}, {"seed": 1}, {"n": 10}, {"options": ImageOptions(pad=32)}):
        decoded.clear()
        load(str(folder), **change)
        assert decoded
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 5


def test_a_changed_file_makes_another_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "KEEP_FROM_BYTES", 0)
    folder = write(tmp_path / "d")
    before = load(str(folder))
    (folder / "3.png").write_bytes(encoded(255 - NOISE[3]))
    after = load(str(folder))
    assert after.fingerprint != before.fingerprint
    assert after.fingerprint == pixel_store.fingerprint(after.splits())


def test_a_stored_set_trains_and_scores_as_one_in_memory(tmp_path, monkeypatch):
    from harness.config import EvaluationConfig
    from harness.scoring.evaluation import Evaluation

    grey = np.random.default_rng(1).integers(0, 256, (400, 1, 8, 8), dtype=np.uint8)
    (tmp_path / "d").mkdir()
    for number, image in enumerate(grey):
        Image.fromarray(image[0]).save(tmp_path / "d" / f"{number}.png")
    asked = EvaluationConfig(n_fake=40, metrics=["fid", "precision"], features="digits")
    in_memory = Evaluation(load(str(tmp_path / "d")), asked).floor()
    monkeypatch.setattr(image_files, "KEEP_FROM_BYTES", 0)
    stored = Evaluation(load(str(tmp_path / "d")), asked).floor()
    assert list((tmp_path / "cache" / "images").iterdir())
    assert stored.as_json() == in_memory.as_json()


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW"])
def test_a_large_array_is_unpacked_once_and_then_mapped(tmp_path, monkeypatch, layout):
    images = {"NHWC": NOISE.transpose(0, 2, 3, 1), "NCHW": NOISE, "NHW": NOISE[:, 0]}[layout]
    np.savez_compressed(tmp_path / "d.npz", images=images, labels=np.arange(24) % 3)
    small = load(str(tmp_path / "d.npz"), options=ImageOptions(pad=32))
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(npz, "KEEP_FROM_BYTES", 0)
    reads = []
    reopened = npz._reopened
    monkeypatch.setattr(npz, "_reopened", lambda *args: reads.append(1) or reopened(*args))
    for _ in range(2):
        large = load(str(tmp_path / "d.npz"), options=ImageOptions(pad=32))
        assert large.fingerprint == small.fingerprint
        assert large.labels is not None
        assert small.labels is not None
        assert all(np.array_equal(large.labels[split], small.labels[split]) for split in small.labels)
    assert len(reads) == 1
    np.savez_compressed(tmp_path / "d.npz", images=255 - images)
    assert load(str(tmp_path / "d.npz"), options=ImageOptions(pad=32)).fingerprint != small.fingerprint


def test_a_large_array_that_is_damaged_or_no_array_of_images_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "KEEP_FROM_BYTES", 0)
    path = tmp_path / "d.npz"
    np.savez(path, images=np.array([{}] * 20))
    with pytest.raises(UserError, match=r"^images in .*d\.npz is an array of Python objects, which could run code"):
        load(str(path))
    np.savez(path, images=NOISE.astype(np.float32))
    with pytest.raises(UserError, match=r"^the images in .*d\.npz are float32, not uint8: scale them"):
        load(str(path))
    np.savez(path, images=NOISE)
    content = bytearray(path.read_bytes())
    content[3000:3004] = b"oops"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"d\.npz is damaged or not an npz file: write it again"):
        load(str(path))


# --- in a trial


def test_flip_and_padding_reach_training_and_protocol_and_broken_files_are_skipped_on_request(
    ganbench, partly_broken, tiny_options
):
    asked = ["train", "--gan", "vanilla", "--dataset", partly_broken, "--wandb", "disabled", *tiny_options]
    options = ["data.size=8", "data.pad=10", "data.flip=true", "--out"]
    assert "(so it is with 2 more" in ganbench(*asked, *options, "strict").mistake()
    assert not Path("strict").exists()
    trained = ganbench(*asked, *options, "run", "--skip-broken")
    assert trained.code == 0
    assert "note: left out of" in trained.err
    protocol = json.loads(Path("run/scores.json").read_text())["results"][0]["protocol"]
    assert protocol["dataset_preprocessing"] == {
        "crop": "centre square",
        "resize": "8×8 Pillow Lanczos (antialiased)",
        "pad": "to 10×10 with 0",
        "flip": FLIPPED,
        "left out": "3 broken files",
    }
    scored = ganbench("evaluate", "--real", partly_broken, "--fake", "run", "-n", 32, "--splits", 2, "--bare", "--json")
    assert json.loads(scored.out)["protocol"]["dataset_preprocessing"] == protocol["dataset_preprocessing"]
    sweep = ganbench("sweep", "run", "quickstart", "--dry-run", "--skip-broken")
    assert sweep.code == 0

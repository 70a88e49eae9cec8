"""One's own images: folders, zip archives and npz files, good and bad, as real files."""

import io
import random
import struct
import zipfile
import zlib
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganbench.errors import UserError
from harness.data import image_files, load
from harness.data.image_files import natural_key


def picture(value, side=8, mode="RGB"):
    """A picture of one colour that names its number, so that images can be told apart after loading."""
    array = np.full((side, side, 3), 100, np.uint8)
    array[:, :, 0] = value
    return Image.fromarray(array).convert(mode) if mode != "L" else Image.fromarray(array[:, :, 0])


def fill(folder, count=30, side=8, mode="RGB", suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for value in range(count):
        picture(value, side, mode).save(folder / f"{value}{suffix}")
    return folder


def zipped(folder, archive, prefix="", shuffle=False):
    files = [file for file in folder.rglob("*") if file.is_file()]
    if shuffle:
        random.Random(1).shuffle(files)
    with zipfile.ZipFile(archive, "w") as out:
        for file in files:
            out.write(file, prefix + file.relative_to(folder).as_posix())
    return archive


def values(images):
    """The numbers of `picture`s."""
    return images[:, 0, 0, 0].tolist()


def test_flat_folder_is_split_80_10_10_without_overlap(tmp_path):
    data = load(str(fill(tmp_path / "shots")))
    assert (data.name, data.shape, data.labels) == ("shots", (3, 8, 8), None)
    parts = [values(part) for part in data.splits().values()]
    assert [len(part) for part in parts] == [24, 3, 3]
    assert sorted(chain(*parts)) == list(range(30))
    assert all(part == sorted(part) for part in parts)  # natural order: 2.png before 10.png
    assert load(str(tmp_path / "shots"), seed=1).fingerprint != data.fingerprint


def test_folder_zip_wrapped_zip_and_shuffled_zip_are_the_same_dataset(tmp_path):
    folder = tmp_path / "d"
    for name in ("cat", "dog"):
        fill(folder / name, 15)
    (folder / ".DS_Store").write_bytes(b"litter")
    (folder / "README.txt").write_text("not an image")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "0.png").write_bytes(b"litter")
    data = load(str(folder))
    assert data.labels is not None
    assert sorted(np.concatenate(list(data.labels.values())).tolist()) == [0] * 15 + [1] * 15
    for archive in (
        zipped(folder, tmp_path / "a.zip"),
        zipped(folder, tmp_path / "b.zip", prefix="outer/inner/", shuffle=True),
        zipped(folder, tmp_path / "c.zip", prefix="./", shuffle=True),
        zipped(folder, tmp_path / "d.zip", prefix="../../up/", shuffle=True),
    ):
        other = load(str(archive))
        assert other.fingerprint == data.fingerprint
        assert other.labels is not None
        assert all(np.array_equal(other.labels[split], data.labels[split]) for split in data.labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "c.zip", "d", "d.zip"]


def test_train_and_test_folders_are_the_splits_and_a_tenth_of_train_is_for_selection(tmp_path):
    for split, count in (("train", 40), ("test", 5)):
        for name in ("cat", "dog"):
            fill(tmp_path / "d" / split / name, count)
    data = load(str(tmp_path / "d"))
    assert [len(part) for part in data.splits().values()] == [72, 8, 10]
    assert data.labels is not None
    assert data.labels["test"].tolist() == [0] * 5 + [1] * 5
    assert values(data.test) == [0, 1, 2, 3, 4] * 2
    assert sorted(values(data.train) + values(data.selection)) == sorted([*range(40)] * 2)
    few = load(str(tmp_path / "d"), n=10)
    assert len(few.train) == 10
    assert np.array_equal(few.selection, data.selection)


@pytest.mark.parametrize("name", ["selection", "val", "validation"])
def test_a_selection_folder_is_used_as_it_is(tmp_path, name):
    for split, count in (("train", 6), (name, 3), ("test", 2)):
        fill(tmp_path / "d" / split, count)
    assert [values(part) for part in load(str(tmp_path / "d")).splits().values()] == [[*range(6)], [0, 1, 2], [0, 1]]


def test_a_lone_train_folder_is_split_like_a_flat_one(tmp_path):
    fill(tmp_path / "d" / "train")
    fill(tmp_path / "flat")
    assert load(str(tmp_path / "d")).fingerprint == load(str(tmp_path / "flat")).fingerprint


def test_grey_bilevel_and_palette_files_keep_their_pixels(tmp_path):
    grey = load(str(fill(tmp_path / "grey", mode="L")))
    assert (grey.shape, sorted(values(grey.train))) == ((1, 8, 8), sorted(values(load(str(tmp_path / "grey")).train)))
    palette = load(str(fill(tmp_path / "palette", mode="P", count=30)))
    assert palette.shape == (3, 8, 8)
    bilevel = load(str(fill(tmp_path / "bilevel", mode="1")))
    assert (bilevel.shape, set(np.unique(bilevel.train))) <= ((1, 8, 8), {0, 255})


def test_size_crops_the_centre_and_shrinks_without_aliasing(tmp_path):
    stripes = np.zeros((64, 96), np.uint8)
    stripes[:, ::2] = 255  # alternate columns: grey when averaged, all black or all white when aliased
    stripes[:, :16] = stripes[:, -16:] = 0  # outside the centre square
    (tmp_path / "d").mkdir()
    for number in range(20):
        Image.fromarray(stripes if number else stripes[:, 8:-8]).save(tmp_path / "d" / f"{number}.png")
    data = load(str(tmp_path / "d"), size=16)
    assert data.shape == (1, 16, 16)
    assert np.abs(data.train[:, :, 2:-2, 2:-2].astype(int) - 127).max() <= 2
    assert data.preprocessing == {"crop": "centre square", "resize": "16×16 Pillow Lanczos (antialiased)"}


def test_photographs_are_turned_upright(tmp_path):
    upright = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    (tmp_path / "d").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90° clockwise to view"
    for number in range(20):
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "d" / f"{number}.png", exif=exif)
    assert np.array_equal(load(str(tmp_path / "d")).train[0, 0], np.asarray(upright))


def test_large_files_read_by_threads_keep_their_order(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 48, 48, 3), dtype=np.uint8)
    (tmp_path / "d").mkdir()
    for number, image in enumerate(noise):
        Image.fromarray(image).save(tmp_path / "d" / f"{number}.png", compress_level=0)
    assert (tmp_path / "d" / "0.png").stat().st_size >= image_files.THREADS_FROM_BYTES
    data = load(str(tmp_path / "d"))
    place = {image.transpose(2, 0, 1).tobytes(): number for number, image in enumerate(noise)}
    order = [[place[image.tobytes()] for image in part] for part in data.splits().values()]
    assert all(part == sorted(part) for part in order)
    assert sorted(chain(*order)) == list(range(300))


@given(st.lists(st.text("ab01²٣/-é", max_size=5), max_size=12), st.randoms())
def test_natural_order_is_total_and_independent_of_the_input_order(names, random):
    shuffled = random.sample(names, len(names))
    assert sorted(names, key=natural_key) == sorted(shuffled, key=natural_key)


def test_numbers_sort_by_value():
    assert sorted(["b1", "a10", "a9", "a010"], key=natural_key) == ["a9", "a010", "a10", "b1"]


def png16_rgb():
    """An 8×8 PNG of 16 bits a channel, which Pillow reads as 8-bit RGB without a word."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 8 * 49)) + chunk(b"IEND", b"")


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
BAD_FILES = {
    "grey": (encoded(picture(1, mode="L")), "is grey while most are in colour: convert all to one kind"),
    "alpha": (encoded(picture(1, mode="RGBA")), "has transparency, .*: flatten it onto a background"),
    "grey alpha": (encoded(picture(1, mode="LA")), "has transparency"),
    "palette alpha": (encoded(picture(1, mode="P"), transparency=0), "has transparency"),
    "16-bit grey": (encoded(Image.fromarray(np.ones((8, 8), np.uint16))), "has 16 bits a channel: convert it to 8"),
    "16-bit colour": (png16_rgb(), "has 16 bits a channel"),
    "cmyk": (encoded(picture(1, mode="CMYK"), "JPEG"), "has colour mode CMYK: convert it to grey or RGB"),
    "other size": (
        encoded(NOISE.resize((9, 5))),
        r"has 9×5 pixels while most have 8×8: give them one size or set data.size=8",
    ),
    "truncated png": (encoded(NOISE)[:-40], "is damaged or cannot be read"),
    "truncated jpeg": (encoded(NOISE, "JPEG")[:-30], "is damaged or cannot be read"),
    "text": (b"hello, I am not an image", "is not an image, or a damaged one: remove or replace it"),
    "empty": (b"", "is not an image"),
}


@pytest.mark.parametrize("where", ["folder", "zip"])
@pytest.mark.parametrize("fault", BAD_FILES)
def test_the_first_bad_file_among_good_ones_is_named(tmp_path, fault, where):
    content, sentence = BAD_FILES[fault]
    folder = fill(tmp_path / "d")
    (folder / "7.png").write_bytes(content)
    path = folder if where == "folder" else zipped(folder, tmp_path / "d.zip")
    with pytest.raises(UserError, match=sentence) as caught:
        load(str(path))
    assert str(caught.value).startswith(f"7.png in {path} ")
    assert "\n" not in str(caught.value)


def test_further_bad_files_are_counted_and_the_first_by_name_is_named(tmp_path):
    folder = fill(tmp_path / "d")
    for number in (21, 4, 13):
        picture(1, mode="L").save(folder / f"{number}.png")
    with pytest.raises(
        UserError, match=r"^4\.png in .* is grey while most are in colour \(so it is with 2 more: 13\.png, 21\.png\)"
    ):
        load(str(folder))


def test_size_reconciles_images_of_different_sizes(tmp_path):
    folder = fill(tmp_path / "d")
    picture(3, side=20).save(folder / "3.png")
    assert load(str(folder), size=8).shape == (3, 8, 8)


def test_an_image_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    folder = fill(tmp_path / "d")
    picture(5, side=40).save(folder / "5.png")
    for limit in (1_000, 500):  # within twice the limit Pillow only warns
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UserError, match=rf"^5\.png in .* has more than {limit} pixels: shrink or remove it"):
            load(str(folder))


def test_a_zip_member_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_FILE_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 5 * 2**20)
    with pytest.raises(UserError, match=r"^a\.png in .*bomb.zip would unpack to 5 MiB, more than the 1 MiB allowed"):
        load(str(tmp_path / "bomb.zip"))


def test_a_damaged_zip_member_is_named(tmp_path):
    archive = zipped(fill(tmp_path / "d"), tmp_path / "d.zip")
    content = bytearray(archive.read_bytes())
    start = content.index(b"IHDR")
    content[start + 40 : start + 44] = b"\xff\xff\xff\xff"
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"\.png in .*d\.zip is damaged or cannot be read \(Bad CRC-32"):
        load(str(archive))


def test_an_archive_that_is_none_is_told(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK nonsense")
    with pytest.raises(UserError, match=r"x\.zip is damaged or not a zip archive \(.*\): make it again"):
        load(str(tmp_path / "x.zip"))


def test_paths_that_lead_nowhere(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"there is no .*missing: give an existing folder"):
        load(str(tmp_path / "missing"))
    with pytest.raises(UserError, match=r"there is no gone\.npz"):
        load("gone.npz")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"notes\.txt is neither a folder nor a \.zip nor an \.npz file"):
        load(str(tmp_path / "notes.txt"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds nothing: put files ending in \.png, .* there"):
        load(str(tmp_path / "empty"))
    (tmp_path / "empty" / "a.csv").write_text("1")
    with pytest.raises(UserError, match="empty holds 1 files, none of them an image"):
        load(str(tmp_path / "empty"))
    fill(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    assert load("photos").name == "photos"


def test_splits_that_are_incomplete_or_mixed_up(tmp_path):
    folder = tmp_path / "d"
    fill(folder / "train", 20)
    fill(folder / "val", 5)
    with pytest.raises(UserError, match="has the folders train, val but no test: name the splits train, selection"):
        load(str(folder))
    fill(folder / "test", 5)
    picture(0).save(folder / "stray.png")
    with pytest.raises(UserError, match=r"stray\.png in .* lies beside the splits train and test: move it"):
        load(str(folder))


def test_too_few_images_to_split(tmp_path):
    with pytest.raises(UserError, match=r"holds 19 images, too few to hold out a tenth .*: give at least 20"):
        load(str(fill(tmp_path / "d", 19)))
    fill(tmp_path / "e" / "train", 19)
    fill(tmp_path / "e" / "test", 5)
    with pytest.raises(UserError, match=r"holds 19 training images, too few .* or a selection folder"):
        load(str(tmp_path / "e"))
    with pytest.raises(UserError, match=r"data\.n=25 asks for more than the 24 training images of "):
        load(str(fill(tmp_path / "f", 30)), n=25)


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 10), dtype=np.uint8)


def test_npz_of_every_axis_order_is_the_same_dataset(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, images=IMAGES, labels=np.arange(40, dtype=np.uint8))
    data = load(str(path))
    assert [len(part) for part in data.splits().values()] == [32, 4, 4]
    assert data.shape == (3, 8, 10)
    assert data.labels is not None
    for split, part in data.splits().items():
        assert np.array_equal(part, IMAGES[data.labels[split]])
    np.savez_compressed(path, IMAGES.transpose(0, 2, 3, 1))
    assert load(str(path)).fingerprint == data.fingerprint
    np.savez(path, images=IMAGES[:, 0])
    assert load(str(path)).shape == (1, 8, 10)
    np.savez(path, images=IMAGES[:, :1])
    assert load(str(path)).shape == (1, 8, 10)


def test_npz_and_folder_are_resized_alike(tmp_path):
    (tmp_path / "d").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "d" / f"{number}.png")
    np.savez(tmp_path / "x.npz", images=IMAGES)
    for size in (None, 4, 8, 16):
        folder, npz = (load(str(tmp_path / name), size=size) for name in ("d", "x.npz"))
        assert folder.fingerprint == npz.fingerprint
        assert folder.preprocessing == npz.preprocessing


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"images": IMAGES / 255}, "are float64, not uint8: scale them to 0…255, round, and save them as uint8"),
        ({"images": IMAGES.astype(np.int64)}, "are int64, not uint8: save whole numbers 0…255 as uint8"),
        ({"images": np.array([IMAGES[0], "x"], dtype=object)}, "images in .* is an array of Python objects"),
        ({"images": IMAGES, "labels": np.array([{}] * 40)}, "labels in .* is an array of Python objects"),
        ({"images": IMAGES[0, 0]}, r"have shape \(8, 10\): give \(N, H, W\), \(N, H, W, C\) or \(N, C, H, W\)"),
        ({"images": IMAGES[None]}, r"have shape \(1, 40, 3, 8, 10\): give "),
        ({"pictures": IMAGES, "y": IMAGES}, r"no array called images, arr_0 or points \(it has pictures, y\)"),
        ({}, r"no array called images, arr_0 or points \(it has nothing\)"),
        ({"images": IMAGES[:0]}, r"holds no images \(shape \(0, 3, 8, 10\)\): give at least 20"),
        ({"images": IMAGES[:, :, :, :3]}, r"\(40, 3, 8, 3\), where the channels could be the second or the last axis"),
        ({"images": IMAGES.reshape(40, 4, 6, 10)}, r"\(40, 4, 6, 10\), where no axis holds 1 or 3 channels"),
        ({"images": IMAGES[:19]}, "holds 19 images, too few"),
        (
            {"images": IMAGES, "labels": np.zeros(39, int)},
            r"are int64 of shape \(39,\): they must be integers of shape",
        ),
        ({"images": IMAGES, "labels": np.zeros(40)}, "labels in .* are float64 of shape"),
        ({"points": np.zeros((40, 3))}, r"points in .* are float64 of shape \(40, 3\): give floats \(n, 2\)"),
        ({"points": np.zeros((40, 2), int)}, r"points in .* are int64 of shape \(40, 2\): give floats"),
        ({"points": np.full((40, 2), 1e300)}, "40 of 40 points in .* are NaN or infinite in float32"),
        ({"points": np.array([[{}, {}]] * 40)}, "points in .* is an array of Python objects"),
    ],
)
def test_npz_mistakes(tmp_path, arrays, sentence):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=sentence) as caught:
        load(str(tmp_path / "x.npz"))
    assert "x.npz" in str(caught.value)


def test_damaged_npz_files(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=IMAGES)
    content = path.read_bytes()
    scrambled = content[:400] + bytes(50) + content[450:]
    for bad in (b"", b"garbage", content[: len(content) // 2], scrambled):
        path.write_bytes(bad)
        with pytest.raises(UserError, match=r"x\.npz is damaged or not an npz file: write it again"):
            load(str(path))
    with path.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(UserError, match=r"x\.npz is a bare array, not an npz file"):
        load(str(path))

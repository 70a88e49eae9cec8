"""The datasets known by name: what they hold, that they are the same everywhere, how mistakes are told."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from ganbench import digits as digits_source
from ganbench.errors import UserError
from harness.data import DATASETS, Dataset, Mixture, load, mixtures, polygons
from harness.data.published import PUBLISHED

OPTIONS = {
    "ring8": {},
    "grid25": {},
    "digits": {"size": 16},
    "stacked-digits": {"size": 16, "n": 50},
    "polygons": {"n": 200},
}


def test_every_name_of_the_catalogue_is_tried_here():
    assert {*OPTIONS, *PUBLISHED} == {entry.name for entry in DATASETS.entries()}  # test_published_sets.py tries those


def test_fingerprints_are_the_same_in_another_process_and_in_another_order():
    script = (
        "from harness.data import load\n"
        f"for name, options in reversed({OPTIONS!r}.items()): print(name, load(name, seed=3, **options).fingerprint)"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    elsewhere = dict(line.split() for line in output.splitlines())
    assert elsewhere == {name: load(name, seed=3, **options).fingerprint for name, options in OPTIONS.items()}


def test_listing_the_datasets_imports_nothing_heavy():
    script = (
        "import sys\nfrom harness.data import DATASETS\nDATASETS.entries()\n"
        "assert not {'numpy', 'torch', 'PIL', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_fingerprint_is_the_sha256_of_names_shapes_types_and_bytes():
    parts = [np.full((2 + i, 2), i, np.float32) for i in range(3)]
    expected = hashlib.sha256()
    for split, array in zip(("train", "selection", "test"), parts, strict=True):
        expected.update(f"{split} {array.shape} float32\n".encode() + array.tobytes())
    assert Dataset("x", *parts).fingerprint == expected.hexdigest()
    assert Dataset("other name", *(np.asfortranarray(part) for part in parts)).fingerprint == expected.hexdigest()


def test_fingerprint_sees_one_changed_pixel_in_any_part_and_a_change_of_shape():
    def fingerprint(*parts):
        return Dataset("x", *parts).fingerprint

    base = [np.zeros((4, 1, 8, 8), np.uint8) for _ in range(3)]
    seen = {fingerprint(*base), fingerprint(*(part.reshape(4, 1, 16, 4) for part in base))}
    for place in range(3):
        changed = [part.copy() for part in base]
        changed[place][1, 0, 2, 3] = 1
        seen.add(fingerprint(*changed))
    assert len(seen) == 5


@pytest.mark.parametrize("name", OPTIONS)
def test_kind_and_shape(name):
    data = load(name, **OPTIONS[name])
    channels = 3 if name == "stacked-digits" else 1
    assert (data.kind, data.shape) == (("points", (2,)) if data.mixture else ("image", (channels, 16, 16)))
    assert data.name == name
    for array in data.splits().values():
        assert array.shape[1:] == data.shape


@pytest.mark.parametrize("name", ["ring8", "grid25", "polygons"])
def test_parts_of_drawn_data_share_nothing_and_follow_the_seed(name):
    data, again, other = (load(name, n=500, seed=seed) for seed in (0, 0, 1))
    assert data.fingerprint == again.fingerprint != other.fingerprint
    rows = [{row.tobytes() for row in part} for part in data.splits().values()]
    assert [len(part) for part in data.splits().values()] == [len(data.train), len(data.selection), len(data.test)]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]


@pytest.mark.parametrize(("name", "modes", "std"), [("ring8", 8, 0.05), ("grid25", 25, 0.025)])
def test_mixture_has_the_moments_it_documents(name, modes, std):
    data = load(name)
    assert [len(part) for part in data.splits().values()] == [50_000, 10_000, 10_000]
    assert isinstance(data.mixture, Mixture)
    assert data.mixture.std == std
    centres = data.mixture.centres
    assert (centres.dtype, centres.shape) == (np.float32, (modes, 2))
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1) + 10 * np.eye(modes)
    assert apart.min() > 2 * 3 * std

    offsets = data.train[:, None] - centres[None]
    nearest = np.argmin((offsets**2).sum(-1), axis=1)
    shares = np.bincount(nearest, minlength=modes) / len(data.train)
    assert np.abs(shares - 1 / modes).max() < 5 * np.sqrt(1 / modes / len(data.train))
    residuals = offsets[np.arange(len(nearest)), nearest]
    assert residuals.mean(axis=0) == pytest.approx(0, abs=5 * std / np.sqrt(len(data.train)))
    assert np.cov(residuals.T) == pytest.approx(std**2 * np.eye(2), abs=0.05 * std**2)
    within = (np.linalg.norm(residuals, axis=1) < 3 * std).mean()
    assert within == pytest.approx(1 - np.exp(-4.5), abs=0.002)


def test_centres_lie_where_the_names_say():
    assert np.linalg.norm(mixtures.ring8().centres, axis=1) == pytest.approx(1)
    assert {tuple(c) for c in mixtures.grid25().centres.tolist()} == {
        (x, y) for x in (-1, -0.5, 0, 0.5, 1) for y in (-1, -0.5, 0, 0.5, 1)
    }


@pytest.mark.parametrize("name", ["ring8", "grid25", "stacked-digits", "polygons"])
def test_fewer_training_samples_are_the_first_of_more(name):
    few, many = load(name, n=50), load(name, n=400)
    assert np.array_equal(few.train, many.train[:50])
    assert np.array_equal(few.selection, many.selection)
    assert np.array_equal(few.test, many.test)


def test_stacked_digits_are_three_digits_of_the_same_part_and_a_thousand_modes():
    data, single = load("stacked-digits"), load("digits")
    assert [len(part) for part in data.splits().values()] == [20_000, 2_000, 5_000]
    for split, images in data.splits().items():
        known = {}
        for image, label in zip(single.splits()[split][:, 0], single.labels[split], strict=True):
            known.setdefault(image.tobytes(), set()).add(int(label))
        for stack, label in zip(images[:100], data.labels[split][:100], strict=True):
            digits = divmod(int(label), 100)[0], int(label) // 10 % 10, int(label) % 10
            for channel, digit in zip(stack, digits, strict=True):
                assert digit in known[channel.tobytes()]
    counts = np.bincount(data.labels["train"], minlength=1000)
    assert len(counts) == 1000
    assert counts.min() > 0
    assert ((counts - 20) ** 2 / 20).sum() == pytest.approx(999, abs=5 * np.sqrt(2 * 999))  # chi² of equal chances
    again, other = load("stacked-digits", n=50), load("stacked-digits", n=50, seed=1)
    assert not np.array_equal(again.train, other.train)


def test_digits_keep_their_split_labels_and_pixels():
    data = load("digits")
    assert [len(part) for part in data.splits().values()] == [1197, 240, 360]
    assert data.labels is not None
    images, labels = digits_source.load()
    for split, index in digits_source.split().items():
        assert np.array_equal(data.splits()[split], images[index])
        assert np.array_equal(data.labels[split], labels[index])
    indices = np.concatenate(list(digits_source.split().values()))
    assert sorted(indices.tolist()) == list(range(1797))
    assert load("digits", seed=5).fingerprint == data.fingerprint


def test_digits_split_is_stratified():
    data = load("digits")
    assert data.labels is not None
    everywhere = np.bincount(np.concatenate(list(data.labels.values()))) / 1797
    for labels in data.labels.values():
        assert np.abs(np.bincount(labels) - everywhere * len(labels)).max() <= 1.5


@pytest.mark.parametrize("size", [16, 32, 64])
def test_enlarged_digits_average_back_to_the_native_ones(size):
    native, large = load("digits").train, load("digits", size=size)
    assert large.shape == (1, size, size)
    assert "bilinear" in large.preprocessing["resize"]
    factor = size // 8
    pooled = large.train.reshape(-1, 8, factor, 8, factor).mean(axis=(2, 4))
    correlation = np.corrcoef(pooled.ravel(), native.astype(float).ravel())[0, 1]
    assert correlation > 0.97
    assert large.train.mean() == pytest.approx(native.mean(), rel=0.02)


def test_n_takes_a_seeded_subset_of_the_digits_with_their_labels():
    few, again, other = load("digits", n=100, seed=0), load("digits", n=100, seed=0), load("digits", n=100, seed=1)
    assert few.fingerprint == again.fingerprint != other.fingerprint
    assert few.labels is not None
    full = load("digits")
    assert full.labels is not None
    label_of = {image.tobytes(): label for image, label in zip(full.train, full.labels["train"], strict=True)}
    assert all(label_of[image.tobytes()] == label for image, label in zip(few.train, few.labels["train"], strict=True))
    assert len(few.train) == 100
    assert np.array_equal(few.test, full.test)


@pytest.mark.parametrize("size", [16, 32])
def test_polygons_have_the_area_and_the_centre_of_their_parameters(size):
    data = load("polygons", n=60, size=size, seed=2)
    assert data.labels is not None
    assert set(data.labels["train"].tolist()) == {3, 4, 5}
    middle = (np.arange(size) + 0.5) / size
    for index, image in enumerate(data.train[:, 0] / 255):
        drawn = polygons.polygon(seed=2, split="train", index=index)
        assert drawn.vertices == data.labels["train"][index]
        area = drawn.vertices / 2 * drawn.radius**2 * np.sin(2 * np.pi / drawn.vertices)
        assert drawn.radius <= min(drawn.x, drawn.y, 1 - drawn.x, 1 - drawn.y)
        assert image.mean() == pytest.approx(area, rel=0.01)
        assert image.sum(axis=0) @ middle / image.sum() == pytest.approx(drawn.x, abs=0.01)
        assert image.sum(axis=1) @ middle / image.sum() == pytest.approx(drawn.y, abs=0.01)


def test_polygons_are_white_on_black_with_soft_edges():
    images = load("polygons", n=500).train
    assert (images.min(axis=(1, 2, 3)) == 0).all()
    assert (images.max(axis=(1, 2, 3)) == 255).all()
    assert np.isin(images, [0, 255]).mean() < 0.95


def test_a_wrong_part_is_refused_when_a_dataset_is_made():
    good = np.zeros((4, 2), np.float32)
    with pytest.raises(UserError, match=r"selection part of dataset x is float64 of shape \(4, 2\)"):
        Dataset("x", good, good.astype(np.float64), good)
    with pytest.raises(UserError, match=r"test part .* every part needs at least 2 samples"):
        Dataset("x", good, good, good[:1])
    with pytest.raises(UserError, match=r"test part .* shape \(4, 3\)"):
        Dataset("x", good, good, np.zeros((4, 3), np.float32))
    with pytest.raises(UserError, match="train part of dataset x needs one label for each of its 4"):
        Dataset("x", good, good, good, labels=dict.fromkeys(("train", "selection", "test"), np.zeros(3, np.int64)))


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("digist", {}, r"unknown dataset 'digist': did you mean 'digits'\? .*the path of a folder, zip or npz"),
        ("", {}, "data.name is empty"),
        ("ring8", {"size": 32}, "ring8 holds points, which have no size: leave data.size=32 out"),
        ("digits", {"size": 28}, "digits cannot be had with data.size=28: choose 8, 16, 32 or 64"),
        ("digits", {"n": 1198}, "data.n=1198 asks for more than the 1197 training images of digits: lower it"),
        ("polygons", {"size": 4}, "polygons cannot be drawn with data.size=4: choose at least 8"),
        ("polygons", {"size": 0}, "data.size is 0: it must be at least 1"),
        ("ring8", {"n": 1}, "data.n is 1: it must be at least 2"),
        ("ring8", {"seed": -1}, "data.seed is -1: it must be at least 0"),
    ],
)
def test_mistakes_are_told_in_one_sentence(name, options, sentence):
    with pytest.raises(UserError, match=sentence):
        load(name, **options)

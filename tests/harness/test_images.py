"""The border between floats and images: exact conversions, no silent NaN, readable pictures."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.images import NonFiniteImages, grid, save_picture, scatter, to_float, to_points, to_uint8

LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)


def test_all_256_levels_survive_the_round_trip():
    floats = to_float(LEVELS)
    assert (floats.dtype, floats.min(), floats.max()) == (torch.float32, -1, 1)
    assert np.array_equal(to_uint8(floats), LEVELS)


@given(st.floats(-3, 3, width=32))
def test_conversion_is_the_documented_formula(x):
    expected = np.round(np.clip((np.float32(x) + np.float32(1)) * np.float32(127.5), 0, 255))
    assert to_uint8(torch.full((1, 1, 1, 1), x)).item() == expected


def test_read_only_images_are_converted_and_stay_as_they_are():
    images = LEVELS.copy()
    images.flags.writeable = False
    to_float(images).zero_()
    assert np.array_equal(images, LEVELS)


def test_channels_last_gives_contiguous_channels_first_images():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
    floats = to_float(images, memory_format=torch.channels_last)
    assert floats.is_contiguous(memory_format=torch.channels_last)
    back = to_uint8(floats.requires_grad_())
    assert back.flags.c_contiguous
    assert np.array_equal(back, images)


def test_samples_with_nan_or_infinity_are_counted_not_converted():
    images = torch.zeros(6, 3, 4, 4)
    images[1, 0, 0, 0] = float("nan")
    images[1, 2, 3, 3] = float("inf")
    images[4] = -float("inf")
    with pytest.raises(NonFiniteImages, match="2 of 6 samples hold NaN or infinite values") as caught:
        to_uint8(images)
    assert (caught.value.count, caught.value.total) == (2, 6)
    with pytest.raises(NonFiniteImages, match="1 of 3"):
        to_points(torch.tensor([[0.0, 1.0], [float("nan"), 0.0], [2.0, 2.0]]))


def test_points_pass_unchanged():
    points = torch.randn(7, 2, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(to_points(points.requires_grad_()), points.detach().numpy())
    assert to_points(points.double()).dtype == np.float32


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_lays_images_out_row_by_row_on_white(channels):
    images = np.random.default_rng(0).integers(0, 200, (5, channels, 4, 6), dtype=np.uint8)
    picture = grid(images, columns=3)
    assert picture.shape == (2 * (4 + 2) + 2, 3 * (6 + 2) + 2, channels)
    for place, image in enumerate(images):
        top, left = 2 + place // 3 * 6, 2 + place % 3 * 8
        assert np.array_equal(picture[top : top + 4, left : left + 6], image.transpose(1, 2, 0))
    assert (picture == 255).sum() == picture.size - images.size
    assert grid(images[:2], columns=8).shape[1] == 2 * (6 + 2) + 2


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_saved_grid_is_a_png_of_the_very_pixels(tmp_path, channels, mode):
    images = np.random.default_rng(0).integers(0, 256, (10, channels, 8, 8), dtype=np.uint8)
    path = tmp_path / "samples" / "00000100.png"
    save_picture(grid(images, columns=4), path)
    with Image.open(path) as saved:
        assert (saved.format, saved.mode) == ("PNG", mode)
        assert np.array_equal(np.asarray(saved).reshape(*saved.size[::-1], channels), grid(images, 4))
    assert [file.name for file in path.parent.iterdir()] == ["00000100.png"]


def test_scatter_puts_points_where_they_belong():
    white = scatter(np.empty((0, 2), np.float32), size=120)
    assert (white.shape, white.dtype, white.min()) == ((120, 120, 3), np.uint8, 255)
    picture = scatter(np.array([[0.75, 0.75], [9.0, 0.0]], np.float32), size=120)
    rows, columns = np.nonzero(picture.min(axis=2) < 255)
    assert rows.mean() == pytest.approx(120 * 0.25, abs=1.5)  # y grows upwards
    assert columns.mean() == pytest.approx(120 * 0.75, abs=1.5)
    assert len(rows) < 20


def test_scatter_shows_density_and_centres(tmp_path):
    one, many = (scatter(np.zeros((count, 2), np.float32), size=60) for count in (1, 5))
    assert many.min() < one.min()
    ring = scatter(np.empty((0, 2)), centres=np.zeros((1, 2)), size=60)
    assert ring[30, 30].min() == 255
    assert ring.min() < 128
    save_picture(ring, tmp_path / "ring.png")
    with Image.open(tmp_path / "ring.png") as saved:
        assert np.array_equal(np.asarray(saved), ring)

import numpy as np
import pytest

from ganbench.errors import UserError
from harness.data import polygons as drawn
from metrics import PolygonFamily, polygon_scores


@pytest.fixture(scope="module")
def polygons() -> tuple[np.ndarray, np.ndarray]:
    data = drawn.load(n=480)
    return data.train, data.labels["train"]


def test_the_family_is_the_data_sets() -> None:
    family = PolygonFamily(drawn.VERTICES, drawn.RADIUS, drawn.SAMPLES_PER_SIDE)
    assert family == PolygonFamily()
    for index in range(20):
        shape = drawn.polygon(seed=1, split="test", index=index)
        parameters = np.array([[shape.radius, shape.x, shape.y, shape.rotation]])
        ours = np.round(255 * family.draw(parameters, shape.vertices, 16)[0])
        assert np.abs(ours - drawn.draw(shape, 16)).max() <= 1
        shares = family.shares(parameters, shape.vertices)
        assert ((shares >= 0) & (shares <= 1)).all()


def test_drawn_polygons_are_found_and_fill_the_space(polygons) -> None:
    images, vertices = polygons
    found = polygon_scores(images)
    assert found.precision == 1
    assert found.recall == 1
    assert found.distances.max() < 0.005
    np.testing.assert_array_equal(found.vertices, vertices)
    shape = drawn.polygon(seed=0, split="train", index=0)
    np.testing.assert_allclose(found.parameters[0, :3], [shape.radius, shape.x, shape.y], atol=2e-3)


def test_only_triangles_recall_a_third(polygons) -> None:
    images, vertices = polygons
    found = polygon_scores(images[vertices == 3])
    assert found.precision == 1
    assert found.recall == pytest.approx(1 / 3, abs=0.03)


def test_one_polygon_over_and_over_recalls_one_cell(polygons) -> None:
    found = polygon_scores(polygons[0][:1].repeat(40, axis=0))
    assert (found.precision, found.recall) == (1, 1 / 48)


def test_what_is_no_polygon_of_the_family_has_no_precision(polygons) -> None:
    images, _ = polygons
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (30, 1, 16, 16), dtype=np.uint8)
    grey = images[:30] // 2
    two = np.maximum(images[:30], images[30:60, :, ::-1])
    for junk in (noise, grey, 255 - images[:30], np.zeros_like(grey), np.full_like(grey, 255)):
        found = polygon_scores(junk)
        assert (found.precision, found.recall) == (0, 0)
    assert polygon_scores(two).precision < 0.2
    half = polygon_scores(np.concatenate([images[:30], noise]))
    assert half.precision == 0.5
    tiny = PolygonFamily(radius=(0.05, 0.1))
    assert polygon_scores(images[:30], family=tiny).precision == 0


def test_the_fits_are_those_of_the_first_implementation(polygons) -> None:
    images, _ = polygons
    grey, two, holes = images[:3] // 2 + 60, np.maximum(images[3:6], images[6:9]), images[:2] ^ images[2:4]
    found = polygon_scores(np.concatenate([grey, two, holes]))
    frozen = [
        0.308251381, 0.242161304, 0.279417813, 0.190334305, 0.122319765, 0.260664105, 0.276196897, 0.314680874,
    ]  # fmt: skip
    np.testing.assert_allclose(found.distances, frozen, rtol=1e-5)
    assert found.vertices.tolist() == [4, 3, 4, 5, 4, 5, 4, 3]


@pytest.mark.parametrize("size", [8, 10, 16, 32])
def test_a_pixel_is_the_mean_of_its_points_to_the_bit(size) -> None:
    family, radius = PolygonFamily(), np.array([0.3, 0.22])
    beyond = family.beyond(np.array([[0.3, 0.45, 0.5, 0.2], [0.22, 0.4, 0.6, 1.1]]), 3, size)
    side = len(beyond)
    fine = (0.5 - side * (beyond - radius.astype(np.float32) * np.float32(0.5))).clip(0, 1).transpose(2, 0, 1)
    plain = np.ascontiguousarray(fine).reshape(2, size, side // size, size, side // size).mean(axis=(2, 4))
    np.testing.assert_array_equal(family.fill(beyond, radius, 3, size), plain)


def test_other_images_are_refused() -> None:
    for images in (np.zeros((2, 3, 16, 16), np.uint8), np.zeros((2, 1, 16, 16)), np.zeros((2, 1, 8, 16), np.uint8)):
        with pytest.raises(UserError, match="square grey images"):
            polygon_scores(images)

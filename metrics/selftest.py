"""Closed forms that need no weights: whether the metrics still tell the truth on this machine and these libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from metrics.classifier import inception_score
from metrics.curve import prd
from metrics.frechet import frechet_audit, frechet_distance
from metrics.kernel import kernel_distance, kernel_distance_all
from metrics.manifolds import neighbours
from metrics.memorisation import authenticity, duplicates
from metrics.modes import mode_scores
from metrics.moments import Moments
from metrics.polygons import PolygonFamily, polygon_scores


def self_test() -> Iterator[tuple[str, bool]]:
    """(what is checked, whether it holds), one closed form after the other; an error counts as a failure."""
    for name, holds in ORACLES:
        try:
            passed = bool(holds())
        except Exception:  # a library that raises where it used to compute is what this looks for
            passed = False
        yield name, passed


def _features(seed: int, n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)))


def _frechet_toy() -> bool:
    real, fake = np.ones((100, 2)), np.full((100, 2), 9.0)
    real[:50, 0], fake[50:, 0] = 2, 2
    return bool(np.isclose(frechet_distance(real=real, fake=fake), 980 / 11, rtol=1e-12))


def _frechet_diagonal() -> bool:
    axes = np.concatenate([np.eye(4), -np.eye(4)]) * np.sqrt(7 / 2)  # covariance exactly the identity
    a, b, shift = np.array([1.0, 4.0, 0.25, 9.0]), np.array([9.0, 1.0, 2.25, 4.0]), np.array([0.5, -2.0, 1.0, 3.0])
    found = frechet_distance(real=axes * np.sqrt(a), fake=axes * np.sqrt(b) + shift)
    return bool(np.isclose(found, shift @ shift + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2), rtol=1e-9))


def _frechet_routes() -> bool:
    real = _features(0, 300, 48)
    close = []
    for n in (40, 400):
        fake = _features(1, n, 48)
        close.append(np.isclose(frechet_distance(real=real, fake=fake), frechet_audit(real=real, fake=fake), rtol=1e-6))
    return all(close)


def _frechet_itself() -> bool:
    x = _features(2, 200, 16)
    return bool(abs(frechet_distance(real=x, fake=x)) < 1e-9 * np.trace(np.cov(x.T)))


def _moments_streamed() -> bool:
    x = _features(3, 300, 8) + 1e4
    parts = Moments().update(x[:100]).merge(Moments().update(x[100:150]).update(x[150:]))
    return bool(np.allclose(parts.covariance, np.cov(x.T), rtol=1e-9) and np.allclose(parts.mean, x.mean(axis=0)))


def _kernel_by_hand() -> bool:
    real, fake = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    found = kernel_distance(real=real, fake=fake, subsets=1, subset_size=2).value
    return bool(np.isclose(found, 1 + 27 - 2 * (1 + 1 + 8 + 27) / 4))


def _kernel_pairs() -> bool:
    x, y = _features(4, 60, 6), _features(5, 60, 6)
    every = kernel_distance_all(real=x, fake=y).value
    return bool(np.isclose(every, kernel_distance(real=x, fake=y, subsets=1, subset_size=60).value, rtol=1e-9))


def _kernel_equal_laws() -> bool:
    x = np.random.default_rng(6).normal(size=(600, 8))
    found = kernel_distance_all(real=x[:300], fake=x[300:])
    return abs(found.value) < 4 * found.std


def _inception_one_hot() -> bool:
    return bool(np.isclose(inception_score(np.tile(np.eye(10) * 1000, (10, 1)), splits=1).value, 10))


def _inception_constant() -> bool:
    return bool(np.isclose(inception_score(np.ones((100, 10))).value, 1))


def _neighbours_copies() -> bool:
    x = _features(7, 200, 6)
    found = neighbours(real=x, fake=x)
    return (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0) and bool((found.distances == 0).all())


def _neighbours_disjoint() -> bool:
    x = _features(8, 200, 6)
    found = neighbours(real=x, fake=x + 1e4)
    return (found.precision, found.recall, found.density, found.coverage) == (0.0, 0.0, 0.0, 0.0)


def _neighbours_offset() -> bool:
    rng = np.random.default_rng(9)
    real, fake = rng.normal(size=(200, 150)), rng.normal(size=(200, 150))
    return neighbours(real=real, fake=fake) == neighbours(real=real + 5000, fake=fake + 5000)


def _neighbours_equal_laws() -> bool:
    rng = np.random.default_rng(10)
    found = [neighbours(real=rng.normal(size=(150, 3)), fake=rng.normal(size=(200, 3)), k=5) for _ in range(20)]
    uncovered = np.prod([(149 - j) / (349 - j) for j in range(5)])
    covered, dense = np.mean([one.coverage for one in found]), np.mean([one.density for one in found])
    return bool(abs(covered - (1 - uncovered)) < 0.02 and abs(dense - 1) < 0.1)


def _curve_ends() -> bool:
    x = np.random.default_rng(11).normal(size=(100, 2))
    same, apart = prd(real=x, fake=x, runs=1), prd(real=x, fake=x + 1000, runs=1)
    return same.f8 > 0.999 and same.f1_8 > 0.999 and apart.f8 < 0.001 and apart.f1_8 < 0.001


def _copies_found() -> bool:
    images = np.random.default_rng(12).integers(0, 256, (60, 1, 4, 4), dtype=np.uint8)
    rows = images[:50].reshape(50, -1).astype(np.float32)
    return authenticity(train=rows, fake=rows[:20]) == 0 and duplicates(train=images[:50], fake=images[45:]) == 5


def _mixture_modes() -> bool:
    centres = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
    half = mode_scores(np.repeat(centres[:4], 25, axis=0), centres=centres, std=0.02)
    return half.covered == 4 and half.high_quality == 1 and bool(np.isclose(half.kl, np.log(2)))


def _polygons_drawn() -> bool:
    shapes = np.array([[0.3, 0.5, 0.5, 0.1], [0.25, 0.4, 0.6, 0.7]])
    drawn = np.round(255 * PolygonFamily().draw(shapes, 3, 16)).astype(np.uint8)[:, None]
    noise = np.random.default_rng(13).integers(0, 256, drawn.shape, dtype=np.uint8)
    return polygon_scores(drawn).precision == 1 and polygon_scores(noise).precision == 0


ORACLES: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("FID of the two toy clouds is 980/11", _frechet_toy),
    ("FID of diagonal Gaussians is |Δm|² + Σ(√a − √b)²", _frechet_diagonal),
    ("FID's fast routes agree with the audit by singular values", _frechet_routes),
    ("FID of a set with itself is 0", _frechet_itself),
    ("moments of parts, far from the origin, are those of the whole", _moments_streamed),
    ("KID of a small example by hand", _kernel_by_hand),
    ("KID over all pairs is KID over one full subset", _kernel_pairs),
    ("KID of equal laws is 0 within its error", _kernel_equal_laws),
    ("IS of ten certain, equally frequent classes is 10", _inception_one_hot),
    ("IS of one answer for all is 1", _inception_constant),
    ("precision, recall and coverage of copies are 1", _neighbours_copies),
    ("precision, recall, density and coverage of disjoint sets are 0", _neighbours_disjoint),
    ("neighbours do not change with an offset of all features", _neighbours_offset),
    ("density and coverage of equal laws are their closed forms", _neighbours_equal_laws),
    ("PRD is 1 for copies and 0 for disjoint sets", _curve_ends),
    ("copies of training samples are found", _copies_found),
    ("half the modes of a ring are half, log 2 from uniform", _mixture_modes),
    ("drawn polygons are polygons and noise is none", _polygons_drawn),
)

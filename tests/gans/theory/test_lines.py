"""Parallel lines: JS is stuck at log 2 while W is the distance."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from gans.theory import lines


def pair(theta: float, n: int = 4_000) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return lines.sample(0.0, n, generator), lines.sample(theta, n, generator)


@pytest.mark.parametrize("theta", [-1.0, 0.02, 0.5])
def test_a_discriminator_tells_the_lines_apart_and_leaves_no_slope(theta):
    real, fake = pair(theta)
    weights = lines.train_discriminator(real[:2_000], fake[:2_000])
    estimate = lines.divergence_estimate(weights, real[2_000:], fake[2_000:])
    assert estimate == pytest.approx(lines.jensen_shannon(theta), abs=1e-4)
    assert lines.jensen_shannon(theta) == math.log(2)
    assert lines.saturated_gradient(weights, theta, fake[:, 1]) < 1e-3


def test_where_the_lines_meet_there_is_nothing_to_tell():
    real, fake = pair(0.0)
    weights = lines.train_discriminator(real, fake)
    assert lines.divergence_estimate(weights, *pair(0.0)) == pytest.approx(lines.jensen_shannon(0.0), abs=2e-3)
    assert lines.transport_slope(real, fake) == 0.0


@pytest.mark.parametrize("theta", [-1.0, 0.3])
def test_the_transport_cost_is_the_distance(theta):
    assert lines.transport_cost(*pair(theta, 20_000)) == pytest.approx(lines.wasserstein(theta), abs=5e-3)
    assert lines.transport_slope(*pair(theta, 20_000)) == pytest.approx(1.0, abs=2e-2)


@pytest.mark.parametrize("theta", [0.0, 0.05, 0.7])
def test_sorted_heights_are_the_cheapest_of_all_matchings(theta):
    real, fake = (points.numpy() for points in pair(theta, 60))
    cost = cdist(real, fake)
    cheapest = cost[linear_sum_assignment(cost)].mean()
    assert lines.transport_cost(*pair(theta, 60)) == pytest.approx(float(np.float64(cheapest)), abs=1e-12)

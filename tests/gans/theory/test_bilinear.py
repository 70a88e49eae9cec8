"""The bilinear saddle: what the players do, against the algebra of the same moves."""

import math

import pytest
import torch

from gans.theory import bilinear

METHODS = ("simultaneous", "alternating", "prediction", "extragradient")
START = torch.tensor([0.6, -0.8], dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [bilinear.constant_steps, bilinear.decreasing_steps])
def test_the_game_is_what_the_matrices_say(method, steps):
    alphas, betas = steps(0.3, 60), steps(0.2, 60)
    played = bilinear.play(method, START, alphas, betas)
    assert played.shape == (61, 2)
    torch.testing.assert_close(played, bilinear.trajectory(method, START, alphas, betas), rtol=1e-12, atol=1e-13)


def test_the_prediction_step_is_the_decks():
    """u' = u − αv, ū = u' + (u' − u), v' = v + βū, written out by hand."""
    u, v, alpha, beta = 0.6, -0.8, 0.3, 0.2
    after = u - alpha * v
    ahead = after + (after - u)
    played = bilinear.play("prediction", START, torch.tensor([alpha]), torch.tensor([beta]))
    assert played[1].tolist() == pytest.approx([after, v + beta * ahead], rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.1), (0.5, 0.9), (0.9, 0.3)])
def test_the_rate_is_the_modulus_of_both_eigenvalues(method, alpha, beta):
    modulus = torch.linalg.eigvals(bilinear.transition(method, alpha, beta)).abs()
    assert modulus.tolist() == pytest.approx([bilinear.rate(method, alpha, beta)] * 2, abs=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_the_ellipse_changes_by_the_squared_rate_at_every_step(method):
    places = bilinear.play(method, START, bilinear.constant_steps(0.4, 30), bilinear.constant_steps(0.3, 30))
    sizes = bilinear.ellipse(places, method, 0.4, 0.3)
    torch.testing.assert_close(sizes[1:], sizes[:-1] * bilinear.rate(method, 0.4, 0.3) ** 2, rtol=1e-9, atol=0)


def test_without_prediction_the_players_orbit_and_with_it_they_arrive():
    constant, decreasing = bilinear.constant_steps(0.2, 300), bilinear.decreasing_steps(0.5, 600)
    orbit = bilinear.play("alternating", START, constant, constant).norm(dim=1)
    assert 0.8 < orbit.min() <= orbit.max() < 1.25
    assert bilinear.play("prediction", START, constant, constant)[-1].norm() < 0.01
    assert bilinear.play("simultaneous", START, constant, constant)[-1].norm() > 100
    assert bilinear.play("alternating", START, decreasing, decreasing)[-1].norm() > 0.8
    assert bilinear.play("prediction", START, decreasing, decreasing)[-1].norm() < 0.6


def test_simultaneous_steps_and_extragradient_have_exact_distances_for_any_schedule():
    sizes = bilinear.decreasing_steps(0.7, 200)
    away = bilinear.play("simultaneous", START, sizes, sizes)[-1].norm()
    towards = bilinear.play("extragradient", START, sizes, sizes)[-1].norm()
    s = sizes.square()
    assert float(away) == pytest.approx(float((1 + s).sqrt().prod()), rel=1e-12)
    assert float(towards) == pytest.approx(float((1 - s + s.square()).sqrt().prod()), rel=1e-12)


@pytest.mark.parametrize(("method", "s"), [("alternating", 4.0), ("prediction", 1.0), ("extragradient", 1.2)])
def test_beyond_its_range_a_rate_is_refused(method, s):
    with pytest.raises(ValueError, match=method):
        bilinear.rate(method, s, 1.0)


def test_the_gap_is_the_largest_against_any_point_of_the_ball():
    place = torch.tensor([0.3, -0.5], dtype=torch.float64)
    grid = torch.linspace(-2, 2, 41, dtype=torch.float64)
    u, v = torch.meshgrid(grid, grid, indexing="ij")
    assert float(bilinear.gap(place, 2.0)) == pytest.approx(float((place[0] * v - u * place[1]).max()))


def test_averages_begin_with_the_start():
    places = torch.tensor([[1.0, 0.0], [3.0, 2.0], [9.0, 9.0]])
    assert bilinear.averages(places).tolist() == [[1.0, 0.0], [2.0, 1.0]]


@pytest.mark.parametrize("angle", [0.0, 0.9, 2.4])
@pytest.mark.parametrize(("c_alpha", "c_beta"), [(0.5, 0.5), (0.9, 0.2), (0.1, 1.0)])
def test_the_run_keeps_within_the_theorems_bound(angle, c_alpha, c_beta):
    start = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    places = bilinear.play(
        "prediction", start, bilinear.decreasing_steps(c_alpha, 150), bilinear.decreasing_steps(c_beta, 150)
    )
    gap, bound = bilinear.gap(bilinear.averages(places), 1.0), bilinear.error_bound(places, 1.0, c_alpha, c_beta)
    assert (gap <= bound).all()
    assert bound[-1] < bound[0] / 5


def test_the_bound_is_the_printed_formula():
    places = torch.tensor([[1.0, 0.0], [1.0, 0.5], [0.8, 0.9]], dtype=torch.float64)
    c_alpha, c_beta, steps = 0.5, 0.25, 2
    d_u, d_v, g_u, g_v, l_v = 1 + 1.0, 1 + 0.9, 0.5, max(2 * 1.0 - 1.0, 2 * 0.8 - 1.0), 1.0
    first = (d_u**2 / c_alpha + d_v**2 / c_beta) / (2 * math.sqrt(steps))
    bracket = c_alpha * g_u**2 / 2 + c_alpha * l_v * g_u**2 + c_alpha * l_v * d_v**2 + c_beta * g_v**2 / 2
    bound = bilinear.error_bound(places, 1.0, c_alpha, c_beta)
    assert float(bound[-1]) == pytest.approx(first + math.sqrt(steps + 1) / steps * bracket)

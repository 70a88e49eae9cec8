"""The schedule as a function of images shown, and the real images' fade."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d, interpolate

from ganbench.errors import UserError
from gans.growth import Schedule, Stage, fade_real, full_after, sizes, stage
from gans.recipe import Recipe

schedules = st.fixed_dictionaries(
    {
        "total_images": st.integers(100, 10_000_000),
        "start_size": st.sampled_from([4, 8]),
        "final_size": st.sampled_from([8, 16, 32, 64]),
        "fade_share": st.floats(0, 1),
    }
)
paces = st.builds(
    Recipe,
    network=st.just("progressive"),
    batch_size=st.integers(2, 50),
    n_critic=st.integers(1, 5),
    fade_images=st.integers(0, 3000),
    stabilise_images=st.integers(0, 3000),
    stage_batches=st.sampled_from([[], [[8, 3]], [[16, 7], [32, 2]]]),
)


def test_the_table_of_a_whole_run():
    at = [
        stage(images, total_images=900, start_size=4, final_size=16, fade_share=0.5)
        for images in (0, 299, 300, 375, 450, 599, 600, 675, 750, 899, 900, 5000)
    ]
    assert at == [
        (4, 1.0),
        (4, 1.0),
        (8, 0.0),
        (8, 0.5),
        (8, 1.0),
        (8, 1.0),
        (16, 0.0),
        (16, 0.5),
        (16, 1.0),
        (16, 1.0),
        (16, 1.0),
        (16, 1.0),
    ]


@given(schedules, st.integers(1, 64))
def test_growth_never_goes_back_and_ends_with_the_full_network(schedule, batch):
    shown = range(0, schedule["total_images"] + batch, max(batch, schedule["total_images"] // 50))
    stages = [stage(images, **schedule) for images in shown]
    assert stages == sorted(stages)
    assert all(0 <= alpha <= 1 for _, alpha in stages)
    assert stages[0].size == schedule["start_size"]
    assert stages[0].alpha == 1
    assert stage(schedule["total_images"], **schedule) == Stage(schedule["final_size"], 1.0)


@given(schedules, st.integers(0, 2**32))
def test_stages_have_equal_shares_of_the_budget(schedule, images):
    sides = sizes(schedule["start_size"], schedule["final_size"])
    images %= schedule["total_images"]
    expected = [
        side
        for n, side in enumerate(sides)
        if n * schedule["total_images"] <= images * len(sides) < (n + 1) * schedule["total_images"]
    ]
    assert [stage(images, **schedule).size] == expected


@given(schedules, st.integers(1, 10_000_000))
def test_alpha_rises_by_no_more_than_its_slope(schedule, images):
    """Continuous within a stage: one image more adds at most 1/(images of the fade)."""
    before, after = (stage(shown, **schedule) for shown in (images - 1, images))
    if before.size == after.size:
        fade = schedule["fade_share"] * schedule["total_images"]
        stages = len(sizes(schedule["start_size"], schedule["final_size"]))
        assert 0 <= after.alpha - before.alpha <= min(1, stages / fade if fade else 1) + 1e-6


def test_alpha_has_its_slope_over_the_fade_share():
    for share in (0.25, 1.0):
        at = stage(1100, total_images=2000, start_size=4, final_size=8, fade_share=share)
        assert at.alpha == pytest.approx(0.1 / share)


def test_no_fade_at_all():
    assert stage(500, total_images=1000, start_size=4, final_size=8, fade_share=0.0) == (8, 1.0)


def test_a_network_that_starts_at_full_size_has_one_stage():
    assert stage(0, total_images=10, start_size=8, final_size=8, fade_share=0.5) == (8, 1.0)


@pytest.mark.parametrize(
    ("start", "final", "sides"),
    [(4, 28, [7, 14, 28]), (4, 48, [6, 12, 24, 48]), (5, 32, [8, 16, 32]), (8, 8, [8])],
)
def test_growth_starts_with_the_first_side_that_doubles_into_the_images(start, final, sides):
    assert sizes(start, final) == sides


def test_a_start_above_the_images_is_a_user_error():
    with pytest.raises(UserError, match=r"gan\.start_size=16 does not grow into 8×8 images: give at most 8"):
        sizes(16, 8)


def test_the_papers_phases_in_images():
    """App. A of the paper: 800k images at 4×4, then 800k to fade in each block and 800k to stabilise it."""
    fade = {"total_images": 12_000_000, "start_size": 4, "final_size": 1024, "fade_share": 0.9}
    phases = {**fade, "fade_images": 800_000, "stabilise_images": 800_000}
    at = {million: stage(int(million * 1_000_000), **phases) for million in (0, 0.7, 0.8, 1.2, 1.6, 2.3, 2.4, 10.8, 12)}
    assert list(at.values()) == [
        (4, 1.0), (4, 1.0), (8, 0.0), (8, 0.5), (8, 1.0), (8, 1.0), (16, 0.0), (512, 0.5), (1024, 0.0),
    ]  # fmt: skip
    assert stage(50_000_000, **phases) == (1024, 1.0)


@given(paces, st.integers(100, 40_000), st.integers(0, 40_000))
def test_a_schedule_counts_the_images_that_its_rounds_show(recipe, total, budget):
    """Against the rounds played one by one."""
    growth = {"total_images": total, "start_size": 4, "final_size": 32, "fade_share": recipe.fade_share}
    phases = {"fade_images": recipe.fade_images, "stabilise_images": recipe.stabilise_images}
    schedule = Schedule(recipe, total_images=total, final_size=32)
    images = rounds = 0
    batches = []
    while True:
        size = schedule.at(images).batch_size
        assert size == recipe.batch_at(stage(images, **growth, **phases).size)
        if not batches or batches[-1][1] != size:
            batches.append((rounds * recipe.n_critic, size))
        if images + size * recipe.n_critic > budget:
            break
        images, rounds = images + size * recipe.n_critic, rounds + 1
        if rounds > 500:
            return
    assert schedule.rounds(budget) == rounds
    assert schedule.batches(images) == batches


def test_networks_that_do_not_grow_have_one_batch():
    schedule = Schedule(Recipe(batch_size=8, n_critic=2, stage_batches=[[8, 4]]), total_images=64, final_size=None)
    assert schedule.batches(64) == [(0, 8)]
    assert [schedule.rounds(images) for images in (0, 15, 16, 64, 100)] == [0, 0, 1, 4, 6]


def test_a_budget_that_ends_before_the_networks_are_grown_is_a_user_error():
    recipe = Recipe(network="progressive", fade_images=300, stabilise_images=200)
    assert full_after(recipe, total_images=1000, final_size=16) == 1000
    with pytest.raises(UserError, match=r"images=999 ends before .* 16×16, which takes 1000 .* 0 for both"):
        full_after(recipe, total_images=999, final_size=16)
    assert full_after(recipe, total_images=10, final_size=4) == 0


@pytest.mark.parametrize("pairs", [[[16]], [[16, 1]], [[2, 8]], [[32, 4], [16, 8]]])
def test_stage_batches_are_pairs_by_rising_side(pairs):
    with pytest.raises(ValueError, match=r"pairs \[side, batch\] by rising side"):
        Recipe(stage_batches=pairs)


@pytest.fixture
def real():
    return torch.rand(3, 2, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_fade_that_has_begun_is_the_smaller_image_enlarged(real):
    x = avg_pool2d(real, 2)
    assert torch.equal(fade_real(real, Stage(8, 0.0)), interpolate(avg_pool2d(x, 2), scale_factor=2))


def test_a_fade_that_is_over_is_the_pooled_image(real):
    assert torch.equal(fade_real(real, Stage(8, 1.0)), avg_pool2d(real, 2))
    assert torch.equal(fade_real(real, Stage(4, 1.0)), avg_pool2d(real, 4))
    assert torch.equal(fade_real(real, Stage(16, 1.0)), real)


def test_in_between_it_is_the_blend(real):
    blend = 0.3 * real + 0.7 * avg_pool2d(real, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(fade_real(real, Stage(16, 0.3)), blend)


def test_a_new_stage_begins_with_what_the_last_one_showed(real):
    last, new = fade_real(real, Stage(8, 1.0)), fade_real(real, Stage(16, 0.0))
    torch.testing.assert_close(new, interpolate(last, scale_factor=2))


@settings(deadline=None)
@given(st.sampled_from([4, 8, 16]), st.floats(0, 1))
def test_a_faded_image_keeps_its_mean_and_range(size, alpha):
    real = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    if size == 4:
        alpha = 1.0  # the first stage has nothing to fade from
    faded = fade_real(real, Stage(size, alpha))
    assert faded.shape == (2, 3, size, size)
    torch.testing.assert_close(faded.mean((2, 3)), real.mean((2, 3)), atol=1e-6, rtol=0)
    assert faded.abs().max() <= 1

"""The schedule as a function of images shown, and the real images' fade."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d, interpolate

from ganbench.errors import UserError
from gans.growth import Stage, fade_real, sizes, stage

schedules = st.fixed_dictionaries(
    {
        "total_images": st.integers(100, 10_000_000),
        "start_size": st.sampled_from([4, 8]),
        "final_size": st.sampled_from([8, 16, 32, 64]),
        "fade_share": st.floats(0, 1),
    }
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


@pytest.mark.parametrize(("start", "final"), [(16, 8), (5, 32), (4, 28)])
def test_sides_that_do_not_double_into_the_images_are_a_user_error(start, final):
    with pytest.raises(UserError, match=rf"gan\.start_size={start} does not grow into {final}×{final}"):
        sizes(start, final)


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

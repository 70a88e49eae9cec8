"""Progressive growing's schedule, a pure function of the images shown: a resumed run cannot lose its place."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ganbench.errors import UserError
from gans.networks import doublings

if TYPE_CHECKING:
    from torch import Tensor

    from gans.recipe import Recipe


class Stage(NamedTuple):
    """The images' side, and the share α ∈ [0, 1] of the newest block in what the networks compute."""

    size: int
    alpha: float


def sizes(start_size: int, final_size: int) -> list[int]:
    """The stages' sides: those that double into the full one and are not smaller than `start_size`.

    Raises `UserError` where there are none.

    >>> sizes(4, 32), sizes(4, 28)
    ([4, 8, 16, 32], [7, 14, 28])
    """
    sides = [side for side in doublings(final_size) if side >= start_size]
    if not sides:
        raise UserError(
            f"gan.start_size={start_size} does not grow into {final_size}×{final_size} images: "
            f"give at most {final_size}"
        )
    return sides


def stage(
    images: int,
    *,
    total_images: int,
    start_size: int,
    final_size: int,
    fade_share: float,
    fade_images: int = 0,
    stabilise_images: int = 0,
) -> Stage:
    """Where growing stands after `images` of `total_images` real images (Karras et al. 2018, §2 and appendix A).

    Where the phases have no lengths of their own, the budget is split into equal stages; in each but the first, α rises
    linearly from 0 to 1 over the stage's first `fade_share`. Otherwise the first stage lasts `stabilise_images`, and
    each later one fades its block in during `fade_images` and then stabilises for `stabilise_images`, whatever the
    budget is. In both, the last stage goes on to the end.

    >>> stage(500, total_images=1000, start_size=4, final_size=8, fade_share=0.5)
    Stage(size=8, alpha=0.0)
    >>> stage(625, total_images=1000, start_size=4, final_size=8, fade_share=0.5)
    Stage(size=8, alpha=0.5)
    >>> stage(250, total_images=1000, start_size=4, final_size=8, fade_share=0.5, fade_images=200, stabilise_images=200)
    Stage(size=8, alpha=0.25)
    """
    sides = sizes(start_size, final_size)
    if fade_images or stabilise_images:
        each, since = fade_images + stabilise_images, images - stabilise_images
        index = min(since // each + 1, len(sides) - 1) if since >= 0 else 0
        faded = since - (index - 1) * each
        alpha = faded / fade_images if index and faded < fade_images else 1.0
        return Stage(sides[index], alpha)
    index = min(images * len(sides) // total_images, len(sides) - 1)
    progress = images * len(sides) / total_images - index  # within the stage; integers above keep its border exact
    if index == 0 or progress >= fade_share:
        return Stage(sides[index], 1.0)
    return Stage(sides[index], progress / fade_share)


def full_after(recipe: Recipe, *, total_images: int, final_size: int) -> int:
    """Real images until the last block is faded in.

    Raises `UserError` where the budget ends before, so that what is scored would be enlarged smaller images.
    """
    sides = sizes(recipe.start_size, final_size)
    fade, stabilise = recipe.fade_images, recipe.stabilise_images
    later = len(sides) - 1
    if not later:
        return 0
    if not (fade or stabilise):
        return -int(-total_images * (later + recipe.fade_share) // len(sides))
    needed = later * (fade + stabilise)
    if needed > total_images:
        raise UserError(
            f"images={total_images} ends before the networks have grown to {final_size}×{final_size}, which takes "
            f"{needed} with gan.stabilise_images={stabilise} and gan.fade_images={fade}: raise images, or give 0 for "
            "both, which makes every stage an equal share of the budget"
        )
    return needed


class Segment(NamedTuple):
    """Rounds of one stage: they begin at `first_round`, after `first_image` real images."""

    first_round: int
    first_image: int
    batch_size: int
    """Real images of each critic step."""


class Schedule:
    """How many real images each round shows, and where its stages begin: a pure function of the recipe and budget.

    A round is `n_critic` critic steps and one generator step, all at the stage where the round begins. Networks that
    do not grow have a single segment.

    >>> from gans.recipe import Recipe
    >>> paced = Schedule(Recipe(batch_size=4, stage_batches=[[8, 2]]), total_images=40, final_size=8)
    >>> paced.segments
    (Segment(first_round=0, first_image=0, batch_size=4), Segment(first_round=5, first_image=20, batch_size=2))
    >>> paced.rounds(40), paced.batches(40)
    (15, [(0, 4), (5, 2)])
    """

    def __init__(self, recipe: Recipe, *, total_images: int, final_size: int | None) -> None:
        self.n_critic = recipe.n_critic
        self.segments = tuple(_segments(recipe, _stages(recipe, total_images, final_size)))
        self._images = [segment.first_image for segment in self.segments]

    def batches(self, images: int) -> list[tuple[int, int]]:
        """The critic's batches within a budget of `images`, as (first critic step, size) wherever the size changes."""
        changes: list[tuple[int, int]] = []
        for segment in self.segments:
            if segment.first_image <= images and (not changes or changes[-1][1] != segment.batch_size):
                changes.append((segment.first_round * self.n_critic, segment.batch_size))
        return changes

    def at(self, images: int) -> Segment:
        """The segment of the round that begins after `images` real images."""
        return self.segments[bisect_right(self._images, images) - 1]

    def rounds(self, images: int) -> int:
        """The whole rounds that `images` pay for."""
        segment = self.at(images)
        return segment.first_round + (images - segment.first_image) // (segment.batch_size * self.n_critic)


def _stages(recipe: Recipe, total_images: int, final_size: int | None) -> list[tuple[int, int]]:
    """Each stage's first image and batch."""
    if final_size is None:
        return [(0, recipe.batch_size)]
    sides = sizes(recipe.start_size, final_size)
    if recipe.fade_images or recipe.stabilise_images:
        each = recipe.fade_images + recipe.stabilise_images
        borders = [0, *(recipe.stabilise_images + n * each for n in range(len(sides) - 1))]
    else:
        borders = [-(-n * total_images // len(sides)) for n in range(len(sides))]
    return [(border, recipe.batch_at(side)) for border, side in zip(borders, sides, strict=True)]


def _segments(recipe: Recipe, stages: Sequence[tuple[int, int]]) -> list[Segment]:
    segments: list[Segment] = []
    images = rounds = 0
    for (_, batch_size), (end, _) in zip(stages, [*stages[1:], (None, 0)], strict=True):
        if end is not None and end <= images:
            continue  # the round before reached beyond this whole stage
        segments.append(Segment(rounds, images, batch_size))
        if end is not None:
            played = -(-(end - images) // (batch_size * recipe.n_critic))
            rounds, images = rounds + played, images + played * batch_size * recipe.n_critic
    return segments


def fade_real(real: Tensor, stage: Stage) -> Tensor:
    """Real images as detailed as the stage's fakes: α·x + (1−α)·up(down(x)), x the images at the stage's side.

    Args:
        real: (B, C, H, H) float at full size.
        stage: the stage; its side divides H.

    Returns:
        (B, C, size, size) of the same dtype and range; average-pooled down, nearest-neighbour up.
    """
    from torch import lerp
    from torch.nn.functional import avg_pool2d, interpolate

    x = avg_pool2d(real, real.shape[-1] // stage.size) if real.shape[-1] > stage.size else real
    if stage.alpha >= 1:
        return x
    return lerp(interpolate(avg_pool2d(x, 2), scale_factor=2), x, stage.alpha)  # lerp is exact at both ends

"""Progressive growing's schedule, a pure function of the images shown: a resumed run cannot lose its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ganbench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


class Stage(NamedTuple):
    """The images' side, and the share α ∈ [0, 1] of the newest block in what the networks compute."""

    size: int
    alpha: float


def sizes(start_size: int, final_size: int) -> list[int]:
    """The stages' sides, from the first to the last, each twice the one before.

    Raises `UserError` where doubling `start_size` never gives `final_size`.

    >>> sizes(4, 32)
    [4, 8, 16, 32]
    """
    sides = [start_size]
    while 0 < sides[-1] < final_size:
        sides.append(2 * sides[-1])
    if sides[-1] != final_size:
        raise UserError(
            f"gan.start_size={start_size} does not grow into {final_size}×{final_size} images by doubling: "
            "give a power of two no larger than the images, such as 4"
        )
    return sides


def stage(images: int, *, total_images: int, start_size: int, final_size: int, fade_share: float) -> Stage:
    """Where growing stands after `images` of `total_images` real images (Karras et al. 2018, §2).

    The budget is split into equal stages. In each but the first, α rises linearly from 0 to 1 over the stage's first
    `fade_share` and stays 1 for the rest, as it does beyond the budget.

    >>> stage(500, total_images=1000, start_size=4, final_size=8, fade_share=0.5)
    Stage(size=8, alpha=0.0)
    >>> stage(625, total_images=1000, start_size=4, final_size=8, fade_share=0.5)
    Stage(size=8, alpha=0.5)
    """
    sides = sizes(start_size, final_size)
    index = min(images * len(sides) // total_images, len(sides) - 1)
    progress = images * len(sides) / total_images - index  # within the stage; integers above keep its border exact
    if index == 0 or progress >= fade_share:
        return Stage(sides[index], 1.0)
    return Stage(sides[index], progress / fade_share)


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

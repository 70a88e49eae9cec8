"""Trained generators and other people's samples: loading, saving pictures, scoring them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganbench.errors import UserError
from ganbench.files import write_atomic
from harness import data, images
from harness.config import EvaluationConfig, TrialConfig, resolve
from harness.evaluation import Evaluation, ScoreSet
from harness.store import TrialFolder, load_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from gans import GAN


def is_generator(source: Path) -> bool:
    """A trial's folder or a checkpoint file, as opposed to somebody's images."""
    return source.suffix == ".pt" or (source / "config.yaml").is_file()


def load_generator(source: Path) -> tuple[GAN, TrialConfig]:
    """The GAN of a checkpoint, or of a trial's last one, with the config that it was trained by.

    Raises:
        UserError: there is no checkpoint, or it is damaged or not ours.
    """
    import gans

    path = TrialFolder(source).checkpoint_file("last") if source.is_dir() else source
    state = load_checkpoint(path)
    config = resolve(state["config"])
    gan = gans.from_recipe(
        config.gan.name, config.gan.recipe(), shape=tuple(state["shape"]), total_images=config.images, seed=config.seed
    )
    gan.load_state_dict(state["model"])
    return gan, config


def save_samples(samples: Tensor, out: Path, config: TrialConfig) -> None:
    """Write samples as a grid (.png), an array (.npz) or a folder of one PNG per image.

    Points become a scatter picture or an array.

    Raises:
        UserError: a folder was asked for points, or the folder holds something already.
    """
    points = samples.ndim == 2
    if out.suffix == ".png":
        picture = (
            images.scatter(images.to_points(samples)) if points else images.grid(images.to_uint8(samples), columns=8)
        )
        images.save_picture(picture, out)
    elif out.suffix == ".npz":
        arrays = {"points": images.to_points(samples)} if points else {"images": images.to_uint8(samples)}
        write_atomic(out, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    elif points:
        raise UserError(f"{config.data.name} has points, not images: give --out a .png or .npz name")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder: give another --out, or a .png or .npz name")
    else:
        for index, image in enumerate(images.to_uint8(samples)):
            images.save_picture(image.transpose(1, 2, 0), out / f"{index:06d}.png")


def evaluate_source(
    *,
    real: str,
    fake: str,
    metrics: list[str] | None,
    features: str,
    weights: Path | None,
    n: int,
    size: int | None,
) -> dict[str, Any]:
    """Scores of a trial, a checkpoint or a set of images against the real set's test split.

    A generator is drawn from with three seeds; given images are scored once, all of them.

    Raises:
        UserError: unknown names, nothing at a path, or two sides of different shapes.
    """
    source = Path(fake)
    config = EvaluationConfig.model_validate(
        {
            "metrics": metrics,
            "features": features,
            "weights": str(weights) if weights else None,
            "n_fake": n,
            "generation_seeds": 3 if is_generator(source) else 1,
        }
    )
    if is_generator(source):
        gan, trained = load_generator(source)
        side = size or (trained.data.size if real == trained.data.name else None)
        evaluation = Evaluation(data.load(real, size=side), config)
        _same_shape(evaluation, gan.shape, fake)
        return _result(evaluation, evaluation.report(gan), "last", "ema")
    evaluation = Evaluation(data.load(real, size=size), config)
    given = data.load(fake, size=size)
    samples = np.concatenate([given.train, given.selection, given.test])
    _same_shape(evaluation, samples.shape[1:], fake)
    subject = {"weights": None, "fake": given.name, "fake_fingerprint": given.fingerprint}
    return _result(evaluation, evaluation.score(lambda *_: samples, subject, n=len(samples)), None, None)


def _same_shape(evaluation: Evaluation, shape: tuple[int, ...], fake: str) -> None:
    real = evaluation.dataset.shape
    if tuple(shape) != real:
        raise UserError(
            f"{fake} has samples of shape {tuple(shape)}, {evaluation.dataset.name} of {real}: "
            "give --size, or compare sets of equal size and channels"
        )


def _result(evaluation: Evaluation, scored: ScoreSet, checkpoint: str | None, weights: str | None) -> dict[str, Any]:
    return {"features": evaluation.features, "checkpoint": checkpoint, "weights": weights, **scored.as_json()}

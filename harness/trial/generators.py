"""Trained generators and other people's samples: loading, saving pictures, scoring them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ganbench.errors import UserError
from ganbench.files import write_atomic
from ganbench.seeds import derive
from gans.classes import Classes
from harness import data, images
from harness.config import DataConfig, EvaluationConfig, TrialConfig, resolve
from harness.scoring.evaluation import Drawn, Evaluation, ScoreSet, by_generator, generator_draw
from harness.scoring.feature_store import Advance
from harness.scoring.gallery import nearest_picture
from harness.store import TrialFolder, load_checkpoint
from metrics import Protocol, duplicates
from metrics.catalogue import metric

if TYPE_CHECKING:
    from torch import Tensor

    from gans import GAN
    from harness.data import Dataset


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
    config = resolve(state["config"], stored=True)
    known = "classes" in state
    gan = gans.from_recipe(
        config.gan.name,
        config.gan.recipe(),
        shape=tuple(state["shape"]),
        total_images=config.images,
        seed=config.seed,
        classes=Classes(*(tuple(state["classes"][part]) for part in ("labels", "counts"))) if known else None,
    )
    gan.load_state_dict(state["model"])
    return gan, config


def labels_for(gan: GAN, n: int, *, seed: int, out: Path, wanted: int | None) -> list[int] | None:
    """The labels of `n` samples that are to be written to `out`; None of a game without a condition.

    Those that are wanted; else for a picture as many of each class as of another, give or take one, and for anything
    that could be scored as the training data have them.

    Raises:
        UserError: a class is wanted of a game without a condition.
    """
    classes = gan.condition.classes
    if wanted is not None:
        if classes is None:
            raise UserError(
                "--class is for generators that know classes, and this one has no gan.condition: leave it out"
            )
        return [wanted] * n
    if classes is None or out.suffix != ".png":
        return gan.sample_labels(n, seed=seed)
    return sorted(classes.labels[i % len(classes)] for i in range(n))


def save_samples(samples: Tensor, out: Path, config: TrialConfig, labels: Sequence[int] | None = None) -> None:
    """Write samples as a grid (.png), an array (.npz) or a folder of one PNG per image.

    Points become a scatter picture or an array. Where there are labels, a grid has a row for each class, an array has
    them too, and a folder a sub-folder for each.

    Raises:
        UserError: a folder was asked for points, or the folder holds something already.
    """
    points = samples.ndim == 2
    if out.suffix == ".png":
        images.save_picture(_picture(samples, labels), out)
    elif out.suffix == ".npz":
        arrays = {"points": images.to_points(samples)} if points else {"images": images.to_uint8(samples)}
        if labels is not None:
            arrays["labels"] = np.array(labels, dtype=np.int64)
        write_atomic(out, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    elif points:
        raise UserError(f"{config.data.name} has points, not images: give --out a .png or .npz name")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder: give another --out, or a .png or .npz name")
    else:
        for index, image in enumerate(images.to_uint8(samples)):
            folder = out if labels is None else out / str(labels[index])
            images.save_picture(image.transpose(1, 2, 0), folder / f"{index:06d}.png")


def _picture(samples: Tensor, labels: Sequence[int] | None) -> np.ndarray:
    if samples.ndim == 2:
        return images.scatter(images.to_points(samples), labels=labels)
    if labels is None or len(set(labels)) == 1:
        return images.grid(images.to_uint8(samples), columns=8)
    return images.class_rows(images.to_uint8(samples), labels)


def evaluate_source(
    *,
    real: str,
    fake: str,
    metrics: list[str] | None = None,
    features: str = "auto",
    weights: Path | None = None,
    download: bool = False,
    n: int | None = None,
    size: int | None = None,
    split: Literal["test", "train"] = "test",
    k: int = 3,
    splits: int = 10,
    seeds: int | None = None,
    bare: bool = False,
    skip_broken: bool = False,
    gallery: Path | None = None,
    advance: Advance = lambda *_: None,
) -> dict[str, Any]:
    """Scores of a trial, a checkpoint or a set of samples against one split of the real set.

    A generator is drawn from with `seeds` (3) seeds, `n` (1000) samples each; given ones are scored once, all of them.
    Unless `bare`, the result has the score of real data in the place of fakes ("floor") and, against the test split,
    FID against held-out beside FID against training samples ("gap"). "warnings" says what is easily misread. `gallery`
    is a PNG file for the samples that are nearest to the training set, each beside its nearest training images.

    Raises:
        UserError: unknown names, nothing at a path, two sides of different shapes, or one set as both sides.
    """
    for name in metrics or ():
        metric(name)
    source = Path(fake)
    generator = is_generator(source)
    for option, value in (("-n", n), ("--seeds", seeds)):
        if value is not None and not generator:
            raise UserError(
                f"{option} is for generators, which can be drawn from again: {fake} is what it is, leave it out"
            )
    n = n or 1000
    config = EvaluationConfig.model_validate(
        {
            "metrics": metrics,
            "features": features,
            "weights": str(weights) if weights else None,
            "n_fake": n,
            "generation_seeds": (seeds or 3) if generator else 1,
            "k": k,
            "splits": splits,
        }
    )
    checkpoint, which = ("last", "ema") if generator else (None, None)
    if generator:
        gan, trained = load_generator(source)
        shown = trained.data if real == trained.data.name else DataConfig(name=real)
        asked = {"size": size or shown.size, "skip_broken": skip_broken or shown.skip_broken}
        dataset = data.load_for(shown.model_copy(update=asked))
        labelled = gan.condition.classes is not None and dataset.labels is not None
        evaluation = Evaluation(dataset, config, labelled=labelled, download=download, advance=advance)
        _same_shape(evaluation, gan.shape, fake)
        draw, subject = generator_draw(gan, "ema"), by_generator("ema")
    else:
        asked = {"size": size, "skip_broken": skip_broken}
        real_set, given = (data.load_for(DataConfig(name=name).model_copy(update=asked)) for name in (real, fake))
        evaluation = Evaluation(real_set, config, download=download, advance=advance)
        _two_sets(real, fake, evaluation.dataset, given)
        samples = np.concatenate([given.train, given.selection, given.test])
        _same_shape(evaluation, samples.shape[1:], fake)
        n, subject = len(samples), {"weights": None, "fake": given.name, "fake_fingerprint": given.fingerprint}

        def draw(n: int, seed: int) -> Drawn:  # noqa: ARG001 (there is nothing to choose)
            return Drawn(samples)

    if gallery:
        _save_gallery(evaluation, draw(n, derive(0, "evaluation/report", 0)).samples, gallery)
    scored = evaluation.score(draw, subject, n=n, split=split)
    warnings = [*evaluation.judge(split).warnings]
    if not generator:
        warnings += _copies(samples, getattr(evaluation.dataset, split), split)
    elif source.is_dir():
        warnings += _reported_otherwise(source, scored)
    floor = gap = None
    if not bare:
        real_scores = evaluation.floor(n=n, split=split)
        floor = {"checkpoint": "floor", "weights": None, **real_scores.as_json(), "by_class": _by_class(real_scores)}
        gap = asdict(evaluation.gap(draw, n=n)) if split == "test" else None
    return {
        "features": evaluation.features,
        "checkpoint": checkpoint,
        "weights": which,
        **scored.as_json(),
        "by_class": _by_class(scored),
        "floor": floor,
        "gap": gap,
        "warnings": [*warnings, *evaluation.store.notes],
    }


def _by_class(scored: ScoreSet) -> dict[str, Any] | None:
    return scored.by_class.as_json() if scored.by_class else None


def _same_shape(evaluation: Evaluation, shape: tuple[int, ...], fake: str) -> None:
    real = evaluation.dataset.shape
    if tuple(shape) != real:
        raise UserError(
            f"{fake} has samples of shape {tuple(shape)}, {evaluation.dataset.name} of {real}: "
            "give --size, or compare sets of equal size and channels"
        )


def _two_sets(real: str, fake: str, dataset: Dataset, given: Dataset) -> None:
    """Refuse one set as both sides: its distance to itself is 0 and says nothing."""
    if real == fake or dataset.fingerprint == given.fingerprint:
        how = "are the same" if real == fake else "hold the same samples"
        raise UserError(
            f"--real {real} and --fake {fake} {how}: give generated samples as --fake "
            "(the floor column is real against real)"
        )


def _copies(fake: np.ndarray, real: np.ndarray, split: str) -> Iterator[str]:
    count = duplicates(train=real, fake=fake)
    if count:
        yield (
            f"{count} of {len(fake)} fake samples equal real ones of the {split} split to the last bit: "
            "their scores are too good, leave them out of one side"
        )


def _reported_otherwise(folder: Path, scored: ScoreSet) -> Iterator[str]:
    """Where a trial's own scores were taken under another protocol, what differs."""
    for result in (TrialFolder(folder).scores() or {"results": []})["results"]:
        if (result["checkpoint"], result["weights"]) != ("last", "ema") or "by_class" in result["protocol"]:
            continue
        if result["protocol_id"] != scored.protocol_id:
            differences = scored.protocol.differences(Protocol(result["protocol"]))
            yield (
                f"{folder} reports scores of another protocol, which do not compare with these "
                f"({'; '.join(differences)})"
            )


def _save_gallery(evaluation: Evaluation, fake: np.ndarray, path: Path) -> None:
    if fake.ndim != 4:
        raise UserError(f"{evaluation.dataset.name} has points, not images: leave out --gallery")
    if path.suffix != ".png":
        raise UserError(f"--gallery {path} is a picture: give it a name that ends in .png")
    images.save_picture(nearest_picture(evaluation, fake), path)

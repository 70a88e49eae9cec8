"""One trial, from its config to its scores."""

from __future__ import annotations

import hashlib
import logging
import math
import platform
import resource
import sys
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

import gans
from ganbench import __version__
from ganbench.errors import UserError
from ganbench.seeds import derive
from gans.module import HEALTH_EVERY
from gans.recipe import Recipe
from harness import data, images
from harness.config import TrackingConfig, TrialConfig, trial_id
from harness.data.sampler import RoundLoader, Sampler
from harness.evaluation import SELECTION_METRIC, Evaluation, ScoreSet
from harness.store import TrialFolder, load_checkpoint
from harness.tracking import Tracker
from metrics import Score

Progress = Callable[[Mapping[str, Any]], None]
"""Called with {"images", "total", "scores"?} now and then."""

GRID_SAMPLES = 64
SCATTER_SAMPLES = 1000
FLUSH_ROUNDS = HEALTH_EVERY
"""Rounds between two readings of the losses: reading one stalls the device."""

CHUNK_NUMBERS = 200_000
"""Real numbers handed to one `training_step`: many rounds of a tiny network, one of a large one."""


class DivergedError(RuntimeError):
    """A loss, a gradient or a sample became NaN or infinite: a result, and no fault of the program."""


def run_trial(
    config: TrialConfig,
    path: Path,
    *,
    tracking: TrackingConfig,
    progress: Progress = lambda _: None,
    device: str = "auto",
    label: str | None = None,
) -> dict[str, Any]:
    """Train and score one trial in `path`; returns what `scores.json` then holds.

    A trial that is done is not trained again; an interrupted one continues from its last checkpoint. A failure
    is recorded in `status.json` (and W&B) before it is raised again.

    Raises:
        UserError: the folder holds another trial, or the data, the networks and the metrics do not fit each other;
            nothing has been written then.
    """
    folder = TrialFolder(path)
    folder.check(config)
    done = folder.scores()
    if folder.status().get("state") == "done" and done is not None:
        return done
    trial = _Trial(config, folder, progress, device)
    folder.claim(config)
    tracker = Tracker.start(
        tracking,
        folder=path,
        run_id=hashlib.blake2b(f"{path.resolve()}/{trial_id(config)}".encode(), digest_size=6).hexdigest(),
        name=label or f"{config.gan.name} seed {config.seed}",
        config=config.model_dump(mode="json"),
        tags=[config.gan.name, config.data.name],
    )
    try:
        folder.write_status("running", images=folder.status().get("images", 0), total_images=config.images)
        scores = trial.run(tracker)
    except BaseException as error:
        interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        reason = "interrupted" if interrupted else _reason(error)
        with suppress(OSError):  # a full disk may be what failed, and is what the caller is to hear of
            folder.write_status("failed", reason=reason)
            if not isinstance(error, UserError) and not interrupted:
                (path / "error.txt").write_text(traceback.format_exc())
        if not isinstance(error, UserError) and not interrupted:
            tracker.alert(f"{config.gan.name} seed {config.seed} failed", reason)
        tracker.summarize({"status": "failed", "reason": reason})
        tracker.finish(exit_code=1)
        raise
    tracker.finish(exit_code=0)
    return scores


class _Trial(pl.Callback):
    """The trial as a Lightning callback: it looks after each call of `training_step`.

    Everything that a mistake in the config can break is built in the constructor, which writes nothing.
    """

    tracker: Tracker

    def __init__(self, config: TrialConfig, folder: TrialFolder, progress: Progress, device: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("no CUDA device can be used on this machine: choose --device cpu or auto")
        self.config = config
        self.folder = folder
        self.progress = progress
        self.device = device
        self.dataset = data.load(config.data.name, size=config.data.size, n=config.data.n, seed=config.data.seed)
        self.evaluation = Evaluation(self.dataset, config.evaluation)
        self.evaluation.judge("selection")
        self.gan = self._new_gan()
        self.sampler = Sampler(
            self.dataset.train,
            batch_size=config.gan.batch_size,
            seed=derive(config.seed, "data"),
            channels_last=True,
        )
        self.best: dict[str, Any] = {"value": math.inf, "images": 0}
        self._flushed_rounds = 0

    def _new_gan(self) -> gans.GAN:
        gan = gans.from_recipe(
            self.config.gan.name,
            self.config.gan.recipe(),
            shape=self.dataset.shape,
            total_images=self.config.images,
            seed=derive(self.config.seed, "training"),
        )
        if len(self.dataset.shape) == 3:
            gan.to(memory_format=torch.channels_last)
        return gan

    # --- the walk

    def run(self, tracker: Tracker) -> dict[str, Any]:
        self.tracker = tracker
        recipe = self.gan.recipe
        per_round = recipe.batch_size * recipe.n_critic
        total = self.config.images // per_round
        marks = [-(-images // per_round) for images in range(self.every, self.config.images, self.every)]
        self.marks = {*(mark for mark in marks if mark < total), total}
        self._resume()
        if self.gan.counters.images == 0:
            self._look()
        plan = list(chunks(self.gan.counters.g_steps, sorted(self.marks), rounds_per_call(recipe, self.dataset.shape)))
        if plan:
            loader = RoundLoader(self.sampler, n_critic=recipe.n_critic, plan=plan)
            self._fit(loader)
        return self._finish()

    def _fit(self, loader: RoundLoader) -> None:
        with warnings.catch_warnings():
            # Lightning advises more workers and logging intervals: the data is in memory, the logging ours
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            try:
                lean_trainer(callbacks=[self], device=self.device).fit(self.gan, loader)
            except SystemExit as leave:  # what Lightning makes of Ctrl-C
                if isinstance(leave.__context__, KeyboardInterrupt):
                    raise KeyboardInterrupt from None
                raise

    @property
    def every(self) -> int:
        return self.config.evaluation.every or self.config.images

    def _resume(self) -> None:
        last = self.folder.checkpoint_file("last")
        if not last.exists():
            self.folder.rewind_history(-1)
            return
        state = load_checkpoint(last)
        self.gan.load_training_state(state)
        self.best = state["best"]
        self._flushed_rounds = self.gan.counters.g_steps
        self.folder.rewind_history(self.gan.counters.images)

    # --- Lightning's calls

    def on_train_batch_end(self, *_: object) -> None:
        """After each chunk of rounds: read the losses now and then, look at the samples at each mark."""
        rounds = self.gan.counters.g_steps
        if rounds - self._flushed_rounds >= FLUSH_ROUNDS or rounds in self.marks:
            self._flushed_rounds = rounds
            self._flush()
        if rounds in self.marks:
            self._look()

    def _flush(self) -> None:
        sums: dict[str, list[float]] = defaultdict(list)
        for record in self.gan.drain():
            for name, value in record.values.items():
                number = float(value)
                if not math.isfinite(number):
                    raise DivergedError(f"{name} became {number} at {record.images:,} images")
                sums[name].append(number)
        row = {name: math.fsum(values) / len(values) for name, values in sums.items()}
        counters = asdict(self.gan.counters)
        self.folder.append_history({"kind": "train", **counters, **row})
        self.tracker.log({**row, **_spent(counters)}, images=counters["images"])
        self.folder.write_status("running", **counters)
        self.progress({"images": counters["images"], "total": self.config.images})

    def _look(self) -> None:
        """Score, draw the fixed latents, keep the best, and save what a resume needs."""
        at = self.gan.counters.images
        try:
            scores = self.evaluation.selection(self.gan)
        except images.NonFiniteImages as error:
            raise DivergedError(f"{error} at {at:,} images") from error
        values = {f"scores/{name}": score.value for name, score in scores.items() if score.value is not None}
        self.folder.append_history({"kind": "scores", "images": at, "split": "selection", "scores": _plain(scores)})
        self.tracker.log(values, images=at)
        picture = self._picture()
        images.save_picture(picture, self.folder.samples / f"{at:010d}.png")
        self.tracker.log_image("samples", picture, images=at)
        value = scores[SELECTION_METRIC].value if SELECTION_METRIC in scores else None
        if value is not None and value < self.best["value"]:
            self.best = {"value": value, "images": at}
            self.folder.save_checkpoint("best", self._checkpoint())
            self.tracker.summarize({f"best/{SELECTION_METRIC}": value, "best/images": at})
        self.folder.save_checkpoint("last", {**self._checkpoint(), **self.gan.training_state()})
        self.progress({"images": at, "total": self.config.images, "scores": {n: s.value for n, s in scores.items()}})

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "shape": list(self.dataset.shape),
            "model": self.gan.state_dict(),
            "best": self.best,
        }

    def _picture(self) -> Any:
        """The same latents at every look: a grid of images, or a scatter of points."""
        if self.dataset.kind == "points":
            centres = self.dataset.mixture.centres if self.dataset.mixture else None
            return images.scatter(images.to_points(self.gan.sample(SCATTER_SAMPLES, seed=0)), centres)
        return images.grid(images.to_uint8(self.gan.sample(GRID_SAMPLES, seed=0)), columns=8)

    # --- the end

    def _finish(self) -> dict[str, Any]:
        end = self.gan.counters.images
        report = self.evaluation.report
        results = [
            _result("last", "ema", end, report(self.gan)),
            _result("last", "raw", end, report(self.gan, weights="raw")),
            _result("untrained", "ema", 0, report(self._new_gan())),
            _result("floor", None, None, self.evaluation.floor()),
        ]
        if self.folder.checkpoint_file("best").exists():
            best = self._new_gan()
            best.load_state_dict(load_checkpoint(self.folder.checkpoint_file("best"))["model"])
            results.insert(2, _result("best", "ema", best.counters.images, report(best)))
        scores = {"trial": trial_id(self.config), "features": self.evaluation.features, "results": results}
        self.folder.write_scores(scores)
        self.evaluation.forget()
        counters = asdict(self.gan.counters)
        self.folder.write_status(
            "done",
            **counters,
            parameters={
                "generator": sum(p.numel() for p in self.gan.generator.parameters()),
                "discriminator": sum(p.numel() for p in self.gan.discriminator.parameters()),
            },
            peak_memory_mb=_peak_memory_mb(),
            environment=environment(),
        )
        last = {name: score["value"] for name, score in results[0]["scores"].items() if score["value"] is not None}
        final = {f"final/{name}": value for name, value in last.items()}
        self.tracker.summarize({**final, **_spent(counters), "status": "done"})
        return scores


def _result(checkpoint: str, weights: str | None, at: int | None, scored: ScoreSet) -> dict[str, Any]:
    return {"checkpoint": checkpoint, "weights": weights, "images": at, **scored.as_json()}


def rounds_per_call(recipe: Recipe, shape: tuple[int, ...]) -> int:
    """Rounds that one `training_step` plays: many where they are tiny, so that Lightning's own cost is paid seldom."""
    numbers = recipe.batch_size * recipe.n_critic * math.prod(shape)
    return max(1, min(FLUSH_ROUNDS, CHUNK_NUMBERS // numbers))


def chunks(start: int, marks: Sequence[int], size: int) -> Iterator[range]:
    """Ranges of at most `size` rounds from `start` to the last mark, none of which reaches over a mark.

    >>> list(chunks(2, [4, 9], 3))
    [range(2, 4), range(4, 7), range(7, 9)]
    """
    for mark in marks:
        for first in range(start, mark, size):
            yield range(first, min(first + size, mark))
        start = max(start, mark)


def lean_trainer(*, callbacks: Sequence[pl.Callback] = (), device: str = "auto") -> pl.Trainer:
    """A Lightning trainer without what we do ourselves: bar, logger, checkpoints and step counting."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # no banner in front of every trial
    return pl.Trainer(
        accelerator=device,
        devices=1,
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def environment() -> dict[str, Any]:
    """What may change the bits of a result: versions, processor, threads and device."""
    return {
        "ganbench": __version__,
        **{name: version(name) for name in ("torch", "pytorch-lightning", "torch-fidelity", "numpy")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _spent(counters: Mapping[str, Any]) -> dict[str, Any]:
    return {f"spent/{name}": counters[name] for name in ("d_steps", "g_steps", "seconds")}


def _plain(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: asdict(score) for name, score in scores.items()}


def _reason(error: BaseException) -> str:
    """One line: what a person reads in the failures' list."""
    text = " ".join(str(error).split())
    return text if isinstance(error, (UserError, DivergedError)) else f"{type(error).__name__}: {text}"[:500]


def _peak_memory_mb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)

"""One trial, from its config to its scores."""

from __future__ import annotations

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch

import gans
from ganbench.errors import UserError
from gans.shards import check_divisible
from harness import checkpoints, data, images
from harness.config import TrackingConfig, TrialConfig, trial_id
from harness.endings import DivergedError, PrunedError, record_end
from harness.environment import environment, peak_memory_mb
from harness.evaluation import SELECTION_METRIC, Evaluation, ScoreSet
from harness.gallery import trial_picture
from harness.game import follow, look_rounds, new_gan, new_sampler, train
from harness.health import Monitor, Problem
from harness.interruption import Interruption
from harness.ranks import Ranks
from harness.rounds import FLUSH_ROUNDS
from harness.store import TrialFolder
from harness.tracking import Tracker
from harness.trainer import lean_trainer
from metrics import Score

Progress = Callable[[Mapping[str, Any]], None]
"""Called with {"images", "total", "scores"?} now and then."""

GRID_SAMPLES = 64
SCATTER_SAMPLES = 1000
CHECKPOINT_SECONDS = 60.0
"""Seconds of training, at most, that a killed trial loses: looks may be far apart."""

Prune = Callable[[int, float], str | None]
"""Called at each look with (images shown, selection score, the lower the better); says why to stop, or None."""


def run_trial(
    config: TrialConfig,
    path: Path,
    *,
    tracking: TrackingConfig,
    progress: Progress = lambda _: None,
    device: str = "auto",
    label: str | None = None,
    prune: Prune | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> dict[str, Any]:
    """Train and score one trial in `path`; returns what `scores.json` then holds, or {} in a process beside the first.

    A trial that is done is not trained again; any other continues from its last checkpoint that is whole. How it ends
    is recorded in `status.json` (and W&B) before the error is raised.

    The first Ctrl-C or SIGTERM ends the trial at the next place from which it can continue, with a checkpoint, and a
    second one at once; they raise `KeyboardInterrupt` and `SystemExit(143)`.

    Args:
        config: the trial.
        path: its folder; no other process may be at it.
        tracking: where it is mirrored to.
        progress: hears how far it is.
        device: "auto", "cpu" or "cuda".
        label: its name in W&B.
        prune: asked at each look between the first and the last.
        checkpoint_seconds: a checkpoint is written at the latest after so long; it changes no result.

    Raises:
        UserError: the folder holds another trial, or the data, the networks and the metrics do not fit each other;
            nothing has been written then.
        DivergedError: state "diverged".
        PrunedError: state "pruned".
    """
    folder = TrialFolder(path)
    folder.check(config)
    done = folder.scores()
    if folder.status().get("state") == "done" and done is not None:
        return done
    if config.trainer.processes > 1 and lean_trainer(config=config.trainer, device=device).global_rank > 0:
        follow(config, device)
        return {}
    with Interruption() as interruption:
        trial = _Trial(config, folder, progress, device, interruption, prune, checkpoint_seconds)
        folder.claim(config)
        folder.sweep_out()
        folder.error_file.unlink(missing_ok=True)
        tracker = Tracker.start(
            tracking,
            folder=path,
            run_id=hashlib.blake2b(f"{path.resolve()}/{trial_id(config)}".encode(), digest_size=6).hexdigest(),
            name=label or f"{config.gan.name} seed {config.seed}",
            config=config.model_dump(mode="json"),
            tags=[config.gan.name, config.data.name],
        )
        try:
            shown = folder.status().get("images", 0)
            folder.write_status("running", images=shown, total_images=config.images, session=None)
            scores = trial.run(tracker)
        except BaseException as error:
            record_end(error, config, folder, tracker)
            raise
        tracker.finish("done")
        return scores


class _Trial(pl.Callback):
    """The trial as a Lightning callback: it looks after each call of `training_step`.

    Everything that a mistake in the config can break is built in the constructor, which writes nothing.
    """

    tracker: Tracker

    def __init__(
        self,
        config: TrialConfig,
        folder: TrialFolder,
        progress: Progress,
        device: str,
        interruption: Interruption,
        prune: Prune | None,
        checkpoint_seconds: float,
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("no CUDA device can be used on this machine: choose --device cpu or auto")
        self.config = config
        self.folder = folder
        self.progress = progress
        self.device = device
        self.interruption = interruption
        self.prune = prune
        self.checkpoint_seconds = checkpoint_seconds
        self.dataset = data.load(config.data.name, size=config.data.size, n=config.data.n, seed=config.data.seed)
        self.evaluation = Evaluation(self.dataset, config.evaluation)
        self.evaluation.judge("selection")
        self.gan = self._new_gan()
        check_divisible(config.gan.batch_size, config.trainer.processes, self.gan.discriminator)
        self.trainer = lean_trainer(config=config.trainer, callbacks=[self], device=device)
        self.sampler = new_sampler(config, self.dataset, self.trainer)
        self.monitor = Monitor(
            config.health,
            self.gan.recipe,
            total_images=config.images,
            grown_side=self.dataset.shape[-1] if self.gan.grows else None,
            modes=len(self.dataset.mixture.centres) if self.dataset.mixture else None,
        )
        self.best: dict[str, Any] = {"value": math.inf, "images": 0}
        self._best_model: dict[str, Any] | None = None
        self._selection: dict[str, dict[str, float]] = {}
        """The latest and the best value of each score on the selection split."""
        self._session = {"began": time.time(), "images": 0}
        """When this process took the trial up, and where: what a rate is reckoned from."""
        self._looked = -1
        """Images shown at the last look that is in the history."""
        self._flushed_rounds = 0
        self._pending: list[tuple[int, dict[str, float]]] = []
        """What was drained from the game and is in no row of the history yet: images, and values by name."""
        self._saved = time.monotonic()

    def _new_gan(self) -> gans.GAN:
        return new_gan(self.config, self.dataset.shape)

    # --- the walk

    def run(self, tracker: Tracker) -> dict[str, Any]:
        self.tracker = tracker
        self.marks = set(look_rounds(self.config))
        with self.interruption.deferred():
            self._resume()
            if self.gan.counters.g_steps in self.marks and self._looked != self.gan.counters.images:
                self._look()
            self.interruption.leave()
            self._train()
        with self.interruption.immediate():
            return self._finish()

    def _train(self) -> None:
        try:
            train(self.trainer, self.gan, self.sampler, self.config, self.device, self.interruption)
        except SystemExit as leave:  # what Lightning makes of Ctrl-C
            if isinstance(leave.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise

    def _resume(self) -> None:
        """Continue from the newest checkpoint, and make every other file agree with it."""
        state = checkpoints.newest(self.folder)
        if state is not None:
            self.gan.load_training_state(state)
            self.best, self._best_model = state["best"], state["best_model"]
            self._looked, self._flushed_rounds = state["looked"], state["flushed"]
            self._pending = [(shown, dict(values)) for shown, values in state["pending"]]
        self.folder.rewind_history(state["history"] if state else 0)
        self.folder.drop_samples(after=self._looked)
        self._write_best()
        self.tracker.replay(self.folder.history())
        for row in self.folder.history():
            self.monitor.observe(row)
            self._note_scores(row)
        self._session = {"began": time.time(), "images": self.gan.counters.images}
        self._heed(self.monitor.problems)

    # --- Lightning's calls

    def on_train_start(self, *_: object) -> None:
        """Lightning has put its own handlers before ours, and would end the training without a checkpoint."""
        self.interruption.listen()

    def on_train_batch_end(self, *_: object) -> None:
        """After each chunk of rounds: read the losses now and then, look at the samples at each mark."""
        rounds = self.gan.counters.g_steps
        if rounds - self._flushed_rounds >= FLUSH_ROUNDS or rounds in self.marks:
            self._flush()
        if rounds in self.marks:
            self._look()
            if isinstance(self.trainer.strategy, Ranks):
                self.trainer.strategy.meet()
        elif self.interruption.signal or time.monotonic() - self._saved >= self.checkpoint_seconds:
            self._save()
        self.interruption.leave()

    def _drain(self) -> None:
        self._pending += [
            (record.images, {name: float(value) for name, value in record.values.items()})
            for record in self.gan.drain()
        ]

    def _flush(self) -> None:
        """Write one row of the history: the means of all values since the last."""
        self._drain()
        means: dict[str, list[float]] = defaultdict(list)
        for shown, values in self._pending:
            for name, number in values.items():
                if not math.isfinite(number):
                    self._diverge(f"{name} became {number}", shown)
                means[name].append(number)
        self._check_weights()
        row = {name: math.fsum(numbers) / len(numbers) for name, numbers in means.items()}
        counters = asdict(self.gan.counters)
        self._pending, self._flushed_rounds = [], self.gan.counters.g_steps
        problems = self._append({"kind": "train", **counters, **row})
        self.folder.write_status("running", **self._facts())
        self._heed(problems)
        self._report({"images": counters["images"], "total": self.config.images})

    def _check_weights(self) -> None:
        for name, values in self.gan.named_parameters():
            if not values.isfinite().all():
                self._diverge(f"{name} holds NaN or infinite values", self.gan.counters.images)

    def _look(self) -> None:
        """Score, draw the fixed latents, keep the best, and save what a resume needs."""
        at = self.gan.counters.images
        try:
            with self.interruption.immediate():
                scores = self.evaluation.selection(self.gan)
                picture = self._picture()
        except images.NonFiniteImages as error:
            self._diverge(str(error), at)
        except (KeyboardInterrupt, SystemExit):
            self._save()  # a look leaves no trace in the game, so this one alone is to be repeated
            raise
        images.save_picture(picture, self.folder.sample_file(at))
        problems = self._append({"kind": "scores", "images": at, "split": "selection", "scores": _plain(scores)})
        self._looked = at
        value = scores[SELECTION_METRIC].value if SELECTION_METRIC in scores else None
        better = value is not None and value < self.best["value"]
        if better:
            self.best = {"value": value, "images": at}
            self._best_model = _on_cpu(self.gan.state_dict())
        self._save()
        self.folder.write_status("running", **self._facts())
        if better:
            self._write_best()
            self.tracker.summarize({f"best/{SELECTION_METRIC}": value, "best/images": at})
        self._heed(problems)
        self._report({"images": at, "total": self.config.images, "scores": {n: s.value for n, s in scores.items()}})
        last = self.gan.counters.g_steps == max(self.marks)
        if self.prune and value is not None and at > 0 and not last and (reason := self.prune(at, value)):
            raise PrunedError(reason)

    def _report(self, facts: Mapping[str, Any]) -> None:
        try:
            self.progress(facts)
        except (KeyboardInterrupt, SystemExit):  # nobody listens any more
            self._save()
            raise

    # --- problems

    def _append(self, row: Mapping[str, Any]) -> list[Problem]:
        self.folder.append_history(row)
        self.tracker.log(row)
        self._note_scores(row)
        return self.monitor.observe(row)

    def _note_scores(self, row: Mapping[str, Any]) -> None:
        for name, score in row.get("scores", {}).items():
            if (value := score["value"]) is not None:
                best = self._selection.get(name, {}).get("best", value)
                better = min if score["direction"] == "lower" else max
                self._selection[name] = {"latest": value, "best": better(best, value)}

    def _heed(self, problems: Sequence[Problem]) -> None:
        """Name problems in `status.json`, tell W&B of each kind once in the trial's life, and stop if asked to."""
        if not problems:
            return
        self.folder.write_status("running", **self._facts())
        for problem in problems:
            self.tracker.alert(f"{self.config.gan.name} seed {self.config.seed}: {problem.kind}", str(problem))
        self.tracker.summarize({"problems": ", ".join(problem.kind for problem in self.monitor.problems)})
        if self.config.health.stop and self.gan.counters.g_steps < max(self.marks):
            raise DivergedError(str(problems[0]))

    def _diverge(self, detail: str, shown: int) -> NoReturn:
        problem = Problem("nan", shown, detail)
        self.monitor.problems.append(problem)
        self._heed([problem])
        raise DivergedError(str(problem))

    def _facts(self) -> dict[str, Any]:
        """What the status holds at any time."""
        problems = [problem.as_json() for problem in self.monitor.problems]
        facts = {"problems": problems, "selection": self._selection, "session": self._session}
        return {**asdict(self.gan.counters), **facts}

    # --- checkpoints

    def _save(self) -> None:
        """Everything that an exact resume needs, in one file."""
        self._drain()
        state = {
            **self._checkpoint(self.gan.state_dict()),
            **self.gan.training_state(),
            "best_model": self._best_model,
            "history": self.folder.keep_history(),
            "looked": self._looked,
            "flushed": self._flushed_rounds,
            "pending": self._pending,
        }
        checkpoints.save(self.folder, state)
        self._saved = time.monotonic()

    def _write_best(self) -> None:
        """`best.pt` is for readers: a resume takes the best weights from its own checkpoint, and writes them anew."""
        if self._best_model is None:
            self.folder.checkpoint_file("best").unlink(missing_ok=True)
        else:
            self.folder.save_checkpoint("best", self._checkpoint(self._best_model))

    def _checkpoint(self, model: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "shape": list(self.dataset.shape),
            "model": model,
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
        try:
            results = [
                _result("last", "ema", end, report(self.gan)),
                _result("last", "raw", end, report(self.gan, weights="raw")),
                _result("untrained", "ema", 0, report(self._new_gan())),
                _result("floor", None, None, self.evaluation.floor()),
            ]
        except images.NonFiniteImages as error:
            self._diverge(str(error), end)
        if self._best_model is not None:
            best = self._new_gan()
            best.load_state_dict(self._best_model)
            results.insert(2, _result("best", "ema", best.counters.images, report(best)))
        if self.dataset.kind == "image":
            images.save_picture(trial_picture(self.evaluation, self.gan), self.folder.gallery_file)
        scores = {"trial": trial_id(self.config), "features": self.evaluation.features, "results": results}
        self.folder.write_scores(scores)
        self.evaluation.forget()
        counters = asdict(self.gan.counters)
        self.folder.write_status(
            "done",
            **self._facts(),
            parameters={
                "generator": sum(p.numel() for p in self.gan.generator.parameters()),
                "discriminator": sum(p.numel() for p in self.gan.discriminator.parameters()),
            },
            peak_memory_mb=peak_memory_mb(),
            environment=environment(),
        )
        last = {name: score["value"] for name, score in results[0]["scores"].items() if score["value"] is not None}
        final = {f"final/{name}": value for name, value in last.items()}
        self.tracker.summarize({**final, **_spent(counters)})
        return scores


def _result(checkpoint: str, weights: str | None, at: int | None, scored: ScoreSet) -> dict[str, Any]:
    return {"checkpoint": checkpoint, "weights": weights, "images": at, **scored.as_json()}


def _spent(counters: Mapping[str, Any]) -> dict[str, Any]:
    return {f"spent/{name}": counters[name] for name in ("d_steps", "g_steps", "seconds")}


def _plain(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: asdict(score) for name, score in scores.items()}


def _on_cpu(state: Mapping[str, Any]) -> dict[str, Any]:
    """A copy, which later steps leave alone."""
    return {
        name: value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else value
        for name, value in state.items()
    }

"""One trial's walk beside its game: looks, history, checkpoints, scores. Who plays the rounds calls it in between."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import torch

import gans
from gans.shards import check_divisible
from harness import images
from harness.config import TrialConfig, trial_id
from harness.data import Dataset
from harness.scoring.evaluation import SELECTION_METRIC, Evaluation, ScoreSet
from harness.scoring.gallery import trial_picture
from harness.store import TrialFolder
from harness.tracking.tracker import Tracker
from harness.trial import checkpoints
from harness.trial.endings import DivergedError, PrunedError
from harness.trial.environment import environment, peak_memory_mb
from harness.trial.game import classes_of, look_rounds, new_gan
from harness.trial.health import Monitor, Problem
from harness.trial.interruption import Interruption
from harness.trial.rounds import FLUSH_ROUNDS
from metrics import Score

Progress = Callable[[Mapping[str, Any]], None]
"""Called with {"images", "total", "scores"?} now and then."""

Prune = Callable[[int, float], str | None]
"""Called at each look with (images shown, selection score, the lower the better); says why to stop, or None."""

COLUMNS = 8
GRID_SAMPLES = 8 * COLUMNS
CLASS_ROWS = 16
"""Classes whose samples a conditional game's grid shows, one a row."""
SCATTER_SAMPLES = 1000


class Walk:
    """What there is of a trial but its training: nothing here takes a step of the game.

    Everything that a mistake in the config can break is built in the constructor, which writes nothing.

    Args:
        config: the trial.
        folder: its files.
        evaluation: its judges, which trials on the same data may share.
        progress: hears how far it is.
        interruption: what holds signals back where a walk must not be left.
        prune: asked at each look between the first and the last.
        checkpoint_seconds: a checkpoint is due at the latest after so long.
        ensemble: with how many seeds, its own included, it is trained as one; None: alone.
    """

    tracker: Tracker

    def __init__(
        self,
        config: TrialConfig,
        folder: TrialFolder,
        evaluation: Evaluation,
        *,
        progress: Progress,
        interruption: Interruption,
        prune: Prune | None,
        checkpoint_seconds: float,
        ensemble: int | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.evaluation = evaluation
        self.dataset: Dataset = evaluation.dataset
        self.progress = progress
        self.interruption = interruption
        self.prune = prune
        self.checkpoint_seconds = checkpoint_seconds
        self.ensemble = ensemble
        self.gan = self._new_gan()
        for batch_size, option in self.gan.batch_sizes.items():
            check_divisible(batch_size, config.trainer.processes, self.gan.discriminator, option=option)
        self.marks = set(look_rounds(config, self.gan.schedule))
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
        self.saved_rounds = -1
        """Rounds played at the last checkpoint; −1: there is none."""

    def _new_gan(self) -> gans.GAN:
        return new_gan(self.config, self.dataset.shape, classes_of(self.config, self.dataset))

    # --- where it stands

    @property
    def flush_is_due(self) -> bool:
        """Whether the losses are to be read now."""
        return self.gan.counters.g_steps - self._flushed_rounds >= FLUSH_ROUNDS or self.at_mark

    @property
    def at_mark(self) -> bool:
        """Whether the samples are to be looked at after this round."""
        return self.gan.counters.g_steps in self.marks

    @property
    def save_is_due(self) -> bool:
        """Whether the last checkpoint is old enough for another."""
        return time.monotonic() - self._saved >= self.checkpoint_seconds

    @property
    def is_over(self) -> bool:
        """Whether every round has been played."""
        return self.gan.counters.g_steps >= max(self.marks)

    def start(self, tracker: Tracker) -> None:
        """Say that a process is at the trial now; `tracker` hears of everything from here on."""
        self.tracker = tracker
        shown = self.folder.status().get("images", 0)
        self.folder.write_status("running", images=shown, total_images=self.config.images, session=None)

    def resume(self, state: Mapping[str, Any] | None) -> None:
        """Continue from a checkpoint, or from the start, and make every other file agree with it; then look, if due."""
        if state is not None:
            self.gan.load_training_state(state)
            self.best, self._best_model = state["best"], state["best_model"]
            self._looked, self._flushed_rounds = state["looked"], state["flushed"]
            self._pending = [(shown, dict(values)) for shown, values in state["pending"]]
            self.saved_rounds = checkpoints.rounds_played(state)
            if before := state.get("ensemble"):  # what was trained so stays so, whoever continues it
                self.ensemble = max(before, self.ensemble or 0)
        self.folder.rewind_history(state["history"] if state else 0)
        self.folder.drop_samples(after=self._looked)
        self._write_best()
        self.tracker.replay(self.folder.history())
        if self.ensemble:
            self.tracker.summarize(self._mark)
        for row in self.folder.history():
            self.monitor.observe(row)
            self._note_scores(row)
        self._session = {"began": time.time(), "images": self.gan.counters.images}
        self._heed(self.monitor.problems)
        if self.at_mark and self._looked != self.gan.counters.images:
            self.look()

    # --- between rounds

    def _drain(self) -> None:
        self._pending += [
            (record.images, {name: float(value) for name, value in record.values.items()})
            for record in self.gan.drain()
        ]

    def flush(self) -> None:
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

    def look(self) -> None:
        """Score, draw the fixed latents, keep the best, and save what a resume needs."""
        at = self.gan.counters.images
        try:
            with self.interruption.immediate():
                scores = self.evaluation.selection(self.gan)
                picture = self._picture()
        except images.NonFiniteImages as error:
            self._diverge(str(error), at)
        except (KeyboardInterrupt, SystemExit):
            self.save()  # a look leaves no trace in the game, so this one alone is to be repeated
            raise
        images.save_picture(picture, self.folder.sample_file(at))
        problems = self._append({"kind": "scores", "images": at, "split": "selection", "scores": _plain(scores)})
        self._looked = at
        value = scores[SELECTION_METRIC].value if SELECTION_METRIC in scores else None
        better = value is not None and value < self.best["value"]
        if better:
            self.best = {"value": value, "images": at}
            self._best_model = _on_cpu(self.gan.state_dict())
        self.save()
        self.folder.write_status("running", **self._facts())
        if better:
            self._write_best()
            self.tracker.summarize({f"best/{SELECTION_METRIC}": value, "best/images": at})
        self._heed(problems)
        self._report({"images": at, "total": self.config.images, "scores": {n: s.value for n, s in scores.items()}})
        if self.prune and value is not None and at > 0 and not self.is_over and (reason := self.prune(at, value)):
            raise PrunedError(reason)

    def _report(self, facts: Mapping[str, Any]) -> None:
        try:
            self.progress(facts)
        except (KeyboardInterrupt, SystemExit):  # nobody listens any more
            self.save()
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
        if self.config.health.stop and not self.is_over:
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
        return {**asdict(self.gan.counters), **facts, **self._mark}

    @property
    def _mark(self) -> dict[str, Any]:
        """What tells a trial that was trained with others: its numbers are a single run's up to rounding only."""
        return {"ensemble": self.ensemble} if self.ensemble else {}

    # --- checkpoints

    def save(self) -> None:
        """Everything that an exact resume needs, in one file."""
        self._drain()
        state = {
            **self._checkpoint(self.gan.state_dict()),
            **_whole(self.gan.training_state()),
            "ensemble": self.ensemble,
            "best_model": self._best_model,
            "history": self.folder.keep_history(),
            "looked": self._looked,
            "flushed": self._flushed_rounds,
            "pending": self._pending,
        }
        rounds = self.gan.counters.g_steps
        checkpoints.save(self.folder, state, again=rounds == self.saved_rounds)
        self._saved, self.saved_rounds = time.monotonic(), rounds

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
            **({"classes": asdict(classes)} if (classes := self.gan.condition.classes) else {}),
            "model": model,
            "best": self.best,
        }

    def _picture(self) -> Any:
        """The same latents at every look: a grid of images, or a scatter of points; by class where there are any."""
        classes = self.gan.condition.classes
        if self.dataset.kind == "points":
            centres = self.dataset.mixture.centres if self.dataset.mixture else None
            points, labels = self.gan.sample(SCATTER_SAMPLES, seed=0), self.gan.sample_labels(SCATTER_SAMPLES, seed=0)
            return images.scatter(images.to_points(points), centres, labels=labels)
        if classes:
            rows = [label for label in classes.labels[:CLASS_ROWS] for _ in range(COLUMNS)]
            samples = self.gan.sample(len(rows), seed=0, labels=rows)
        else:
            samples = self.gan.sample(GRID_SAMPLES, seed=0)
        return images.grid(images.to_uint8(samples), columns=COLUMNS)

    # --- the end

    def finish(self) -> dict[str, Any]:
        """Score the end and the best; returns what `scores.json` then holds."""
        end = self.gan.counters.images
        report = self.evaluation.report
        try:
            scored = [
                ("last", "ema", end, report(self.gan)),
                ("last", "raw", end, report(self.gan, weights="raw")),
                ("untrained", "ema", 0, report(self._new_gan())),
                ("floor", None, None, self.evaluation.floor()),
            ]
        except images.NonFiniteImages as error:
            self._diverge(str(error), end)
        if self._best_model is not None:
            best = self._new_gan()
            best.load_state_dict(self._best_model)
            scored.insert(2, ("best", "ema", best.counters.images, report(best)))
        results = _results(scored)
        if self.dataset.kind == "image":
            images.save_picture(trial_picture(self.evaluation, self.gan), self.folder.gallery_file)
        scores = {
            "trial": trial_id(self.config),
            **self._mark,
            "features": self.evaluation.features,
            "results": results,
        }
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
        reported = [score for result in results if _is_reported(result) for score in result["scores"].items()]
        last = {name: score["value"] for name, score in reported if score["value"] is not None}
        final = {f"final/{name}": value for name, value in last.items()}
        self.tracker.summarize({**final, **_spent(counters)})
        return scores


def _results(scored: Sequence[tuple[str, str | None, int | None, ScoreSet]]) -> list[dict[str, Any]]:
    """One for each (checkpoint, weights, images shown), then one for each that is scored class by class."""
    told = [({"checkpoint": checkpoint, "weights": weights, "images": at}, s) for checkpoint, weights, at, s in scored]
    whole = [{**about, **scores.as_json()} for about, scores in told if scores.scores]
    return whole + [{**about, **scores.by_class.as_json()} for about, scores in told if scores.by_class]


def _is_reported(result: Mapping[str, Any]) -> bool:
    return (result["checkpoint"], result["weights"]) == ("last", "ema")


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


def _whole(state: Mapping[str, Any]) -> dict[str, Any]:
    """A training state whose weights are no views: of those, a checkpoint would hold what they are views of, too."""
    model = {
        name: value.clone() if isinstance(value, torch.Tensor) and _is_part(value) else value
        for name, value in state["model"].items()
    }
    return {**state, "model": model}


def _is_part(value: torch.Tensor) -> bool:
    return value.untyped_storage().nbytes() > value.nbytes

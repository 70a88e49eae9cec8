"""Small trials of a recipe, trained as any trial is: what a game must keep from its first step to its files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from gans import GAN
from gans.catalogue import preset
from harness.config import TrackingConfig, resolve
from harness.conformance.finding import Broken, generators_at
from harness.conformance.players import SMALL, Shape, judge_of, only_shift, shown
from harness.store import TrialFolder, load_checkpoint
from harness.trial.experiment import run_trial
from harness.trial.game import new_gan
from harness.trial.generators import load_generator

DATA: Mapping[Shape, Mapping[str, Any]] = {
    (1, 8, 8): {"dataset": "digits"},
    (2,): {"dataset": "ring8"},
    (1, 16, 16): {"dataset": "digits", "data.size": 16},
    (1, 32, 32): {"dataset": "digits", "data.size": 32},
}
"""Embedded data of each shape that trials are made of, the cheapest first."""

ROUNDS = 12
"""Of the game in each trial: enough for a network to grow from 4×4 to 32×32."""


class Trials:
    """Trials of one recipe in a folder that goes with them, each trained when it is first looked at.

    Args:
        options: of the config, such as {"gan": "wgan"}; `DATA` has those of the dataset.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        recipe = preset(options["gan"])
        budget = ROUNDS * recipe.n_critic * SMALL["batch_size"]
        small = {f"gan.{name}": value for name, value in SMALL.items()}
        self.config = resolve(
            {
                **small,
                "images": budget,
                "evaluation.every": budget // 2,
                "evaluation.metrics": ["fid"],
                "evaluation.n_fake": 32,
                "evaluation.generation_seeds": 1,
                **options,
            }
        )
        self._gradients: dict[tuple[tuple[int, ...], ...], set[int]] = {}
        self._place = TemporaryDirectory(prefix="ganbench-check-")

    def close(self) -> None:
        """Remove the trials' files."""
        self._place.cleanup()

    @cached_property
    def unbroken(self) -> TrialFolder:
        """A trial from its first round to its last."""
        with self._watched():
            return self._train("unbroken", seed=1)

    @cached_property
    def again(self) -> TrialFolder:
        """The same, where everybody's random generators stand elsewhere."""
        return self._train("again", seed=2)

    @cached_property
    def other(self) -> TrialFolder:
        """The same with another training seed."""
        return self._train("other", seed=1, training_seed=1)

    @cached_property
    def continued(self) -> TrialFolder:
        """The same, stopped halfway and continued."""

        stopped = False

        def stop(facts: Mapping[str, Any]) -> None:
            nonlocal stopped
            if self.config.images // 2 <= facts["images"] < self.config.images:
                stopped = True
                raise KeyboardInterrupt

        try:
            self._train("continued", seed=1, progress=stop)
        except KeyboardInterrupt:
            if not stopped:  # somebody's Ctrl-C
                raise
        if stopped:
            return self._train("continued", seed=1)
        raise Broken(
            "there is no look at which it could be stopped, but the last",
            where=f"looks due each {self.config.evaluation.every} of {self.config.images} images",
            remedy="count with the base class, a batch at a time: images += the batch",
        )

    def _train(self, name: str, *, seed: int, training_seed: int = 0, **options: Any) -> TrialFolder:
        path = Path(self._place.name) / name
        config = self.config.model_copy(update={"seed": training_seed})
        with generators_at(seed):
            run_trial(config, path, tracking=TrackingConfig(mode="disabled"), device="cpu", **options)
        return TrialFolder(path)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Note which parameters an optimiser moves by a gradient, by the shapes of all that it moves."""

        def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            moved = self._gradients.setdefault(tuple(tuple(each.shape) for each in parameters), set())
            for index, parameter in enumerate(parameters):
                if parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any():
                    moved.add(index)

        handle = register_optimizer_step_pre_hook(note)
        try:
            yield
        finally:
            handle.remove()

    @cached_property
    def gan(self) -> GAN:
        """The unbroken trial's game, loaded from its files."""
        return load_generator(self.unbroken.path)[0]

    # --- what is asked

    def gradients(self) -> str:
        """Every parameter of both players is moved by a gradient, at least once."""
        shape = tuple(self.gan.shape)
        untrained = new_gan(self.config, shape, self.gan.condition.classes)
        count = 0
        for name in ("generator", "discriminator"):
            player: nn.Module = getattr(untrained, name)
            parameters = dict(player.named_parameters())
            moved = self._gradients.get(tuple(tuple(each.shape) for each in parameters.values()))
            if moved is None:
                raise Broken(
                    f"no step was taken on the {name}'s parameters",
                    where="configure_optimizers",
                    remedy="give each player an optimiser over all its parameters, and step it",
                )
            still = {key for index, key in enumerate(parameters) if index not in moved}
            if still and name == "discriminator":
                still -= only_shift(player, judge_of(untrained), shape)
            if still:
                raise Broken(
                    f"no gradient reached {len(still)} of {len(parameters)} parameters in {ROUNDS} rounds",
                    where=shown({f"{name}.{key}" for key in still}),
                    remedy=f"let the {name}'s loss depend on them, and detach nothing on the way",
                )
            count += len(parameters)
        return f"all {count} parameters of both players were moved by a gradient"

    def budget(self) -> str:
        """The counters say what was spent."""
        status, batch = self.unbroken.status(), self.config.gan.batch_size
        images, d_steps, g_steps = (status[name] for name in ("images", "d_steps", "g_steps"))
        said = f"{images} real images, {d_steps} critic steps, {g_steps} generator steps"
        if images != d_steps * batch or not 0 < images <= self.config.images or not g_steps:
            raise Broken(
                f"counted {said} of a budget of {self.config.images}",
                where=f"counters, at batches of {batch}",
                remedy="count with the base class: images += the batch, d_steps and g_steps += 1 for each step",
            )
        return said

    def determinism(self) -> str:
        """The same seed gives the same bits, wherever the global random generators stand; another one others."""
        self._same(
            self.unbroken,
            self.again,
            what="two trials of one seed differ",
            remedy="draw every random number from self._stream(purpose, step), none from the global generators",
        )
        if not _differences(self.unbroken, self.other):
            raise Broken("two seeds give the same bits", where="training seeds 0 and 1", remedy="use the seed")
        return f"two trials of {ROUNDS} rounds have the same bits, one of another seed has not"

    def resume(self) -> str:
        """A trial that was stopped and continued ends as one that was not."""
        self._same(
            self.unbroken,
            self.continued,
            what="a trial that is stopped halfway and continued ends otherwise",
            remedy="keep what a step needs in buffers, or in get_extra_state and set_extra_state",
        )
        return "stopped halfway and continued, a trial ends with the same bits"

    @staticmethod
    def _same(one: TrialFolder, other: TrialFolder, *, what: str, remedy: str) -> None:
        different = _differences(one, other)
        if different:
            raise Broken(what, where=shown(different), remedy=remedy)

    def seeds(self) -> str:
        """Sample i depends on the seed and i alone."""
        few, many, others = (self.gan.sample(n, seed=seed) for n, seed in ((3, 5), (70, 5), (3, 6)))
        where = "sample(n, seed=…)"
        if not torch.equal(few, many[:3]):
            raise Broken(
                "sample i changes with the number asked for", where=where, remedy="draw latents block by block"
            )
        if not torch.equal(few, self.gan.sample(3, seed=5)):
            raise Broken("a second call gives others", where=where, remedy="draw from a generator of the seed's own")
        if torch.equal(few, others):
            raise Broken("two seeds give the same samples", where=where, remedy="use the seed")
        return "sample i depends on the seed and i alone"

    def sampling(self) -> str:
        """Drawing samples while training leaves weights, running statistics, modes and random states as they were."""
        gan = self.gan
        gan.train()
        gan.ema_generator.eval()
        for weights in ("ema", "raw"):
            modes = {name: module.training for name, module in gan.named_modules()}
            state = {name: value.clone() for name, value in _tensors(gan.state_dict())}
            random = torch.get_rng_state()
            gan.sample(5, seed=3, weights=weights)
            changed = {name for name, value in _tensors(gan.state_dict()) if not torch.equal(value, state[name])}
            switched = {name for name, module in gan.named_modules() if module.training != modes[name]}
            if changed or switched:
                raise Broken(
                    "drawing samples changes " + ("the state" if changed else "the mode of layers"),
                    where=shown(changed or switched),
                    remedy="sample in evaluation mode, under no_grad, and put the modes back",
                )
            if not torch.equal(random, torch.get_rng_state()):
                raise Broken(
                    "drawing samples disturbs torch's random state",
                    where=f"sample(weights={weights!r})",
                    remedy="draw from a torch.Generator of the seed's own",
                )
        return "weights, running statistics, modes and random states stay as they were"


def _differences(one: TrialFolder, other: TrialFolder) -> set[str]:
    """Names of the weights and optimisers' tensors that are not the same to the bit."""
    first, second = (
        {
            name: value
            for part in ("model", "optimizers")
            for name, value in _tensors(load_checkpoint(folder.checkpoint_file("last"))[part], part)
        }
        for folder in (one, other)
    )
    names = first.keys() | second.keys()
    return {
        name for name in names if name not in first or name not in second or not torch.equal(first[name], second[name])
    }


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested mappings and lists, by dotted name."""
    if isinstance(value, Tensor):
        yield name, value
        return
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from _tensors(each, f"{name}.{key}" if name else str(key))

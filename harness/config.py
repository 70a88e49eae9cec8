"""What one trial is: a strict, immutable configuration.

Free of torch, so that a sweep of thousands of trials is checked before anything heavy is imported.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from ganbench.errors import UserError
from gans import validity
from gans.catalogue import VARIANTS
from gans.catalogue import preset as variant_preset
from gans.recipe import Recipe
from gans.speed import Compile
from harness.image_options import Crop, Kernel

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

Preset = Literal["common", "author"]


class GanConfig(Recipe):
    """A variant's recipe with every option filled in: from its preset, then from what was asked for."""

    model_config = _STRICT

    name: str
    """The variant (`ganbench list gans`)."""
    preset: Preset = "common"
    """common: every variant with the same networks, batch and latent; author: the paper's own settings."""

    def recipe(self) -> Recipe:
        """The recipe alone, as the `gans` room takes it."""
        recipe = self.model_dump(exclude={"name", "preset"})
        return Recipe.model_validate(recipe, context={"stored": True})  # judged before, with the rest


def _crop(value: object) -> object:
    """Refuse in one sentence what is neither a word nor a number of `Crop`."""
    if value in ("centre", "none") or (type(value) is int and value >= 1):
        return value
    raise PydanticCustomError("crop", "give centre, none or a number of pixels from 1")


class DataConfig(BaseModel):
    """What the discriminator is shown as real."""

    model_config = _STRICT

    name: str
    """A dataset's name (`ganbench list datasets`), or a path to a folder of images, a zip or an .npz."""
    size: int | None = Field(default=None, ge=1)
    """Side in pixels to which images are resized; null: the dataset's own."""
    n: int | None = Field(default=None, ge=1)
    """How many samples are taken or drawn; null: the dataset's own number."""
    seed: int = Field(default=0, ge=0)
    """Seed of the splits and of drawn datasets. Not the training seed: every seed of a sweep sees the same data."""
    resize: Kernel = "lanczos"
    """Pillow's filter that images are resized by, always antialiased."""
    crop: Annotated[Crop, BeforeValidator(_crop)] = "centre"
    """What is taken of an image before it is resized: the largest square in its centre; none: all, stretched to a
    square; or a square of so many pixels a side in its centre."""
    pad: int | None = Field(default=None, ge=1)
    """Side in pixels to which images are filled up with black all around, after resizing: 28 → 32 for networks that
    double; null: as they are."""
    flip: bool = False
    """Mirror training images left to right with probability ½. Held-out images stay as they are."""
    skip_broken: bool = False
    """Leave image files out that cannot be read; their number enters the protocol. Else they are an error."""


class EvaluationConfig(BaseModel):
    """How samples are scored."""

    model_config = _STRICT

    every: int | None = Field(default=None, ge=1)
    """Real images shown between two scorings on the selection split; null: a tenth of the budget."""
    metrics: list[str] | None = Field(default=None, min_length=1)
    """Names of the metrics (`ganbench list metrics`); null: all that fit the data."""
    features: str = "auto"
    """The feature network (`ganbench list features`); auto: the one that fits the data."""
    weights: str | None = None
    """File with the feature network's weights, for a network that does not carry its own."""
    n_fake: int = Field(default=1000, ge=2)
    """Generated samples per scoring."""
    generation_seeds: int = Field(default=3, ge=1)
    """Independent sets of generated samples behind each reported score; their spread is reported beside it."""
    k: int = Field(default=3, ge=1)
    """Nearest neighbours that span the manifolds of precision and recall."""
    splits: int = Field(default=10, ge=1)
    """Splits of the Inception Score."""


class HealthConfig(BaseModel):
    """When a trial is said to have gone wrong: what each threshold rests on is told in harness/trial/health.py."""

    model_config = _STRICT

    stop: bool = False
    """End a trial as diverged at its first problem; one that the last scoring finds is only flagged, as nothing is left
    to stop. NaN and infinite values end it always."""
    window: int = Field(default=10, ge=1)
    """Readings in a row, each after 50 generator steps, that name a vanished gradient or a critic that always wins."""
    gradient_floor: float = Field(default=1e-7, ge=0)
    """The generator's gradient has vanished below this norm; 0: never."""
    accuracy: float = Field(default=0.99, gt=0, le=1)
    """The critic always wins from this share of real and of generated samples that it is right about …"""
    loss_floor: float = Field(default=0.02, ge=0)
    """… while its loss is at most this; only for objectives whose loss has zero as its floor."""
    looks: int = Field(default=3, ge=1)
    """Scorings in a row that name a collapse."""
    grace: float = Field(default=0.25, ge=0, le=1)
    """Share of the budget before which no scoring counts as a collapse."""
    recall_floor: float = Field(default=0.01, ge=0, le=1)
    """The generator has collapsed below this recall; 0: never."""
    modes_floor: float = Field(default=0.25, ge=0, le=1)
    """The generator has collapsed below this share of the modes, where the data's are known; 0: never."""


class TrainerConfig(BaseModel):
    """What Lightning's trainer trains on. `gan.batch_size` is the joined batch of all devices."""

    model_config = _STRICT

    devices: int = Field(default=1, ge=1)
    """GPUs of each machine, or processes on its CPU; each takes an equal part of every batch."""
    num_nodes: int = Field(default=1, ge=1)
    """Machines. The same command runs on each, with MASTER_ADDR, MASTER_PORT and NODE_RANK set, or under SLURM."""
    strategy: Literal["auto", "ddp"] = "auto"
    """ddp: synchronised copies of the networks, one a device; auto: the same wherever there is more than one."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Numbers of the networks' passes; losses, penalties, weights and scores are 32-bit always. 16 needs a GPU."""
    channels_last: bool = True
    """Images and feature maps are laid out pixel by pixel. This and what follows changes no more than the rounding, and
    is worth what docs/speed.md says."""
    compile: Compile = "none"
    """default: the players' passes go through torch.compile; cuda-graphs: and are replayed as CUDA graphs, on a GPU."""
    fused: bool = True
    """Adam moves all weights in one kernel."""
    shared_pass: bool = False
    """The critic sees real and generated samples as one batch, where it does not mix a batch's samples."""
    data_on_device: bool | None = None
    """Keep all training images on the GPU; null: where they take at most a quarter of its free memory."""

    @property
    def processes(self) -> int:
        """How many play together."""
        return self.devices * self.num_nodes


class TrialConfig(BaseModel):
    """One trial. Two trials with equal configurations are the same trial (`trial_id`)."""

    model_config = _STRICT

    gan: GanConfig
    data: DataConfig
    images: int = Field(default=20_000, ge=1)
    """The budget: real images shown to the discriminator."""
    seed: int = Field(default=0, ge=0)
    """Root of every random draw of the training."""
    evaluation: EvaluationConfig = EvaluationConfig()
    health: HealthConfig = HealthConfig()
    trainer: TrainerConfig = TrainerConfig()


class TrackingConfig(BaseModel):
    """Where a trial is mirrored to. No part of a trial's identity: it changes no result."""

    model_config = _STRICT

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """auto: online when logged in to W&B and it can be reached, else offline."""
    project: str = "ganbench"
    """The W&B project."""
    entity: str | None = None
    """The W&B user or team; null: the account's default."""
    group: str | None = None
    """The W&B group of the run; a sweep sets its own name."""
    private: bool = False
    """Keep the host's name, the command, the code and system facts out of what is sent."""


_ALIASES = {"gan": "gan.name", "network": "gan.network", "dataset": "data.name"}
"""Short ways to say the options that every sweep names."""

_SECTIONS: dict[str, type[BaseModel]] = {
    "gan": GanConfig,
    "data": DataConfig,
    "evaluation": EvaluationConfig,
    "health": HealthConfig,
    "trainer": TrainerConfig,
}

OPTIONS: tuple[str, ...] = (
    *(name for name in TrialConfig.model_fields if name not in _SECTIONS),
    *(f"{section}.{name}" for section, model in _SECTIONS.items() for name in model.model_fields),
)
"""Every option's dotted key."""

_KNOWN = frozenset(OPTIONS)


# --- from a raw mapping to a trial


def resolve(raw: Mapping[str, Any], *, stored: bool = False) -> TrialConfig:
    """A complete trial from nested or dotted keys; what is not given comes from the variant's preset and the defaults.

    Resolving the dump of a resolved trial gives the same trial. Of a trial that is `stored` the game is not judged: it
    was played, whatever is refused by now.

    Raises:
        UserError: an unknown key (with the nearest known one), a value of the wrong type or out of range, an unknown
            variant, or a budget too small for one round of the game.
    """
    nested: dict[str, Any] = {section: {} for section in _SECTIONS}
    for key, value in merge(raw).items():
        section, _, name = key.rpartition(".")
        (nested[section] if section else nested)[name] = value
    gan = nested["gan"]
    name, preset = gan.get("name"), gan.get("preset", "common")
    # a trial's own files say everything: they are read where the package of its variant is not installed, too
    foreign = Recipe.model_fields.keys() <= gan.keys() and name not in VARIANTS.names()
    if isinstance(name, str) and preset in get_args(Preset) and not foreign:
        nested["gan"] = {**variant_preset(name, preset).model_dump(), **gan}
    try:
        config = TrialConfig.model_validate(nested, context={"stored": stored})
    except ValidationError as error:
        raise UserError(validation_sentence(error)) from None
    batch, n_critic = config.gan.batch_size, config.gan.n_critic
    if config.images < batch * n_critic:
        raise UserError(
            f"images={config.images} pays for no round of the game: one shows gan.batch_size {batch} × gan.n_critic "
            f"{n_critic} = {batch * n_critic} real images; raise images or lower gan.batch_size"
        )
    if batch % config.trainer.processes:
        raise UserError(
            f"gan.batch_size={batch} cannot be shared equally by {config.trainer.processes} processes (trainer.devices "
            f"{config.trainer.devices} × trainer.num_nodes {config.trainer.num_nodes}): choose a multiple of them"
        )
    trainer = config.trainer
    if reason := validity.why_not_so(
        config.gan, precision=trainer.precision, compiled=trainer.compile, processes=trainer.processes
    ):
        raise UserError(reason)
    if config.evaluation.every is None:
        evaluation = config.evaluation.model_copy(update={"every": max(config.images // 10, batch)})
        config = config.model_copy(update={"evaluation": evaluation})
    return config


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One flat mapping of dotted keys from nested, dotted or aliased ones; a later layer wins.

    >>> merge({"gan": {"name": "wgan", "n_critic": 5}}, {"gan.n_critic": 1, "dataset": "digits"})
    {'gan.name': 'wgan', 'gan.n_critic': 1, 'data.name': 'digits'}

    Raises:
        UserError: an unknown key, or one layer that gives the same option twice.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        flat: dict[str, Any] = {}
        for key, value in _leaves(layer):
            name = _ALIASES.get(key, key)
            if name not in _KNOWN:
                raise _unknown_option(key)
            if name in flat:
                raise UserError(f"option {name} is given twice, as {_show(flat[name])} and as {_show(value)}: keep one")
            flat[name] = value
        merged.update(flat)
    return merged


def _leaves(mapping: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise UserError(f"option {prefix}{_show(key)}: an option's name is text, so put it in quotes")
        name = prefix + key
        if isinstance(value, Mapping) and (value or name in _SECTIONS):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _unknown_option(key: str) -> UserError:
    if key in _SECTIONS:
        return UserError(f"option {key!r} is a group: give one of {', '.join(_options_of(key))}")
    last = key.rpartition(".")[2]
    near = [option for option in OPTIONS if option.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(key, [*OPTIONS, *_ALIASES], n=1, cutoff=0.6)
    if not near:  # `n_critics` is far from `gan.n_critic` but near to its last part
        lasts = {option.rpartition(".")[2]: option for option in OPTIONS}
        near = [lasts[name] for name in difflib.get_close_matches(last, lasts, n=1)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are {', '.join(OPTIONS)}"
    return UserError(f"unknown option {key!r}: {hint}")


def _options_of(section: str) -> Iterable[str]:
    return (f"{section}.{name}" for name in _SECTIONS[section].model_fields)


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list, such as [fid, kid]",
}


def validation_sentence(failed: ValidationError) -> str:
    """The first of pydantic's errors as a sentence: the dotted key, what is allowed, and what was given."""
    error = failed.errors(include_url=False, include_context=True)[0]
    key = ".".join(map(str, error["loc"]))
    kind, given = error["type"], _show(error["input"])
    limits = error.get("ctx", {})
    if kind == "invalid_point":
        return str(error["msg"])
    if kind == "missing":
        alias = next((alias for alias, option in _ALIASES.items() if option == key), key)
        return f"option {key} is missing: give it as {alias}=…"
    if kind in _TYPES:
        return f"{key} must be {_TYPES[kind]}: got {given}"
    if kind == "literal_error":
        return f"{key} must be {limits['expected']}: got {given}"
    if kind == "too_short":
        return f"{key} must name at least one: got {given}"
    for bound, words in {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}.items():
        if bound in limits:
            return f"{key} must be {words} {limits[bound]:g}: got {given}"
    return f"{key}: {error['msg']} (got {given})"


def _show(value: object) -> str:
    """A value as YAML would say it, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- identity and names


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

_YOUNGER = (
    "health",
    "trainer",
    *(f"data.{name}" for name in ("resize", "crop", "pad", "flip", "skip_broken")),
    *(
        f"gan.{name}"
        for name in (
            *("generator_batch", "ramp_images", "width_at", "generator_width", "max_width", "pooling"),
            *("fade_images", "stabilise_images", "stage_batches", "reset_optimizers"),
            *("condition", "class_weight"),
            *("update", "prediction", "dragan_noise", "balance_target", "balance_rate"),
            *("label_smoothing", "label_flip", "instance_noise"),
            *("critic_norm", "spectral_generator", "attention", "minibatch"),
        )
    ),
)
"""Sections and options (dotted) that the first sweeps did not know: at their defaults, they leave a trial its id."""


def trial_id(config: TrialConfig) -> str:
    """Twelve hexadecimal digits that name the trial: a hash of its resolved configuration.

    On how many devices it is trained is no part of it, as that changes no more than the rounding (as threads do): a
    trial may be continued on other machines, and one that is done is done there too. Its precision is.
    """
    if config.trainer != (trainer := TrainerConfig(precision=config.trainer.precision)):
        config = config.model_copy(update={"trainer": trainer})
    said = config.model_dump()
    for key in _YOUNGER:
        section, _, name = key.rpartition(".")
        model, options = (_SECTIONS[section], said[section]) if section else (TrialConfig, said)
        default = model.model_fields[name].default
        if options[name] == (default.model_dump() if isinstance(default, BaseModel) else default):
            del options[name]
    return hashlib.sha256(_canonical(said).encode()).hexdigest()[:12]


def seedless(config: TrialConfig) -> str:
    """The trial but for its seed: equal for those that are repetitions of each other."""
    return config.model_copy(update={"seed": 0}).model_dump_json()

"""A recipe: one point in objective × constraint × update × network, with its optimisers.

Free of torch, so that a sweep of thousands of configurations resolves without importing it.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gans import validity

STATIC_NETWORKS = ("auto", "mlp", "dcgan", "sndcgan", "resnet", "autoencoder")
"""Our networks that do not grow; others may."""


class Recipe(BaseModel):
    """Everything that tells one GAN from another. Immutable; unknown options and points without sense are errors.

    Losses are functions of logits; the budget is counted in real images shown to the discriminator.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The four axes.
    objective: Literal["minimax", "nonsaturating", "least-squares", "wasserstein", "hinge", "boundary-equilibrium"] = (
        "nonsaturating"
    )
    """The two players' losses (gans/objectives.py)."""
    constraint: Literal[
        "none",
        "clip",
        "gradient-penalty",
        "r1",
        "dragan",
        "spectral-norm",
        "spectral-norm+gradient-penalty",
        "spectral-norm+r1",
        "spectral-norm+dragan",
    ] = "none"
    """What keeps the critic tame (gans/constraints.py): normalised or clipped weights, a penalty on its slope between
    real and fake samples, at real ones (r1) or around them (dragan), or two of these."""
    n_critic: int = Field(default=1, ge=1)
    """Discriminator steps per generator step."""
    update: Literal["alternate", "simultaneous", "extragradient"] = "alternate"
    """Who moves when (gans/updates.py): one after the other, both at once, or both at once after a trial step."""
    prediction: Literal["none", "discriminator", "generator", "both"] = "none"
    """Who answers its opponent's predicted place: where the same move once more would lead the opponent to."""
    network: str = "auto"
    """Network pair (gans/networks); auto: mlp for points, dcgan for images, progressive for growing variants."""
    condition: Literal["none", "concatenate", "auxiliary", "projection"] = "none"
    """How the players are told of the samples' classes (gans/conditions.py); none: not at all."""

    # The axes' own settings.
    lsgan_a: float = 0.0
    """Least squares: the discriminator's target for fakes."""
    lsgan_b: float = 1.0
    """Least squares: the discriminator's target for real images."""
    lsgan_c: float = 1.0
    """Least squares: the generator's target for its fakes."""
    clip: float = Field(default=0.01, gt=0)
    """Weight clipping: every critic weight stays in [−clip, clip]."""
    penalty_weight: float = Field(default=10.0, ge=0)
    """A penalty on the critic's slope: λ. R1's is λ/2·‖∇‖²."""
    penalty_target: float = Field(default=1.0, gt=0)
    """Gradient penalty, DRAGAN: the gradient norm γ that is asked for; the penalty is λ·(‖∇‖−γ)²/γ²."""
    dragan_noise: float = Field(default=0.5, ge=0)
    """DRAGAN: standard deviation of the noise around real samples; images lie in [−1, 1]."""
    drift: float = Field(default=0.0, ge=0)
    """Weight of the mean squared real logit in the critic's loss (progressive growing's ε_drift)."""
    balance_target: float = Field(default=0.5, gt=0, le=1)
    """Boundary equilibrium: γ, the fakes' reconstruction error as a share of the reals'; less: sharper, less varied."""
    balance_rate: float = Field(default=0.001, gt=0)
    """Boundary equilibrium: by how much the fakes' weight k in the critic's loss follows the imbalance each step."""

    # Tricks.
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """The discriminator's target for real samples falls by this share towards that of fakes; fakes' own stays."""
    label_flip: float = Field(default=0.0, ge=0, lt=0.5)
    """Probability that a pair of a real and a fake sample changes its labels in the discriminator's loss."""
    instance_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the noise on all that the discriminator is shown; falls linearly to 0 over the budget."""
    class_weight: float = Field(default=1.0, ge=0)
    """Condition auxiliary: weight of the classifier's cross entropy in both players' losses."""

    # Optimisers.
    optimizer: Literal["adam", "rmsprop"] = "adam"
    lr_generator: float = Field(default=2e-4, gt=0)
    lr_discriminator: float = Field(default=2e-4, gt=0)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    lr_decay: Literal["none", "linear"] = "none"
    """linear: both rates fall to 0 over the budget."""
    batch_size: int = Field(default=64, ge=2)
    """Real images per discriminator step; the generator's step draws as many fakes."""
    generator_batch: int | None = Field(default=None, ge=2)
    """Fakes per generator step, where they are to be another number."""
    ramp_images: int = Field(default=0, ge=0)
    """Both rates rise linearly from 0 over so many real images, anew whenever a growing network's stage begins."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the generator's moving average per generator step, warmed up as min(decay, (1+t)/(10+t)); 0: none."""

    # Networks.
    latent_dim: int = Field(default=64, ge=1)
    """Dimensions of the standard normal latent."""
    width: int = Field(default=32, ge=1)
    """Channels of the layer at the image's own resolution (doubled at each halving); units of an MLP's layers.

    A ResNet for images of up to 32 pixels has 4 times as many in all of its generator, twice as many in its critic."""
    depth: int = Field(default=3, ge=1)
    """Hidden layers of an MLP."""
    width_at: int | None = Field(default=None, ge=4)
    """Side of the feature maps that have `width` channels, in networks that double them; null: the image's own."""
    generator_width: int | None = Field(default=None, ge=1)
    """The generator's own `width`, where it is another than the discriminator's."""
    max_width: int | None = Field(default=None, ge=1)
    """Most channels of any layer of an image network; null: 512, and 16 times `width` in a ResNet."""
    pooling: Literal["sum", "mean"] = "sum"
    """How a ResNet's critic joins the pixels before its last layer."""
    critic_norm: Literal["auto", "batch", "none"] = "auto"
    """Batch normalisation in the discriminator; auto: where nothing constrains it, in networks that have one."""
    spectral_generator: bool = False
    """Divide the generator's weights by their spectral norms, too."""
    attention: int | None = Field(default=None, ge=4)
    """A self-attention block in both players, at their largest feature maps whose side is not larger; null: none."""
    minibatch: Literal["auto", "none", "stddev", "discrimination"] = "auto"
    """What the discriminator is told of a batch's variety before its last layer; auto: stddev if progressive."""

    # Progressive growing: in shares of the budget, so that one recipe fits any budget, unless the phases have lengths.
    start_size: int = Field(default=4, ge=4)
    """Least side of the first stage's images: it is the first from there on that doubles into the full side."""
    fade_share: float = Field(default=0.5, ge=0, le=1)
    """Share of each stage after the first that fades the new block in; the rest stabilises it."""
    fade_images: int = Field(default=0, ge=0)
    """Real images during which a new block is faded in; this and the next both 0: stages share the budget."""
    stabilise_images: int = Field(default=0, ge=0)
    """Real images of the first stage, and of each later one once its block is in; the last goes on to the end."""
    stage_batches: list[list[int]] = []
    """`batch_size` of larger stages as [side, batch] pairs: [[256, 14], [512, 6]] holds from sides 256 and 512 on."""
    reset_optimizers: bool = False
    """Start both optimisers afresh whenever a stage begins."""

    @field_validator("stage_batches")
    @classmethod
    def _check_stage_batches(cls, pairs: list[list[int]]) -> list[list[int]]:
        if any(len(pair) != 2 or pair[0] < 4 or pair[1] < 2 for pair in pairs) or sorted(pairs) != pairs:
            raise PydanticCustomError(
                "stage_batches", "give pairs [side, batch] by rising side with batches from 2, as [[256, 14], [512, 6]]"
            )
        return pairs

    @field_validator("constraint", mode="before")
    @classmethod
    def _check_pair(cls, constraint: object) -> object:
        if isinstance(constraint, str) and (reason := validity.why_no_pair(constraint)):
            raise PydanticCustomError("constraint", "{reason}", {"reason": reason})
        return constraint

    @model_validator(mode="after")
    def _check_point(self, info: ValidationInfo) -> Self:
        if (info.context or {}).get("stored"):  # trained by a version that refused less, and to be read all the same
            return self
        if reason := validity.why_not(self):
            raise PydanticCustomError("invalid_point", "{reason}", {"reason": reason})
        return self

    def batch_at(self, side: int) -> int:
        """Real images per discriminator step while a growing network works on images of that side.

        >>> [Recipe(batch_size=16, stage_batches=[[256, 14], [512, 6]]).batch_at(side) for side in (4, 256, 1024)]
        [16, 14, 6]
        """
        return next((batch for at, batch in reversed(self.stage_batches) if at <= side), self.batch_size)

    def idle(self) -> frozenset[str]:
        """The options that change nothing in this recipe, so that its name need not tell them.

        >>> sorted(Recipe(constraint="clip", network="dcgan").idle() & {"clip", "penalty_weight", "depth"})
        ['depth', 'penalty_weight']
        """
        network = self.network
        grows = network not in STATIC_NETWORKS
        doubles = network not in ("mlp", "resnet", "autoencoder")
        penalty = self.constraint.rpartition("+")[2]
        reads = {
            "clip": self.constraint == "clip",
            "penalty_weight": penalty in ("gradient-penalty", "r1", "dragan"),
            "penalty_target": penalty in ("gradient-penalty", "dragan"),
            "dragan_noise": penalty == "dragan",
            **dict.fromkeys(("lsgan_a", "lsgan_b", "lsgan_c"), self.objective == "least-squares"),
            **dict.fromkeys(("balance_target", "balance_rate"), self.objective == "boundary-equilibrium"),
            **dict.fromkeys(("beta1", "beta2"), self.optimizer == "adam"),
            "class_weight": self.condition == "auxiliary",
            "depth": network not in ("dcgan", "sndcgan", "resnet", "progressive", "autoencoder"),
            "width_at": doubles,
            "max_width": network != "mlp",
            "pooling": network not in ("auto", "mlp", "dcgan", "sndcgan", "progressive", "autoencoder"),
            "critic_norm": self.constraint == "none" and network not in ("mlp", "progressive", "autoencoder"),
            **dict.fromkeys(("attention", "minibatch"), network != "autoencoder"),
            **dict.fromkeys(
                ("start_size", "fade_images", "stabilise_images", "stage_batches", "reset_optimizers"), grows
            ),
            "fade_share": grows and not (self.fade_images or self.stabilise_images),
        }
        return frozenset(name for name, does in reads.items() if not does)

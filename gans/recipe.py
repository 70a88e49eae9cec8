"""A recipe: one point in objective × constraint × update × network, with its optimisers.

Free of torch, so that a sweep of thousands of configurations resolves without importing it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

STATIC_NETWORKS = ("auto", "mlp", "dcgan", "sndcgan", "resnet")
"""Our networks that do not grow; others may."""


class Recipe(BaseModel):
    """Everything that tells one GAN from another. Immutable; unknown options are errors.

    Losses are functions of logits; the budget is counted in real images shown to the discriminator.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The four axes.
    objective: Literal["minimax", "nonsaturating", "least-squares", "wasserstein", "hinge"] = "nonsaturating"
    """The two players' losses (gans/objectives.py)."""
    constraint: Literal["none", "clip", "gradient-penalty", "spectral-norm"] = "none"
    """What keeps the critic tame (gans/constraints.py)."""
    n_critic: int = Field(default=1, ge=1)
    """Discriminator steps per generator step."""
    network: str = "auto"
    """Network pair (gans/networks); auto: mlp for points, dcgan for images, progressive for growing variants."""

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
    """Gradient penalty: λ."""
    penalty_target: float = Field(default=1.0, gt=0)
    """Gradient penalty: the gradient norm γ that is asked for; the penalty is λ·(‖∇‖−γ)²/γ²."""
    drift: float = Field(default=0.0, ge=0)
    """Weight of the mean squared real logit in the critic's loss (progressive growing's ε_drift)."""

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
        doubles = network not in ("mlp", "resnet")
        reads = {
            "clip": self.constraint == "clip",
            "penalty_weight": self.constraint == "gradient-penalty",
            "penalty_target": self.constraint == "gradient-penalty",
            **dict.fromkeys(("lsgan_a", "lsgan_b", "lsgan_c"), self.objective == "least-squares"),
            **dict.fromkeys(("beta1", "beta2"), self.optimizer == "adam"),
            "depth": network not in ("dcgan", "sndcgan", "resnet", "progressive"),
            "width_at": doubles,
            "max_width": network != "mlp",
            "pooling": network not in ("auto", "mlp", "dcgan", "sndcgan", "progressive"),
            **dict.fromkeys(
                ("start_size", "fade_images", "stabilise_images", "stage_batches", "reset_optimizers"), grows
            ),
            "fade_share": grows and not (self.fade_images or self.stabilise_images),
        }
        return frozenset(name for name, does in reads.items() if not does)

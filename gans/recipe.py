"""A recipe: one point in objective × constraint × update × network, with its optimisers.

Free of torch, so that a sweep of thousands of configurations resolves without importing it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the generator's moving average per generator step, warmed up as min(decay, (1+t)/(10+t)); 0: none."""

    # Networks.
    latent_dim: int = Field(default=64, ge=1)
    """Dimensions of the standard normal latent."""
    width: int = Field(default=32, ge=1)
    """Channels of the layer at the image's own resolution (doubled at each halving); units of an MLP's layers."""
    depth: int = Field(default=3, ge=1)
    """Hidden layers of an MLP."""

    # Progressive growing, in shares of the budget so that one recipe fits any budget.
    start_size: int = Field(default=4, ge=4)
    """Side of the first stage's images, a power of two."""
    fade_share: float = Field(default=0.5, ge=0, le=1)
    """Share of each stage after the first that fades the new block in; the rest stabilises it."""

    def idle(self) -> frozenset[str]:
        """The options that change nothing in this recipe, so that its name need not tell them.

        >>> sorted(Recipe(constraint="clip", network="dcgan").idle() & {"clip", "penalty_weight", "depth"})
        ['depth', 'penalty_weight']
        """
        reads = {
            "clip": self.constraint == "clip",
            "penalty_weight": self.constraint == "gradient-penalty",
            "penalty_target": self.constraint == "gradient-penalty",
            **dict.fromkeys(("lsgan_a", "lsgan_b", "lsgan_c"), self.objective == "least-squares"),
            **dict.fromkeys(("beta1", "beta2"), self.optimizer == "adam"),
            "depth": self.network not in ("dcgan", "progressive"),
            **dict.fromkeys(("start_size", "fade_share"), self.network not in ("auto", "mlp", "dcgan")),
        }
        return frozenset(name for name, does in reads.items() if not does)

"""What the convolutional networks are made of: sized by the caller, with the initial weights of their papers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, embedding, interpolate, pad, relu

if TYPE_CHECKING:
    from torch import Tensor

_RECTIFIED = 2**0.5
"""Gain of the weights behind or before a rectifier, which loses half the variance."""


def from_latent(latent_dim: int, features: int, side: int, *, bias: bool = True) -> list[nn.Module]:
    """Layers (B, latent_dim) → (B, features, side, side): a generator's first feature maps."""
    return [nn.Linear(latent_dim, features * side**2, bias=bias), nn.Unflatten(1, (features, side, side))]


def normal_weights(layer: nn.Module, std: float = 0.02) -> None:
    """Draw a linear or convolutional layer's weights from N(0, std) and zero its bias; leave any other layer."""
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def glorot_weights(layer: nn.Module, gain: float = 1.0) -> None:
    """Draw a linear or convolutional layer's weights uniformly with variance gain²·2/(fan_in + fan_out), zero its bias.

    Leaves any other layer.
    """
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight, gain)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class UpConv2d(nn.Conv2d):
    """Doubles the side by nearest neighbour, then convolves 3×3: (B, inputs, H, W) → (B, outputs, 2H, 2W).

    Computed as one transposed convolution of stride 2: every pixel that is doubled meets the kernel's weights in sums
    of one, two or four, so 4 products do what 9 would.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """The enlarged and convolved maps."""
        kernel = _shifted_sum(self.weight.flip(2, 3)).transpose(0, 1)
        return conv_transpose2d(input, kernel, self.bias, stride=2, padding=1)


class DownConv2d(nn.Conv2d):
    """Convolves 3×3, then takes the mean of each 2×2 pixels: (B, inputs, H, W) → (B, outputs, H/2, W/2), H and W even.

    Computed as one 4×4 convolution of stride 2, in 16 products for 36.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """The convolved and pooled maps."""
        return conv2d(input, _shifted_sum(self.weight) / 4, self.bias, stride=2, padding=1)


def _shifted_sum(kernel: Tensor) -> Tensor:
    """The sum of a (…, 3, 3) kernel's four copies in the corners of (…, 4, 4): the kernel seen by 2×2 equal pixels."""
    wide = pad(kernel, (1, 1, 1, 1))
    rows = wide[..., 1:, :] + wide[..., :-1, :]
    return rows[..., 1:] + rows[..., :-1]


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation with a scale and a shift for each class (Dumoulin et al. 2017; de Vries et al. 2017).

    Args:
        norm: the normalisation in whose place it stands, and whose scale and shift every class starts with.
        classes: K.
    """

    takes_labels = True

    def __init__(self, norm: nn.BatchNorm2d, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, affine=False)
        # parameters, not embeddings: a generator's spectral normalisation leaves them as it leaves any scale
        self.scale = nn.Parameter(norm.weight.detach().repeat(classes, 1))
        self.shift = nn.Parameter(norm.bias.detach().repeat(classes, 1))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """(B, C, H, W) and (B,) → the same shape as x; statistics over the batch of all classes."""
        scale, shift = (embedding(labels, table)[:, :, None, None] for table in (self.scale, self.shift))
        return torch.addcmul(shift, self.norm(x), scale)


def with_labels(layer: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    """What the layer makes of x, and of the labels if it takes them (it then says `takes_labels`)."""
    out: Tensor = layer(x, labels) if getattr(layer, "takes_labels", False) else layer(x)
    return out


class ResBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut: (B, inputs, H, W) → (B, outputs, H', W').

    Normalisation and ReLU come before each convolution, so that the shortcut carries what the block before gave. H' is
    2H or H/2 where the block resizes. The shortcut is a 1×1 convolution where the block resizes or its channels
    change, computed at the smaller side, where it gives the same; else the identity. Glorot's weights, those of the
    3×3 convolutions with the rectifier's gain (the same in the code of both papers).

    Args:
        inputs: channels before.
        outputs: channels after.
        hidden: channels between the two convolutions.
        resize: "up" before the first convolution, "down" after the second, or neither.
        batch_norm: normalise before each ReLU.
        image: the block takes the image itself, which is neither normalised nor rectified.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int,
        *,
        resize: Literal["up", "down", "no"] = "no",
        batch_norm: bool = False,
        image: bool = False,
    ) -> None:
        super().__init__()
        self.resize = resize
        self.image = image
        self.norm1 = nn.BatchNorm2d(inputs) if batch_norm and not image else nn.Identity()
        self.conv1 = UpConv2d(inputs, hidden) if resize == "up" else nn.Conv2d(inputs, hidden, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(hidden) if batch_norm else nn.Identity()
        self.conv2 = DownConv2d(hidden, outputs) if resize == "down" else nn.Conv2d(hidden, outputs, 3, padding=1)
        for convolution in (self.conv1, self.conv2):
            glorot_weights(convolution, _RECTIFIED)
        self.shortcut = None
        if inputs != outputs or resize != "no":
            self.shortcut = nn.Conv2d(inputs, outputs, 1)
            glorot_weights(self.shortcut)

    @property
    def takes_labels(self) -> bool:
        """Whether its normalisations are conditional."""
        return any(isinstance(norm, ConditionalBatchNorm2d) for norm in (self.norm1, self.norm2))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The sum of both ways."""
        inner: Tensor = x if self.image else relu(with_labels(self.norm1, x, labels))
        inner = self.conv2(relu(with_labels(self.norm2, self.conv1(inner), labels)))
        if self.resize == "down":
            x = avg_pool2d(x, 2)
        if self.shortcut is not None:
            x = self.shortcut(x)
        if self.resize == "up":
            x = interpolate(x, scale_factor=2)
        return inner + x

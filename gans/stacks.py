"""K networks of one architecture computed as one: (K, B, …) → (K, B, …), sample by sample what each would compute.

Fully connected networks are multiplied in one batched product a layer, which is what makes small ones fast; for any
other network `torch.func` maps its forward pass over the members' stacked weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import normalize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized

from ganbench.errors import UserError


class Stack(nn.Module):
    """The members' weights and buffers with one more dimension in front; `torch.func` computes with them.

    Args:
        members: networks of one architecture, at least one; their weights are copied.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = len(members)
        # in a list, as the state and the parameters are the stacked ones alone
        self._one = [copy.deepcopy(members[0]).to("meta")]
        for name, first in members[0].named_parameters():
            stacked = torch.stack([member.get_parameter(name).detach() for member in members])
            self.register_parameter(_flat(name), nn.Parameter(stacked, requires_grad=first.requires_grad))
        for name, _ in members[0].named_buffers():
            self.register_buffer(_flat(name), torch.stack([member.get_buffer(name) for member in members]))

    def tensor(self, name: str) -> Tensor:
        """A parameter or buffer, by its name in a member: (K, …)."""
        stacked: Tensor = getattr(self, _flat(name))
        return stacked

    def bind(self, members: Sequence[nn.Module]) -> None:
        """Let the members' own weights and buffers be views of ours: they then follow every step, and cost nothing."""
        for place, member in enumerate(members):
            for name, own in (*member.named_parameters(), *member.named_buffers()):
                own.data = self.tensor(name).data[place]

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`."""
        self._one[0].train(mode)
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """(K, B, …) → (K, B, …), each member on its own batch."""
        one = self._one[0]
        weights = {name: self.tensor(name) for name, _ in (*one.named_parameters(), *one.named_buffers())}
        mapped = vmap(lambda own, batch: functional_call(one, own, (batch,)))
        out: Tensor = mapped(weights, x)
        return out

    def check(self, x: Tensor) -> None:
        """Raise `UserError` where `torch.func` cannot map the members over `x`; nothing is changed."""
        try:
            with torch.no_grad():
                copy.deepcopy(self)(x)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0].partition(". ")[0]
            raise UserError(f"its networks cannot be mapped over its members ({reason})") from error


class LinearStack(Stack):
    """A `Stack` of what `is_linear` accepts: torch.func's own cost is more than such a network's."""

    def forward(self, x: Tensor) -> Tensor:
        """As `Stack.forward`."""
        for name, layer in self._one[0].named_children():
            if isinstance(layer, nn.Linear):
                weight = self._weight(name, layer).mT
                if cast("Tensor | None", layer.bias) is None:
                    x = torch.bmm(x, weight)
                else:
                    x = torch.baddbmm(self.tensor(f"{name}.bias").unsqueeze(1), x, weight)
            elif isinstance(layer, nn.Flatten):
                x = x.flatten(layer.start_dim + 1, layer.end_dim)
            else:
                x = layer(x)
        return x

    def _weight(self, name: str, layer: nn.Linear) -> Tensor:
        norm = _spectral_norm(layer)
        if norm is None:
            return self.tensor(f"{name}.weight")
        own = f"{name}.parametrizations.weight"
        u, v = self.tensor(f"{own}.0._u"), self.tensor(f"{own}.0._v")
        return _divided_by_norm(self.tensor(f"{own}.original"), u, v, eps=norm.eps, iterate=self.training)


def is_linear(network: nn.Module) -> bool:
    """Whether it is a sequence of linear layers, spectrally normalised or not, and of functions of single numbers."""
    if not isinstance(network, nn.Sequential):
        return False
    return all(_is_linear_layer(layer) or _is_plain(layer) for layer in network)


def stacked(members: Sequence[nn.Module]) -> Stack:
    """The `Stack` that computes these members fastest."""
    return (LinearStack if is_linear(members[0]) else Stack)(members)


def _is_linear_layer(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Linear):
        return False
    return not is_parametrized(layer) or _spectral_norm(layer) is not None


def _spectral_norm(layer: nn.Linear) -> _SpectralNorm | None:
    """What normalises the layer's weight, where nothing else changes the layer."""
    if not is_parametrized(layer):
        return None
    (name, steps), *others = cast("nn.ModuleDict", layer.parametrizations).items()
    (step, *more) = cast("nn.ModuleList", steps)
    alone = name == "weight" and not others and not more
    return step if alone and isinstance(step, _SpectralNorm) else None


def _is_plain(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Flatten):
        return layer.start_dim >= 0
    return type(layer) in (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Identity)


def _divided_by_norm(weight: Tensor, u: Tensor, v: Tensor, *, eps: float, iterate: bool) -> Tensor:
    """W/σ(W) of each member, as `gans.constraints.SpectralNorm` has it; `iterate` moves u and v one step on.

    (K, out, in), (K, out) and (K, in) → (K, out, in).
    """
    if iterate:
        with torch.no_grad():
            u.copy_(normalize(_times(weight, v), dim=-1, eps=eps))
            v.copy_(normalize(_times(weight.mT, u), dim=-1, eps=eps))
    u, v = u.clone(), v.clone()  # the next step moves the buffers before a second backward pass is done with them
    sigma = (u * _times(weight, v)).sum(-1)
    return weight / sigma[:, None, None]


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.bmm(matrix, vector.unsqueeze(-1)).squeeze(-1)


def _flat(name: str) -> str:
    return name.replace(".", "/")  # a dot would be a submodule's

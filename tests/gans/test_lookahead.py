"""Parameters are moved for one look and come back to the last bit."""

import pytest
import torch
from torch import nn

from gans.lookahead import predicted, restore, snapshot

OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_predicted_place_is_as_far_ahead_as_the_last_step_led(name):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimiser = OPTIMISERS[name](network.parameters())
    before = snapshot(network.parameters())
    network(torch.ones(2, 3)).square().mean().backward()
    optimiser.step()
    after = snapshot(network.parameters())
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    with predicted(network.parameters(), before):
        for parameter, old, new in zip(network.parameters(), before, after, strict=True):
            torch.testing.assert_close(parameter.detach(), 2 * new - old)
    for parameter, new, gradient in zip(network.parameters(), after, gradients, strict=True):
        assert torch.equal(parameter, new)
        assert torch.equal(parameter.grad, gradient)


def test_the_parameters_come_back_when_the_look_fails():
    parameter = nn.Parameter(torch.tensor([0.1, 1e8]))
    now = parameter.detach().clone()
    with pytest.raises(RuntimeError, match="stumbled"), predicted([parameter], [torch.tensor([3.0, 1.0])]):
        raise RuntimeError("stumbled")
    assert torch.equal(parameter, now)


def test_a_snapshot_is_a_copy_without_gradients():
    parameter = nn.Parameter(torch.ones(2))
    (kept,) = snapshot([parameter])
    restore([parameter], [torch.zeros(2)])
    assert kept.tolist() == [1.0, 1.0]
    assert not kept.requires_grad
    assert parameter.requires_grad

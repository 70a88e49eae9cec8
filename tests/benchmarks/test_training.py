"""The speed benchmark compares equals: a trial's training and the bare loop end with the same bits."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

SIZES = {
    "dcgan": ({"batch_size": 8, "width": 4}, 12),
    "resnet": ({"batch_size": 4, "width": 1}, 4),
    "mlp": ({"batch_size": 8, "width": 8}, 60),
}
"""Options of a tiny network of each kind, and rounds: more than fit one call of `training_step`."""


@pytest.fixture(scope="module")
def training():
    spec = importlib.util.spec_from_file_location("training_benchmark", Path(__file__).with_name("training.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # which a run changes
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=SIZES)
def network(request, training):
    (full,) = (n for n in training.NETWORKS if n.name.startswith(request.param))
    options, rounds = SIZES[request.param]
    return replace(full, rounds=rounds, options={**full.options, **options})


def test_bare_loop_ends_with_the_same_bits(training, network):
    row = training.compare(network, repeats=1)
    assert row["identical"]
    assert row["ours_rounds_per_s"] > 0
    assert row["ratio_min"] == row["ratio"] == row["ratio_max"]


def test_another_arithmetic_is_told_apart(training, network):
    other = replace(network, options={**network.options, "ema_decay": 0.05})
    digests = [training.bare(at).digest for at in (network, other, replace(other, rounds=network.rounds - 1))]
    assert len(set(digests)) == 3


def test_the_peers_step_trains_the_same_networks_otherwise(training, network):
    network = replace(network, rounds=2)
    run = training.peer(network)
    assert run.digest not in {training.bare(network).digest, training.peer(replace(network, rounds=1)).digest}
    assert run.seconds > 0


def test_options_are_compared_with_the_defaults(training, network):
    rows = training.compare_options(replace(network, rounds=2), 1, {"fused=false": {"fused": False}})
    assert [row["option"] for row in rows] == ["default", "fused=false"]
    assert rows[0]["ratio"] == 1
    assert all(row["images_per_s"] > 0 and row["ratio_min"] == row["ratio"] for row in rows)

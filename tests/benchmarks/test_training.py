"""The speed benchmark compares equals: a trial's training and the bare loop end with the same bits."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

SIZES = {"dcgan": {"batch_size": 8, "width": 4}, "mlp": {"batch_size": 8, "width": 8}}


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
    """A tiny network of each kind, over more rounds than fit one call of `training_step`."""
    (full,) = (n for n in training.NETWORKS if n.name.startswith(request.param))
    return replace(full, rounds=60, options={**full.options, **SIZES[request.param]})


def test_bare_loop_ends_with_the_same_bits(training, network):
    row = training.compare(network, repeats=1)
    assert row["identical"]
    assert row["ours_rounds_per_s"] > 0
    assert row["ratio_min"] == row["ratio"] == row["ratio_max"]


def test_another_arithmetic_is_told_apart(training, network):
    other = replace(network, options={**network.options, "ema_decay": 0.5})
    assert (
        training.bare(network).digest != training.bare(other).digest != training.bare(replace(other, rounds=59)).digest
    )

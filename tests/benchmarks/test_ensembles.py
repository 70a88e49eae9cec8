"""The benchmark of ensembles times what it says: both sides train, and its rows hold what is read of them."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def ensembles():
    spec = importlib.util.spec_from_file_location("ensembles_benchmark", Path(__file__).with_name("ensembles.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_both_sides_play_the_same_trials(ensembles):
    setting = replace(ensembles.SETTINGS[0], options={"gan.width": 4, "gan.batch_size": 8})
    row = ensembles.compare(setting, members=2, rounds=60, repeats=1)
    assert row["members"] == 2
    assert min(row["in_turn_rounds_per_s"], row["together_rounds_per_s"]) > 0
    assert row["ratio_min"] == row["ratio"] == row["ratio_max"]
    assert row["ratio"] == pytest.approx(row["together_rounds_per_s"] / row["in_turn_rounds_per_s"])


def test_every_setting_can_be_trained_as_an_ensemble(ensembles):
    from harness.precheck import check_ensembles

    for setting in (*ensembles.SETTINGS, *ensembles.MORE):
        check_ensembles(setting.trials(2, 10))

"""The sweep benchmark runs, compares equals and says what it measured; how fast is for a quiet machine to tell."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("sweeps.py")


def measure(*options: str) -> dict:
    run = subprocess.run([sys.executable, SCRIPT, "--quick", *options], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(run.stdout)


@pytest.mark.slow
def test_sweeps_and_fresh_processes_end_with_the_same_scores():
    report = measure("--only", "throughput", "--tracking", "disabled")
    row = report["throughput"]
    assert row["identical"]
    assert row["trials"] == 2
    assert row["fresh_trials"] == 1
    assert row["tracking"] == "disabled"
    assert row["seconds_per_trial"].keys() == {"one_worker", "two_workers", "fresh", "fresh_two"}
    assert row["speedup"] == pytest.approx(
        row["seconds_per_trial"]["one_worker"] / row["seconds_per_trial"]["two_workers"]
    )
    assert row["over_fresh"] > 0
    assert "queue" not in report


@pytest.mark.slow
def test_the_queue_is_started_shown_and_taken_up_again():
    report = measure("--only", "queue", "--tracking", "disabled")
    row = report["queue"]
    assert row["trials"] == 100
    costs = {name: cost for name, cost in row.items() if isinstance(cost, dict)}
    assert costs.keys() == {
        "start", "status_begun", "status_half_done", "resume_half_done", "status_one_left", "resume_one_left",
    }  # fmt: skip
    for cost in costs.values():
        assert cost["within_target"] == (cost["seconds"] < row["seconds_target"])  # 100 trials fill no memory
        assert cost["cpu_seconds"] > 0
        assert 0 < cost["megabytes"] < row["megabytes_target"]
    assert row["first_process_s"] > costs["start"]["seconds"]
    assert "throughput" not in report


def test_a_queue_that_would_be_of_another_length_is_refused():
    run = subprocess.run([sys.executable, SCRIPT, "--queue", "10"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "queue is a multiple of 20" in run.stderr

"""For every test: one thread, no waiting for a disk, hypothesis without deadlines (it may import), and devices.

A test that takes `device` runs on the CPU and, where there is one, on a GPU. Only CPUs promise equal bits.
"""

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: trials and tests compare bits

import pytest
from hypothesis import settings

settings.register_profile("ganbench", deadline=None, derandomize=True)
settings.load_profile("ganbench")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """Where to play: "cpu" or "cuda"."""
    return str(request.param)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `cuda`, or `cuda(gpus=2)`, where so many GPUs are not to be had."""
    if marker := item.get_closest_marker("cuda"):
        import torch

        needed = marker.kwargs.get("gpus", 1)
        if torch.cuda.device_count() < needed:
            pytest.skip(f"needs {needed} GPU" + "s" * (needed > 1))


@pytest.fixture(autouse=True, scope="session")
def disk_that_is_not_waited_for() -> Iterator[None]:
    """In this process: 10 ms a file, thirty files a trial, and no test takes the machine's power away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield

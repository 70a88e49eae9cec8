"""For every test: one thread, no waiting for a disk, and hypothesis without deadlines (a first call may import)."""

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: trials and tests compare bits

import pytest
from hypothesis import settings

settings.register_profile("ganbench", deadline=None, derandomize=True)
settings.load_profile("ganbench")


@pytest.fixture(autouse=True, scope="session")
def disk_that_is_not_waited_for() -> Iterator[None]:
    """In this process: 10 ms a file, thirty files a trial, and no test takes the machine's power away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield

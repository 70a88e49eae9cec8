"""For every test: one thread, and hypothesis without deadlines (a first call may import for seconds)."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: trials and tests compare bits

from hypothesis import settings

settings.register_profile("ganbench", deadline=None, derandomize=True)
settings.load_profile("ganbench")

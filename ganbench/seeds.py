"""Counter-based randomness: every draw has its own seed, named by what it is for.

A stream that is a pure function of (root seed, purpose, counters) needs no state to be saved for an
exact resume, and a new consumer of randomness disturbs none of the others.
"""

from __future__ import annotations

import hashlib


def derive(root: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed for one draw: a hash of the root seed, the purpose and the counters.

    63 bits so that it fits `torch.Generator.manual_seed` and `numpy.random.default_rng` alike.

    >>> derive(0, "noise", 7) == derive(0, "noise", 7) != derive(0, "noise", 8)
    True
    """
    text = f"{root}/{purpose}/{'/'.join(map(str, counters))}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1

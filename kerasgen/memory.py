"""Keep freed memory in the process instead of giving it back to the system."""

from __future__ import annotations

import ctypes

# Of mallopt(3), glibc.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
MIB = 2**20


def keep_freed_memory() -> None:
    """Let the allocator keep what is freed; does nothing where it is not glibc's.

    Every operation of TensorFlow allocates the memory of its result. By default glibc takes large
    blocks from the system and gives them back, which then clears every page for every operation:
    a quarter of a training step (benchmarks/pxd_biggan_trials.md, Cost).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 64 * MIB)

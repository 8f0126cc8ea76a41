"""Freed memory stays in the process, so that it is not cleared again for every operation."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ARRAYS = """
import resource
import numpy as np
from kerasgen.memory import keep_freed_memory

if {keep}:
    keep_freed_memory()
np.ones(2**22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(2**22)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool) -> int:
    """Pages that a process of its own is given while it makes 50 arrays one after the other."""
    code = [sys.executable, "-c", ARRAYS.format(keep=keep)]
    return int(subprocess.run(code, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_arrays_of_the_same_size_take_the_same_memory() -> None:
    assert faults(keep=True) < 0.1 * faults(keep=False)

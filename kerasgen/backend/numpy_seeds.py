"""Counter-based random numbers in numpy: those of ``kerasgen.backend.seeds``, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x1E3779B97F4A7C15  # moves 0, the fixed point of ``mixed``, away from itself


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): mixes all bits."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


def key_at(key: Any, place: Any) -> NDArray[np.int64]:
    """Key of one of many streams of a key.

    Args:
        key: int64, any shape.
        place: int64, number of the stream, in a shape that fits.
    """
    words = np.atleast_1d(np.asarray(place, np.int64)).astype(np.uint64) + np.uint64(GOLDEN)
    return mixed(np.asarray(key, np.int64).astype(np.uint64) + mixed(words)).astype(np.int64)


def uniform_at(key: Any, place: Any) -> NDArray[np.float32]:
    """A number on [0, 1) at an index, which does not depend on the others requested."""
    bits = key_at(key, place).astype(np.uint64) >> np.uint64(40)
    return bits.astype(np.float32) * np.float32(2.0**-24)

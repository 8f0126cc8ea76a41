"""Occupancy of generated images relative to the data's."""

from __future__ import annotations

from typing import Any

from keras import ops

# Far below one pixel of any sensor, and a normal float32.
TINY = 1e-20


def occupancy_ratio(fired: Any, expected: Any) -> Any:
    """Fraction of fired pixels of each image over the expected one, [B].

    Of a dead sensor (expected 0) it is 1 without hits, and huge with any.

    Arguments:
        fired: [B, ...], 1 where a pixel fires, else 0.
        expected: [B], fraction of fired pixels in the data of this sensor.
    """
    share = ops.mean(ops.cast(fired, "float32"), axis=tuple(range(1, len(fired.shape))))
    return (share + TINY) / (expected + TINY)

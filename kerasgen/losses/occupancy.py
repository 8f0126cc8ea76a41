"""Occupancy of generated images relative to that of the data."""

from __future__ import annotations

from typing import Any

from keras import ops

# Far below one pixel of any sensor, but not subnormal in float32.
TINY = 1e-20


def occupancy_ratio(fired: Any, expected: Any) -> Any:
    """Ratio of each image's fraction of fired pixels to the expected fraction, [B].

    For a dead sensor (expected 0) the ratio is 1 without hits and very large otherwise.

    Args:
        fired: [B, ...], 1 where a pixel fires, else 0.
        expected: [B], fraction of fired pixels in the data of each image's sensor.
    """
    fraction = ops.mean(ops.cast(fired, "float32"), axis=tuple(range(1, len(fired.shape))))
    return (fraction + TINY) / (expected + TINY)

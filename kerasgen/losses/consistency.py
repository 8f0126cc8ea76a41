"""Consistency regularisation: the discriminator must not react to a small shift."""

from __future__ import annotations

from typing import Any

from keras import ops


def consistency(before: Any, after: Any) -> Any:
    """Consistency loss mean |D(T(x)) - D(x)|^2 over all elements (arXiv:1910.12027, eq. 2)."""
    return ops.mean(ops.square(ops.cast(after, "float32") - ops.cast(before, "float32")))


def shift_images(x: Any, offset: Any, limit: int, empty: float = -1.0) -> Any:
    """Augmentation T: shift each image by its own offset and fill with empty pixels.

    T has no flips: a flipped image shows another sensor (the v pitch changes along a sensor, and
    the Lorentz drift has a direction).

    Args:
        x: [B, H, W, C], images.
        offset: [B, 2] int, pixels along u and v, within [-limit, limit].
        limit: largest shift, pixels.
        empty: value of an empty pixel.
    """
    _, height, width, _ = x.shape
    pad = [[0, 0], [limit, limit], [limit, limit], [0, 0]]
    padded = ops.pad(x, pad, constant_values=empty)
    rows = limit - offset[:, 0:1] + ops.arange(height, dtype="int32")[None, :]  # [B, H]
    cols = limit - offset[:, 1:2] + ops.arange(width, dtype="int32")[None, :]  # [B, W]
    moved = ops.take_along_axis(padded, rows[:, :, None, None], axis=1)
    return ops.take_along_axis(moved, cols[:, None, :, None], axis=2)

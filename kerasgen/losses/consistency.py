"""Consistency regularisation: the discriminator's answer must not change under a small shift."""

from __future__ import annotations

from typing import Any

from keras import ops


def consistency(before: Any, after: Any) -> Any:
    """mean |D(T(x)) - D(x)|^2 (arXiv:1910.12027, eq. 2), over all elements of the two tensors."""
    return ops.mean(ops.square(ops.cast(after, "float32") - ops.cast(before, "float32")))


def shift(x: Any, offset: Any, limit: int, empty: float = -1.0) -> Any:
    """T: move each image [B, H, W, C] by its own offset; what comes in is empty.

    Only shifts: a flip would change the sensor (the v pitch changes along it, and the Lorentz
    drift has a side).

    Arguments:
        offset: [B, 2] int, pixels along u and v, within [-limit, limit].
        limit: largest shift, pixels.
        empty: value of an empty pixel.
    """
    _, height, width, _ = x.shape
    pad = [[0, 0], [limit, limit], [limit, limit], [0, 0]]
    padded = ops.pad(x, pad, constant_values=empty)
    rows = limit - offset[:, 0:1] + ops.arange(height)[None, :]  # [B, H]
    cols = limit - offset[:, 1:2] + ops.arange(width)[None, :]  # [B, W]
    moved = ops.take_along_axis(padded, rows[:, :, None, None], axis=1)
    return ops.take_along_axis(moved, cols[:, None, :, None], axis=2)

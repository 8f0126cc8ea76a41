"""Layers of point sets: they do not depend on the order of the points."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class SetLayer(keras.layers.Layer):
    """Residual update of the vector of a set, then of its points, each of which sees that vector.

    As in EPiC (arXiv:2301.08128), the set sees its points only as their mean and maximum.

    Args:
        width: W, numbers of a point.
        context: G, numbers of the set.
        options: of ``keras.layers.Layer``.
    """

    def __init__(self, width: int, context: int, **options: Any) -> None:
        super().__init__(**options)
        dense, dtype = keras.layers.Dense, self.dtype_policy
        self.gather = dense(context, activation="silu", name="gather", dtype=dtype)
        self.update_set = dense(context, name="update_set", dtype=dtype)
        self.spread = dense(width, use_bias=False, name="spread", dtype=dtype)
        self.hidden = dense(width, name="hidden", dtype=dtype)
        self.update_point = dense(width, name="update_point", dtype=dtype)

    def call(self, points: Any, context: Any, present: Any) -> tuple[Any, Any]:
        """Updated points and set.

        Args:
            points: [B, P, W].
            context: [B, G].
            present: [B, P, 1], 1 for points and 0 elsewhere.
        """
        seen = ops.concatenate([context, pooled(points, present)], axis=-1)
        context = context + self.update_set(self.gather(seen))
        inner = self.hidden(ops.silu(points)) + self.spread(context)[:, None]
        return points + self.update_point(ops.silu(inner)), context


def pooled(x: Any, present: Any) -> Any:
    """Mean and maximum over present points: [B, P, W], [B, P, 1] -> [B, 2 W]."""
    present = ops.cast(present, x.dtype)
    total = ops.sum(x * present, axis=1)
    mean = total / ops.maximum(ops.sum(present, axis=1), 1.0)
    highest = ops.max(ops.where(present > 0, x, ops.cast(-1e4, x.dtype)), axis=1)
    return ops.concatenate([mean, highest], axis=-1)

"""Layers of point sets: they do not depend on the order of the points."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

ABSENT = -1e5  # logit of a place without a point


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


class PointAttention(keras.layers.Layer):
    """Residual update of points by attention among them (arXiv:1706.03762), more to near ones.

    From the logit of points i and j a head subtracts s |x_i - x_j|^2. The scale s is learned; the
    heads start with scales from ``FAR`` to ``NEAR``.

    Args:
        width: W, numbers of a point.
        heads: H, divides W.
        options: of ``keras.layers.Layer``.
    """

    FAR, NEAR = 0.1, 10.0

    def __init__(self, width: int, heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.heads, self.size = heads, width // heads
        dtype = self.dtype_policy
        self.normal = keras.layers.LayerNormalization(epsilon=1e-5, name="normal", dtype=dtype)
        self.project = keras.layers.Dense(3 * width, name="project", dtype=dtype)
        self.out = keras.layers.Dense(width, name="out", dtype=dtype)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        scales = np.geomspace(self.FAR, self.NEAR, self.heads, dtype=np.float32)
        self.log_scale = self.add_weight(
            shape=(self.heads,), initializer=lambda shape, dtype: ops.log(scales),
            name="log_scale", dtype="float32", autocast=False,
        )  # fmt: skip

    def call(self, points: Any, places: Any, present: Any) -> Any:
        """Updated points.

        Args:
            points: [B, P, W].
            places: [B, P, 2], x.
            present: [B, P, 1], 1 for points and 0 elsewhere.
        """
        shape = (-1, points.shape[1], 3, self.heads, self.size)
        parts = ops.reshape(self.project(self.normal(points)), shape)
        # [B, P, 3, H, D] -> [3, B, H, P, D]
        query, key, value = ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)), num=3, axis=0)
        weights = ops.softmax(self.logits(query, key, places, present), axis=-1)
        seen = ops.matmul(ops.cast(weights, value.dtype), value)
        seen = ops.reshape(ops.transpose(seen, (0, 2, 1, 3)), (-1, *points.shape[1:]))
        return points + self.out(seen)

    def logits(self, query: Any, key: Any, places: Any, present: Any) -> Any:
        """Logits of attention, [B, H, P, P] float32, from query and key [B, H, P, D]."""
        query, key, place = (ops.cast(x, "float32") for x in (query, key, places))
        scale = ops.exp(self.log_scale)[:, None, None]
        place, there = place[:, None], ops.cast(present, "float32")[:, None]
        # 2 x_i x_j - x_j^2 differs from -|x_i - x_j|^2 by what all j have in common.
        square = ops.sum(ops.square(place), axis=-1, keepdims=True)
        own = ops.where(there > 0, -scale * square, ABSENT)
        far = 2.0 * scale * place
        query = ops.concatenate([query / math.sqrt(self.size), far, ops.ones_like(own)], -1)
        places_of_all = ops.broadcast_to(place, ops.shape(far))
        key = ops.concatenate([ops.concatenate([key, places_of_all], -1) * there, own], -1)
        return ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))


def pooled(x: Any, present: Any) -> Any:
    """Mean and maximum over present points: [B, P, W], [B, P, 1] -> [B, 2 W]."""
    present = ops.cast(present, x.dtype)
    total = ops.sum(x * present, axis=1)
    mean = total / ops.maximum(ops.sum(present, axis=1), 1.0)
    highest = ops.max(ops.where(present > 0, x, ops.cast(-1e4, x.dtype)), axis=1)
    return ops.concatenate([mean, highest], axis=-1)

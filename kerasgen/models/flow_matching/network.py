"""The velocity field: how fast each point of a set moves at a time between noise and data.

It sees all points at once and does not depend on their order. The state of a layer is one vector
per point and one of the whole set (E. Buhmann et al., EPiC-GAN, arXiv:2301.08128), so that its cost
grows with the number of points, not with its square.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasgen.layers.set_layer import PointAttention, SetLayer, pooled
from kerasgen.models.flow_matching.settings import NetworkSettings
from kerasgen.models.set_summary import CENTRES

NEAR = 0.5, 8.0  # 1 / square of distances, normalised
FREQUENCIES = 8  # of the time, each as sine and cosine
TIME_FEATURES = 2 * FREQUENCIES + 1


class VelocityField(keras.Model):
    """(points, time, mask, condition) -> velocities.

    Args:
        settings: recipe keys.
        options: of ``keras.Model``.
    """

    def __init__(self, settings: NetworkSettings, **options: Any) -> None:
        super().__init__(autocast=False, **options)  # places stay exact, layers cast for themselves
        dense, dtype = keras.layers.Dense, self.dtype_policy
        self.point = dense(settings.width, name="point", dtype=dtype)
        self.set = dense(settings.context, activation="silu", name="set", dtype=dtype)
        self.layers_of_sets = [
            SetLayer(settings.width, settings.context, name=f"layer{k}", dtype=dtype)
            for k in range(settings.layers)
        ]
        self.attention = [
            PointAttention(settings.width, settings.heads, name=f"attention{k}", dtype=dtype)
            for k in range(settings.layers if settings.heads else 0)
        ]
        self.head = dense(3, kernel_initializer="zeros", name="head", dtype="float32")
        self.gain = dense(3, kernel_initializer="zeros", name="gain", dtype="float32")

    def call(self, points: Any, time: Any, mask: Any, condition: Any, centres: Any) -> Any:
        """Velocities of points.

        Args:
            points: [B, P, 3], normalised.
            time: [B], 0 (noise) to 1 (data).
            mask: [B, P], true for points.
            condition: [B, C].
            centres: [B, M, 2], places of clusters of the set at time 1, normalised.

        Returns:
            [B, P, 3]; of places without a point any finite number.
        """
        x = self.point(ops.concatenate([points, towards(points, centres)], axis=-1))
        present = ops.cast(mask, x.dtype)[..., None]
        known = ops.concatenate([time_features(time), condition], axis=-1)
        context = self.set(ops.concatenate([ops.cast(known, x.dtype), pooled(x, present)], axis=-1))
        for k, layer in enumerate(self.layers_of_sets):
            if self.attention:
                x = self.attention[k](x, points[..., :2], present)
            x, context = layer(x, context, present)
        # Most of a velocity is proportional to the place, by a factor that depends on the time.
        return self.head(ops.silu(x)) + self.gain(context)[:, None] * points


class SummaryField(keras.Model):
    """(summary, time, condition) -> velocity of the summary of a set.

    Args:
        settings: recipe keys.
        size: K, numbers of a summary.
        options: of ``keras.Model``.
    """

    def __init__(self, settings: NetworkSettings, size: int, **options: Any) -> None:
        super().__init__(**options)
        dense, width = keras.layers.Dense, 2 * settings.context
        self.inner = [
            dense(width, activation="silu", name=f"dense{k}", dtype="float32") for k in range(4)
        ]
        self.head = dense(size, kernel_initializer="zeros", name="head", dtype="float32")

    def call(self, summary: Any, time: Any, condition: Any) -> Any:
        """Velocities [B, K] of summaries [B, K] at times [B], under conditions [B, C]."""
        x = ops.concatenate([summary, time_features(time), condition], axis=-1)
        for layer in self.inner:
            x = layer(x)
        return self.head(x)


class FlowNetworks(keras.Model):
    """The velocity fields of summaries and of points.

    A set is generated in two steps: its summary, then its points, which know the summary as a part
    of their condition.

    Args:
        settings: recipe keys.
        condition_size: C.
        summary_size: K.
        options: of ``keras.Model``.
    """

    def __init__(
        self, settings: NetworkSettings, condition_size: int, summary_size: int, **options: Any
    ) -> None:
        super().__init__(autocast=False, **options)
        self.summary = SummaryField(settings, summary_size, name="summary", dtype="float32")
        self.points = VelocityField(settings, name="points", dtype=self.dtype_policy)
        one, condition = keras.KerasTensor((1,)), keras.KerasTensor((1, condition_size))
        self.summary(keras.KerasTensor((1, summary_size)), one, condition)
        both = keras.KerasTensor((1, condition_size + summary_size))
        mask, centres = keras.KerasTensor((1, 2), "bool"), keras.KerasTensor((1, CENTRES, 2))
        self.points(keras.KerasTensor((1, 2, 3)), one, mask, both, centres)
        self.built = True


def towards(points: Any, centres: Any) -> Any:
    """Each point as the centres see it: [B, P, 3], [B, M, 2] -> [B, P, 4 M].

    Way to the centre, and how near it is on two scales.
    """
    way = centres[:, None] - points[:, :, None, :2]
    square = ops.sum(ops.square(way), axis=-1)
    near = [ops.exp(-square * scale) for scale in NEAR]
    flat = ops.reshape(way, (*ops.shape(points)[:2], 2 * centres.shape[1]))
    return ops.concatenate([flat, *near], axis=-1)


def time_features(time: Any) -> Any:
    """Sine and cosine of multiples of pi t, and t: [B] -> [B, TIME_FEATURES]."""
    angle = time[:, None] * np.float32(math.pi) * np.arange(1, FREQUENCIES + 1, dtype=np.float32)
    return ops.concatenate([ops.sin(angle), ops.cos(angle), time[:, None]], axis=-1)

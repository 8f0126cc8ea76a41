"""A decoder that draws the points of a set one after another, each from its own distribution.

p(p_1 ... p_n | z, c) = prod_k p(p_k | p_1 ... p_(k-1), z, c), the points of jets in the order of
their intensity. Every factor is a mixture of normal distributions (Bishop, NCRG/94/004), so that
points are not blurred into means, and later points know the earlier ones: where the others of
their subjet are, and how much of the jet's momentum is left. The points before enter as sums of
learned features, as in deep sets (arXiv:1703.06114), and of their weighted moments; training takes
all factors at once. A step down in intensity is drawn on a log scale, so that the order is kept.
The points of a picture are drawn row by row instead, and later ones know the picture so far.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerasgen.layers.gaussian_splat import cell_weights
from kerasgen.models.sparse_vae.normaliser import Normaliser
from kerasgen.models.sparse_vae.settings import NetworkSettings

ROWS = 9  # of a picture, whose points are drawn row by row
LEADING = 3  # points that later ones know one by one, beside the point before
LEAST_STEP = 1e-3  # normalised; a smaller step down is as good as none
STEP_CENTER, STEP_SPREAD = -1.5, 1.5  # bring the logarithm of the step near 0 and 1
LOG_WIDTHS = (-4.5, 0.7)  # of the normal distributions: no spikes, nothing that no data have
MOMENTS = 6
LEAST_REST = 0.01
LEAST_LEFT = 1e-4  # of a sum that is known
CELLS = 9  # along x and y of the picture of the points before


def point_features(points: Any, normaliser: Normaliser) -> Any:
    """[..., 3], normalised -> coordinates, weight w and weighted moments: [..., 3 + MOMENTS].

    w is the intensity as a fraction of the highest, the moments are w x, w y, w x^2, w y^2, w x y.
    """
    low, high = (np.float32(x[2]) for x in (normaliser.low, normaliser.high))
    intensity = ops.minimum(points[..., 2:], high)
    if normaliser.log_intensity:
        weight = ops.exp((intensity - high) * np.float32(normaliser.deviation[2]))
    else:
        weight = (intensity - low) / np.maximum(high - low, np.float32(1e-6))
    x, y = points[..., :1], points[..., 1:2]
    return ops.concatenate(
        [points, weight, weight * x, weight * y, weight * x * x, weight * y * y, weight * x * y],
        axis=-1,
    )


def picture_of(points: Any, normaliser: Normaliser) -> Any:
    """Points as normal distributions on a grid of their range: [..., 3] -> [..., 2 CELLS^2].

    The first half counts the point, the second has its intensity.
    """
    inside = within(points, normaliser)
    x, y = cell_weights(inside, CELLS)
    cells = ops.reshape(x[..., :, None] * y[..., None, :], (*ops.shape(x)[:-1], CELLS * CELLS))
    return ops.concatenate([cells, cells * inside[..., 2:]], axis=-1)


def within(points: Any, normaliser: Normaliser) -> Any:
    """[..., 3], normalised -> places in the range of the data, [0, 1]."""
    low, high = (np.array(x, np.float32) for x in (normaliser.low, normaliser.high))
    return (points - low) / np.maximum(high - low, np.float32(1e-6))


class AutoregressiveDecoder(keras.Model):
    """Likelihood of real points, and points that are drawn; float32 under every policy.

    Arguments:
        settings: ``width`` hidden units, half of them for what is summed over points,
            ``layers`` hidden layers, ``components`` of each mixture, ``temperature`` of draws.
        normaliser: of the points; their range bounds what is drawn.
    """

    def __init__(self, settings: NetworkSettings, normaliser: Normaliser, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self.normaliser, self.size = normaliser, normaliser.size
        width, self.components = settings.width, settings.components
        self.temperature = settings.temperature
        outputs = 7 * self.components

        def dense(count: int, name: str, **more: Any) -> keras.layers.Layer:
            return keras.layers.Dense(count, name=name, dtype="float32", **more)

        self.point = [dense(width // 2, f"point{k}", activation="relu") for k in range(2)]
        self.base = [dense(width, "set", activation="relu"), dense(width, "base")]
        self.context = dense(width, "context", use_bias=False)
        self.hidden = [dense(width, f"dense{k}", activation="relu") for k in range(settings.layers)]
        small = keras.initializers.RandomNormal(stddev=0.01)
        self.head = dense(outputs, "head", kernel_initializer=small, use_bias=False)
        self.place = self.add_weight(
            shape=(self.size, width), initializer="zeros", name="place", dtype="float32"
        )
        # Components start at different places, or they would stay alike.
        start = np.zeros((self.size, outputs), np.float32)
        start[:, self.components : 4 * self.components] = np.random.default_rng(0).normal(
            0, 1, 3 * self.components
        )
        self.bias = self.add_weight(
            shape=start.shape, initializer=lambda shape, dtype: ops.convert_to_tensor(start),
            name="bias", dtype="float32",
        )  # fmt: skip
        # points of a picture come row by row, pz of jets is in no order
        self.descends = normaliser.coordinates in ("relative", "polar")

    def call(self, points: Any, mask: Any, latent: Any, condition: Any) -> Any:
        """-log p(points | latent, condition), nats without constants, [B].

        Arguments:
            points: [B, P, 3], network normaliser, in the order of their intensity.
            mask: [B, P], true for points, which come first.
            latent: [B, L]; condition: [B, C].
        """
        points = self.ordered(points, mask)
        log_weight, mean, log_width = self.factors(points, mask, latent, condition)
        pull = (self.targets(points)[:, :, None] - mean) * ops.exp(-log_width)
        each = log_weight - ops.sum(0.5 * ops.square(pull) + log_width, axis=-1)
        return -ops.sum(ops.where(mask, ops.logsumexp(each, axis=-1), 0.0), axis=-1)

    def factors(self, points: Any, mask: Any, latent: Any, condition: Any) -> tuple[Any, Any, Any]:
        """The mixtures of all points, each from those before it: as ``mixture``, [B, P, ...]."""
        before = ops.pad(points[:, :-1], [[0, 0], [1, 0], [0, 0]])
        sums = ops.cumsum(self.summed(points) * ops.cast(mask, "float32")[..., None], axis=1)
        sums = ops.pad(sums[:, :-1], [[0, 0], [1, 0], [0, 0]])
        place = np.arange(self.size)[None, :, None]
        leading = [
            ops.where(place > k, points[:, k : k + 1], 0.0) for k in range(min(LEADING, self.size))
        ]
        base = self.set_part(latent, condition)[:, None]
        total = self.total(latent[:, None])
        return self.mixture(base + self.place, sums, before, leading, self.bias, total)

    def total(self, latent: Any) -> Any:
        """What the weights of a set add up to, [..., 1], where the latent vector says it."""
        normaliser = self.normaliser
        if not normaliser.totals:
            return None
        highest = math.exp(normaliser.center[2] + normaliser.high[2] * normaliser.deviation[2])
        return normaliser.total_of(latent)[..., None] / np.float32(highest)

    def set_part(self, latent: Any, condition: Any) -> Any:
        """What the points of a set share of the first hidden layer: [B, W]."""
        x = ops.concatenate([latent, condition], axis=-1)
        for layer in self.base:
            x = layer(x)
        return x

    def summed(self, points: Any) -> Any:
        """What is summed over points: [..., 3] -> [..., W / 2 + MOMENTS]."""
        features = x = point_features(points, self.normaliser)
        for layer in self.point:
            x = layer(x)
        parts = [x * (4.0 / self.size), features[..., 3:]]
        if self.normaliser.coordinates == "image":
            parts = [picture_of(points, self.normaliser), *parts]
        return ops.concatenate(parts, axis=-1)

    def mixture(
        self, base: Any, sums: Any, before: Any, leading: list[Any], bias: Any, total: Any = None
    ) -> tuple[Any, Any, Any]:
        """Log weights [..., K], means and log widths [..., K, 3] of the next point."""
        gone = sums[..., -MOMENTS : 1 - MOMENTS]
        parts = [sums, before, *leading, ops.log(ops.maximum(1.0 - gone, LEAST_REST))]
        if total is not None:
            parts.append(ops.log(ops.maximum(total - gone, LEAST_LEFT)))
        x = ops.relu(base + self.context(ops.concatenate(parts, axis=-1)))
        for layer in self.hidden:
            x = x + layer(x)
        x = self.head(x) + bias
        log_weight = ops.log_softmax(x[..., : self.components], axis=-1)
        mean, log_width = (
            ops.reshape(part, (*ops.shape(x)[:-1], self.components, 3))
            for part in ops.split(x[..., self.components :], 2, axis=-1)
        )
        return log_weight, mean, ops.clip(log_width, *LOG_WIDTHS)

    def ordered(self, points: Any, mask: Any) -> Any:
        """The points in the order in which they are drawn, padding zero."""
        points = ops.where(mask[..., None], points, 0.0)
        if self.normaliser.coordinates != "image":
            return points
        inside = within(points, self.normaliser)
        row = ops.floor(inside[..., 1] * ROWS)
        place = ops.argsort(ops.where(mask, 2.0 * row + inside[..., 0], np.inf), axis=-1)
        return tf.gather(points, place, batch_dims=1)

    def targets(self, points: Any) -> Any:
        """What is drawn: position, and intensity or the log of its step down; [B, P, 3]."""
        if not self.descends:
            return points
        intensity = points[..., 2:]
        before = ops.pad(
            intensity[:, :-1],
            [[0, 0], [1, 0], [0, 0]],
            constant_values=float(self.normaliser.high[2]),
        )
        step = ops.log(ops.maximum(before - intensity, 0.0) + LEAST_STEP)
        return ops.concatenate([points[..., :2], (step - STEP_CENTER) / STEP_SPREAD], axis=-1)

    def draw(self, latent: Any, condition: Any, mask: Any, uniform: Any, normal: Any) -> Any:
        """Points drawn one after another, network normaliser: [B, P, 3].

        Arguments:
            latent: [B, L]; condition: [B, C]; mask: [B, P].
            uniform: [B, P] on (0, 1); normal: [B, P, 3]: random numbers.
        """
        low, high = (np.array(x, np.float32) for x in (self.normaliser.low, self.normaliser.high))
        base, total = self.set_part(latent, condition), self.total(latent)
        there = ops.cast(mask, "float32")
        zero = ops.zeros_like(normal[:, 0])
        before, intensity = zero, zero[:, 2:] + high[2]
        leading = [zero] * min(LEADING, self.size)
        sums = ops.zeros_like(self.summed(zero))
        drawn = []
        for k in range(self.size):
            log_weight, mean, log_width = self.mixture(
                base + self.place[k], sums, before, leading, self.bias[k], total
            )
            if self.temperature != 1:
                log_weight = ops.log_softmax(log_weight / self.temperature, axis=-1)
                log_width = log_width + math.log(self.temperature)
            found = chosen(log_weight, mean, log_width, uniform[:, k], normal[:, k])
            if self.descends:
                # the exponent is bounded by the whole range of intensities
                step = ops.minimum(
                    found[:, 2:] * STEP_SPREAD + STEP_CENTER, math.log(high[2] - low[2])
                )
                intensity = intensity - ops.maximum(ops.exp(step) - LEAST_STEP, 0.0)
            else:
                intensity = found[:, 2:]
            before = ops.clip(ops.concatenate([found[:, :2], intensity], axis=-1), low, high)
            intensity = before[:, 2:]
            drawn.append(before)
            sums = sums + self.summed(before) * there[:, k : k + 1]
            if k < len(leading):
                leading[k] = before
        return ops.stack(drawn, axis=1)


def chosen(log_weight: Any, mean: Any, log_width: Any, uniform: Any, normal: Any) -> Any:
    """A number vector of each mixture, [B, 3]: the component by ``uniform`` [B]."""
    total = ops.cumsum(ops.exp(log_weight), axis=-1)
    index = ops.sum(ops.cast(total[:, :-1] < uniform[:, None], "int32"), axis=-1)
    mean, log_width = (tf.gather(x, index, batch_dims=1) for x in (mean, log_width))
    return mean + ops.exp(log_width) * normal

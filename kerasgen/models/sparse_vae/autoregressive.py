"""Autoregressive mixture-density decoder: samples the points of a set one after another.

p(p_1 ... p_n | z, c) = prod_k p(p_k | p_1 ... p_(k-1), z, c), the points of jets in the order of
their intensity. Every factor is a mixture of normal distributions (Bishop, NCRG/94/004), so that
points are not blurred into means. Each point is conditioned on the earlier ones: on the positions
of its subjet, and on the remaining momentum of the jet. Earlier points enter as sums of learned
features, as in deep sets (arXiv:1703.06114), and as sums of weighted moments; training computes
all factors at once. The decrease in intensity is sampled on a log scale, which keeps the order.
The points of an image are sampled row by row instead, conditioned on a grid of the earlier points.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasgen.backend.engine import BACKEND
from kerasgen.layers.gaussian_splat import cell_weights
from kerasgen.models.set_generation import taken
from kerasgen.models.set_normaliser import Normaliser
from kerasgen.models.sparse_vae.settings import NetworkSettings

ROWS = 9  # of an image, whose points are sampled row by row
LEADING = 3  # leading points that enter one by one, beside the previous point
MIN_STEP = 1e-3  # normalised; smaller decreases in intensity count as none
STEP_CENTER, STEP_DEVIATION = -1.5, 1.5  # standardise the logarithm of the decrease
LOG_DEVIATION = (-4.5, 0.7)  # bounds of the components: no spikes, none wider than any data
MOMENTS = 6
MIN_REST = 0.01  # lower bound of the remaining intensity, of a jet
MIN_KNOWN_REST = 1e-4  # the same, where the summed intensity is known
CELLS = 9  # along x and y of the grid of earlier points


def point_features(points: Any, normaliser: Normaliser) -> Any:
    """Coordinates, weight w and weighted moments of points, [..., 3 + MOMENTS].

    The weight is the intensity as a fraction of the highest one; the moments are w x, w y, w x^2,
    w y^2 and w x y.

    Args:
        points: [..., 3], normalised.
        normaliser: of the points.
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


def points_on_grid(points: Any, normaliser: Normaliser) -> Any:
    """Points splatted as normal distributions on a grid of their range, [..., 2 CELLS^2].

    The first half counts the point, the second half has its intensity.

    Args:
        points: [..., 3], normalised.
        normaliser: of the points.
    """
    inside = position_in_range(points, normaliser)
    x, y = cell_weights(inside, CELLS)
    cells = ops.reshape(x[..., :, None] * y[..., None, :], (*ops.shape(x)[:-1], CELLS * CELLS))
    return ops.concatenate([cells, cells * inside[..., 2:]], axis=-1)


def position_in_range(points: Any, normaliser: Normaliser) -> Any:
    """Positions of normalised points [..., 3] in the range of the data, [0, 1]."""
    low, high = (np.array(x, np.float32) for x in (normaliser.low, normaliser.high))
    return (points - low) / np.maximum(high - low, np.float32(1e-6))


class AutoregressiveDecoder(keras.Model):
    """Likelihood of real points, and sampling of points; float32 under every policy.

    Args:
        settings: ``width`` hidden units, half as many for the features that are summed over
            points, ``layers`` hidden layers, ``components`` of each mixture, ``temperature`` of
            sampling.
        normaliser: of the points; their range bounds sampled points.
        options: of ``keras.Model``.
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
        self.position_bias = self.add_weight(
            shape=(self.size, width), initializer="zeros", name="position_bias", dtype="float32"
        )
        # Components start at different positions, or they would stay alike.
        start = np.zeros((self.size, outputs), np.float32)
        start[:, self.components : 4 * self.components] = np.random.default_rng(0).normal(
            0, 1, 3 * self.components
        )
        self.bias = self.add_weight(
            shape=start.shape, initializer=lambda shape, dtype: ops.convert_to_tensor(start),
            name="bias", dtype="float32",
        )  # fmt: skip
        # Points of an image come row by row; pz of jets is in no order.
        self.descends = normaliser.coordinates in ("relative", "polar")

    def call(self, points: Any, mask: Any, latent: Any, condition: Any) -> Any:
        """-log p(points | latent, condition), nats without constants, [B].

        Args:
            points: [B, P, 3], normalised, in the order of their intensity.
            mask: [B, P], true for points, which come first.
            latent: [B, L].
            condition: [B, C].
        """
        points = self.sorted_points(points, mask)
        log_weight, mean, log_std = self.factors(points, mask, latent, condition)
        pull = (self.targets(points)[:, :, None] - mean) * ops.exp(-log_std)
        each = log_weight - ops.sum(0.5 * ops.square(pull) + log_std, axis=-1)
        return -ops.sum(ops.where(mask, ops.logsumexp(each, axis=-1), 0.0), axis=-1)

    def factors(self, points: Any, mask: Any, latent: Any, condition: Any) -> tuple[Any, Any, Any]:
        """The mixtures of all points, each conditioned on the earlier points.

        Args:
            points, mask, latent, condition: as in ``call``.

        Returns:
            As ``mixture``, [B, P, ...].
        """
        before = ops.pad(points[:, :-1], [[0, 0], [1, 0], [0, 0]])
        sums = ops.cumsum(self.summands(points) * ops.cast(mask, "float32")[..., None], axis=1)
        sums = ops.pad(sums[:, :-1], [[0, 0], [1, 0], [0, 0]])
        position = np.arange(self.size)[None, :, None]
        leading = [
            ops.where(position > k, points[:, k : k + 1], 0.0)
            for k in range(min(LEADING, self.size))
        ]
        base = self.set_features(latent, condition)[:, None]
        total = self.total_weight(latent[:, None])
        return self.mixture(base + self.position_bias, sums, before, leading, self.bias, total)

    def total_weight(self, latent: Any) -> Any:
        """Sum of the weights of a set, [..., 1]; None where the latent vector does not hold it."""
        normaliser = self.normaliser
        if not normaliser.totals:
            return None
        highest = math.exp(normaliser.center[2] + normaliser.high[2] * normaliser.deviation[2])
        return normaliser.total_of(latent)[..., None] / np.float32(highest)

    def set_features(self, latent: Any, condition: Any) -> Any:
        """Part of the first hidden layer that is common to the points of a set, [B, W]."""
        x = ops.concatenate([latent, condition], axis=-1)
        for layer in self.base:
            x = layer(x)
        return x

    def summands(self, points: Any) -> Any:
        """Features to sum over points: [..., 3] -> [..., W / 2 + MOMENTS], images with a grid."""
        features = x = point_features(points, self.normaliser)
        for layer in self.point:
            x = layer(x)
        parts = [x * (4.0 / self.size), features[..., 3:]]
        if self.normaliser.coordinates == "image":
            parts = [points_on_grid(points, self.normaliser), *parts]
        return ops.concatenate(parts, axis=-1)

    def mixture(
        self, base: Any, sums: Any, before: Any, leading: list[Any], bias: Any, total: Any = None
    ) -> tuple[Any, Any, Any]:
        """The mixture of the next point.

        Args:
            base: [..., W], of ``set_features``, with the bias of the point's position.
            sums: ``summands`` of the earlier points, summed.
            before: [..., 3], the previous point.
            leading: the leading points, [..., 3] each, zeros from this point on.
            bias: of the outputs at the point's position.
            total: of ``total_weight``.

        Returns:
            Log weights [..., K]; means and log standard deviations [..., K, 3].
        """
        used = sums[..., -MOMENTS : 1 - MOMENTS]
        parts = [sums, before, *leading, ops.log(ops.maximum(1.0 - used, MIN_REST))]
        if total is not None:
            parts.append(ops.log(ops.maximum(total - used, MIN_KNOWN_REST)))
        x = ops.relu(base + self.context(ops.concatenate(parts, axis=-1)))
        for layer in self.hidden:
            x = x + layer(x)
        x = self.head(x) + bias
        log_weight = ops.log_softmax(x[..., : self.components], axis=-1)
        mean, log_std = (
            ops.reshape(part, (*ops.shape(x)[:-1], self.components, 3))
            for part in ops.split(x[..., self.components :], 2, axis=-1)
        )
        return log_weight, mean, ops.clip(log_std, *LOG_DEVIATION)

    def sorted_points(self, points: Any, mask: Any) -> Any:
        """The points in the order of sampling, padding zero."""
        points = ops.where(mask[..., None], points, 0.0)
        if self.normaliser.coordinates != "image":
            return points
        inside = position_in_range(points, self.normaliser)
        row = ops.floor(inside[..., 1] * ROWS)
        order = ops.argsort(ops.where(mask, 2.0 * row + inside[..., 0], np.inf), axis=-1)
        return taken(points, order)

    def targets(self, points: Any) -> Any:
        """Variables of the mixtures: position, and intensity or the log of its decrease."""
        if not self.descends:
            return points
        intensity = points[..., 2:]
        before = ops.pad(
            intensity[:, :-1],
            [[0, 0], [1, 0], [0, 0]],
            constant_values=float(self.normaliser.high[2]),
        )
        step = ops.log(ops.maximum(before - intensity, 0.0) + MIN_STEP)
        return ops.concatenate([points[..., :2], (step - STEP_CENTER) / STEP_DEVIATION], axis=-1)

    def sample_points(
        self, latent: Any, condition: Any, mask: Any, uniform: Any, normal: Any
    ) -> Any:
        """Sample points one after another, [B, P, 3], normalised.

        Args:
            latent: [B, L].
            condition: [B, C].
            mask: [B, P].
            uniform: random numbers on (0, 1), [B, P]; choose the components.
            normal: standard normal random numbers, [B, P, 3].
        """
        low, high = (np.array(x, np.float32) for x in (self.normaliser.low, self.normaliser.high))
        base, total = self.set_features(latent, condition), self.total_weight(latent)
        zero = ops.zeros_like(normal[:, 0])
        leading = [zero] * min(LEADING, self.size)

        def sample(carry: Any, inputs: Any) -> tuple[Any, Any]:
            before, intensity, sums = carry
            position_bias, bias, present, uniform, normal = inputs
            log_weight, mean, log_std = self.mixture(
                base + position_bias, sums, before, leading, bias, total
            )
            if self.temperature != 1:
                log_weight = ops.log_softmax(log_weight / self.temperature, axis=-1)
                log_std = log_std + math.log(self.temperature)
            target = sample_mixture(log_weight, mean, log_std, uniform, normal)
            if self.descends:
                # The exponent is bounded by the whole range of intensities.
                step = ops.minimum(
                    target[:, 2:] * STEP_DEVIATION + STEP_CENTER, math.log(high[2] - low[2])
                )
                intensity = intensity - ops.maximum(ops.exp(step) - MIN_STEP, 0.0)
            else:
                intensity = target[:, 2:]
            point = ops.clip(ops.concatenate([target[:, :2], intensity], axis=-1), low, high)
            sums = sums + self.summands(point) * present[:, None]
            return (point, point[:, 2:], sums), point

        by_set = ops.cast(mask, "float32"), uniform, normal
        inputs = [ops.convert_to_tensor(x) for x in (self.position_bias, self.bias)]
        inputs += [ops.swapaxes(x, 0, 1) for x in by_set]
        carry = zero, zero[:, 2:] + high[2], ops.zeros_like(self.summands(zero))
        sampled: list[Any] = []
        # XLA takes three times as long to compile a loop that is unrolled.
        first = self.size if BACKEND == "tensorflow" else len(leading)
        for k in range(first):
            carry, point = sample(carry, [x[k] for x in inputs])
            sampled.append(point)
            if k < len(leading):
                leading[k] = point
        if first < self.size:
            _, rest = ops.scan(sample, carry, [x[first:] for x in inputs])
            sampled += [rest[k] for k in range(self.size - first)]
        return ops.stack(sampled, axis=1)


def sample_mixture(log_weight: Any, mean: Any, log_std: Any, uniform: Any, normal: Any) -> Any:
    """A sample of each mixture, [B, 3].

    Args:
        log_weight: [B, K].
        mean, log_std: [B, K, 3].
        uniform: random numbers on (0, 1), [B]; choose the component.
        normal: standard normal random numbers, [B, 3].
    """
    total = ops.cumsum(ops.exp(log_weight), axis=-1)
    index = ops.sum(ops.cast(total[:, :-1] < uniform[:, None], "int32"), axis=-1)
    return taken(mean, index) + ops.exp(taken(log_std, index)) * normal

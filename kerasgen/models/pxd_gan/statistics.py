"""Precise statistics of a generator: batch-norm statistics and firing thresholds."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.backend.engine import CompiledStep
from kerasgen.backend.random_numbers import image_inputs, key_of
from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization
from kerasgen.models.pxd_gan.output import logit_from_charge

BATCH = 4
# Generated images of all sensors together, on which firing thresholds are measured: at an
# evaluation during training, and of the final weights.
EVALUATION_IMAGES, FINAL_IMAGES = 480, 640
START_PIXELS = 100_000  # generated per sensor for the thresholds of the start, at least an image


class PreciseStatistics:
    """Sets batch-norm statistics and firing thresholds of a generator from its generated images.

    EMA weights never run in training, so their batch-norm statistics are measured on generated
    whole sensors (precise batch norm, arXiv:2105.07576, section 3). Then the firing threshold of
    every sensor is set, at which the data's fraction of pixels fires with a charge above the
    charge threshold.

    Args:
        generator: its moving statistics and ``firing_threshold`` are overwritten.
        occupancy: [sensors], fraction of fired pixels of the padded image in the data.
        charge_threshold: normalised, half an ADU below the threshold.
        seed: of the run.
        size: rows and columns of the sensor, where data fire.
    """

    def __init__(
        self,
        generator: keras.Model,
        occupancy: NDArray[np.floating],
        charge_threshold: float,
        seed: int,
        size: tuple[int, int],
    ) -> None:
        self.generator, self.occupancy, self.size = generator, occupancy, size
        self.sensors = np.arange(len(occupancy))
        layers = generator._flatten_layers()
        self.norms = [x for x in layers if isinstance(x, ConditionalBatchNormalization)]
        # Compiled at their first call, once for all evaluations of a training.
        self.moments = CompiledStep(
            partial(batch_moments, generator, self.norms, seed), generator.variables
        )
        self.logits = CompiledStep(
            partial(fireable_logits, generator, charge_threshold, seed, size), generator.variables
        )

    def set(self, images: int) -> None:
        """Set the statistics to those of the present weights.

        Args:
            images: images of all sensors together for the firing thresholds; each sensor has its
                part, at least one.
        """
        self.set_batch_norm()
        if self.generator.output_variant == "gated":
            self.set_firing_threshold(max(1, images // len(self.sensors)))

    def set_batch_norm(self) -> None:
        """Replace the moving statistics by those of generated whole sensors."""
        sensors = balanced_sensors(len(self.sensors), 16 * BATCH)
        self.moments.read_variables()
        measured = [
            self.moments(rows, np.int32(k))
            for k, rows in enumerate(np.split(sensors, len(sensors) // BATCH))
        ]
        self.moments.write_variables()
        for i, norm in enumerate(self.norms):
            parts = np.stack([np.asarray(batch[i]) for batch in measured])
            mean, square = parts.mean(axis=0, dtype=np.float64)
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(square - mean**2)

    def set_firing_threshold(self, images: int) -> None:
        """Set the threshold of every sensor, on so many generated images each."""
        generator = self.generator
        threshold = np.asarray(ops.convert_to_tensor(generator.firing_threshold)).copy()
        pixels = math.prod(generator.image) / math.prod(self.size)
        self.logits.read_variables()
        for start in range(0, len(self.sensors), BATCH):
            group = self.sensors[start : start + BATCH]
            rows = np.resize(group, BATCH)  # a full batch, for one compilation
            parts = range(-(-images * len(group) // BATCH))
            found = [np.asarray(self.logits(rows, np.int32(k))) for k in parts]
            logits = np.concatenate(found, axis=1)
            for sensor in group:
                logit = logits[rows == sensor].ravel()
                fired = round(float(self.occupancy[sensor]) * pixels * logit.size)
                fired = min(max(fired, 1), logit.size - 1)
                next_logit = -np.partition(-logit, fired)[fired]  # the highest that does not fire
                threshold[sensor] += next_logit if np.isfinite(next_logit) else 0.0
        self.logits.write_variables()
        generator.firing_threshold.assign(threshold)


def batch_moments(
    generator: keras.Model,
    norms: list[ConditionalBatchNormalization],
    seed: int,
    sensor: Any,
    part: Any,
) -> list[Any]:
    """Mean and mean square at every normalisation in one generated batch, each [2, channels].

    Args:
        generator: network.
        norms: its normalisations.
        seed: of the run.
        sensor: int32 [BATCH].
        part: scalar int32, number of the batch.
    """
    latent, noise = image_inputs(
        key_of(seed, part, "statistics"), generator, generator.image, BATCH
    )
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # the moving statistics are then those of the batch
    origin = ops.zeros((BATCH, 2), "int32")
    generator.logits_and_charges(sensor, latent, noise, origin, training=True)
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
    means = [(norm.moving_mean.value, norm.moving_variance.value) for norm in norms]
    return [ops.stack([mean, variance + ops.square(mean)]) for mean, variance in means]


def fireable_logits(
    generator: keras.Model,
    charge_threshold: float,
    seed: int,
    size: tuple[int, int],
    sensor: Any,
    part: Any,
) -> Any:
    """Logits of the pixels of BATCH generated images, [BATCH, n]; -inf below the charge threshold.

    Args:
        generator, charge_threshold, seed, size: as in ``PreciseStatistics``.
        sensor: int32 [BATCH].
        part: scalar int32, number of the batch.
    """
    latent, noise = image_inputs(
        key_of(seed, sensor[0], "statistics", part + 1), generator, generator.image, BATCH
    )
    origin = ops.zeros((BATCH, 2), "int32")
    if charge_threshold == -math.inf:  # charges take as long as logits
        logit, *_ = generator.distribution(sensor, latent, noise, origin, training=False)
    else:
        logit, charge = generator.logits_and_charges(sensor, latent, noise, origin, training=False)
        logit = ops.where(charge >= charge_threshold, logit, -math.inf)
    logit = generator.to_pixels(logit)
    return ops.reshape(logit[:, : size[0], : size[1]], (BATCH, -1))


def balanced_sensors(sensors: int, images: int) -> NDArray[np.int32]:
    """Indices of sensors, each equally often, at least ``images`` in all, a multiple of BATCH."""
    unit = BATCH // math.gcd(sensors, BATCH)
    repeats = -(-images // (sensors * unit)) * unit
    return np.tile(np.arange(sensors, dtype=np.int32), repeats)


def initialise_output(
    generator: keras.Model, occupancy: NDArray[np.floating], median_charge: float, seed: int
) -> None:
    """Start a gated generator at the data's occupancy and median charge.

    The components of a mixture start around the median, 1 apart in the charge's logit.

    Args:
        generator: its statistics, firing thresholds and charge biases are overwritten.
        occupancy: [sensors], fraction of fired pixels of the padded image in the data.
        median_charge: normalised.
        seed: of the run.
    """
    if generator.output_variant != "gated":
        return
    images = len(occupancy) * -(-START_PIXELS // math.prod(generator.image))
    PreciseStatistics(generator, occupancy, -np.inf, seed, generator.image).set(images)
    bias = np.asarray(ops.convert_to_tensor(generator.head.bias)).copy()
    means = generator.charge_bias
    offset = np.arange(means.shape[1]) - (means.shape[1] - 1) / 2
    bias[means] = logit_from_charge(np.float32(median_charge), generator.floor) + offset
    generator.head.bias.assign(bias)

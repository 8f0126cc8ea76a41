"""Statistics of a generator's own output: of its normalisations and of its gate."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.backend.random_numbers import image_inputs, step_seed
from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization
from kerasgen.models.pxd_gan.output import level_logit

BATCH = 4


def settle(
    generator: keras.Model,
    occupancy: NDArray[np.floating],
    threshold_level: float,
    seed: int,
    images: int,
    size: tuple[int, int],
) -> None:
    """Recompute the statistics that the weights of a generator imply, on whole sensors.

    The averaged weights were never run in training, so their batch-norm statistics are measured
    here (precise batch norm, arXiv:2105.07576, section 3), and after that the gate's cut of every
    sensor, at which the data's share of pixels fires with a charge above threshold. Generators of
    clusters find the cuts of their clusters near it (``clusters.cluster_threshold``).

    Arguments:
        generator: its moving statistics and ``cut`` are overwritten.
        occupancy: [sensors], fraction of fired pixels of the padded image in the data.
        threshold_level: half an ADU below threshold on [-1, 1].
        seed: of the run.
        images: images per sensor for the cut, rounded up to a multiple of BATCH.
        size: rows and columns of the sensor, where data fire.
    """
    sensors = np.arange(len(occupancy))
    settle_normalisation(generator, equally_many(len(occupancy), 16 * BATCH), seed)
    if generator.output_form != "gated":
        return
    cut = generator.cut.numpy().copy()
    pixels = math.prod(generator.image) / math.prod(size)
    scores = tf.function(
        partial(fireable_scores, generator, threshold_level, seed, size), autograph=False
    )
    for sensor in sensors:
        parts = tf.range(-(-images // BATCH))
        score = np.concatenate([scores(tf.constant(sensor, tf.int32), k).numpy() for k in parts])
        fired = min(max(round(float(occupancy[sensor]) * pixels * score.size), 1), score.size - 1)
        above = -np.partition(-score, fired)[fired]
        cut[sensor] += above if np.isfinite(above) else 0.0
    generator.cut.assign(cut)


def fireable_scores(
    generator: keras.Model,
    threshold_level: float,
    seed: int,
    size: tuple[int, int],
    sensor: Any,
    part: Any,
) -> Any:
    """Scores of the pixels of BATCH images, those below the charge threshold at -infinity."""
    latent, noise = image_inputs(
        step_seed(seed, sensor, "statistics", part + 1), generator, generator.image, BATCH
    )
    rows, origin = tf.fill([BATCH], sensor), tf.zeros([BATCH, 2], tf.int32)
    score, level = generator.maps(rows, latent, noise, origin, training=False)
    score = generator.to_pixels(tf.where(level >= threshold_level, score, -math.inf))
    return tf.reshape(score[:, : size[0], : size[1]], [-1])


def settle_normalisation(generator: keras.Model, sensors: NDArray[Any], seed: int) -> None:
    """Replace the moving statistics by those of generated whole sensors, one image a row."""
    norms = [x for x in generator._flatten_layers() if isinstance(x, ConditionalBatchNormalization)]

    @tf.function
    def moments(rows: Any, k: Any) -> list[Any]:
        """Mean and mean square at every normalisation in one batch, each [2, channels]."""
        latent, noise = image_inputs(
            step_seed(seed, k, "statistics"), generator, generator.image, BATCH
        )
        generator.maps(rows, latent, noise, tf.zeros([BATCH, 2], tf.int32), training=True)
        means = [(norm.moving_mean.value, norm.moving_variance.value) for norm in norms]
        return [tf.stack([mean, variance + tf.square(mean)]) for mean, variance in means]

    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # a batch then leaves its own moments
    batches = np.split(np.asarray(sensors, np.int32), len(sensors) // BATCH)
    found = [moments(tf.constant(rows), tf.constant(k)) for k, rows in enumerate(batches)]
    for i, norm in enumerate(norms):
        both = np.stack([batch[i].numpy() for batch in found]).mean(axis=0, dtype=np.float64)
        norm.moving_mean.assign(both[0])
        norm.moving_variance.assign(both[1] - both[0] ** 2)
        norm.momentum = momentum[i]


def equally_many(sensors: int, images: int) -> NDArray[np.int32]:
    """Every sensor equally often, at least ``images`` in all, a multiple of BATCH."""
    unit = BATCH // math.gcd(sensors, BATCH)
    repeats = -(-images // (sensors * unit)) * unit
    return np.tile(np.arange(sensors, dtype=np.int32), repeats)


def start_output(
    generator: keras.Model, occupancy: NDArray[np.floating], median_level: float, seed: int
) -> None:
    """Start a gated generator at the data's occupancy and at the data's median charge.

    Components of a mixture start on both sides of it, a step of its logit apart.
    """
    if generator.output_form != "gated":
        return
    settle(generator, occupancy, -np.inf, seed, BATCH, generator.image)
    bias = generator.head.bias.numpy()
    means = generator.charge_bias
    away = np.arange(means.shape[1]) - (means.shape[1] - 1) / 2
    bias[means] = level_logit(np.float32(median_level), generator.floor) + away
    generator.head.bias.assign(bias)

"""Statistics of a generator's own output: of its normalisations and of its gate."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization
from kerasgen.models.pxd_gan.randomness import image_inputs, step_seed

BATCH = 4


def settle(
    generator: keras.Model,
    occupancy: NDArray[np.floating],
    threshold_level: float,
    seed: int,
    images: int,
) -> None:
    """Recompute the statistics that the weights of a generator imply, on whole sensors.

    The averaged weights were never run in training, so their batch-norm statistics are measured
    here (precise batch norm, arXiv:2105.07576, section 3), and after that the gate's cut of every
    sensor, at which the data's share of pixels fires with a charge above threshold.

    Arguments:
        generator: its moving statistics and ``cut`` are overwritten.
        occupancy: [sensors], fraction of fired pixels of the padded image in the data.
        threshold_level: half an ADU below threshold on [-1, 1].
        seed: of the run.
        images: images per sensor for the cut, rounded up to a multiple of BATCH.
    """
    sensors = np.arange(len(occupancy))
    settle_normalisation(generator, np.resize(sensors, 16 * BATCH), seed)
    if generator.output_form != "gated":
        return
    cut = generator.cut.numpy().copy()
    for sensor in sensors:
        score = np.concatenate(
            [
                fireable_scores(generator, int(sensor), threshold_level, seed, part)
                for part in range(-(-images // BATCH))
            ]
        )
        fired = min(max(round(float(occupancy[sensor]) * score.size), 1), score.size - 1)
        above = -np.partition(-score, fired)[fired]
        cut[sensor] += above if np.isfinite(above) else 0.0
    generator.cut.assign(cut)


def fireable_scores(
    generator: keras.Model, sensor: int, threshold_level: float, seed: int, part: int
) -> NDArray[np.floating]:
    """Scores of all pixels of BATCH images, those below the charge threshold at -infinity."""
    latent, noise = image_inputs(
        step_seed(seed, sensor, "statistics", part + 1), generator, generator.image, BATCH
    )
    rows, origin = tf.fill([BATCH], int(sensor)), tf.zeros([BATCH, 2], tf.int32)
    score, level = generator.maps(rows, latent, noise, origin, training=False)
    return np.where(level.numpy() >= threshold_level, score.numpy(), -np.inf).ravel()


def settle_normalisation(generator: keras.Model, sensors: NDArray[Any], seed: int) -> None:
    """Replace the moving statistics by means over batches of generated whole sensors."""
    norms = [x for x in generator._flatten_layers() if isinstance(x, ConditionalBatchNormalization)]
    momentum = [norm.momentum for norm in norms]
    for k, rows in enumerate(np.split(sensors, len(sensors) // BATCH)):
        for norm in norms:
            norm.momentum = k / (k + 1.0)
        latent, noise = image_inputs(
            step_seed(seed, k, "statistics"), generator, generator.image, BATCH
        )
        rows = tf.constant(rows, tf.int32)
        generator.maps(rows, latent, noise, tf.zeros([BATCH, 2], tf.int32), training=True)
    for norm, m in zip(norms, momentum, strict=True):
        norm.momentum = m


def start_output(
    generator: keras.Model, occupancy: NDArray[np.floating], median_level: float, seed: int
) -> None:
    """Start a gated generator at the data's occupancy and at the data's median charge."""
    if generator.output_form != "gated":
        return
    settle(generator, occupancy, -np.inf, seed, images=BATCH)
    bias = generator.head.bias.numpy()
    x = (median_level - generator.floor) / (1.0 - generator.floor)
    bias[len(bias) // 2 :] = np.log(x / (1.0 - x))
    generator.head.bias.assign(bias)

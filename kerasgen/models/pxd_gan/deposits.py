"""Deposits: the cells in which clusters start, and the numbers that say what they look like.

Background hits are independent deposits. The generator therefore starts from a marked Poisson
process instead of white noise: a sparse map of cells that hold a deposit, as often as in the
data, and for each of them a mark of normal numbers from which its cluster is drawn.

The marks of real deposits are inferred by an encoder, so that the generator learns to draw
clusters by reconstruction before, and while, it plays against the critic: a variational
auto-encoder of clusters beside a GAN (arXiv:1512.09300; for calorimeter showers arXiv:2005.05334).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pipeline import draw
from kerasgen.models.pxd_gan.output import EMPTY
from kerasgen.models.pxd_gan.randomness import normal

# log variance of a mark; outside, a posterior is a point or wider than any prior.
LOG_VARIANCE = (-6.0, 4.0)
IMAGES = 40  # pictures in memory at a time


def deposit_starts(image: Any, factor: int) -> Any:
    """[B, H, W, C] on [-1, 1] -> [B, H / factor, W / factor, 1], 1 where a cluster starts.

    A cluster starts at a fired pixel without a fired neighbour in the column before (v - 1, three
    rows) or in the row above: the first pixel of a track in v. Every connected group of pixels has
    at least one; simulated background has 1.05 starts per cluster, 2 % of them share a cell.
    """
    fired = ops.cast(ops.any(image > EMPTY, axis=-1), "float32")
    padded = ops.pad(fired, [[0, 0], [1, 1], [1, 0]])
    before = padded[:, :-2, :-1] + padded[:, 1:-1, :-1] + padded[:, 2:, :-1]
    above = padded[:, :-2, 1:]
    start = fired * ops.cast(before + above == 0, "float32")
    return ops.max_pool(start[..., None], factor, factor)


def deposit_rate(
    hits: Hits, geometry: Geometry, image: tuple[int, int], factor: int
) -> NDArray[np.float64]:
    """[sensors], share of the cells of the padded image in which a cluster starts."""
    starts = np.zeros(len(geometry.sensors))
    for first in range(0, len(hits), IMAGES):
        part = hits.take(np.arange(first, min(first + IMAGES, len(hits))))
        pictures = draw(part, part.adu.astype(np.float32), image, geometry.max_charge, None)
        cells = deposit_starts(tf.constant(pictures), factor).numpy().mean((1, 2, 3))
        np.add.at(starts, part.sensor, cells)
    images = np.bincount(hits.sensor, minlength=len(starts))
    # As for the occupancy: a sensor without any hit keeps a share of one cell.
    least = factor**2 / (image[0] * image[1])
    return np.maximum(starts, least) / np.maximum(images, 1)


class DepositEncoder(keras.Model):
    """image -> mean and log variance of the marks in every cell, both [B, h, w, marks], float32.

    Kernels are longer along v, where the tracks are: it sees 40 pixels before and after a cell.

    Arguments:
        marks: numbers per deposit.
        factor: pixels per cell along u and v.
        channels: width.
        layers: convolutions after the first.
    """

    def __init__(
        self, marks: int, factor: int, channels: int = 32, layers: int = 3, **options: Any
    ) -> None:
        super().__init__(**options)
        conv = keras.layers.Conv2D
        shared: dict[str, Any] = {"padding": "same", "activation": "relu"}
        self.stem = conv(channels, 2 * factor, strides=factor, name="stem", **shared)
        self.convs = [conv(channels, (3, 7), name=f"conv{i}", **shared) for i in range(layers)]
        self.head = conv(2 * marks, 1, kernel_initializer="zeros", name="head", dtype="float32")

    def call(self, image: Any) -> tuple[Any, Any]:
        x = self.stem(image - EMPTY)  # an empty pixel is 0
        for conv in self.convs:
            x = conv(x)
        mean, log_variance = ops.split(self.head(x), 2, axis=-1)
        return mean, ops.clip(log_variance, *LOG_VARIANCE)


def inferred_deposits(starts: Any, mean: Any, log_variance: Any, noise: Any) -> Any:
    """Presence and marks drawn from the posterior, [B, h, w, 1 + marks]."""
    return ops.concatenate([starts, starts * (mean + ops.exp(0.5 * log_variance) * noise)], -1)


def drawn_deposits(level: Any, presence: Any, seed: Any, marks: int) -> Any:
    """The deposits of one image, [1, h, w, 1 + marks], with numbers drawn for them alone.

    Arguments:
        level: scalar; a deposit is where ``presence`` is above it.
        presence: normal noise [1, h, w, 1].
        seed: int64 [2], of the marks.
    """
    _, height, width, _ = presence.shape
    place = tf.where(presence[0, :, :, 0] > level)
    numbers = normal(seed, [tf.shape(place)[0], marks])
    values = tf.concat([tf.ones_like(numbers[:, :1]), numbers], axis=1)
    return tf.scatter_nd(place, values, [height, width, 1 + marks])[None]


def sampled_deposits(level: Any, noise: Any) -> Any:
    """Presence and marks from normal noise [B, h, w, 1 + marks]: a deposit where the first number
    is above ``level`` [B]."""
    present = ops.cast(noise[..., :1] > level[:, None, None, None], noise.dtype)
    return ops.concatenate([present, present * noise[..., 1:]], -1)

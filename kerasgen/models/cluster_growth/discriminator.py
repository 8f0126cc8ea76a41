"""The discriminator of single clusters: real or grown, given sensor, first pixel and plan."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasgen.backend.engine import sum_at
from kerasgen.layers.attention import SelfAttention
from kerasgen.layers.spectral import SpectralDense, SpectralEmbedding
from kerasgen.models.cluster_growth.activity import ACTIVITY
from kerasgen.models.cluster_growth.network import PLACE, place_on_sensor, sum_terms
from kerasgen.models.cluster_growth.plan import ROWS, SIZES, TILT, TILTS
from kerasgen.models.cluster_growth.surroundings import State

CROP = 16, 32  # rows around the first pixel, and columns from it on
PATCH = 4  # pixels
NUMBERS = 10 + ACTIVITY + SIZES + TILTS + PLACE  # of ``shape_numbers``


class ClusterDiscriminator(keras.Model):
    """(clusters as ``seen``, sensor) -> logit, embedding, proxy of the sensor.

    The crop is cut into patches, which attend to each other; numbers of the whole cluster join the
    hidden layer. The sensor acts by projection (arXiv:1802.05637).

    Args:
        sensors: number of sensors.
        width: hidden units.
        attention: switch of the self-attention.
        spectral_norm: switch of the spectral normalisation, which the logit is without: with it the
            two clusters of a pair, which differ in a few pixels, have the same logit.
        channels: of a patch.
        embedding_size: of the metric learning.
        name: of the network.

    Attributes:
        shapes: of the parts of what it sees, but for the rows.
    """

    def __init__(
        self,
        sensors: int,
        width: int = 256,
        attention: bool = True,
        spectral_norm: bool = True,
        channels: int = 32,
        embedding_size: int = 64,
        name: str = "discriminator",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        norm: Any = {"spectral_norm": spectral_norm, "dtype": "float32"}
        self.patch = SpectralDense(channels, name="patch", **norm)
        self.attention = SelfAttention(name="attention", **norm) if attention else None
        self.enter = SpectralDense(width, name="enter", **norm)
        self.residual = [SpectralDense(width, name=f"residual{k}", **norm) for k in range(2)]
        self.of_numbers = SpectralDense(width, name="of_numbers", **norm)
        self.last = SpectralDense(width, name="last", **norm)
        free = norm | {"spectral_norm": False}
        self.logit = SpectralDense(1, name="logit", **free)
        self.projection = SpectralEmbedding(sensors, width, name="projection", **free)
        self.embed = SpectralDense(embedding_size, name="embed", **norm)
        self.proxy = SpectralEmbedding(sensors, embedding_size, name="proxy", **free)
        self.shapes = {"crop": (*CROP, 2), "numbers": (NUMBERS,)}
        empty = {name: np.zeros((1, *shape), np.float32) for name, shape in self.shapes.items()}
        self(empty, np.zeros(1, np.int32))  # makes the weights

    def call(self, clusters: State, sensor: Any) -> tuple[Any, Any, Any]:
        """Logits [B], embedding and proxy [B, K]."""
        x = ops.silu(self.patch(patches(clusters["crop"])))
        if self.attention is not None:
            x = self.attention(x)
        x = ops.silu(self.enter(ops.reshape(x, (-1, np.prod(x.shape[1:])))))
        x = x + ops.silu(self.residual[0](x))
        x = x + ops.silu(self.of_numbers(clusters["numbers"]))
        x = ops.silu(self.last(x + ops.silu(self.residual[1](x))))
        logit = self.logit(x)[:, 0] + ops.sum(x * self.projection(sensor), -1)
        return logit, self.embed(x), self.proxy(sensor)


def patches(crop: Any) -> Any:
    """Cut [B, H, W, C] into patches, [B, H / PATCH, W / PATCH, PATCH^2 C]."""
    _, height, width, channels = crop.shape
    shape = (-1, height // PATCH, PATCH, width // PATCH, PATCH, channels)
    cut = ops.transpose(ops.reshape(crop, shape), (0, 1, 3, 2, 4, 5))
    return ops.reshape(cut, (-1, height // PATCH, width // PATCH, PATCH**2 * channels))


def seen(clusters: State, size: tuple[int, int]) -> State:
    """What the discriminator sees of clusters: ``crop`` [B, 16, 32, 2], ``numbers`` [B, NUMBERS].

    The two channels of the crop are 1 where a pixel has fired, and its charge level.

    Args:
        clusters: of ``GrowthBatches``, ``clusters``.
        size: rows and columns of a sensor.
    """
    pixels, first = clusters["pixels"], ops.cast(clusters["first"], "float32")
    rows, most, _ = pixels.shape
    there = np.arange(most, dtype=np.int32) < clusters["count"][:, None]
    from_first = pixels[:, :, :2] - first[:, None]
    level = pixels[:, :, 2]
    row, col = (ops.cast(from_first[:, :, k], "int32") for k in range(2))
    row = row + CROP[0] // 2
    inside = there & (row >= 0) & (row < CROP[0]) & (col < CROP[1])
    cell = (np.arange(rows, dtype=np.int32)[:, None] * CROP[0] + row) * CROP[1] + col
    values = ops.stack([ops.ones_like(level), level], -1)
    crop = sum_at(inside, cell, values, rows * CROP[0] * CROP[1])
    outside = ops.cast(there & ~inside, "float32")
    numbers = shape_numbers(clusters, from_first, level, ops.cast(there, "float32"), outside, size)
    return {"crop": ops.reshape(crop, (rows, *CROP, 2)), "numbers": numbers}


def shape_numbers(
    clusters: State, from_first: Any, level: Any, there: Any, outside: Any, size: tuple[int, int]
) -> Any:
    """Numbers of whole clusters, [B, NUMBERS].

    Pixels, mean and spread of rows, columns and charge levels, covariance, share of pixels outside
    of the crop; activity of the image; planned numbers and tilt; place on the sensor.

    Args:
        clusters: as in ``seen``.
        from_first: rows and columns of the pixels, [B, K, 2].
        level: their charge levels, [B, K].
        there, outside: whether they are, and are outside of the crop, [B, K].
        size: rows and columns of a sensor.
    """
    rows, most, _ = from_first.shape
    terms = sum_terms(ops, ops.reshape(from_first, (-1, 2)), ops.reshape(level, (-1,)))
    terms = ops.reshape(terms, (rows, most, -1)) * there[:, :, None]
    count = ops.sum(there, 1, keepdims=True)
    u, v, uu, vv, uv, charge, square = ops.split(ops.sum(terms, 1) / count, terms.shape[2], 1)
    uu, vv, uv, square = uu - u * u, vv - v * v, uv - u * v, square - charge * charge
    half = (uu + vv) / 2
    across = half - ops.sqrt(((uu - vv) / 2) ** 2 + uv**2)
    spread = ops.sqrt(ops.maximum(ops.concatenate([uu, vv, across], 1), 1e-6))
    lengths = ops.arcsinh(ops.concatenate([count, u, v, spread], 1))
    brightness = [4 * charge, 8 * ops.sqrt(ops.maximum(square, 1e-6))]
    share = ops.sum(outside, 1, keepdims=True) / count
    plan = clusters["plan"]
    planned = ops.arcsinh(ops.cast(plan[:, ROWS:], "float32"))
    tilt = ops.one_hot(plan[:, TILT], TILTS, dtype="float32")
    place = place_on_sensor(clusters["first"], size)
    found = [
        lengths,
        uv / (half + 1),
        *brightness,
        share,
        clusters["activity"],
        planned,
        tilt,
        place,
    ]
    return ops.concatenate(found, 1)

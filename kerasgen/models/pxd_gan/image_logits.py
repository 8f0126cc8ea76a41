"""Firing logits of one whole image for the exported graph: folded, sparse where images are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import ops

from kerasgen.backend.engine import normal
from kerasgen.models.pxd_gan import one_image
from kerasgen.models.pxd_gan.biggan_deep import BigGANDeepGenerator
from kerasgen.models.pxd_gan.clusters import (
    PLACEMENT_NORMALS,
    Statistics,
    placed_segments,
    segment_map,
    start_threshold,
)
from kerasgen.models.pxd_gan.output import HitmapGenerator
from kerasgen.models.pxd_gan.sub_pixel import SubPixelGenerator

ChargeAt = Callable[[Any], list[Any]]


def image_logits(
    generator: HitmapGenerator, sensor: Any, latent: Any, seed: Any, event: Any
) -> tuple[Any, ChargeAt, Any]:
    """Firing logits of one whole image, and its charge distributions on request.

    Args:
        generator: network.
        sensor: [1] int32.
        latent: [1, latent].
        seed: int64 [2], of the noise; ``seed + 1`` to ``seed + 3`` are used too.
        event: int64 [2], a seed that all sensors of the event share.

    Returns:
        Firing logits [h, w, cell * C]. A function from positions, int [n, 3], to the charge
        distributions there, tensors [n] or [n, K]. The track segments of the clusters, as
        ``cluster_threshold`` takes them; None where one threshold decides for all pixels.
    """
    if isinstance(generator, SubPixelGenerator):
        return sub_pixel_logits(generator, sensor, latent, seed, event)
    assert isinstance(generator, BigGANDeepGenerator)
    noise = normal(seed, [1, *generator.noise_shape(generator.image)])
    inputs = generator.trunk_inputs(sensor, latent, noise)
    x = one_image.head_input(generator, *inputs, attend_after=generator.attend_after)
    x = one_image.padded_by_one(ops.cast(x, "float32"), generator.head)
    logit, *charge = generator.split_head(one_image.convolution(x, generator.head), sensor)
    return logit[0], lambda cell: [tf.gather_nd(x[0], cell) for x in charge], None


def sub_pixel_logits(
    generator: SubPixelGenerator, sensor: Any, latent: Any, seed: Any, event: Any
) -> tuple[Any, ChargeAt, Any]:
    """``image_logits``; per-cell latents and charges are sampled only where used."""
    height, width, _ = generator.noise_shape(generator.image)
    planes = sum(generator.block_planes)
    segments = None
    if generator.clusters:
        noise = normal(seed, [1, height, width, 1 + planes])
        clusters, segments = sample_image_clusters(
            generator.statistics,
            sensor,
            event,
            noise[..., :1],
            seed + 1,
            generator.cell_latents,
            generator.factor,
            generator.size,
        )
        noise = noise[..., 1:]
    else:
        noise = normal(seed, [1, height, width, generator.noise_channels + planes])
        clusters, noise = ops.split(noise, [generator.noise_channels], axis=-1)
    origin = ops.zeros([1, 2], "int32")
    x, condition, noises = generator.trunk_inputs(sensor, latent, clusters, noise, origin)
    x = one_image.padded_by_one(x, generator.stem)
    x = one_image.convolution(x, generator.stem)
    x = one_image.head_input(generator, x, condition, noises, attend_after=0)
    if generator.output_variant == "tanh" or generator.image_channels > 1:
        segments = None  # logits are charges, or a pixel has several of them
    return *sub_pixel_head(generator, ops.cast(x, "float32"), sensor), segments


def sub_pixel_head(generator: SubPixelGenerator, x: Any, sensor: Any) -> tuple[Any, ChargeAt]:
    """Logits of the head at all pixels, and a function for its charges at some of them.

    Args:
        generator: network.
        x: [1, h, w, C], input of the head.
        sensor: [1] int.
    """
    head = generator.head
    x = one_image.padded_by_one(x, head)
    if generator.output_variant == "tanh":
        charge = ops.tanh(one_image.convolution(x, head)[0])
        return charge, lambda cell: [tf.gather_nd(charge, cell)]
    n = generator.logit_planes
    kernel, bias = head.effective_kernel(), head.bias.value
    threshold = generator.firing_threshold.value[sensor[0]]
    logit = one_image.convolution_in_pairs(x, kernel[..., :n], bias[:n] - threshold)

    def charge_at(cell: Any) -> list[Any]:
        outputs = one_image.convolution_at_cells(x, kernel[..., n:], bias[n:], cell)
        return [tf.gather(part, cell[:, 2], batch_dims=1) for part in generator.mixture(outputs)]

    return logit[0], charge_at


def sample_image_clusters(
    statistics: Statistics,
    sensor: Any,
    event: Any,
    presence: Any,
    seed: Any,
    cell_latents: int,
    factor: int,
    size: tuple[int, int],
) -> tuple[Any, Any]:
    """Sample the clusters of one image, with random numbers only where segments are.

    Args:
        statistics: of ``cluster_statistics``.
        sensor: [1] int32.
        event: int64 [2], a seed that all sensors of the event share.
        presence: normal noise [1, h, w, 1]; a segment starts where it is high.
        seed: int64 [2]; ``seed + 1`` and ``seed + 2`` are used too.
        cell_latents: latents per cell.
        factor: pixels per cell.
        size: rows and columns of the sensor.

    Returns:
        Input of the generator [1, h, w, known + latents], and the segments [n, SEGMENT_SIZE].
    """
    _, height, width, _ = presence.shape
    number = tf.concat([normal(event, [1, 1]), normal(seed, [1, 1])], 1)
    first = tf.zeros([1, 2], tf.int32)
    threshold = start_threshold(statistics, sensor, number, first, (height, width))
    start = tf.where(presence[..., 0] > threshold)
    n = tf.shape(start)[0]
    numbers = normal(seed + 1, [n, PLACEMENT_NORMALS - 1])
    sensors, present = tf.fill([n], sensor[0]), tf.fill([n], True)
    segment = placed_segments(statistics, sensors, start[:, 1:], first, numbers, factor, size)
    known = segment_map(segment, start[:, 0], present, (1, height, width), factor)
    cell = tf.where(known[..., 0] > 0)
    values = normal(seed + 2, [tf.shape(cell)[0], cell_latents])
    latents = tf.scatter_nd(cell, values, tf.constant([1, height, width, cell_latents], tf.int64))
    return tf.concat([known, latents], -1), segment

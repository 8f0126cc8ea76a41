"""Firing logits of one whole image for the exported graph, from folded layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import ops

from kerasgen.backend.engine import normal
from kerasgen.models.pxd_gan import one_image
from kerasgen.models.pxd_gan.biggan_deep import BigGANDeepGenerator
from kerasgen.models.pxd_gan.output import HitmapGenerator
from kerasgen.models.pxd_gan.sub_pixel import SubPixelGenerator

ChargeAt = Callable[[Any], list[Any]]


def image_logits(
    generator: HitmapGenerator, sensor: Any, latent: Any, seed: Any
) -> tuple[Any, ChargeAt]:
    """Firing logits of one whole image, and its charge distributions on request.

    Args:
        generator: network.
        sensor: [1] int32.
        latent: [1, latent].
        seed: int64 [2], of the noise.

    Returns:
        Firing logits [h, w, cell * C]. A function from positions, int [n, 3], to the charge
        distributions there, tensors [n] or [n, K].
    """
    if isinstance(generator, SubPixelGenerator):
        return sub_pixel_logits(generator, sensor, latent, seed)
    assert isinstance(generator, BigGANDeepGenerator)
    noise = normal(seed, [1, *generator.noise_shape(generator.image)])
    inputs = generator.trunk_inputs(sensor, latent, noise, ops.zeros([1, 2], "int32"))
    x = one_image.head_input(generator, *inputs, attend_after=generator.attend_after)
    x = one_image.padded_by_one(ops.cast(x, "float32"), generator.head)
    logit, *charge = generator.split_head(one_image.convolution(x, generator.head), sensor)
    return logit[0], lambda cell: [tf.gather_nd(x[0], cell) for x in charge]


def sub_pixel_logits(
    generator: SubPixelGenerator, sensor: Any, latent: Any, seed: Any
) -> tuple[Any, ChargeAt]:
    """``image_logits``; charges are computed only where they are asked for."""
    height, width, planes = generator.noise_shape(generator.image)
    noise = normal(seed, [1, height, width, planes - generator.pixel_planes])
    origin = ops.zeros([1, 2], "int32")
    x, condition, noises = generator.trunk_inputs(sensor, latent, noise, origin)
    x = one_image.padded_by_one(x, generator.stem)
    x = one_image.convolution(x, generator.stem)
    x = one_image.head_input(generator, x, condition, noises, attend_after=0)
    return sub_pixel_head(generator, ops.cast(x, "float32"), sensor)


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

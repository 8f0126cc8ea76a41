"""Folded inference of one image: as few passes over memory as the kernels allow.

Layer by layer it computes the same network as in training. The scales and shifts of all conditional
normalisations come from one matrix product; those after a convolution are folded into its kernel
and bias, the others are one fused kernel with their relu. A bias, the sum with the skip path and
the upsampling by 2 are part of their convolution. A block pads its map periodically once. Charges
are computed only for pixels that fire.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization
from kerasgen.layers.residual import GeneratorBlock, alternating_signs, depth_to_space, upsample
from kerasgen.layers.spectral import SpectralConv2D, pad_periodic

Affine = tuple[Any, Any]
BORDER = [[0, 0], [1, 1], [1, 1], [0, 0]]
# A 3-tap kernel on a map that is upsampled by 2, for the two pixels between the centres of a pair
# of cells: [pixel, cell of the pair, tap].
PAIR = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)


def head_input(
    generator: Any, x: Any, condition: Any, noises: list[Any], attend_after: int = 0
) -> Any:
    """Input of the head of one image: relu(norm(blocks(x))).

    Args:
        generator: with ``blocks``, ``attention`` (or None) and ``norm``.
        x: [1, h, w, C], input of the first block.
        condition: [1, K].
        noises: one map for each block, or None.
        attend_after: number of the block that the attention follows.
    """
    norms = [norm for block in generator.blocks for norm in block.norms]
    affine = iter(affine_maps([*norms, generator.norm], condition))
    for i, block in enumerate(generator.blocks):
        x = folded_block(block, x, [next(affine) for _ in block.norms], noises[i])
        if i == attend_after and generator.attention is not None:
            x = generator.attention(x)
    return affine_relu(x, next(affine))


def affine_maps(norms: list[ConditionalBatchNormalization], condition: Any) -> list[Affine]:
    """Scale and shift of every normalisation, [channels] each, float32, from one product.

    Args:
        norms: of the network.
        condition: [1, K].
    """
    maps = [x.effective_kernel() for x in (*(n.gain for n in norms), *(n.shift for n in norms))]
    gain, shift = tf.split(tf.cast(tf.matmul(condition, tf.concat(maps, 1))[0], tf.float32), 2)
    mean = tf.concat([n.moving_mean.value for n in norms], 0)
    variance = tf.concat([n.moving_variance.value for n in norms], 0)
    scale = (1.0 + gain) * tf.math.rsqrt(variance + norms[0].epsilon)
    sizes = [n.moving_mean.shape[0] for n in norms]
    return list(zip(tf.split(scale, sizes), tf.split(shift - mean * scale, sizes), strict=True))


def folded_block(block: GeneratorBlock, x: Any, affine: list[Affine], noise: Any) -> Any:
    """``GeneratorBlock`` of one image.

    Args:
        block: with built weights.
        x: [1, h, w, C].
        affine: scale and shift of its normalisations.
        noise: map at the resolution of the output, or None.
    """
    reduce, first, second, restore = block.convs
    y = tf.nn.relu(convolution(affine_relu(x, affine[0]), reduce, affine[1]))
    if block.up == 2 and not block.noise_gain:
        y = upsampled_convolution(padded_by_one(y, first), first, affine[2])
    else:
        y = upsample(y, block.up) if block.up > 1 else y
        if block.noise_gain:
            y += block.noise_gain * noise * alternating_signs(y.shape[-1], y.dtype)
        if block.padding == "wrap":  # once for both convolutions
            y = tf.nn.relu(convolution(pad_periodic(y, 2), first, affine[2]))
        else:
            y = tf.nn.relu(convolution(padded_by_one(y, first), first, affine[2]))
            y = padded_by_one(y, second)
    y = tf.nn.relu(convolution(y, second, affine[3]))
    skip = x[..., : block.filters]
    return convolution(y, restore) + (upsample(skip, block.up) if block.up > 1 else skip)


def affine_relu(x: Any, affine: Affine) -> Any:
    """relu(scale * x + shift) in one pass: a batch normalisation of mean 0 and variance 1."""
    scale, shift = affine
    y = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=scale,
        offset=shift,
        mean=tf.zeros_like(scale),
        variance=tf.ones_like(scale),
        epsilon=0.0,
        is_training=False,
    )[0]
    return tf.nn.relu(y)


def folded_kernel(conv: SpectralConv2D, affine: Affine | None) -> tuple[Any, Any]:
    """Kernel and bias of a convolution that include the normalisation after it."""
    if affine is None:
        return conv.effective_kernel(), tf.cast(conv.bias, conv.compute_dtype)
    scale, shift = affine
    bias = shift + scale * tf.cast(conv.bias, scale.dtype)
    return conv.effective_kernel(scale), tf.cast(bias, conv.compute_dtype)


def convolution(x: Any, conv: SpectralConv2D, affine: Affine | None = None) -> Any:
    """norm(conv(x)) without padding; ``padded_by_one`` pads ``x`` before."""
    kernel, bias = folded_kernel(conv, affine)
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias)


def padded_by_one(x: Any, conv: SpectralConv2D) -> Any:
    """``x`` with one more cell on every side, in the padding mode of a convolution."""
    return pad_periodic(x, 1) if conv.padding == "wrap" else tf.pad(x, BORDER)


def upsampled_convolution(x: Any, conv: SpectralConv2D, affine: Affine) -> Any:
    """relu(norm(conv(upsample(x, 2)))), [1, h + 2, w + 2, C] -> [1, 2 h + 2, 2 w + 2, D].

    The four pixels between the centres of four cells depend on these cells only, so one
    convolution with 2 x 2 taps computes them.

    Args:
        x: padded by one cell on every side; the result is padded by one pixel.
        conv: 3 x 3.
        affine: scale and shift of the normalisation after it.
    """
    kernel, bias = folded_kernel(conv, affine)
    inputs, outputs = kernel.shape[2:]
    taps = np.einsum("pia,qjb->ijpqab", PAIR, PAIR).reshape(16, 9)
    kernel = tf.matmul(tf.constant(taps, kernel.dtype), tf.reshape(kernel, [9, inputs * outputs]))
    kernel = tf.transpose(tf.reshape(kernel, [2, 2, 4, inputs, outputs]), [0, 1, 3, 2, 4])
    kernel = tf.reshape(kernel, [2, 2, inputs, 4 * outputs])
    y = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), tf.tile(bias, [4])))
    y = depth_to_space(y, 2)
    return y if conv.padding == "wrap" else tf.pad(y[:, 1:-1, 1:-1], BORDER)


def convolution_in_pairs(x: Any, kernel: Any, bias: Any) -> Any:
    """A 3 x 3 convolution with few outputs, [1, h + 2, w + 2, C] -> [1, h, w, D].

    Vector units compute 16 outputs even if only D = 4 are needed. Two neighbouring pixels are
    therefore merged into one of 2 C channels, and one output pixel holds the 2 D outputs of a pair.

    Args:
        x: padded by one cell on every side.
        kernel: [3, 3, C, D].
        bias: [D].
    """
    _, height, width, inputs = x.shape
    outputs = kernel.shape[3]
    if width % 2:
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias)
    left, right = (tf.pad(kernel, [[0, 0], [k, 1 - k], [0, 0], [0, 0]]) for k in range(2))
    both = tf.reshape(tf.concat([left, right], 3), [3, 2, 2 * inputs, 2 * outputs])
    y = tf.nn.conv2d(tf.reshape(x, [1, height, width // 2, 2 * inputs]), both, 1, "VALID")
    y = tf.nn.bias_add(y, tf.tile(bias, [2]))
    return tf.reshape(y, [1, height - 2, width - 2, outputs])


def convolution_at_cells(x: Any, kernel: Any, bias: Any, cell: Any) -> Any:
    """A 3 x 3 convolution at a few cells, [n, D].

    Args:
        x: [1, h + 2, w + 2, C], padded by one cell on every side.
        kernel: [3, 3, C, D].
        bias: [D].
        cell: [n, 2 or more] int, row and column first.
    """
    width = x.shape[2]
    corner = cell[:, 0] * width + cell[:, 1]
    window = tf.constant([i * width + j for i in range(3) for j in range(3)], corner.dtype)
    pixels = tf.gather(tf.reshape(x, [-1, x.shape[3]]), corner[:, None] + window)
    inputs = 9 * x.shape[3]
    return tf.matmul(tf.reshape(pixels, [-1, inputs]), tf.reshape(kernel, [inputs, -1])) + bias

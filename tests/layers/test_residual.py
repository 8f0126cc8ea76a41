"""Residual blocks of BigGAN-deep."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kerasgen.layers.residual import (
    DiscriminatorBlock,
    GeneratorBlock,
    alternating_signs,
    depth_to_space,
    upsample,
)


def cells(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(3).normal(size=shape), tf.float32)


def parameter_count(layer) -> int:
    return sum(int(np.prod(w.shape)) for w in layer.trainable_variables)


def test_generator_block_without_its_last_convolution_is_the_skip():
    block = GeneratorBlock(4, bottleneck=2, up=2)
    block.build((None, None, None, 8), (None, 3))
    block.convs[-1].kernel.assign(np.zeros((1, 1, 4, 4)))
    x = cells(2, 3, 5, 8)
    y = block(x, cells(2, 3))
    assert y.shape == (2, 6, 10, 4)
    expected = np.array(x)[..., :4].repeat(2, 1).repeat(2, 2)  # channels dropped, nearest
    np.testing.assert_array_equal(y, expected)


def test_generator_block_is_the_composition_of_its_layers():
    block = GeneratorBlock(8, bottleneck=2, up=2, noise_gain=0.5)
    block.build((None, None, None, 8), (None, 3))
    x, condition, noise = cells(2, 3, 4, 8), cells(2, 3), cells(2, 6, 8, 1)
    y = x
    for i, (norm, conv) in enumerate(zip(block.norms, block.convs, strict=True)):
        y = tf.nn.relu(norm(y, condition))
        if i == 1:
            y = tf.repeat(tf.repeat(y, 2, 1), 2, 2)
            y = y + 0.5 * noise * tf.constant([1.0, -1.0, 1.0, -1.0])
        y = conv(y)
    expected = y + tf.repeat(tf.repeat(x, 2, 1), 2, 2)
    np.testing.assert_allclose(block(x, condition, noise), expected, atol=1e-6)


def test_generator_block_has_the_parameters_of_the_paper():
    block = GeneratorBlock(6, bottleneck=4)
    block.build((None, None, None, 8), (None, 3))
    convs = (8 * 2 + 2) + (9 * 2 * 2 + 2) * 2 + (2 * 6 + 6)
    maps = 2 * 3 * (8 + 2 + 2 + 2)  # gain and shift from a condition of 3 numbers
    assert parameter_count(block) == convs + maps


def test_neutral_condition_starts_without_effect():
    neutral, full = (GeneratorBlock(8, neutral_condition=n) for n in (True, False))
    x = cells(1, 3, 4, 8)
    a, b = cells(1, 3), cells(1, 3) + 5.0
    np.testing.assert_array_equal(neutral(x, a), neutral(x, b))
    assert np.abs(full(x, a) - full(x, b)).max() > 1e-3


def test_noise_without_a_gain_is_not_used():
    block = GeneratorBlock(8)
    x, condition = cells(1, 3, 4, 8), cells(1, 3)
    np.testing.assert_array_equal(block(x, condition), block(x, condition, cells(1, 3, 4, 1)))


def test_discriminator_block_without_its_last_convolution_is_the_skip():
    block = DiscriminatorBlock(6, bottleneck=2, down=2)
    block.build((None, None, None, 4))
    block.convs[-1].kernel.assign(np.zeros((1, 1, 3, 6)))
    x = cells(2, 4, 6, 4)
    pooled = np.array(x).reshape(2, 2, 2, 3, 2, 4).mean((2, 4))
    y = block(x)
    assert y.shape == (2, 2, 3, 6)
    np.testing.assert_allclose(y[..., :4], pooled, atol=1e-6)
    np.testing.assert_allclose(y[..., 4:], block.widen(pooled), atol=1e-6)


def test_discriminator_block_is_the_composition_of_its_layers():
    block = DiscriminatorBlock(8, bottleneck=2)
    x = cells(2, 4, 6, 8)
    block.build(x.shape)
    y = x
    for conv in block.convs:
        y = conv(tf.nn.relu(y))
    np.testing.assert_allclose(block(x), x + y, atol=1e-6)
    assert block.widen is None


def test_discriminator_block_has_the_parameters_of_the_paper():
    block = DiscriminatorBlock(8, bottleneck=4)
    block.build((None, None, None, 6))
    convs = (6 * 2 + 2) + (9 * 2 * 2 + 2) * 2 + (2 * 8 + 8)
    assert parameter_count(block) == convs + (6 * 2 + 2)  # and the widening of the skip


def test_blocks_refuse_the_wrong_direction():
    with pytest.raises(ValueError, match="cannot widen 4 to 8"):
        GeneratorBlock(8).build((None, None, None, 4), (None, 3))
    with pytest.raises(ValueError, match="cannot narrow 8 to 4"):
        DiscriminatorBlock(4).build((None, None, None, 8))


def test_depth_to_space_places_pixels_row_by_row():
    # One cell of 2 x 2 pixels of 2 channels: (row, column, channel) is the order of the last axis.
    x = tf.reshape(tf.range(8), (1, 1, 1, 8))
    expected = [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    np.testing.assert_array_equal(depth_to_space(x, 2)[0], expected)
    y = tf.reshape(tf.range(2 * 3 * 4), (1, 2, 3, 4))
    np.testing.assert_array_equal(depth_to_space(y, 2), tf.nn.depth_to_space(y, 2))


def test_upsample_is_nearest():
    x = tf.reshape(tf.range(4), (1, 2, 2, 1))
    expected = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    np.testing.assert_array_equal(upsample(x, 2)[0, ..., 0], expected)


def test_signs_alternate():
    np.testing.assert_array_equal(alternating_signs(5, "float32"), [1, -1, 1, -1, 1])

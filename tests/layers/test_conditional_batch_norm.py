"""Conditional batch normalisation: y = (1 + W c) (x - mean) / sd + V c."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization

EPSILON = 1e-4


def data() -> tuple[np.ndarray, np.ndarray]:
    """x [4, 3, 5, 2] with mean 2 and sd 3, condition [4, 3]."""
    rng = np.random.default_rng(0)
    x = 2 + 3 * rng.normal(size=(4, 3, 5, 2))
    return x.astype("float32"), rng.normal(size=(4, 3)).astype("float32")


def normalised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + EPSILON)


def layer_for(x: np.ndarray, condition: np.ndarray, **options) -> ConditionalBatchNormalization:
    layer = ConditionalBatchNormalization(spectral_norm=False, epsilon=EPSILON, **options)
    layer.build(x.shape, condition.shape)
    return layer


def test_without_effect_of_the_condition_the_gain_is_one():
    x, condition = data()
    layer = layer_for(x, condition, initializer="zeros")
    y = layer(x, condition, training=True)
    np.testing.assert_allclose(y, normalised(x), atol=1e-5)
    assert np.std(y) == pytest.approx(1.0, abs=1e-3)  # a gain of W c would give 0


def test_gain_is_one_plus_w_c():
    x, condition = data()
    layer = layer_for(x, condition)
    w = np.array([[0.5, -1.0], [0.0, 2.0], [0.25, 0.0]], "float32")
    v = np.array([[1.0, 0.0], [-2.0, 0.5], [0.0, 3.0]], "float32")
    layer.gain.kernel.assign(w)
    layer.shift.kernel.assign(v)
    y = layer(x, condition, training=True)
    gain, shift = 1 + condition @ w, condition @ v
    expected = gain[:, None, None] * normalised(x) + shift[:, None, None]
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_gain_with_spectral_norm_uses_w_over_sigma():
    x, condition = data()
    layer = ConditionalBatchNormalization(epsilon=EPSILON)
    layer.build(x.shape, condition.shape)
    gain = 1 + condition @ layer.gain.effective_kernel().numpy()
    shift = condition @ layer.shift.effective_kernel().numpy()
    expected = gain[:, None, None] * normalised(x) + shift[:, None, None]
    np.testing.assert_allclose(layer(x, condition, training=True), expected, atol=1e-5)


def test_moving_statistics_follow_and_serve_inference():
    x, condition = data()
    layer = layer_for(x, condition, momentum=0.75, initializer="zeros")
    np.testing.assert_allclose(layer(x, condition), x / np.sqrt(1 + EPSILON), rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, [0, 0])  # inference leaves them
    layer(x, condition, training=True)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.75 + 0.25 * variance, rtol=1e-5)
    y = layer(x, condition)
    expected = (x - 0.25 * mean) / np.sqrt(0.75 + 0.25 * variance + EPSILON)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_each_image_keeps_its_own_condition_in_inference():
    x, condition = data()
    layer = layer_for(x, condition)
    together = layer(x, condition)
    alone = [layer(x[i : i + 1], condition[i : i + 1])[0] for i in range(len(x))]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6)


def test_statistics_are_float32_under_bfloat16():
    x, condition = data()
    x = x + 1000.0  # bfloat16 has 8 bits: moments in it would be off by several units
    layer = layer_for(x, condition, momentum=0.0, initializer="zeros", dtype="mixed_bfloat16")
    y = layer(tf.cast(x, "bfloat16"), condition, training=True)
    assert y.dtype == tf.bfloat16
    assert layer.moving_mean.dtype == layer.moving_variance.dtype == "float32"
    rounded = tf.cast(tf.cast(x, "bfloat16"), "float32").numpy()
    np.testing.assert_allclose(layer.moving_mean, rounded.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, rounded.var((0, 1, 2)), rtol=1e-4)


def test_weights_have_the_shapes_of_the_maps():
    x, condition = data()
    layer = ConditionalBatchNormalization()
    layer.build(x.shape, condition.shape)
    shapes = {w.path.split("/", 1)[-1]: tuple(w.shape) for w in layer.weights}
    assert sorted(shapes.values()) == sorted([(3, 2), (2,), (3, 2), (2,), (2,), (2,)])
    assert [tuple(w.shape) for w in layer.trainable_variables] == [(3, 2), (3, 2)]
    scale, shift = layer.affine(layer.moving_mean, layer.moving_variance, condition)
    assert scale.shape == shift.shape == (4, 1, 1, 2)
    assert layer(x, condition).shape == x.shape

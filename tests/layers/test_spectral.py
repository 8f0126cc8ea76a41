"""Spectral normalisation: the effective kernel is W / sigma, and W itself is not changed."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.layers.residual import GeneratorBlock
from kerasgen.layers.spectral import (
    SpectralConv2D,
    SpectralDense,
    SpectralEmbedding,
    SpectralLayer,
    pad_periodic,
    power_iteration,
    spectral_layers,
)

# name: (layer, shape of its input, an input)
LAYERS: dict[str, tuple[Callable[..., SpectralLayer], tuple[int, ...]]] = {
    "dense": (lambda **k: SpectralDense(5, **k), (2, 8)),
    "conv3x3": (lambda **k: SpectralConv2D(6, 3, **k), (2, 5, 5, 4)),
    "conv_strided": (lambda **k: SpectralConv2D(6, 4, strides=2, **k), (2, 6, 6, 3)),
    "conv_wrap": (lambda **k: SpectralConv2D(6, 3, padding="wrap", **k), (2, 5, 5, 4)),
    "embedding": (lambda **k: SpectralEmbedding(7, 4, **k), (2,)),
}


def built(name: str, **options) -> tuple[SpectralLayer, tf.Tensor]:
    """A layer with a kernel far from orthogonal, and an input for it."""
    make, shape = LAYERS[name]
    layer = make(**options)
    layer.build(shape)
    rng = np.random.default_rng(5)
    layer.kernel.assign(rng.normal(size=layer.kernel.shape) * 3)
    if name == "embedding":
        return layer, tf.constant([3, 1])
    return layer, tf.constant(rng.normal(size=shape), tf.float32)


def singular_values(kernel) -> np.ndarray:
    return np.linalg.svd(np.reshape(kernel, (-1, kernel.shape[-1])))[1]


@pytest.mark.parametrize("name", LAYERS)
def test_largest_singular_value_is_one_after_warm_up(name: str):
    layer, _ = built(name)
    assert singular_values(layer.effective_kernel())[0] > 1.02  # u is random, sigma too low
    for _ in range(60):
        power_iteration(layer)
    assert singular_values(layer.effective_kernel())[0] == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("name", LAYERS)
def test_a_call_changes_no_weight_and_training_uses_the_same_kernel(name: str):
    layer, x = built(name)
    before = [w.numpy() for w in layer.weights]
    with tf.GradientTape() as tape:
        y = layer(x)
        loss = tf.reduce_sum(y**2)
    tape.gradient(loss, layer.trainable_variables)
    np.testing.assert_array_equal(layer(x), y)
    for weight, old in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("name", LAYERS)
def test_norm_of_the_kernel_has_no_gradient(name: str):
    layer, x = built(name)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(layer(x)))
    grad = tf.convert_to_tensor(tape.gradient(loss, layer.kernel))
    size = tf.norm(grad) * tf.norm(layer.kernel)
    assert size > 1e-3
    assert abs(tf.reduce_sum(grad * layer.kernel)) < 1e-5 * size


def test_gradient_passes_through_sigma():
    """arXiv:1802.05957, eq. 12: dL/dW = (g - <g, W/sigma> v u^T) / sigma, g = dL/d(W/sigma)."""
    layer, _ = built("dense")
    for _ in range(200):
        power_iteration(layer)
    g = np.random.default_rng(1).normal(size=layer.kernel.shape).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(g * layer.effective_kernel())
    w = layer.kernel.numpy().astype("float64")
    left, s, right = np.linalg.svd(w)
    expected = (g - np.sum(g * w / s[0]) * np.outer(left[:, 0], right[0])) / s[0]
    np.testing.assert_allclose(tape.gradient(loss, layer.kernel), expected, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_without_spectral_norm_the_stored_kernel_is_used(name: str):
    layer, _ = built(name, spectral_norm=False)
    np.testing.assert_array_equal(layer.effective_kernel(), layer.kernel)
    assert not layer.non_trainable_variables
    assert spectral_layers(layer) == []


def test_stored_weights_are_float32_and_computation_bfloat16():
    layer, x = built("conv3x3", dtype="mixed_bfloat16")
    assert layer.kernel.dtype == layer.u.dtype == "float32"
    assert layer.sigma().dtype == tf.float32
    assert layer.effective_kernel().dtype == layer(x).dtype == tf.bfloat16


def test_every_layer_of_a_model_is_iterated():
    block = GeneratorBlock(8, noise_gain=0.0)
    block.build((None, None, None, 8), (None, 4))
    layers = spectral_layers(block)
    assert len(layers) == 4 + 4 * 2  # convolutions, gain and shift of the norms
    before = [x.u.numpy() for x in layers]
    kernels = [x.kernel.numpy() for x in layers]
    power_iteration(block)
    for layer, u, kernel in zip(layers, before, kernels, strict=True):
        assert np.abs(layer.u.numpy() - u).max() > 1e-4
        np.testing.assert_array_equal(layer.kernel, kernel)


def test_a_zero_kernel_can_still_grow():
    """u must survive W = 0: at u = 0 sigma would vanish whatever W becomes."""
    layer = SpectralDense(3, initializer="zeros")
    layer.build((None, 4))
    power_iteration(layer)
    layer.kernel.assign(np.diag([5.0, 1.0, 1.0, 1.0])[:, :3])
    for _ in range(30):
        power_iteration(layer)
    assert float(layer.sigma()) == pytest.approx(5.0, rel=1e-3)


def test_convolution_is_that_of_keras():
    layer, x = built("conv3x3", spectral_norm=False)
    keras_conv = keras.layers.Conv2D(6, 3, padding="same")
    keras_conv.build(x.shape)
    keras_conv.set_weights([layer.kernel, layer.bias])
    np.testing.assert_allclose(layer(x), keras_conv(x), rtol=1e-5, atol=1e-5)


def test_periodic_convolution_commutes_with_circular_shifts():
    layer, x = built("conv_wrap")
    moved = tf.roll(layer(x), [2, 3], [1, 2])
    np.testing.assert_allclose(layer(tf.roll(x, [2, 3], [1, 2])), moved, atol=1e-5)
    zeros_outside, _ = built("conv3x3")
    difference = zeros_outside(tf.roll(x, [2, 3], [1, 2])) - tf.roll(
        zeros_outside(x), [2, 3], [1, 2]
    )
    assert np.abs(difference).max() > 0.1


def test_wrap_is_numpy_wrap():
    x = np.arange(2 * 3 * 4 * 1).reshape(2, 3, 4, 1)
    np.testing.assert_array_equal(
        pad_periodic(tf.constant(x), 2), np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)], "wrap")
    )


@pytest.mark.parametrize(("size", "n"), [((4, 6), 1), ((4, 5), 2), ((1, 3), 1), ((2, 7), 2)])
def test_every_copy_of_a_wrapped_pixel_gives_its_gradient(size: tuple[int, int], n: int):
    x = tf.zeros([2, *size, 3])
    weight = np.random.default_rng(0).normal(size=(2, size[0] + 2 * n, size[1] + 2 * n, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(pad_periodic(x, n) * weight)
    expected = np.zeros(x.shape)
    for row, col in np.ndindex(weight.shape[1:3]):
        expected[:, (row - n) % size[0], (col - n) % size[1]] += weight[:, row, col]
    np.testing.assert_allclose(tape.gradient(total, x), expected, atol=1e-6)

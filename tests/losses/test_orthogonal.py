"""Orthogonal regularisation: off-diagonal elements of W^T W."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.losses.orthogonal import orthogonal


def test_value():
    # W = [[1, 2], [3, 4]]: W^T W = [[10, 14], [14, 20]], off the diagonal 14^2 + 14^2
    assert float(orthogonal([tf.constant([[1.0, 2.0], [3.0, 4.0]])])) == pytest.approx(392.0)


def test_column_norms_are_free():
    assert float(orthogonal([tf.constant([[3.0, 0.0], [0.0, -7.0]])])) == 0.0


@pytest.mark.parametrize("shape", [(8, 5), (3, 3, 4, 6), (5, 1)])
def test_orthogonal_kernels_cost_nothing(shape: tuple[int, ...]):
    kernel = keras.initializers.Orthogonal(seed=1)(shape)
    assert float(orthogonal([kernel])) == pytest.approx(0.0, abs=1e-10)
    random = keras.initializers.RandomNormal(seed=1)(shape)
    assert shape[-1] == 1 or float(orthogonal([random])) > 1e-6


def test_kernels_add_up():
    a, b = tf.ones([1, 2]), tf.ones([2, 1, 3])
    # a: 1 in each of 2 places; b: 2 rows of ones, W^T W = 2 everywhere, 4 in each of 6 places
    assert float(orthogonal([a, b])) == pytest.approx(2 + 24)


def test_gradient():
    # sum of squares of the off-diagonal of W^T W: dL/dW = 4 W (W^T W * (1 - I))
    w = np.random.default_rng(0).normal(size=(4, 3))
    kernel = tf.Variable(w, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = orthogonal([kernel])
    expected = 4 * w @ ((w.T @ w) * (1 - np.eye(3)))
    np.testing.assert_allclose(tape.gradient(loss, kernel), expected, rtol=1e-4, atol=1e-5)


def test_more_outputs_than_inputs():
    """The smaller matrix W W^T gives the same value, and takes its memory alone."""
    w = np.random.default_rng(1).normal(size=(3, 7))
    expected = np.sum((w.T @ w * (1 - np.eye(7))) ** 2)
    assert float(orthogonal([tf.constant(w, tf.float32)])) == pytest.approx(expected, rel=1e-5)
    wide = tf.ones([2, 200_000])  # W^T W would be 160 GB
    assert float(orthogonal([wide])) == pytest.approx(4 * (200_000.0**2 - 200_000), rel=1e-5)

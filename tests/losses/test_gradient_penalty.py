"""Gradient penalties of functions whose gradient is known."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kerasgen.backend.engine import gradient_of
from kerasgen.losses.gradient_penalty import exact_penalty, jitter_penalty

SHAPE = (3, 4, 5, 1)
RNG = np.random.default_rng(2)
SLOPE = RNG.normal(size=SHAPE[1:]).astype("float32")


def linear(x):
    """D(x) = slope x; its gradient is the slope at every x."""
    return tf.reduce_sum(SLOPE * x, [1, 2, 3])


def test_exact_penalty_of_hand_written_gradients():
    gradient = np.zeros((2, 1, 2, 1))
    gradient[0, 0, :, 0] = 3.0, 4.0  # squared norms 25 and 0
    assert float(exact_penalty(gradient)) == pytest.approx(12.5)


def test_gradient_of_a_parabola():
    x = tf.constant(RNG.normal(size=SHAPE).astype("float32"))
    gradient = gradient_of(lambda x: tf.reduce_sum(x * x, [1, 2, 3]), x)
    np.testing.assert_allclose(gradient, 2 * x, rtol=1e-6)


def test_jitter_penalty_by_hand():
    before, after = tf.constant([1.0, 2.0]), tf.constant([1.2, 1.9])
    assert float(jitter_penalty(before, after, 0.1)) == pytest.approx((4 + 1) / 2, rel=1e-5)


def test_jitter_penalty_is_the_exact_one_in_the_mean():
    x = np.zeros((20_000, *SHAPE[1:]), "float32")
    jitter = RNG.normal(size=x.shape).astype("float32")
    sigma = 0.05
    found = float(jitter_penalty(linear(x), linear(x + sigma * jitter), sigma))
    exact = float(exact_penalty(gradient_of(linear, tf.constant(x[:3]))))
    assert exact == pytest.approx(float((SLOPE**2).sum()), rel=1e-5)
    # The square of a normal number varies by sqrt(2).
    assert abs(found / exact - 1) < 5 * np.sqrt(2 / len(x))


def test_the_penalty_can_be_trained():
    """The gradient of the squared gradient a^2 of D(x) = a sum x is 2 a, in each pixel."""
    a = tf.Variable(1.5)
    x = tf.ones(SHAPE)
    with tf.GradientTape() as tape:
        penalty = exact_penalty(gradient_of(lambda x: a * tf.reduce_sum(x, [1, 2, 3]), x))
    assert float(penalty) == pytest.approx(1.5**2 * 20)
    assert float(tape.gradient(penalty, a)) == pytest.approx(2 * 1.5 * 20)

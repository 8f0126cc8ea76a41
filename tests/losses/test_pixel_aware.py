"""Pixel-aware regularisation pulls only charge below threshold, towards empty."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kerasgen.losses.pixel_aware import pixel_aware

THRESHOLD = -0.2733


def test_value():
    # Below the threshold: -0.5 and -0.9, (0.5^2 + 0.1^2) / 4 pixels; -1 is empty, 0.3 is a hit
    image = tf.constant([-1.0, -0.5, 0.3, -0.9], shape=(1, 2, 2, 1))
    assert float(pixel_aware(image, THRESHOLD)) == pytest.approx(0.26 / 4)


def test_an_image_without_charge_below_threshold_costs_nothing():
    image = tf.constant([-1.0, THRESHOLD, 0.0, 1.0], shape=(1, 2, 2, 1))
    assert float(pixel_aware(image, THRESHOLD)) == 0.0


def test_gradient_pulls_only_charge_below_threshold_towards_empty():
    image = tf.constant([-1.0, -0.5, 0.3, -0.9], shape=(1, 2, 2, 1))
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = pixel_aware(image, THRESHOLD)
    gradient = tape.gradient(loss, image).numpy().ravel()
    # 2 (x - (-1)) / 4 below the threshold; a step against it lowers the charge
    np.testing.assert_allclose(gradient, [0.0, 0.25, 0.0, 0.05], rtol=1e-5)


def test_mean_does_not_depend_on_the_image_size():
    small = tf.fill([1, 2, 2, 1], -0.5)
    large = tf.fill([3, 8, 16, 2], -0.5)
    assert float(pixel_aware(small, THRESHOLD)) == pytest.approx(
        float(pixel_aware(large, THRESHOLD))
    )


def test_another_empty_value():
    image = tf.constant([0.25, 0.75], shape=(1, 1, 2, 1))  # empty is 0: 0.25^2 / 2
    assert float(pixel_aware(image, 0.5, empty=0.0)) == pytest.approx(0.03125)

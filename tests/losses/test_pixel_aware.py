"""Pixel-aware regularisation: only charge below threshold is pulled, and towards empty."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kerasgen.losses.pixel_aware import pixel_aware

CUT = -0.2733


def test_value():
    # Below the cut: -0.5 and -0.9, (0.5^2 + 0.1^2) / 4 pixels; -1 is empty, 0.3 is a hit
    image = tf.constant([-1.0, -0.5, 0.3, -0.9], shape=(1, 2, 2, 1))
    assert float(pixel_aware(image, CUT)) == pytest.approx(0.26 / 4)


def test_a_picture_without_charge_below_threshold_costs_nothing():
    image = tf.constant([-1.0, CUT, 0.0, 1.0], shape=(1, 2, 2, 1))
    assert float(pixel_aware(image, CUT)) == 0.0


def test_gradient_pulls_only_charge_below_threshold_towards_empty():
    image = tf.constant([-1.0, -0.5, 0.3, -0.9], shape=(1, 2, 2, 1))
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = pixel_aware(image, CUT)
    gradient = tape.gradient(loss, image).numpy().ravel()
    # 2 (x - (-1)) / 4 below the cut; a step against it lowers the charge
    np.testing.assert_allclose(gradient, [0.0, 0.25, 0.0, 0.05], rtol=1e-5)


def test_mean_does_not_depend_on_the_image_size():
    small = tf.fill([1, 2, 2, 1], -0.5)
    large = tf.fill([3, 8, 16, 2], -0.5)
    assert float(pixel_aware(small, CUT)) == pytest.approx(float(pixel_aware(large, CUT)))


def test_another_empty_value():
    image = tf.constant([0.25, 0.75], shape=(1, 1, 2, 1))  # empty is 0: 0.25^2 / 2
    assert float(pixel_aware(image, 0.5, empty=0.0)) == pytest.approx(0.03125)

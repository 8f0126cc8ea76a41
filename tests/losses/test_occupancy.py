"""Ratio of generated to expected occupancy."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kerasgen.losses.occupancy import occupancy_ratio


def test_value():
    fired = np.zeros((2, 2, 4, 1))
    fired[0, 0, :2] = 1  # 2 of 8 pixels
    fired[1] = 1
    ratio = occupancy_ratio(tf.constant(fired), tf.constant([0.5, 0.25]))
    np.testing.assert_allclose(ratio, [0.5, 4.0])


def test_channels_and_booleans_count_as_pixels():
    fired = np.zeros((1, 2, 2, 3), bool)
    fired[0, 0, 0] = True
    np.testing.assert_allclose(occupancy_ratio(tf.constant(fired), tf.constant([0.25])), [1.0])


def test_a_dead_sensor_has_a_finite_ratio():
    """Without expected hits the ratio is 1 or large, never NaN, which would end the training."""
    fired = np.zeros((2, 2, 2, 1), "float32")
    fired[1, 0, 0] = 1
    ratio = occupancy_ratio(tf.constant(fired), tf.constant([0.0, 0.0])).numpy()
    assert ratio[0] == 1.0
    assert np.isfinite(ratio[1])
    assert ratio[1] > 2

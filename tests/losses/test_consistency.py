"""The consistency loss and its shift."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasgen.losses.consistency import consistency, shift_images


def test_value():
    # mean(1^2, 2^2, 0^2, 3^2) = 14 / 4
    before, after = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([[2.0, 0.0], [3.0, 7.0]])
    assert float(consistency(before, after)) == pytest.approx(3.5)
    assert float(consistency(before, before)) == 0.0


def test_gradient_reaches_both_sides():
    x, y = tf.constant([1.0, 2.0]), tf.constant([3.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        loss = consistency(x, y)
    before, after = tape.gradient(loss, [x, y])  # 2 (after - before) / 2 elements
    assert before.numpy().tolist() == [-2.0, 0.0]
    assert after.numpy().tolist() == [2.0, 0.0]


def test_bfloat16_logits_are_compared_in_float32():
    assert consistency(tf.ones([2], tf.bfloat16), tf.zeros([2], tf.bfloat16)).dtype == tf.float32


def moved(image: np.ndarray, u: int, v: int) -> np.ndarray:
    """Move pixel (r, c) to (r + u, c + v) or out of the image, one by one."""
    result = np.full_like(image, -1.0)
    height, width, _ = image.shape
    for r in range(height):
        for c in range(width):
            if 0 <= r + u < height and 0 <= c + v < width:
                result[r + u, c + v] = image[r, c]
    return result


@settings(max_examples=25)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([1, 3]),
    st.integers(1, 4),
    st.data(),
)
def test_shift_moves_pixels_and_fills_with_empty_ones(height, width, channels, limit, data):
    steps = st.integers(-limit, limit)
    offset = data.draw(st.lists(st.tuples(steps, steps), min_size=1, max_size=3))
    x = np.random.default_rng(0).uniform(-1, 1, (len(offset), height, width, channels))
    x = x.astype("float32")
    y = shift_images(tf.constant(x), tf.constant(offset, tf.int32), limit)
    assert y.shape == x.shape
    for image, original, (u, v) in zip(y, x, offset, strict=True):
        np.testing.assert_array_equal(image, moved(original, u, v))


def test_shift_neither_wraps_nor_flips():
    x = np.full((1, 4, 4, 1), -1.0, "float32")
    x[0, 3, 0], x[0, 0, 1] = 0.5, 0.25
    y = shift_images(tf.constant(x), tf.constant([[1, 2]]), 2).numpy()[0, ..., 0]
    expected = np.full((4, 4), -1.0)
    expected[1, 3] = 0.25  # (0, 1) + (1, 2); the pixel of row 3 has left
    np.testing.assert_array_equal(y, expected)


def test_shift_passes_the_gradient_to_the_pixels_that_stay():
    x = tf.zeros([1, 2, 2, 1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(shift_images(x, tf.constant([[1, 0]]), 1))
    np.testing.assert_array_equal(tape.gradient(total, x)[0, ..., 0], [[1, 1], [0, 0]])

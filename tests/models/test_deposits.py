"""Deposits: where clusters start, how often, and what the encoder may know of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label
from scipy.stats import norm
from tiny_gan import geometry

from kerasgen.data.hits import from_dense
from kerasgen.models.pxd_gan.deposits import (
    DepositEncoder,
    deposit_rate,
    deposit_starts,
    drawn_deposits,
    inferred_deposits,
    sampled_deposits,
)


def starts(fired: np.ndarray, factor: int = 1) -> np.ndarray:
    image = np.where(fired, 0.3, -1.0).astype(np.float32)
    return deposit_starts(tf.constant(image[None, :, :, None]), factor).numpy()[0, :, :, 0]


def test_a_track_has_one_start_its_first_pixel_in_v():
    fired = np.zeros((8, 16), bool)
    for row, columns in ((3, range(2, 7)), (4, range(6, 11))):  # two rows, joined
        fired[row, list(columns)] = True
    found = starts(fired)
    assert np.argwhere(found).tolist() == [[3, 2]]
    assert np.argwhere(starts(fired, 4)).tolist() == [[0, 0]]


def test_tracks_that_do_not_touch_have_their_own_starts():
    fired = np.zeros((6, 12), bool)
    fired[1, 1:4] = fired[3, 1:4] = fired[1, 6] = True
    assert np.argwhere(starts(fired)).tolist() == [[1, 1], [1, 6], [3, 1]]


@given(arrays(bool, (6, 9)))
def test_every_cluster_has_a_start_and_every_start_fired(fired):
    found = starts(fired)
    clusters, n = label(fired, np.ones((3, 3)))
    assert set(clusters[found > 0]) == set(range(1, n + 1))


def test_rate_is_the_share_of_cells_per_sensor():
    detector = geometry(16, 32)
    images = np.zeros((6, 16, 32), np.int64)
    images[0, 2, 3:6] = 20  # sensor 0: one deposit in one of two images
    images[1, 5, 5] = images[1, 9, 20] = 20  # sensor 1: two in each
    images[4, 5, 5] = images[4, 9, 20] = 20
    hits = from_dense(images, np.array([0, 1, 2] * 2), np.array([0, 0, 0, 1, 1, 1]))
    rate = deposit_rate(hits, detector, (16, 32), 4)
    # The last sensor never fires, and keeps one cell in its two images.
    np.testing.assert_allclose(rate * 32, [1 / 2, 2, 1 / 2], rtol=1e-6)


def test_sampled_deposits_are_as_frequent_as_asked_and_normally_marked():
    noise = tf.random.stateless_normal([2, 100, 100, 3], [1, 2])
    level = tf.constant(norm.isf([0.02, 0.3]), tf.float32)
    found = sampled_deposits(level, noise).numpy()
    np.testing.assert_allclose(found[..., 0].mean((1, 2)), [0.02, 0.3], rtol=0.25)
    present = found[..., 0] == 1
    assert np.all(found[~present] == 0)
    marks = found[1][present[1]][:, 1:]
    assert abs(marks.mean()) < 0.06
    assert marks.std() == pytest.approx(1, abs=0.05)


def test_deposits_of_one_image_are_drawn_as_those_of_a_batch():
    presence = tf.random.stateless_normal([1, 100, 100, 1], [1, 2])
    level = tf.constant(norm.isf(0.3), tf.float32)
    found = drawn_deposits(level, presence, tf.constant([3, 4], tf.int64), 2).numpy()
    noise = tf.concat([presence, tf.zeros([1, 100, 100, 2])], -1)
    expected = sampled_deposits(level[None], noise).numpy()
    np.testing.assert_array_equal(found[..., 0], expected[..., 0])
    assert np.all(found[found[..., 0] == 0] == 0)
    marks = found[found[..., 0] == 1][:, 1:]
    assert abs(marks.mean()) < 0.06
    assert marks.std() == pytest.approx(1, abs=0.05)
    assert len(np.unique(marks)) == marks.size


def test_inferred_deposits_have_the_posterior_where_a_cluster_starts():
    present = tf.constant([[[[1.0], [0.0]]]])
    mean, log_variance, noise = (tf.fill([1, 1, 2, 1], x) for x in (2.0, np.log(0.25), 3.0))
    found = inferred_deposits(present, mean, tf.cast(log_variance, tf.float32), noise)
    np.testing.assert_allclose(found, [[[[1, 3.5], [0, 0]]]], rtol=1e-6)


def test_encoder_starts_at_the_prior_and_sees_far_along_v():
    keras.utils.set_random_seed(1)
    encoder = DepositEncoder(marks=2, factor=4, channels=8)
    empty = np.full((1, 32, 128, 1), -1, np.float32)
    mean, log_variance = encoder(tf.constant(empty))
    assert mean.shape == log_variance.shape == (1, 8, 32, 2)
    assert not np.any(mean)
    assert not np.any(log_variance)
    encoder.head.kernel.assign(np.random.default_rng(1).normal(size=encoder.head.kernel.shape))
    hit = empty.copy()
    hit[0, 16, 64] = 0.5
    moved = np.any(encoder(tf.constant(hit))[0] != encoder(tf.constant(empty))[0], axis=(0, 1, 3))
    assert np.flatnonzero(moved).min() <= 16 - 9
    assert np.flatnonzero(moved).max() >= 16 + 8

"""Clusters: rasterised segments, per-cluster thresholds, and the receptive field of the encoder."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from kerasgen.models.pxd_gan.clusters import (
    MIN_LOGIT,
    PLACEMENT_NORMALS,
    SEGMENT_FEATURES,
    ClusterEncoder,
    cluster_threshold,
    inferred_clusters,
    nearest_segment,
    placed_segments,
    sample_batch_clusters,
    segment_map,
    start_threshold,
)
from kerasgen.models.pxd_gan.image_logits import sample_image_clusters
from kerasgen.models.pxd_gan.track_segments import SEGMENT_SIZE, TEMPLATES


def one_segment(*ends: float) -> tf.Tensor:
    return tf.constant([[*ends, math.log(7), math.log(2), 0.1, 0.4]], tf.float32)


def mapped(segment: tf.Tensor, shape: tuple[int, int, int], image: int = 0) -> np.ndarray:
    """``segment_map`` of segments of one image, among rows that are no segment."""
    real = segment_map(segment, [image] * len(segment), np.full(len(segment), True), shape, 4)
    padding = 3 * tf.ones([2, SEGMENT_SIZE])
    with_padding = tf.concat([padding[:1], segment, padding[1:]], 0)
    present = np.array([False, *[True] * len(segment), False])
    found = segment_map(with_padding, [image] * len(present), present, shape, 4)
    np.testing.assert_array_equal(found, real)
    return real.numpy()


def test_a_segment_crosses_its_cells() -> None:
    found = mapped(one_segment(2, 1, 2, 9), (2, 2, 3), image=1)
    assert found.shape == (2, 2, 3, SEGMENT_FEATURES + 16)
    assert np.all(found[0] == 0)
    assert found[1, ..., 0].tolist() == [[1, 1, 1], [0, 0, 0]]
    first, middle, last = found[1, 0]
    np.testing.assert_allclose(middle[1:3], [0.125, 0], atol=1e-6)  # its row is the third of four
    np.testing.assert_allclose(middle[3:5], [0, 1], atol=1e-6)
    assert first[5] < middle[5] < last[5]
    assert first[6] > middle[6] > last[6]
    np.testing.assert_allclose(middle[7:9], [math.log(9), math.log(7 / 9)], rtol=1e-5)
    np.testing.assert_allclose(middle[9:12], [math.log(2), 0.1, 0.4], rtol=1e-5)
    crossed = found[1, 0, :, SEGMENT_FEATURES:].reshape(3, 4, 4)
    assert np.argwhere(crossed).tolist() == [
        [c, 2, p] for c, pixels in ((0, [1, 2, 3]), (1, range(4)), (2, [0, 1])) for p in pixels
    ]


@given(
    st.tuples(*[st.floats(0, 31.4)] * 2), st.tuples(*[st.floats(0, 63.4)] * 2)
)  # rows and columns of the ends
def test_every_pixel_of_a_segment_is_crossed(rows: tuple, columns: tuple) -> None:
    ends = rows[0], columns[0], rows[1], columns[1]
    found = mapped(one_segment(*ends), (1, 8, 16))
    crossed = (
        found[0, ..., SEGMENT_FEATURES:].reshape(8, 16, 4, 4).transpose(0, 2, 1, 3).reshape(32, 64)
    )
    start, end = np.array(ends[:2], np.float32), np.array(ends[2:], np.float32)
    length = max(1, math.ceil(np.hypot(*(end - start))))
    pixels = np.floor(start + (end - start) * np.linspace(0, 1, 4 * length)[:, None] + 0.5)
    row, col = pixels.astype(int).T
    # Points are a pixel apart: pixels crossed for less than that may be left out.
    grown = label(crossed, np.ones((3, 3)))
    assert grown[1] == 1
    assert crossed[row[0], col[0]] == 1
    assert crossed[row[-1], col[-1]] == 1
    assert np.all(np.isin(np.argwhere(crossed) @ [100, 1], near(row, col)))


def near(row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Pixels and their neighbours, as rounding may choose either."""
    offsets = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return np.concatenate([(row + i) * 100 + col + j for i, j in offsets])


def test_a_segment_over_the_edge_reenters() -> None:
    found = mapped(one_segment(2, 9, 2, 14), (1, 2, 3))
    assert found[0, ..., 0].tolist() == [[1, 0, 1], [0, 0, 0]]


def test_a_segment_a_rounding_error_before_the_first_row_is_in_the_last() -> None:
    before = float(np.nextafter(np.float32(-0.5), np.float32(-1)))
    found = mapped(one_segment(before, 2, before, 2), (1, 2, 3))
    assert np.argwhere(found[0, ..., SEGMENT_FEATURES:]).tolist() == [[1, 0, 3 * 4 + 2]]


SIZE = 24, 40


def test_pixels_belong_to_the_nearest_segment_also_over_the_edge() -> None:
    segment = tf.concat([one_segment(1, 2, 1, 9), one_segment(4, 2, 4, 9)], 0)
    position = tf.constant(
        [[1, 5], [2, 5], [3, 5], [6, 9], [7, 9], [1, 11], [1, 12], [23, 3], [1, 0], [1, 39]]
    )
    nearest = nearest_segment(segment, np.array([True, True]), position, SIZE).numpy()
    assert nearest.tolist() == [1, 1, 2, 2, 0, 1, 0, 1, 1, 0]
    first = nearest_segment(segment, np.array([True, False]), position, SIZE).numpy()
    assert first.tolist() == [1, 1, 1, 0, 0, 1, 0, 1, 1, 0]
    over = one_segment(1, 36, 1, 43)  # leaves at the last column
    nearest = nearest_segment(over, np.array([True]), position, SIZE).numpy()
    assert nearest.tolist() == [1, 1, 1, 0, 0, 0, 0, 1, 1, 1]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1.4, 2.4, 3]),  # of many pixels that may fire to none
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 39), st.integers(1, 12)), max_size=6),
)
def test_every_segment_reaches_its_number_of_pixels(seed: int, low: float, starts: list) -> None:
    """A segment with fewer candidates than pixels fires all of them."""
    rng = np.random.default_rng(seed)
    rows = [[r, c, r + k / 2, c + k, math.log(k), 0, 0, 0] for r, c, k in starts]
    segment = tf.constant(np.reshape(rows, (-1, SEGMENT_SIZE)), tf.float32)
    logit = rng.permutation(np.linspace(-2 - low, 2 - low, 24 * 40)).astype(np.float32)
    every = np.stack(np.divmod(np.arange(24 * 40), 40), 1).astype(np.int32)
    may = logit > MIN_LOGIT
    present = np.ones(len(starts), bool)
    cluster = nearest_segment(segment, present, every[may], SIZE).numpy()
    threshold = cluster_threshold(segment, present, every[may], logit[may], SIZE).numpy()
    assert np.all(threshold[cluster == 0] == 0)
    for number, (*_, pixels) in enumerate(starts, 1):
        logits = logit[may][cluster == number]
        fired = logits > threshold[cluster == number]
        assert fired.sum() == min(pixels, len(logits))
        assert not fired.any() or fired.all() or logits[fired].min() > logits[~fired].max()
    # Pixels that cannot fire change nothing.
    np.testing.assert_array_equal(
        cluster_threshold(segment, present, every, logit, SIZE).numpy()[may], threshold
    )
    # Nor do rows that are no segment.
    padded = tf.concat([segment, tf.ones([2, SEGMENT_SIZE])], 0)
    present = np.append(present, [False, False])
    np.testing.assert_array_equal(
        cluster_threshold(padded, present, every[may], logit[may], SIZE).numpy(), threshold
    )


def test_a_wide_cluster_has_the_common_threshold() -> None:
    narrow = np.array([[4, 2, 4, 9, math.log(20), math.log(5), 0, 0]], np.float32)
    wide = narrow.copy()
    wide[0, 5] = math.log(6)
    position, logit = tf.constant([[4, 4], [5, 5]]), tf.constant([0.1, -0.1])
    for segment, expected in ((narrow, MIN_LOGIT), (wide, 0)):
        threshold = cluster_threshold(segment, np.array([True]), position, logit, SIZE)
        assert threshold.numpy().tolist() == [expected] * 2


def statistics(rate: list[float], deviation: float = 0.0) -> tuple:
    """Statistics of clusters that are single pixels in the corner of their cell."""
    n = len(rate)
    templates = np.zeros((n, TEMPLATES, SEGMENT_SIZE), np.float32)
    values = rate, [[deviation, deviation]] * n, np.ones((n, 100)), np.ones((n, 100)), templates
    return tuple(tf.constant(x, tf.float32) for x in values)


def test_clusters_of_a_batch_have_the_requested_rate_and_normal_latents() -> None:
    noise = tf.random.stateless_normal([2, 100, 100, PLACEMENT_NORMALS + 2], [1, 2])
    sensor, origin = tf.constant([0, 1]), tf.zeros([2, 2], tf.int32)
    found, segments, present = sample_batch_clusters(
        statistics([0.02, 0.3]), sensor, noise, origin, 4, (400, 400)
    )
    found = found.numpy()
    assert len(segments[present]) == found[..., 0].sum()
    np.testing.assert_allclose(found[..., 0].mean((1, 2)), [0.02, 0.3], rtol=0.25)
    present = found[..., 0] == 1
    assert np.all(found[~present] == 0)
    latents = found[1][present[1]][:, -2:]
    assert abs(latents.mean()) < 0.06
    assert latents.std() == pytest.approx(1, abs=0.05)
    crossed = found[..., SEGMENT_FEATURES:-2]
    assert np.all(crossed.sum(-1) == found[..., 0])
    np.testing.assert_allclose(crossed[1].mean((0, 1)), np.full(16, 0.3 / 16), rtol=0.3)


def test_clusters_of_one_image_follow_the_distribution_of_a_batch() -> None:
    presence = tf.random.stateless_normal([1, 100, 100, 1], [1, 2])
    values, sensor = statistics([0.1, 0.3]), tf.constant([1])
    event, seed = tf.constant([[1, 2], [3, 4]], tf.int64)
    found, segments = sample_image_clusters(values, sensor, event, presence, seed, 2, 4, (400, 400))
    assert len(segments) == tf.reduce_sum(found[..., 0])
    found = found.numpy()
    noise = tf.concat([presence, tf.zeros([1, 100, 100, PLACEMENT_NORMALS + 1])], -1)
    origin = tf.zeros([1, 2], tf.int32)
    expected, *_ = sample_batch_clusters(values, sensor, noise, origin, 4, (400, 400))
    np.testing.assert_array_equal(found[..., 0], expected[..., 0])
    assert np.all(found[found[..., 0] == 0] == 0)
    latents = found[found[..., 0] == 1][:, -2:]
    assert abs(latents.mean()) < 0.06
    assert latents.std() == pytest.approx(1, abs=0.05)
    assert len(np.unique(latents)) == latents.size


def test_start_thresholds_follow_deviation_profile_and_position() -> None:
    rate, _, along_u, along_v, templates = (x.numpy() for x in statistics([0.1]))
    along_v[0, 16:18] = 0.5, 1.5
    values = rate, np.array([[0.1, 0.2]], np.float32), along_u, along_v, templates

    def probability(event: float, image: float, first: int) -> np.ndarray:
        arguments = tf.constant([0]), tf.constant([[event, image]]), tf.constant([[0, first]])
        threshold = start_threshold(values, *arguments, (1, 2)).numpy()[0, 0]
        return 0.5 * np.array([math.erfc(x / math.sqrt(2)) for x in threshold])

    np.testing.assert_allclose(probability(0.0, 0.0, 16), [0.05, 0.15], rtol=1e-4)
    np.testing.assert_allclose(probability(0.0, 1.0, 20), [0.12, 0.12], rtol=1e-4)
    np.testing.assert_allclose(probability(1.0, 1.0, 20), [0.13, 0.13], rtol=1e-4)


@pytest.mark.parametrize(("rows_of_sensor", "expected"), [(400, {0, 1, 2, 3}), (10, {0, 1})])
def test_placed_segments_are_those_of_the_sensor_in_their_cell(
    rows_of_sensor: int, expected: set[int]
) -> None:
    """In a cell that is half beyond the last row, they start in the half inside."""
    templates = np.zeros((2, TEMPLATES, SEGMENT_SIZE), np.float32)
    templates[1, :, 1:5] = 0.25, 3, 5, 1.5
    values = (*statistics([0.1, 0.1])[:4], tf.constant(templates))
    numbers = tf.random.stateless_normal([500, 3], [1, 2])
    cell = tf.constant([[2, 3]] * 500, tf.int64)
    first = tf.stack([tf.zeros(500, tf.int32), tf.range(500) // 5 - 3], 1)
    sensor, size = tf.ones(500, tf.int32), (rows_of_sensor, 400)
    found = placed_segments(values, sensor, cell, first, numbers, 4, size).numpy()
    rows, columns = found[:, 0] - 8, found[:, 1] - 12.25
    assert set(np.unique(rows)) == expected
    assert set(np.unique(columns)) == {0, 1, 2, 3}
    np.testing.assert_allclose(found[:, 2:4] - found[:, :2], [[3, 5]] * 500)
    np.testing.assert_allclose(found[:, 4], 1.5)


@pytest.mark.parametrize("column", [0, 30, 75, 99])
def test_placed_segments_are_those_that_started_near(column: int) -> None:
    """Three quarters of the data start in the second half of the columns."""
    *values, templates = (x.numpy() for x in statistics([0.1]))
    values[3][0] = np.repeat([0.5, 1.5], 50)
    templates[0, :, 6] = np.concatenate(
        [np.linspace(0, 0.5, TEMPLATES // 4), np.linspace(0.5, 1, TEMPLATES - TEMPLATES // 4)]
    )
    numbers = tf.random.stateless_normal([2000, 3], [1, 2])
    cell, first = tf.zeros([2000, 2], tf.int64), tf.tile([[0, column]], [2000, 1])
    sensor, size = tf.zeros(2000, tf.int32), (400, 400)
    segments = placed_segments((*values, templates), sensor, cell, first, numbers, 4, size)
    found = segments[:, 6].numpy()
    fraction = column / 100
    assert found.mean() == pytest.approx(min(max(fraction, 0.065), 0.98), abs=0.03)
    assert found.min() >= fraction - 0.14
    assert found.max() <= fraction + 0.14


def test_inferred_clusters_have_the_posterior_where_a_segment_is() -> None:
    present = tf.constant([[[[1.0, 7.0], [0.0, 0.0]]]])
    mean, log_variance, noise = (tf.fill([1, 1, 2, 1], x) for x in (2.0, np.log(0.25), 3.0))
    found = inferred_clusters(present, mean, tf.cast(log_variance, tf.float32), noise)
    np.testing.assert_allclose(found, [[[[1, 7, 3.5], [0, 0, 0]]]], rtol=1e-6)


def test_encoder_starts_at_the_prior_and_sees_far_along_v() -> None:
    keras.utils.set_random_seed(1)
    encoder = ClusterEncoder(cell_latents=2, factor=4, channels=8)
    empty = np.full((1, 32, 128, 1), -1, np.float32)
    mean, log_variance = encoder(tf.constant(empty))
    assert mean.shape == log_variance.shape == (1, 8, 32, 2)
    assert not np.any(mean)
    assert not np.any(log_variance)
    encoder.head.kernel.assign(np.random.default_rng(1).normal(size=encoder.head.kernel.shape))
    hit = empty.copy()
    hit[0, 16, 64] = 0.5
    altered = np.any(encoder(tf.constant(hit))[0] != encoder(tf.constant(empty))[0], axis=(0, 1, 3))
    assert np.flatnonzero(altered).min() <= 16 - 9
    assert np.flatnonzero(altered).max() >= 16 + 8

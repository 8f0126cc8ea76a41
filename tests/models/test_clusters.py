"""Clusters: segments drawn into cells, and what the encoder may know of clusters."""

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
    SEGMENT_FEATURES,
    MIN_LOGIT,
    PLACEMENT_NORMALS,
    ClusterEncoder,
    cluster_threshold,
    sample_image_clusters,
    inferred_clusters,
    nearest_segment,
    placed_segments,
    sample_batch_clusters,
    segment_map,
    start_threshold,
)
from kerasgen.models.pxd_gan.track_segments import SEGMENT_SIZE, TEMPLATES


def one_segment(*ends: float) -> tf.Tensor:
    return tf.constant([[*ends, math.log(7), math.log(2), 0.1, 0.4]], tf.float32)


def test_a_segment_crosses_its_cells() -> None:
    found = segment_map(one_segment(2, 1, 2, 9), tf.constant([1], tf.int64), (2, 2, 3), 4).numpy()
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
    found = segment_map(one_segment(*ends), tf.constant([0], tf.int64), (1, 8, 16), 4).numpy()
    crossed = found[0, ..., SEGMENT_FEATURES:].reshape(8, 16, 4, 4).transpose(0, 2, 1, 3).reshape(32, 64)
    start, end = np.array(ends[:2], np.float32), np.array(ends[2:], np.float32)
    way = max(1, math.ceil(np.hypot(*(end - start))))
    pixels = np.floor(start + (end - start) * np.linspace(0, 1, 4 * way)[:, None] + 0.5)
    row, col = pixels.astype(int).T
    # Points are a pixel apart: what is touched for less than that may be left out.
    grown = label(crossed, np.ones((3, 3)))
    assert grown[1] == 1
    assert crossed[row[0], col[0]] == 1
    assert crossed[row[-1], col[-1]] == 1
    assert np.all(np.isin(np.argwhere(crossed) @ [100, 1], near(row, col)))


def near(row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Pixels and their neighbours, as rounding may choose either."""
    offsets = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return np.concatenate([(row + i) * 100 + col + j for i, j in offsets])


def test_a_segment_over_the_edge_comes_in_again() -> None:
    found = segment_map(one_segment(2, 9, 2, 14), tf.constant([0], tf.int64), (1, 2, 3), 4)
    assert found[0, ..., 0].numpy().tolist() == [[1, 0, 1], [0, 0, 0]]


def test_a_segment_a_rounding_error_before_the_first_row_is_in_the_last() -> None:
    before = float(np.nextafter(np.float32(-0.5), np.float32(-1)))
    found = segment_map(one_segment(before, 2, before, 2), tf.constant([0], tf.int64), (1, 2, 3), 4)
    assert np.argwhere(found[0, ..., SEGMENT_FEATURES:]).tolist() == [[1, 0, 3 * 4 + 2]]


SIZE = 24, 40


def test_pixels_belong_to_the_nearest_segment_also_over_the_edge() -> None:
    segment = tf.concat([one_segment(1, 2, 1, 9), one_segment(4, 2, 4, 9)], 0)
    place = tf.constant(
        [[1, 5], [2, 5], [3, 5], [6, 9], [7, 9], [1, 11], [1, 12], [23, 3], [1, 0], [1, 39]]
    )
    assert nearest_segment(segment, place, SIZE).numpy().tolist() == [1, 1, 2, 2, 0, 1, 0, 1, 1, 0]
    over = one_segment(1, 36, 1, 43)  # leaves at the last column
    assert nearest_segment(over, place, SIZE).numpy().tolist() == [1, 1, 1, 0, 0, 0, 0, 1, 1, 1]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1.4, 2.4, 3]),  # of many pixels that may fire to none
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 39), st.integers(1, 12)), max_size=6),
)
def test_every_segment_has_as_many_pixels_as_it_shall(seed: int, low: float, starts: list) -> None:
    """Or all that may fire, where there are not so many."""
    rng = np.random.default_rng(seed)
    rows = [[r, c, r + k / 2, c + k, math.log(k), 0, 0, 0] for r, c, k in starts]
    segment = tf.constant(np.reshape(rows, (-1, SEGMENT_SIZE)), tf.float32)
    score = rng.permutation(np.linspace(-2 - low, 2 - low, 24 * 40)).astype(np.float32)
    every = np.stack(np.divmod(np.arange(24 * 40), 40), 1).astype(np.int32)
    may = score > MIN_LOGIT
    own = nearest_segment(segment, every[may], SIZE).numpy()
    cut = cluster_threshold(segment, every[may], score[may], SIZE).numpy()
    assert np.all(cut[own == 0] == 0)
    for number, (*_, pixels) in enumerate(starts, 1):
        of = score[may][own == number]
        fired = of > cut[own == number]
        assert fired.sum() == min(pixels, len(of))
        assert not fired.any() or fired.all() or of[fired].min() > of[~fired].max()
    # Pixels that cannot fire change nothing.
    np.testing.assert_array_equal(cluster_threshold(segment, every, score, SIZE).numpy()[may], cut)


def test_a_cluster_wider_than_the_sides_of_its_segment_has_the_cut_of_all() -> None:
    narrow = np.array([[4, 2, 4, 9, math.log(20), math.log(5), 0, 0]], np.float32)
    wide = narrow.copy()
    wide[0, 5] = math.log(6)
    place, score = tf.constant([[4, 4], [5, 5]]), tf.constant([0.1, -0.1])
    assert cluster_threshold(narrow, place, score, SIZE).numpy().tolist() == [MIN_LOGIT] * 2
    assert cluster_threshold(wide, place, score, SIZE).numpy().tolist() == [0, 0]


def statistics(rate: list[float], spread: float = 0.0) -> tuple:
    """Of clusters that are single pixels of their cell's corner."""
    n = len(rate)
    shapes = np.zeros((n, TEMPLATES, SEGMENT_SIZE), np.float32)
    values = rate, [[spread, spread]] * n, np.ones((n, 100)), np.ones((n, 100)), shapes
    return tuple(tf.constant(x, tf.float32) for x in values)


def test_sampled_clusters_are_as_frequent_as_asked_and_normally_marked() -> None:
    noise = tf.random.stateless_normal([2, 100, 100, PLACEMENT_NORMALS + 2], [1, 2])
    sensor, origin = tf.constant([0, 1]), tf.zeros([2, 2], tf.int32)
    found = sample_batch_clusters(statistics([0.02, 0.3]), sensor, noise, origin, 4, (400, 400)).numpy()
    np.testing.assert_allclose(found[..., 0].mean((1, 2)), [0.02, 0.3], rtol=0.25)
    present = found[..., 0] == 1
    assert np.all(found[~present] == 0)
    cell_latents = found[1][present[1]][:, -2:]
    assert abs(cell_latents.mean()) < 0.06
    assert cell_latents.std() == pytest.approx(1, abs=0.05)
    crossed = found[..., SEGMENT_FEATURES:-2]
    assert np.all(crossed.sum(-1) == found[..., 0])
    np.testing.assert_allclose(crossed[1].mean((0, 1)), np.full(16, 0.3 / 16), rtol=0.3)


def test_clusters_of_one_image_are_drawn_as_those_of_a_batch() -> None:
    presence = tf.random.stateless_normal([1, 100, 100, 1], [1, 2])
    values, sensor = statistics([0.1, 0.3]), tf.constant([1])
    event, seed = tf.constant([[1, 2], [3, 4]], tf.int64)
    found, segments = sample_image_clusters(values, sensor, event, presence, seed, 2, 4, (400, 400))
    assert len(segments) == tf.reduce_sum(found[..., 0])
    found = found.numpy()
    noise = tf.concat([presence, tf.zeros([1, 100, 100, PLACEMENT_NORMALS + 1])], -1)
    origin = tf.zeros([1, 2], tf.int32)
    expected = sample_batch_clusters(values, sensor, noise, origin, 4, (400, 400)).numpy()
    np.testing.assert_array_equal(found[..., 0], expected[..., 0])
    assert np.all(found[found[..., 0] == 0] == 0)
    cell_latents = found[found[..., 0] == 1][:, -2:]
    assert abs(cell_latents.mean()) < 0.06
    assert cell_latents.std() == pytest.approx(1, abs=0.05)
    assert len(np.unique(cell_latents)) == cell_latents.size


def test_levels_follow_spread_profile_and_place() -> None:
    rate, _, along_u, along_v, shapes = (x.numpy() for x in statistics([0.1]))
    along_v[0, 16:18] = 0.5, 1.5
    values = rate, np.array([[0.1, 0.2]], np.float32), along_u, along_v, shapes

    def share(event: float, image: float, first: int) -> np.ndarray:
        arguments = tf.constant([0]), tf.constant([[event, image]]), tf.constant([[0, first]])
        level = start_threshold(values, *arguments, (1, 2)).numpy()[0, 0]
        return 0.5 * np.array([math.erfc(x / math.sqrt(2)) for x in level])

    np.testing.assert_allclose(share(0.0, 0.0, 16), [0.05, 0.15], rtol=1e-4)
    np.testing.assert_allclose(share(0.0, 1.0, 20), [0.12, 0.12], rtol=1e-4)
    np.testing.assert_allclose(share(1.0, 1.0, 20), [0.13, 0.13], rtol=1e-4)


@pytest.mark.parametrize(("rows_of_sensor", "expected"), [(400, {0, 1, 2, 3}), (10, {0, 1})])
def test_placed_segments_are_those_of_the_sensor_in_their_cell(
    rows_of_sensor: int, expected: set[int]
) -> None:
    """Of a cell that is half beyond the last row, in the half inside."""
    shapes = np.zeros((2, TEMPLATES, SEGMENT_SIZE), np.float32)
    shapes[1, :, 1:5] = 0.25, 3, 5, 1.5
    values = (*statistics([0.1, 0.1])[:4], tf.constant(shapes))
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
    *values, shapes = (x.numpy() for x in statistics([0.1]))
    values[3][0] = np.repeat([0.5, 1.5], 50)
    shapes[0, :, 6] = np.concatenate(
        [np.linspace(0, 0.5, TEMPLATES // 4), np.linspace(0.5, 1, TEMPLATES - TEMPLATES // 4)]
    )
    numbers = tf.random.stateless_normal([2000, 3], [1, 2])
    cell, first = tf.zeros([2000, 2], tf.int64), tf.tile([[0, column]], [2000, 1])
    sensor, size = tf.zeros(2000, tf.int32), (400, 400)
    found = placed_segments((*values, shapes), sensor, cell, first, numbers, 4, size).numpy()[:, 6]
    share = column / 100
    assert found.mean() == pytest.approx(min(max(share, 0.065), 0.98), abs=0.03)
    assert found.min() >= share - 0.14
    assert found.max() <= share + 0.14


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
    moved = np.any(encoder(tf.constant(hit))[0] != encoder(tf.constant(empty))[0], axis=(0, 1, 3))
    assert np.flatnonzero(moved).min() <= 16 - 9
    assert np.flatnonzero(moved).max() >= 16 + 8

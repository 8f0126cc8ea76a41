"""Deposits: segments of clusters, how often they start, and what the encoder may know of them."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label
from tiny_gan import geometry

from kerasgen.data.hits import from_dense
from kerasgen.data.pipeline import to_log_scale
from kerasgen.models.pxd_gan.deposits import (
    FEATURES,
    PLACE,
    DepositEncoder,
    drawn_deposits,
    inferred_deposits,
    placed_segments,
    real_segment_map,
    sampled_deposits,
    segment_map,
    start_level,
)
from kerasgen.models.pxd_gan.segments import (
    REACH,
    SEGMENT,
    SHAPES,
    deposit_statistics,
    drawn_shapes,
    find_clusters,
    mean_and_spread,
    moved_clusters,
    to_charge,
)

HIGHEST = 255


def picture(adu: np.ndarray) -> np.ndarray:
    """[B, H, W] ADU -> the picture that networks see."""
    return to_log_scale(adu, HIGHEST)[..., None].astype(np.float32)


def segments(adu: np.ndarray) -> np.ndarray:
    return find_clusters(picture(adu[None]), HIGHEST).segment


def test_a_track_along_v_and_one_along_u() -> None:
    adu = np.zeros((16, 32))
    adu[3, 2:8] = 20
    adu[4, 8:11] = 20
    adu[4, 10] = 60
    adu[10:15, 20] = 30
    along_v, along_u = segments(adu)
    np.testing.assert_allclose(along_v[:4], [3, 2, 4, 10])
    np.testing.assert_allclose(np.exp(along_v[4:6]), [9, 2], rtol=1e-6)
    mean, highest = to_log_scale(np.array([220 / 9, 60.0]), HIGHEST)
    np.testing.assert_allclose(along_v[6:], [mean, highest], rtol=1e-6)
    np.testing.assert_allclose(along_u[:4], [10, 20, 14, 20])
    np.testing.assert_allclose(np.exp(along_u[4:6]), [5, 1], rtol=1e-6)


def test_an_end_is_weighted_by_charge() -> None:
    adu = np.zeros((8, 8))
    adu[2, 3], adu[3, 3], adu[2, 4] = 30, 10, 7
    np.testing.assert_allclose(segments(adu)[0, :4], [2.25, 3, 2, 4], rtol=1e-5)


@given(arrays(bool, (2, 6, 9)))
def test_segments_are_the_clusters(fired: np.ndarray) -> None:
    clusters = find_clusters(picture(50 * fired), HIGHEST)
    found, image = clusters.segment, clusters.image
    sizes = []
    for k in range(2):
        clusters, n = label(fired[k], np.ones((3, 3)))
        assert (image == k).sum() == n
        sizes += np.bincount(clusters.ravel(), minlength=n + 1)[1:].tolist()
    np.testing.assert_allclose(np.exp(found[:, 4]), sizes, rtol=1e-5)
    low, high = found[:, :2], found[:, 2:4]
    assert np.all(low >= 0)
    assert np.all(high <= [5, 8])


def test_clusters_move_and_keep_their_segments() -> None:
    rng = np.random.default_rng(1)
    adu = np.where(rng.random((2, 64, 96)) < 0.01, rng.integers(7, 100, (2, 64, 96)), 0)
    image = picture(adu)
    found = moved_clusters(image, HIGHEST)
    moved, segments = found["moved"], found["segments"]
    # Charges move, or are added where two meet.
    charge = [to_charge(x[x > -1], HIGHEST).sum() for x in (image, moved)]
    assert charge[1] == pytest.approx(charge[0], rel=1e-5)
    before, now = (find_clusters(x, HIGHEST) for x in (image, moved))
    there = segments[..., SEGMENT] > 0
    assert there.sum() == len(before.segment) > len(now.segment)
    distance = segments[there][:, :4] - before.segment[:, :4]
    np.testing.assert_allclose(distance[:, :2], distance[:, 2:], atol=1e-4)
    assert np.abs(distance).max() == REACH
    np.testing.assert_array_equal(segments[there][:, 4:SEGMENT], before.segment[:, 4:])
    # Single pixels are where their segments are.
    single = there & (segments[..., 4] == 0)
    at = segments[single][:, :2].astype(int) % [64, 96]
    assert np.all(moved[np.nonzero(single)[0], at[:, 0], at[:, 1]] > -1)
    # A picture's part does not depend on the others.
    alone = moved_clusters(image[1:], HIGHEST)
    np.testing.assert_array_equal(alone["moved"][0], moved[1])
    np.testing.assert_array_equal(alone["segments"][0], segments[1, : alone["segments"].shape[1]])


def one_sensor(adu: np.ndarray) -> tuple[np.ndarray, ...]:
    images = len(adu)
    hits = from_dense(adu.astype(int), np.zeros(images, int), np.arange(images))
    return deposit_statistics(hits, geometry(*adu.shape[1:]), adu.shape[1:], 4, seed=1)


def test_rare_pairs_by_chance_are_taken_apart_too() -> None:
    rng = np.random.default_rng(1)
    values = one_sensor(np.where(rng.random((400, 64, 64)) < 0.004, 20, 0))
    assert (np.exp(values[-1][0, :, 4]) > 1.5).mean() < 0.006  # of 2 % in the data


def test_what_meets_by_chance_is_taken_apart() -> None:
    rng = np.random.default_rng(1)
    alone = np.where(rng.random((200, 64, 64)) < 0.01, 20, 0)  # 41 pixels, a twelfth of which meet
    clusters = find_clusters(picture(alone), HIGHEST).segment
    assert np.exp(clusters[:, 4]).mean() > 1.04
    values = one_sensor(alone)
    assert values[0][0] * 256 == pytest.approx((alone > 0).sum() / 200, rel=0.01)
    assert np.exp(values[-1][0, :, 4]).mean() == pytest.approx(1, abs=0.02)


def test_what_is_together_for_another_reason_stays() -> None:
    rng = np.random.default_rng(1)
    pairs = np.zeros((40, 64, 64))
    for image, row in zip(pairs, rng.integers(60, size=40), strict=True):
        image[row : row + 2, row] = image[row + 1, row + 1] = 20
    values = one_sensor(pairs)
    assert values[0][0] * 256 == pytest.approx(1, rel=0.1)
    np.testing.assert_allclose(np.exp(values[-1][0, :, 4]), 3, rtol=1e-5)


def test_sensors_of_an_event_rise_together_as_in_the_data() -> None:
    rng = np.random.default_rng(2)
    sensors, events = 8, 400
    together, apart = (
        1 + 0.2 * rng.normal(size=events),
        1 + 0.1 * rng.normal(size=(events, sensors)),
    )
    sensor, event = np.tile(np.arange(sensors), events), np.repeat(np.arange(events), sensors)
    starts = rng.poisson(np.maximum(500 * together[:, None] * apart, 0)).reshape(-1)
    hits = from_dense(np.zeros((len(starts), 1, 1), int), sensor, event)
    mean, spread = mean_and_spread(starts, hits, np.zeros(sensors, int))
    np.testing.assert_allclose(mean, 500, rtol=0.05)
    np.testing.assert_allclose(spread, np.tile([[0.2, 0.1]], (sensors, 1)), rtol=0.1)
    # Sensors without hits, and one of a single image, say nothing.
    quiet = np.where(sensor < 2, 0, starts)
    once = (sensor != 2) | (event == 0)
    mean, spread = mean_and_spread(
        quiet[once], hits.take(np.flatnonzero(once)), np.zeros(sensors, int)
    )
    np.testing.assert_allclose(mean[:2], 1 / events)
    np.testing.assert_allclose(spread[:3], 0)
    np.testing.assert_allclose(spread[3:], np.tile([[0.2, 0.1]], (5, 1)), rtol=0.1)


def test_shapes_are_drawn_as_often_as_their_weights_say() -> None:
    segment = np.zeros((4500, SEGMENT), np.float32)
    segment[:, 1] = np.random.default_rng(1).uniform(0, 768, 4500)
    segment[:2250, 4] = 1
    weight = np.where(segment[:, 4] == 1, 1.0, 9.0)
    shapes = drawn_shapes(segment, weight, np.random.default_rng(2))
    assert shapes.shape == (SHAPES, SEGMENT)
    assert (shapes[:, 4] == 1).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("images", [1, 2])
def test_a_few_images_and_a_sensor_without_any_are_enough(images: int) -> None:
    adu = np.zeros((images, 14, 32), int)
    adu[:, 3, 4:9] = 20
    hits = from_dense(adu, np.ones(images, int), np.arange(images))
    values = deposit_statistics(hits, geometry(14, 32), (16, 32), 4, seed=1)
    assert all(np.all(np.isfinite(x)) for x in values)
    np.testing.assert_allclose(np.exp(values[-1][1, :, 4]), 5, rtol=1e-5)


def test_images_without_hits_and_with_many() -> None:
    adu = np.zeros((3, 8, 8))
    adu[1, ::2, ::2] = 20
    adu[2, 3, 3] = 20
    found = moved_clusters(picture(adu), HIGHEST)["segments"]
    assert found.shape == (3, 16, SEGMENT + 1)
    assert found[..., SEGMENT].sum(axis=1).tolist() == [0, 16, 1]
    assert moved_clusters(picture(adu[:1]), HIGHEST)["segments"].shape == (1, 1, SEGMENT + 1)
    assert np.all(real_segment_map(tf.constant(found), (3, 2, 2), 4)[0] == 0)


def one_segment(*ends: float) -> tf.Tensor:
    return tf.constant([[*ends, math.log(7), math.log(2), 0.1, 0.4]], tf.float32)


def test_a_segment_crosses_its_cells() -> None:
    found = segment_map(one_segment(2, 1, 2, 9), tf.constant([1], tf.int64), (2, 2, 3), 4).numpy()
    assert found.shape == (2, 2, 3, FEATURES + 16)
    assert np.all(found[0] == 0)
    assert found[1, ..., 0].tolist() == [[1, 1, 1], [0, 0, 0]]
    first, middle, last = found[1, 0]
    np.testing.assert_allclose(middle[1:3], [0.125, 0], atol=1e-6)  # its row is the third of four
    np.testing.assert_allclose(middle[3:5], [0, 1], atol=1e-6)
    assert first[5] < middle[5] < last[5]
    assert first[6] > middle[6] > last[6]
    np.testing.assert_allclose(middle[7:9], [math.log(9), math.log(7 / 9)], rtol=1e-5)
    np.testing.assert_allclose(middle[9:12], [math.log(2), 0.1, 0.4], rtol=1e-5)
    crossed = found[1, 0, :, FEATURES:].reshape(3, 4, 4)
    assert np.argwhere(crossed).tolist() == [
        [c, 2, p] for c, pixels in ((0, [1, 2, 3]), (1, range(4)), (2, [0, 1])) for p in pixels
    ]


@given(
    st.tuples(*[st.floats(0, 31.4)] * 2), st.tuples(*[st.floats(0, 63.4)] * 2)
)  # rows and columns of the ends
def test_every_pixel_of_a_segment_is_crossed(rows: tuple, columns: tuple) -> None:
    ends = rows[0], columns[0], rows[1], columns[1]
    found = segment_map(one_segment(*ends), tf.constant([0], tf.int64), (1, 8, 16), 4).numpy()
    crossed = found[0, ..., FEATURES:].reshape(8, 16, 4, 4).transpose(0, 2, 1, 3).reshape(32, 64)
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


def small_data() -> tuple[np.ndarray, ...]:
    detector = geometry(14, 32)
    images = np.zeros((6, 14, 32), np.int64)
    images[0, 2, 3:6] = 20  # sensor 0: one deposit in one of two images
    images[1, 5, 5] = images[1, 9, 20] = 20  # sensor 1: two in each
    images[4, 5, 5] = images[4, 9, 20] = 20
    hits = from_dense(images, np.array([0, 1, 2] * 2), np.array([0, 0, 0, 1, 1, 1]))
    return deposit_statistics(hits, detector, (16, 32), 4, seed=1)


def test_rate_is_the_share_of_cells_per_sensor() -> None:
    rate, spread, _, _, shapes = small_data()
    # The last sensor never fires, and keeps one start in its two images.
    np.testing.assert_allclose(rate * (14 * 32 / 16), [1 / 2, 2, 1 / 2], rtol=1e-6)
    assert spread.tolist() == [[0, 0]] * 3
    assert shapes.shape == (3, SHAPES, SEGMENT)
    np.testing.assert_allclose(shapes[0, :, :4], np.tile([0, 0, 0, 2], (SHAPES, 1)))


def test_profile_is_where_clusters_start() -> None:
    _, _, along_u, along_v, _ = small_data()
    assert along_u.shape == (3, 4)
    assert along_v.shape == (3, 8)
    assert along_u[1].argmax() in (1, 2)
    assert set(np.argsort(along_v[1])[-2:]) == {1, 5}
    # 1 on average over what is on the sensor, of which the last cells have half.
    np.testing.assert_allclose(along_u.sum(1) / 3.5, 1)
    np.testing.assert_allclose(along_v.mean(1), 1)
    np.testing.assert_allclose(along_u[2], [1, 1, 1, 0.5])
    np.testing.assert_allclose(along_v[2], 1)


def test_no_segment_starts_beyond_the_sensor() -> None:
    hits = from_dense(np.full((2, 10, 16), 20), np.array([0, 0]), np.array([0, 1]))
    values = deposit_statistics(hits, geometry(10, 16), (16, 16), 4, seed=1)
    assert values[2][0, 3] == 0
    assert values[2][0].sum() == pytest.approx(2.5)


def statistics(rate: list[float], spread: float = 0.0) -> tuple:
    """Of deposits that are single pixels of their cell's corner."""
    n = len(rate)
    shapes = np.zeros((n, SHAPES, SEGMENT), np.float32)
    values = rate, [[spread, spread]] * n, np.ones((n, 100)), np.ones((n, 100)), shapes
    return tuple(tf.constant(x, tf.float32) for x in values)


def test_sampled_deposits_are_as_frequent_as_asked_and_normally_marked() -> None:
    noise = tf.random.stateless_normal([2, 100, 100, PLACE + 2], [1, 2])
    sensor, origin = tf.constant([0, 1]), tf.zeros([2, 2], tf.int32)
    found = sampled_deposits(statistics([0.02, 0.3]), sensor, noise, origin, 4).numpy()
    np.testing.assert_allclose(found[..., 0].mean((1, 2)), [0.02, 0.3], rtol=0.25)
    present = found[..., 0] == 1
    assert np.all(found[~present] == 0)
    marks = found[1][present[1]][:, -2:]
    assert abs(marks.mean()) < 0.06
    assert marks.std() == pytest.approx(1, abs=0.05)
    crossed = found[..., FEATURES:-2]
    assert np.all(crossed.sum(-1) == found[..., 0])
    np.testing.assert_allclose(crossed[1].mean((0, 1)), np.full(16, 0.3 / 16), rtol=0.3)


def test_deposits_of_one_image_are_drawn_as_those_of_a_batch() -> None:
    presence = tf.random.stateless_normal([1, 100, 100, 1], [1, 2])
    values, sensor = statistics([0.1, 0.3]), tf.constant([1])
    event, seed = tf.constant([[1, 2], [3, 4]], tf.int64)
    found = drawn_deposits(values, sensor, event, presence, seed, 2, 4).numpy()
    noise = tf.concat([presence, tf.zeros([1, 100, 100, PLACE + 1])], -1)
    origin = tf.zeros([1, 2], tf.int32)
    expected = sampled_deposits(values, sensor, noise, origin, 4).numpy()
    np.testing.assert_array_equal(found[..., 0], expected[..., 0])
    assert np.all(found[found[..., 0] == 0] == 0)
    marks = found[found[..., 0] == 1][:, -2:]
    assert abs(marks.mean()) < 0.06
    assert marks.std() == pytest.approx(1, abs=0.05)
    assert len(np.unique(marks)) == marks.size


def test_levels_follow_spread_profile_and_place() -> None:
    rate, _, along_u, along_v, shapes = (x.numpy() for x in statistics([0.1]))
    along_v[0, 16:18] = 0.5, 1.5
    values = rate, np.array([[0.1, 0.2]], np.float32), along_u, along_v, shapes

    def share(event: float, image: float, first: int) -> np.ndarray:
        arguments = tf.constant([0]), tf.constant([[event, image]]), tf.constant([[0, first]])
        level = start_level(values, *arguments, (1, 2)).numpy()[0, 0]
        return 0.5 * np.array([math.erfc(x / math.sqrt(2)) for x in level])

    np.testing.assert_allclose(share(0.0, 0.0, 16), [0.05, 0.15], rtol=1e-4)
    np.testing.assert_allclose(share(0.0, 1.0, 20), [0.12, 0.12], rtol=1e-4)
    np.testing.assert_allclose(share(1.0, 1.0, 20), [0.13, 0.13], rtol=1e-4)


def test_placed_segments_are_those_of_the_sensor_in_their_cell() -> None:
    shapes = np.zeros((2, SHAPES, SEGMENT), np.float32)
    shapes[1, :, 1:5] = 0.25, 3, 5, 1.5
    values = (*statistics([0.1, 0.1])[:4], tf.constant(shapes))
    numbers = tf.random.stateless_normal([500, 3], [1, 2])
    cell = tf.constant([[2, 3]] * 500, tf.int64)
    column = tf.range(500) // 5
    found = placed_segments(values, tf.ones(500, tf.int32), cell, column, numbers, 4).numpy()
    rows, columns = found[:, 0] - 8, found[:, 1] - 12.25
    assert set(np.unique(rows)) == set(np.unique(columns)) == {0, 1, 2, 3}
    np.testing.assert_allclose(found[:, 2:4] - found[:, :2], [[3, 5]] * 500)
    np.testing.assert_allclose(found[:, 4], 1.5)


@pytest.mark.parametrize("column", [0, 30, 75, 99])
def test_placed_segments_are_those_that_started_near(column: int) -> None:
    """Three quarters of the data start in the second half of the columns."""
    *values, shapes = (x.numpy() for x in statistics([0.1]))
    values[3][0] = np.repeat([0.5, 1.5], 50)
    shapes[0, :, 6] = np.concatenate(
        [np.linspace(0, 0.5, SHAPES // 4), np.linspace(0.5, 1, SHAPES - SHAPES // 4)]
    )
    numbers = tf.random.stateless_normal([2000, 3], [1, 2])
    cell, columns = tf.zeros([2000, 2], tf.int64), tf.fill([2000], column)
    sensor = tf.zeros(2000, tf.int32)
    found = placed_segments((*values, shapes), sensor, cell, columns, numbers, 4).numpy()[:, 6]
    share = column / 100
    assert found.mean() == pytest.approx(min(max(share, 0.065), 0.98), abs=0.03)
    assert found.min() >= share - 0.14
    assert found.max() <= share + 0.14


def test_inferred_deposits_have_the_posterior_where_a_segment_is() -> None:
    present = tf.constant([[[[1.0, 7.0], [0.0, 0.0]]]])
    mean, log_variance, noise = (tf.fill([1, 1, 2, 1], x) for x in (2.0, np.log(0.25), 3.0))
    found = inferred_deposits(present, mean, tf.cast(log_variance, tf.float32), noise)
    np.testing.assert_allclose(found, [[[[1, 7, 3.5], [0, 0, 0]]]], rtol=1e-6)


def test_encoder_starts_at_the_prior_and_sees_far_along_v() -> None:
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

"""Track segments: their numbers, their rate, and displaced clusters."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label
from tiny_gan import geometry

from kerasgen.data.hits import Hits, from_dense
from kerasgen.data.pipeline import to_log_scale
from kerasgen.models.pxd_gan.clusters import real_segment_map
from kerasgen.models.pxd_gan.track_segments import (
    IMAGES_PER_SENSOR,
    MAX_DISPLACEMENT,
    MIN_ROWS,
    SEGMENT_SIZE,
    SIZE_CLASSES,
    TEMPLATES,
    cluster_statistics,
    clusters_of_sensor,
    displaced_clusters,
    image_clusters,
    occupancy_deviation,
    sampled_templates,
    size_class,
    to_adu_float64,
)

MAX_CHARGE = 255


def normalised(adu: np.ndarray) -> np.ndarray:
    """[B, H, W] ADU -> normalised charges, the input of networks."""
    return to_log_scale(adu, MAX_CHARGE)[..., None].astype(np.float32)


def segments(adu: np.ndarray) -> np.ndarray:
    return image_clusters(normalised(adu[None]), MAX_CHARGE).segment


def test_a_track_along_v_and_one_along_u() -> None:
    adu = np.zeros((16, 32))
    adu[3, 2:8] = 20
    adu[4, 8:11] = 20
    adu[4, 10] = 60
    adu[10:15, 20] = 30
    along_v, along_u = segments(adu)
    np.testing.assert_allclose(along_v[:4], [3, 2, 4, 10])
    np.testing.assert_allclose(np.exp(along_v[4:6]), [9, 2], rtol=1e-6)
    mean, highest = to_log_scale(np.array([220 / 9, 60.0]), MAX_CHARGE)
    np.testing.assert_allclose(along_v[6:], [mean, highest], rtol=1e-6)
    np.testing.assert_allclose(along_u[:4], [10, 20, 14, 20])
    np.testing.assert_allclose(np.exp(along_u[4:6]), [5, 1], rtol=1e-6)


def test_an_end_is_weighted_by_charge() -> None:
    adu = np.zeros((8, 8))
    adu[2, 3], adu[3, 3], adu[2, 4] = 30, 10, 7
    np.testing.assert_allclose(segments(adu)[0, :4], [2.25, 3, 2, 4], rtol=1e-5)


@given(arrays(bool, (2, 6, 9)))
def test_segments_are_the_clusters(fired: np.ndarray) -> None:
    clusters = image_clusters(normalised(50 * fired), MAX_CHARGE)
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


def test_displaced_clusters_keep_their_segments() -> None:
    rng = np.random.default_rng(1)
    adu = np.where(rng.random((2, 64, 96)) < 0.01, rng.integers(7, 100, (2, 64, 96)), 0)
    image = normalised(adu)
    found = displaced_clusters(image, MAX_CHARGE)
    displaced, segments = found["displaced"], found["segments"]
    # Charges are displaced, or added where two clusters overlap.
    charge = [to_adu_float64(x[x > -1], MAX_CHARGE).sum() for x in (image, displaced)]
    assert charge[1] == pytest.approx(charge[0], rel=1e-5)
    before, now = (image_clusters(x, MAX_CHARGE) for x in (image, displaced))
    there = segments[..., SEGMENT_SIZE] > 0
    assert there.sum() == len(before.segment) > len(now.segment)
    distance = segments[there][:, :4] - before.segment[:, :4]
    np.testing.assert_allclose(distance[:, :2], distance[:, 2:], atol=1e-4)
    assert np.abs(distance).max() == MAX_DISPLACEMENT
    np.testing.assert_array_equal(segments[there][:, 4:SEGMENT_SIZE], before.segment[:, 4:])
    # Single pixels are where their segments are.
    single = there & (segments[..., 4] == 0)
    at = segments[single][:, :2].astype(int) % [64, 96]
    assert np.all(displaced[np.nonzero(single)[0], at[:, 0], at[:, 1]] > -1)
    # An image does not depend on the others of its batch.
    alone = displaced_clusters(image[1:], MAX_CHARGE)
    np.testing.assert_array_equal(alone["displaced"][0], displaced[1])
    np.testing.assert_array_equal(alone["segments"][0], segments[1, : alone["segments"].shape[1]])


def statistics_of(adu: np.ndarray, sensors: int = 1) -> tuple[np.ndarray, ...]:
    """Cluster statistics of images, which alternate between sensors."""
    number = np.arange(len(adu))
    hits = from_dense(adu.astype(int), number % sensors, number // sensors)
    detector = geometry(*adu.shape[1:], sensors)
    return cluster_statistics(hits, detector, adu.shape[1:], 4, seed=1)


@given(arrays(bool, (3, 6, 9)))
def test_overlaid_clusters_are_those_of_dense_images(fired: np.ndarray) -> None:
    for n in range(1, 4):
        images = fired[:n]
        hits = from_dense(50 * images, np.zeros(n, int), np.arange(n))
        _, numbers = clusters_of_sensor(hits, geometry(6, 9, 1), (16, 16))

        def by_size(image: np.ndarray) -> np.ndarray:
            name, _ = label(image, np.ones((3, 3)))
            return np.bincount(size_class(np.bincount(name[name > 0])[1:]), minlength=SIZE_CLASSES)

        alone = [by_size(image) for image in images]
        np.testing.assert_allclose(numbers[0], sum(alone) / n)
        pairs = zip(images[1:], images[:-1, ::-1], strict=True)
        together = sum((by_size(a | b) for a, b in pairs), np.zeros(SIZE_CLASSES))
        gained = together - sum(alone[1:]) - sum(alone[:-1])
        np.testing.assert_allclose(numbers[1], gained / max(n - 1, 1))


def test_rare_chance_overlaps_are_corrected() -> None:
    rng = np.random.default_rng(1)
    adu = np.where(rng.random((8 * IMAGES_PER_SENSOR, 64, 64)) < 0.004, 20, 0)
    values = statistics_of(adu, sensors=8)
    assert (np.exp(values[-1][..., 4]) > 1.5).mean() < 0.006  # of 2 % in the data


def test_chance_overlaps_are_corrected() -> None:
    rng = np.random.default_rng(1)
    alone = np.where(rng.random((200, 64, 64)) < 0.01, 20, 0)  # 41 pixels, a twelfth of which touch
    clusters = image_clusters(normalised(alone), MAX_CHARGE).segment
    assert np.exp(clusters[:, 4]).mean() > 1.04
    values = statistics_of(alone)
    assert values[0][0] * 256 == pytest.approx((alone > 0).sum() / 200, rel=0.01)
    assert np.exp(values[-1][0, :, 4]).mean() == pytest.approx(1, abs=0.02)


def test_clusters_of_several_pixels_stay() -> None:
    rng = np.random.default_rng(1)
    pairs = np.zeros((40, 64, 64))
    for image, row in zip(pairs, rng.integers(60, size=40), strict=True):
        image[row : row + 2, row] = image[row + 1, row + 1] = 20
    values = statistics_of(pairs)
    assert values[0][0] * 256 == pytest.approx(1, rel=0.1)
    np.testing.assert_allclose(np.exp(values[-1][0, :, 4]), 3, rtol=1e-5)


def test_deviations_are_those_of_the_data() -> None:
    rng = np.random.default_rng(2)
    sensors, events = 8, 400
    together, apart = (
        1 + 0.2 * rng.normal(size=events),
        1 + 0.1 * rng.normal(size=(events, sensors)),
    )
    sensor, event = np.tile(np.arange(sensors), events), np.repeat(np.arange(events), sensors)
    starts = rng.poisson(np.maximum(500 * together[:, None] * apart, 0)).reshape(-1)
    # Half of the segments have one pixel, half three: E[n^2] / E[n] is 2.5.
    counts = starts + 2 * rng.binomial(starts, 0.5)
    hits, layer = pixel_counts(counts, sensor, event), np.zeros(sensors, int)
    deviation = occupancy_deviation(hits, layer, np.array([2.5]))
    np.testing.assert_allclose(deviation, np.tile([[0.2, 0.1]], (sensors, 1)), rtol=0.1)
    # Sensors without hits, and one with a single image, have no deviation.
    quiet = np.where(sensor < 2, 0, counts)
    once = (sensor != 2) | (event == 0)
    hits = pixel_counts(quiet[once], sensor[once], event[once])
    deviation = occupancy_deviation(hits, layer, np.array([2.5]))
    np.testing.assert_allclose(deviation[:3], 0)
    np.testing.assert_allclose(deviation[3:], np.tile([[0.2, 0.1]], (5, 1)), rtol=0.1)


def pixel_counts(counts: np.ndarray, sensor: np.ndarray, event: np.ndarray) -> Hits:
    """Images with given numbers of pixels at arbitrary positions."""
    indptr = np.concatenate([[0], np.cumsum(counts)])
    zeros = np.zeros(indptr[-1], int)
    return Hits(indptr, zeros, zeros, zeros, zeros, sensor, event)


def test_templates_are_sampled_in_proportion_to_their_weights() -> None:
    segment = np.zeros((4500, SEGMENT_SIZE), np.float32)
    segment[:, 1] = np.random.default_rng(1).uniform(0, 768, 4500)
    segment[:2250, 4] = 1
    weight = np.where(segment[:, 4] == 1, 1.0, 9.0)
    templates = sampled_templates(segment, weight, np.random.default_rng(2))
    assert templates.shape == (TEMPLATES, SEGMENT_SIZE)
    assert (templates[:, 4] == 1).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("images", [1, 2])
def test_a_few_images_and_a_sensor_without_any_are_enough(images: int) -> None:
    adu = np.zeros((images, 14, 32), int)
    adu[:, 3, 4:9] = 20
    hits = from_dense(adu, np.ones(images, int), np.arange(images))
    values = cluster_statistics(hits, geometry(14, 32), (16, 32), 4, seed=1)
    assert all(np.all(np.isfinite(x)) for x in values)
    np.testing.assert_allclose(np.exp(values[-1][1, :, 4]), 5, rtol=1e-5)


def test_images_without_hits_and_with_many() -> None:
    adu = np.zeros((3, 8, 8))
    adu[1, ::2, ::2] = 20
    adu[2, 3, 3] = 20
    found = displaced_clusters(normalised(adu), MAX_CHARGE)["segments"]
    assert found.shape == (3, MIN_ROWS, SEGMENT_SIZE + 1)
    assert found[..., SEGMENT_SIZE].sum(axis=1).tolist() == [0, 16, 1]
    assert np.all(found[found[..., SEGMENT_SIZE] == 0] == 0)
    assert np.all(real_segment_map(tf.constant(found), (3, 2, 2), 4)[0] == 0)


@pytest.mark.parametrize(("clusters", "rows"), [(0, 256), (256, 256), (257, 512)])
def test_segments_have_few_shapes(clusters: int, rows: int) -> None:
    """Every new shape compiles the training step once more."""
    adu = np.zeros((2, 32, 64))
    row, col = np.divmod(np.arange(clusters), 32)
    adu[1, 2 * row, 2 * col] = 20
    found = displaced_clusters(normalised(adu), MAX_CHARGE)["segments"]
    assert found.shape == (2, rows, SEGMENT_SIZE + 1)
    assert found[..., SEGMENT_SIZE].sum(axis=1).tolist() == [0, clusters]


def small_data() -> tuple[np.ndarray, ...]:
    detector = geometry(14, 32)
    images = np.zeros((6, 14, 32), np.int64)
    images[0, 2, 3:6] = 20  # sensor 0: one cluster in one of two images
    images[1, 5, 5] = images[1, 9, 20] = 20  # sensor 1: two in each
    images[4, 5, 5] = images[4, 9, 20] = 20
    hits = from_dense(images, np.array([0, 1, 2] * 2), np.array([0, 0, 0, 1, 1, 1]))
    return cluster_statistics(hits, detector, (16, 32), 4, seed=1)


def test_rate_is_the_fraction_of_cells_per_sensor() -> None:
    rate, deviation, _, _, templates = small_data()
    # The last sensor never fires, and keeps one start in its two images.
    np.testing.assert_allclose(rate * (14 * 32 / 16), [1 / 2, 2, 1 / 2], rtol=1e-6)
    assert deviation.tolist() == [[0, 0]] * 3
    assert templates.shape == (3, TEMPLATES, SEGMENT_SIZE)
    np.testing.assert_allclose(templates[0, :, :4], np.tile([0, 0, 0, 2], (TEMPLATES, 1)))


def test_profile_is_where_clusters_start() -> None:
    _, _, along_u, along_v, _ = small_data()
    assert along_u.shape == (3, 4)
    assert along_v.shape == (3, 8)
    assert along_u[1].argmax() in (1, 2)
    assert set(np.argsort(along_v[1])[-2:]) == {1, 5}
    # 1 on average over the sensor, which covers half of the last cells.
    np.testing.assert_allclose(along_u.sum(1) / 3.5, 1)
    np.testing.assert_allclose(along_v.mean(1), 1)
    np.testing.assert_allclose(along_u[2], [1, 1, 1, 0.5])
    np.testing.assert_allclose(along_v[2], 1)


def test_no_segment_starts_beyond_the_sensor() -> None:
    hits = from_dense(np.full((2, 10, 16), 20), np.array([0, 0]), np.array([0, 1]))
    values = cluster_statistics(hits, geometry(10, 16), (16, 16), 4, seed=1)
    assert values[2][0, 3] == 0
    assert values[2][0].sum() == pytest.approx(2.5)

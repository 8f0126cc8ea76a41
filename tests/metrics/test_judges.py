"""Inputs of the judges: features against numbers counted one by one, and their scaling."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits, concatenate, from_dense, to_dense
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.metrics.image_features import LENGTH_EDGES, QUANTILES, SIZE_EDGES, image_features
from kerasgen.metrics.judges import (
    CELLS,
    LARGEST,
    PATCH,
    convolutional,
    patches,
    standardised,
    whole_images,
)
from kerasgen.metrics.two_sample import NetworkInputs

PXD = load_geometry("belle2-pxd")
SENSORS = len(PXD.sensors)
SIZE = 2 + 2 + len(QUANTILES)  # first column of the sizes of clusters


@pytest.fixture(scope="module")
def events() -> Hits:
    return concatenate(list(simulate_events(PXD, 11, 0, 2)))


def small_geometry() -> Geometry:
    return replace(PXD, sensors=PXD.sensors[:2], rows=20, cols=30)


def three_clusters() -> Hits:
    """One event; the first image has clusters of 1, 2 (along u) and 6 pixels (along v)."""
    images = np.zeros((2, 20, 30), np.uint16)
    images[0, 2, 3] = 8
    images[0, 10:12, 5] = 16
    images[0, 15, 20:26] = 32
    return from_dense(images, np.arange(2), np.zeros(2, int))


def test_features_of_three_clusters() -> None:
    found = image_features(three_clusters(), small_geometry())
    first = found[0].tolist()
    assert first[:2] == pytest.approx([3.0, np.sqrt(3)])
    log_adu = np.log([8, 16, 16, *[32] * 6])
    assert first[2:4] == pytest.approx([log_adu.mean(), log_adu.std()])
    assert first[4:SIZE] == pytest.approx(np.quantile(log_adu, QUANTILES).tolist(), rel=1e-6)
    sizes = np.array([1, 2, 6])
    want = [np.mean(sizes >= edge) for edge in SIZE_EDGES] + [sizes.mean(), sizes.std()]
    assert first[SIZE : SIZE + len(want)] == pytest.approx(want)
    u = SIZE + len(SIZE_EDGES) + 4
    v = u + len(LENGTH_EDGES) + 4
    for start, lengths in ((u, np.array([1, 2, 1])), (v, np.array([1, 1, 6]))):
        assert first[start : start + 8] == pytest.approx(
            [np.mean(lengths >= edge) for edge in LENGTH_EDGES]
        )
    pairs = first[-16:]  # per fired pixel, u then v; distances 1, 2, 3, 4, 5 to 6 ...
    assert pairs == pytest.approx([1 / 9, *[0] * 7, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9, 0, 0, 0])
    assert np.isfinite(found).all()
    assert not found[1].any()  # an image without hits


def test_an_image_has_the_same_features_in_any_company(events: Hits) -> None:
    rows = np.array([70, 3, 41])
    np.testing.assert_array_equal(
        image_features(events, PXD)[rows], image_features(events.take(rows), PXD)
    )


def test_patches_are_cut_from_the_image_with_the_cluster_of_the_hit() -> None:
    found = patches(three_clusters(), small_geometry(), np.random.default_rng(1))
    value = np.log1p(to_dense(three_clusters(), small_geometry())[0]) / np.log(256)
    image = np.pad(value, ((PATCH[0],) * 2, (PATCH[1],) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(image, PATCH)
    assert set(found.sensor.tolist()) == set(found.event.tolist()) == {0}
    for patch in found.image[:40].astype(float):
        charge, cluster = patch[..., 0], patch[..., 1]
        centre = charge[PATCH[0] // 2, PATCH[1] // 2]
        assert centre > 0
        assert (np.abs(windows - charge).max((2, 3)) < 1e-3).any()
        # Clusters differ in charge, and all of them lie in the patch or not at all.
        np.testing.assert_array_equal(cluster > 0, np.abs(charge - centre) < 1e-3)


def test_images_count_pixels_neighbours_and_clusters(events: Hits) -> None:
    found = whole_images(events, PXD, np.random.default_rng(1))
    assert found.image.shape == (2 * SENSORS, *CELLS, 5)
    sums = 10 * found.image.astype(float).sum((1, 2))
    fired = to_dense(events, PXD) > 0
    want = [
        fired.sum((1, 2)), None, (fired[:, 1:] & fired[:, :-1]).sum((1, 2)),
        (fired[:, :, 1:] & fired[:, :, :-1]).sum((1, 2)),
    ]  # fmt: skip
    for channel, counts in enumerate(want):
        if counts is not None:
            np.testing.assert_allclose(sums[:, channel], counts, rtol=1e-2)
    few = whole_images(three_clusters(), small_geometry(), np.random.default_rng(1))
    assert 10 * few.image[..., 4].astype(float).sum() == pytest.approx(3, rel=1e-3)
    assert found.event.tolist() == [0] * SENSORS + [1] * SENSORS


def test_scaling_takes_mean_of_the_sensor_and_common_deviation() -> None:
    rng = np.random.default_rng(0)
    sensor = np.tile([0, 1], 500)
    image = rng.standard_normal((1000, 2)) * [2, 5] + np.array([[10, 0], [-10, 3]])[sensor]
    image = np.column_stack([image, np.full(1000, 7.0)])
    sample = NetworkInputs(image, sensor, np.arange(1000) // 2)
    scaled = standardised(sample, 3)(sample).astype(float)
    for k in range(2):
        np.testing.assert_allclose(scaled[sensor == k].mean(0), 0, atol=0.03)
    np.testing.assert_allclose(scaled[:, :2].std(0), 1, atol=0.02)
    np.testing.assert_allclose(scaled[:, 2], 0, atol=0.05)  # a constant stays finite
    far = NetworkInputs(image + 1e6, sensor, sample.event)
    assert standardised(sample, 3)(far).max() == LARGEST
    unseen = NetworkInputs(image[:1], np.array([2]), sample.event[:1])  # mean of all sensors
    want = (image[0, :2] - image[:, :2].mean(0)) / [2, 5]
    np.testing.assert_allclose(standardised(sample, 3)(unseen)[0, :2], want, rtol=0.1)


def test_network_gets_standardised_means_of_images_without_training() -> None:
    rng = np.random.default_rng(0)
    samples = [
        NetworkInputs(
            (shift + 0.01 * rng.standard_normal((200, 1, 1, 2)) + np.zeros((16, 32, 1))),
            np.zeros(200, np.int64), np.arange(200),
        )
        for shift in (0.04, 0.06)
    ]  # fmt: skip
    network = convolutional(samples, 1)
    (layer,) = (x for x in network.layers if isinstance(x, keras.layers.Normalization))
    normed = keras.Model(network.inputs, layer.output)
    image = np.concatenate([s.image for s in samples])
    found = np.asarray(normed([image, np.zeros(400, np.int32)], training=False))
    np.testing.assert_allclose(found.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(found.std(0), 1, atol=0.02)

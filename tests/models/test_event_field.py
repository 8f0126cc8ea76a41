"""The field of an event: it is drawn with its covariance, and fitted to what it makes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_run import geometry

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.detector import build_detector, column_centre, to_laboratory
from kerasgen.models.cluster_growth import numpy_functions as xp
from kerasgen.models.cluster_growth.field import (
    APART,
    COORDINATES,
    FIELDS,
    FirstPixels,
    column_of_even,
    coordinates,
    covariance,
    even_column,
    fit_field,
    sensor_places,
)
from kerasgen.models.cluster_growth.frequency import (
    Clusters,
    first_pixels,
    frequencies,
    frequency_of,
)
from kerasgen.models.cluster_growth.statistics import KNOTS_U, KNOTS_V, sensor_statistics

PXD = load_geometry("belle2-pxd")
SENSORS = len(PXD.sensors)


def statistics(
    detector: Geometry, amplitude: list[float], length: list[list[float]], rate: float
) -> Any:
    """Of sensors with the same field, and first pixels that are even."""
    n, places = len(detector.sensors), sensor_places(detector)
    more = FIELDS - len(amplitude)
    return SimpleNamespace(
        size=(detector.rows, detector.cols),
        types=(0,),
        rate=np.full(n, rate, np.float32),
        share=np.ones((n, 1), np.float32),
        spread=np.zeros(n, np.float32),
        along_u=np.tile(np.linspace(0, detector.rows, KNOTS_U, dtype=np.float32), (n, 1)),
        along_v=np.tile(np.linspace(0, detector.cols, KNOTS_V, dtype=np.float32), (n, 1)),
        **{name: np.float32(getattr(places, name)) for name in ("place", "pitch", "radius")},
        amplitude=np.tile(np.float32(amplitude + [0.0] * more), (n, 1, 1)),
        length=np.float32([length + [[1.0] * COORDINATES] * more]),
        merged=np.zeros(1, np.float32),
    )


def one_kind(sensor: Any, row: Any, col: Any, number: Any) -> Any:
    """Types of clusters of which there is one."""
    return 0 * row


def drawn(network: Any, events: int, sensors: int) -> FirstPixels:
    """First pixels of events."""
    found = clusters_of(network, events, sensors, one_kind)
    return FirstPixels(found.image // sensors, found.sensor, found.row, found.col)


def clusters_of(network: Any, events: int, sensors: int, kinds: Any) -> Clusters:
    """Clusters of events, whose images are those of all sensors one after another."""
    sensor = np.tile(np.arange(sensors, dtype=np.int32), events)
    event = np.repeat(np.arange(events), sensors)
    keys = np.random.default_rng(3).integers(-(2**62), 2**62, (2, events * sensors))
    known = np.ones(len(sensor), bool)
    frequency = frequency_of(xp, network, network.rate, sensor)
    event_key = keys[1][event * sensors]
    return first_pixels(xp, network, frequency, sensor, known, keys[0], event_key, kinds)


def test_places_are_those_of_the_laboratory() -> None:
    places = sensor_places(PXD)
    assert places.placed
    rng = np.random.default_rng(1)
    sensor = rng.integers(0, SENSORS, 500)
    row, col = rng.integers(0, PXD.rows, 500), rng.integers(0, PXD.cols, 500)
    detector = build_detector(PXD)
    v = column_centre(detector, sensor, col * 1.0)
    x, y, z = to_laboratory(detector, sensor, row * detector.pitch_u, v, np.zeros(500)).T
    found = coordinates(places, FirstPixels(sensor, sensor, row, col))
    expected = np.stack([x, y, z], 1) / places.radius[sensor, None]
    np.testing.assert_allclose(found[:, :3], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(places.radius[sensor], np.hypot(x, y), rtol=0.15)
    pitch = places.pitch
    assert (pitch[:, 1] > 1.02).all()  # that of the outer columns
    even = even_column(np, pitch, sensor, col)
    np.testing.assert_allclose(column_of_even(np, pitch, sensor, even), col, rtol=0, atol=1e-9)
    assert abs(even - col).max() > 10
    layers = np.array([s.layer for s in PXD.sensors])
    np.testing.assert_array_equal(found[:, 3], layers[sensor] - layers.min())


def test_sensors_without_a_place_share_nothing() -> None:
    places = sensor_places(geometry())
    assert not places.placed
    assert (np.diff(places.place[:, 0, 3]) == APART).all()
    sensor, col = np.arange(3), np.float64([0, 4, 9])
    np.testing.assert_array_equal(even_column(np, places.pitch, sensor, col), col)


def test_a_field_has_its_mean_and_covariance() -> None:
    network = statistics(PXD, [0.3, 0.2], [[0.3, 0.3, 0.5, 2.0], [2.0, 2.0, 3.0, 5.0]], 1.0)
    rng = np.random.default_rng(2)
    events, points = 3000, 12
    event = np.repeat(np.arange(events), points)
    sensor, row, col = (np.tile(rng.integers(0, n, points), events) for n in (40, 250, 768))
    keys = rng.integers(-(2**62), 2**62, events)
    amplitude = np.tile(network.amplitude[:1], (events, 1, 1))
    found = frequencies(xp, network, amplitude, keys, event, sensor, row, col, 0 * row)
    found = found.reshape(events, points)
    np.testing.assert_allclose(found.mean(0), 1, atol=5 * 0.37 / np.sqrt(events))
    x = coordinates(network, FirstPixels(*(v[:points] for v in (event, sensor, row, col))))
    i, j = np.triu_indices(points)
    a = network.amplitude[0, 0]
    expected = covariance(a, a, (x[i] - x[j]) ** 2, network.length[0])
    ours = np.cov(np.log(found).T)[i, j]
    np.testing.assert_allclose(ours, expected, atol=0.015)
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize("detector", [PXD, geometry()], ids=["PXD", "sensors without a place"])
def test_the_field_of_clusters_is_found_again(detector: Geometry) -> None:
    sensors = len(detector.sensors)
    length = [[0.4, 0.4, 0.6, 3.0]] if detector is PXD else [[0.3, 1.0, 0.3, 1.0]]
    events, rate = (60, 100.0) if detector is PXD else (1000, 25.0)
    network = statistics(detector, [0.35], length, rate)
    first = drawn(network, events, sensors)
    counts = np.zeros((events, sensors))
    np.add.at(counts, (first.event, first.sensor), 1)
    np.testing.assert_allclose(counts.mean(), rate, rtol=0.05)
    excess = (counts.var(0) - counts.mean(0)) / counts.mean(0) ** 2
    field, explained = fit_field(first, excess, sensor_places(detector))
    assert np.median(explained / excess.clip(1e-9)) == pytest.approx(1, abs=0.1)
    # By differences of coordinates in units of the length, in one layer.
    for away in (0.3, 1.0, 2.0):
        square = (away * np.array(length) * [[1, 0, 0, 0]]) ** 2
        expected = 0.35**2 * np.exp(-0.5 * away**2)
        ours = np.mean([covariance(a, a, square, field.length) for a in field.amplitude])
        assert ours == pytest.approx(expected, abs=0.035), away


def test_clusters_without_a_field_have_none() -> None:
    network = statistics(PXD, [0.0], [[1.0] * COORDINATES], 60.0)
    first = drawn(network, 40, SENSORS)
    field, _ = fit_field(first, np.zeros(SENSORS), sensor_places(PXD))
    square = np.array([[0.0, 0.0, 0.0, 0.0]])
    largest = max(covariance(a, a, square, field.length)[0] for a in field.amplitude)
    assert largest < 0.01


def test_each_type_has_a_field_of_its_own() -> None:
    """Of two types one comes in showers: its clusters alone are more frequent near each other."""
    detector, events = geometry(), 600
    sensors = len(detector.sensors)
    network = statistics(detector, [], [], 30.0)
    network.types = 1, 2
    network.share = np.full((sensors, 2), 0.5, np.float32)
    network.amplitude = np.zeros((sensors, 2, FIELDS), np.float32)
    network.amplitude[:, 1, 0] = 0.5
    network.length = np.ones((2, FIELDS, COORDINATES), np.float32)

    def kinds(sensor: Any, row: Any, col: Any, number: Any) -> Any:
        return (number < 0.4).astype(np.int32)

    found = clusters_of(network, events, sensors, kinds)
    index = found.image * 2 + found.kind
    counts = np.bincount(index, minlength=events * sensors * 2).reshape(-1, 2)
    mean = counts.mean(0)
    np.testing.assert_allclose(mean, [18, 12], rtol=0.05)
    # What a cluster depends on is the number of those of its type, here over half of all.
    expected = np.log((counts.ravel()[index] + 1) / (15 + 1))
    np.testing.assert_allclose(found.activity[:, 0], expected, rtol=1e-5)
    excess = (np.cov(counts.T) - np.diag(mean)) / np.outer(mean, mean)
    error = 4 / np.sqrt(len(counts)) / mean
    assert abs(excess[0, 0]) < error[0]
    assert abs(excess[0, 1]) < 2 * error[1]
    apart = np.random.default_rng(5).random((2, 2, 10_000))
    near = np.exp(-0.5 * ((apart[0] - apart[1]) ** 2).sum(0))
    assert excess[1, 1] == pytest.approx(np.expm1(0.5**2 * near).mean(), rel=0.2)
    # Hits of these clusters, a pixel each, have it as well.
    code = np.ravel_multi_index((found.image, found.row, found.col), (events * sensors, 30, 48))
    code, first = np.unique(code, return_index=True)
    image, row, col = np.unravel_index(code, (events * sensors, 30, 48))
    edges = np.searchsorted(image, np.arange(events * sensors + 1))
    sensor, event = (np.arange(events * sensors) % sensors, np.arange(events * sensors) // sensors)
    hits = Hits(edges, row, col, 0 * row + 20, found.kind[first] + 1, sensor, event)
    ours = sensor_statistics([hits], detector, network.types)
    np.testing.assert_allclose(ours.share.mean(0), [0.6, 0.4], atol=0.02)
    variance = (ours.amplitude**2).sum(-1).mean(0)
    assert variance[1] > 0.08
    assert variance[0] < 0.25 * variance[1]
    assert ours.spread.max() < 0.15

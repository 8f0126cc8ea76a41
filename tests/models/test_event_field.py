"""The field of an event: it is drawn with its covariance, and fitted to what it makes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_run import geometry

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.simulation.detector import build_detector, column_centre, to_laboratory
from kerasgen.models.cluster_growth import numpy_functions as xp
from kerasgen.models.cluster_growth.field import (
    APART,
    COORDINATES,
    FIELDS,
    FirstPixels,
    coordinates,
    covariance,
    fit_field,
    sensor_places,
)
from kerasgen.models.cluster_growth.frequency import first_pixels, frequencies, frequency_of
from kerasgen.models.cluster_growth.statistics import KNOTS_U, KNOTS_V

PXD = load_geometry("belle2-pxd")
SENSORS = len(PXD.sensors)


def statistics(
    detector: Geometry, amplitude: list[float], length: list[list[float]], rate: float
) -> Any:
    """Of sensors with the same field, and first pixels that are even."""
    n = len(detector.sensors)
    more = FIELDS - len(amplitude)
    return SimpleNamespace(
        size=(detector.rows, detector.cols),
        rate=np.full(n, rate, np.float32),
        spread=np.zeros(n, np.float32),
        along_u=np.tile(np.linspace(0, detector.rows, KNOTS_U, dtype=np.float32), (n, 1)),
        along_v=np.tile(np.linspace(0, detector.cols, KNOTS_V, dtype=np.float32), (n, 1)),
        place=sensor_places(detector)[0].astype(np.float32),
        amplitude=np.tile(np.float32(amplitude + [0.0] * more), (n, 1)),
        length=np.float32(length + [[1.0] * COORDINATES] * more),
    )


def drawn(network: Any, events: int, sensors: int) -> FirstPixels:
    """First pixels of events."""
    sensor = np.tile(np.arange(sensors, dtype=np.int32), events)
    event = np.repeat(np.arange(events), sensors)
    keys = np.random.default_rng(3).integers(-(2**62), 2**62, (2, events * sensors))
    known = np.ones(len(sensor), bool)
    frequency = frequency_of(xp, network, network.rate, sensor)
    found = first_pixels(xp, network, frequency, sensor, known, keys[0], keys[1][event * sensors])
    return FirstPixels(event[found.image], found.sensor, found.row, found.col)


def test_places_are_those_of_the_laboratory() -> None:
    place, placed = sensor_places(PXD)
    assert placed
    rng = np.random.default_rng(1)
    sensor = rng.integers(0, SENSORS, 500)
    row, col = rng.integers(0, PXD.rows, 500), rng.integers(0, PXD.cols, 500)
    detector = build_detector(PXD)
    v = column_centre(detector, sensor, col * 1.0)
    x, y, z = to_laboratory(detector, sensor, row * detector.pitch_u, v, np.zeros(500)).T
    found = coordinates(place, FirstPixels(sensor, sensor, row, col))
    np.testing.assert_allclose(
        np.arctan2(found[:, 1], found[:, 0]), np.arctan2(y, x), rtol=0, atol=0.01
    )
    # The pitch along v changes within a sensor, which the field may ignore.
    slope = z / np.hypot(x, y)
    assert abs(found[:, 2] - slope).max() < 0.1 * np.ptp(slope)
    layers = np.array([s.layer for s in PXD.sensors])
    np.testing.assert_array_equal(found[:, 3], layers[sensor] - layers.min())


def test_sensors_without_a_place_share_nothing() -> None:
    place, placed = sensor_places(geometry())
    assert not placed
    assert (np.diff(place[:, 0, 3]) == APART).all()


def test_a_field_has_its_mean_and_covariance() -> None:
    network = statistics(PXD, [0.3, 0.2], [[0.3, 0.3, 0.5, 2.0], [2.0, 2.0, 3.0, 5.0]], 1.0)
    rng = np.random.default_rng(2)
    events, points = 3000, 12
    event = np.repeat(np.arange(events), points)
    sensor, row, col = (np.tile(rng.integers(0, n, points), events) for n in (40, 250, 768))
    keys = rng.integers(-(2**62), 2**62, events)
    amplitude = np.tile(network.amplitude[:1], (events, 1))
    found = frequencies(xp, network, amplitude, keys, event, sensor, row, col)
    found = found.reshape(events, points)
    np.testing.assert_allclose(found.mean(0), 1, atol=5 * 0.37 / np.sqrt(events))
    x = coordinates(network.place, FirstPixels(*(v[:points] for v in (event, sensor, row, col))))
    i, j = np.triu_indices(points)
    a = network.amplitude[0]
    expected = covariance(a, a, (x[i] - x[j]) ** 2, network.length)
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
    field, left = fit_field(first, excess, detector)
    assert (left <= excess.clip(0)).all()
    # By differences of coordinates in units of the length, in one layer.
    for away in (0.3, 1.0, 2.0):
        square = (away * np.array(length) * [[1, 0, 0, 0]]) ** 2
        expected = 0.35**2 * np.exp(-0.5 * away**2)
        ours = np.mean([covariance(a, a, square, field.length) for a in field.amplitude])
        assert ours == pytest.approx(expected, abs=0.035), away


def test_clusters_without_a_field_have_none() -> None:
    network = statistics(PXD, [0.0], [[1.0] * COORDINATES], 60.0)
    first = drawn(network, 40, SENSORS)
    field, _ = fit_field(first, np.zeros(SENSORS), PXD)
    square = np.array([[0.0, 0.0, 0.0, 0.0]])
    largest = max(covariance(a, a, square, field.length)[0] for a in field.amplitude)
    assert largest < 0.01

"""Linked pairs of clusters: where offspring lie, one event for all sensors, and the fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_run import geometry
from test_event_field import PXD, SENSORS, one_kind, statistics

from kerasgen.data.hits import from_dense
from kerasgen.data.simulation.detector import build_detector, column_centre, to_laboratory
from kerasgen.metrics.cluster_pairs import PlacedClusters, helix_ratio
from kerasgen.models.cluster_growth import numpy_functions, tensor_functions
from kerasgen.models.cluster_growth.field import FirstPixels, coordinates
from kerasgen.models.cluster_growth.frequency import (
    Clusters,
    Frequency,
    first_pixels,
    frequency_of,
)
from kerasgen.models.cluster_growth.link_fit import (
    FieldOfType,
    fit_links,
    layers_of,
    links_of,
    pair_excess,
    try_pairs,
    usual_ratio,
)
from kerasgen.models.cluster_growth.links import (
    AZIMUTH,
    CELLS,
    RELATIONS,
    SHAPE,
    SLOPE,
    Links,
    differences,
    linked_clusters,
    offspring_of_layer,
)

RATE = 40.0
FLAT = statistics(PXD, [], [], RATE)  # no field
LAYER = layers_of(FLAT)
FIELD = FieldOfType(FLAT, 0)


def clusters_of(frequency: Frequency, *keys: NDArray[np.int64], links: Links) -> Clusters:
    """Clusters of whole events without a field."""
    sensor = np.tile(np.arange(SENSORS, dtype=np.int32), len(keys[0]) // SENSORS)
    known = np.ones(len(sensor), bool)
    return first_pixels(numpy_functions, FLAT, frequency, sensor, known, *keys, one_kind, links)


def test_an_offspring_lies_on_the_helix_of_its_parent() -> None:
    rng = np.random.default_rng(1)
    n = 4000
    parent = rng.integers(0, 16, n)  # the inner layer
    row, col = rng.integers(0, PXD.rows, n), rng.integers(0, PXD.cols, n)
    turn, tilt = rng.uniform(-0.2, 0.2, n), rng.uniform(-0.05, 0.05, n)
    exists, rows, cols = offspring_of_layer(
        numpy_functions, FLAT, parent, row, col, 1 + 0 * row, turn, tilt
    )
    assert exists.any(1).mean() > 0.85
    pair, sensor = np.nonzero(exists)
    assert set(LAYER[sensor]) == {1}
    detector = build_detector(PXD)

    def cylinder(sensor: Any, row: Any, col: Any) -> tuple[NDArray[Any], ...]:
        v = column_centre(detector, sensor, col * 1.0)
        x, y, z = to_laboratory(detector, sensor, row * detector.pitch_u, v, np.zeros(len(v))).T
        return np.hypot(x, y), np.arctan2(y, x), z

    r1, phi1, z1 = cylinder(parent[pair], row[pair], col[pair])
    r2, phi2, z2 = cylinder(sensor, rows[exists], cols[exists])
    apart = (phi2 - phi1 - turn[pair] + np.pi) % (2 * np.pi) - np.pi
    assert abs(apart).max() < 0.6 * detector.pitch_u * 1e-3 / r2.min()
    distance = z2 - z1 * helix_ratio(np, r1, r2, abs(turn[pair])) - tilt[pair] * r2
    pixel = 1e-3 * max(detector.pitch_outer.max(), detector.pitch_inner.max())
    # The radius of the middle of a sensor stands for that of the place.
    assert np.quantile(abs(distance), 0.9) < pixel
    assert abs(distance).max() < 6 * pixel


def test_an_offspring_of_the_same_layer_is_on_another_sensor() -> None:
    share = try_pairs(FIELD).share
    assert (share[:, 0].mean(1) > 0.05).all()  # neighbouring ladders overlap in azimuth
    assert (share[LAYER == 0, 1] > 0.5).all()
    assert (share[LAYER == 1, 1] == 0).all()  # no layer beyond
    parent = np.arange(SENSORS).repeat(500)
    rng = np.random.default_rng(2)
    place = rng.integers(0, PXD.rows, len(parent)), rng.integers(0, PXD.cols, len(parent))
    turn = rng.uniform(-0.3, 0.3, len(parent))
    exists, _, _ = offspring_of_layer(
        numpy_functions, FLAT, parent, *place, 0 * parent, turn, 0 * turn
    )
    pair, sensor = np.nonzero(exists)
    assert (sensor != parent[pair]).all()
    assert (LAYER[sensor] == LAYER[parent[pair]]).all()


def test_differences_fill_their_cell_on_either_side() -> None:
    cell = np.repeat(np.arange(CELLS), 100)
    numbers = np.random.default_rng(3).random((2, len(cell)))
    for found, edges, index in zip(
        differences(numpy_functions, cell, *numbers),
        (AZIMUTH, SLOPE),
        (cell // SHAPE[1], cell % SHAPE[1]),
        strict=True,
    ):
        low, high = np.array(edges)[index], np.array(edges)[index + 1]
        assert ((abs(found) >= low) & (abs(found) <= high)).all()
        assert 0.4 < (found > 0).mean() < 0.6


def some_pairs() -> NDArray[np.float32]:
    """Pairs along straight lines between the layers, and close to parents on the outer one."""
    tried = np.zeros((SENSORS, RELATIONS, CELLS), np.float32)
    tried[LAYER == 0, 1, 0] = 3
    tried[LAYER == 1, 0, SHAPE[1] + 1] = 8
    return tried.reshape(SENSORS, -1)


def clusters_at(xp: Any, sensor: Any, event: int = 11, known: Any = True) -> list[NDArray[Any]]:
    """Linked clusters of images of one event."""
    sensor = np.asarray(sensor, np.int32)
    mean = np.full(len(sensor), some_pairs().sum())
    key = np.full(len(sensor), event, np.int64)
    known = np.broadcast_to(known, sensor.shape)
    found = linked_clusters(xp, FLAT, some_pairs(), mean, sensor, known, key)
    return [np.asarray(x) for x in found]


def test_a_sensor_finds_its_clusters_without_the_others() -> None:
    every = np.arange(SENSORS)
    image, *rest = clusters_at(numpy_functions, every)
    assert len(image) > 100
    assert (np.diff(image) >= 0).all()
    assert len(set(rest[0])) == len(image)  # each has random numbers of its own
    for sensor in (0, 17, 39):
        alone = clusters_at(numpy_functions, [sensor])
        for ours, whole in zip(alone[1:], rest, strict=True):
            np.testing.assert_array_equal(ours, whole[image == sensor])
    assert not len(clusters_at(numpy_functions, every, known=False)[0])
    other = clusters_at(numpy_functions, every, event=12)
    assert not set(other[1]) & set(rest[0])


def test_both_backends_draw_the_same_pairs() -> None:
    for a, b in zip(
        *(clusters_at(xp, [3, 20, 39, 4]) for xp in (numpy_functions, tensor_functions)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("level", [None, 0.5])
def test_clusters_are_as_frequent_as_without_pairs(level: float | None) -> None:
    links = links_of(FLAT, some_pairs())
    assert 0.05 < links.share.mean() < 0.5
    events = 200
    sensor = np.tile(np.arange(SENSORS, dtype=np.int32), events)
    given = None if level is None else np.full(len(sensor), level, np.float32)
    frequency = frequency_of(numpy_functions, FLAT, FLAT.rate, sensor, given, links)
    keys = np.random.default_rng(4).integers(-(2**62), 2**62, (2, len(sensor)))
    found = clusters_of(frequency, keys[0], keys[1, :events].repeat(SENSORS), links=links)
    count = np.bincount(found.sensor, minlength=SENSORS) / events
    expected = RATE * (level or 1)
    np.testing.assert_allclose(count, expected, atol=6 * np.sqrt(expected / events))
    # Along a sensor too, though pairs lie where sensors overlap.
    place = np.bincount(found.row // 25, minlength=10) / len(found.row)
    np.testing.assert_allclose(place, 1 / 10, atol=5 * np.sqrt(0.1 / len(found.row)))
    # The clusters of an image are numbered from 0 on.
    order = np.lexsort((found.number, found.image))
    begin = np.flatnonzero(np.diff(found.image[order], prepend=-1))
    size = np.diff(begin, append=len(order))
    expected_numbers = np.arange(len(order)) - np.repeat(begin, size)
    np.testing.assert_array_equal(found.number[order], expected_numbers)


def test_pairs_are_found_again() -> None:
    links = links_of(FLAT, some_pairs())
    sensor = np.arange(SENSORS, dtype=np.int32)
    frequency = frequency_of(numpy_functions, FLAT, FLAT.rate, sensor, None, links)
    events = []
    for seed in range(400):
        keys = np.random.default_rng(seed).integers(-(2**62), 2**62, SENSORS)
        event_key = np.full(SENSORS, keys[0] + 1)
        c = clusters_of(frequency, keys, event_key, links=links)
        n = c.sensor.astype(np.int64)
        x, y, z, _ = coordinates(FLAT, FirstPixels(n, n, c.row, c.col)).T * FLAT.radius[n]
        r, phi = np.hypot(x, y), np.arctan2(y, x)
        events.append(PlacedClusters(n, LAYER[n], r, phi, z, np.ones(len(n))))
    found = pair_excess(events, FIELD, try_pairs(FIELD)).sum(0)
    layers = (LAYER == 0, 1, 0), (LAYER == 1, 0, SHAPE[1] + 1)
    share = try_pairs(FIELD).share
    for here, relation, cell in layers:
        made = some_pairs().reshape(share.shape)[here, relation, cell] * share[here, relation, cell]
        # Places are whole pixels: some pairs are seen in the next cell.
        assert found[relation].sum() == pytest.approx(made.sum(), rel=0.15)
        assert found[relation, cell] > 0.7 * made.sum()


def test_sensors_without_a_place_have_no_pairs() -> None:
    detector = geometry()
    images = np.random.default_rng(5).integers(0, 9, (6, detector.rows, detector.cols))
    hits = from_dense(
        np.where(images > 6, images + 5, 0), np.tile(np.arange(3), 2), np.repeat([0, 1], 3)
    )
    assert fit_links([hits], statistics(detector, [], [], 1.0), detector) is None


def test_a_layer_without_hits_has_no_pairs() -> None:
    inner = statistics(PXD, [0.2], [[0.3, 0.3, 0.5, 2.0]], RATE)
    inner.rate[LAYER == 1] = 0
    field = FieldOfType(inner, 0)
    ratio = usual_ratio(field, try_pairs(field))
    assert (ratio[1] == 1).all()
    assert (ratio[0, 1] == 1).all()
    assert (ratio[0, 0] > 1).any()
    images = np.zeros((2 * SENSORS, PXD.rows, PXD.cols), np.int64)
    images[[0, 1, 40, 41], 100, 300] = 20
    hits = from_dense(images, np.tile(np.arange(SENSORS), 2), np.repeat([0, 1], SENSORS))
    assert fit_links([hits], inner, PXD) is None

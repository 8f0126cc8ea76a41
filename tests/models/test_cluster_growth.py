"""Cluster growth: sequences of tokens, plans, and what is stored of the data."""

from __future__ import annotations

import numpy as np
import pytest
from growth_events import DETECTOR, SIZE, hits_of, random_events
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from kerasgen.data.hits import from_dense
from kerasgen.models.cluster_growth.calibration import mapped_charges
from kerasgen.models.cluster_growth.growth import (
    LINKS,
    NO_LINK,
    NOTHING,
    OFFSETS,
    REACH,
    grown_clusters,
    growth_steps,
)
from kerasgen.models.cluster_growth.links import BINS, CELLS, RELATIONS
from kerasgen.models.cluster_growth.network import ClusterNetwork
from kerasgen.models.cluster_growth.plan import (
    EDGES,
    PLANS,
    TILTS,
    beyond_gap,
    class_of_number,
    number_of_class,
    planned_pixels,
    plans_of,
    tilts_that_fit,
)
from kerasgen.models.cluster_growth.statistics import (
    CLASSES,
    charge_level,
    charge_levels,
    charge_of_level,
    merged_share,
    quantiles,
    sensor_statistics,
)


@given(st.integers(0, 2**32 - 1), st.floats(0.005, 0.3))
@settings(max_examples=25, deadline=None)
def test_tokens_rebuild_the_pixels_of_any_image(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    image = np.where(rng.random((20, 30)) < density, rng.integers(7, 255, (20, 30)), 0)
    clusters = grown_clusters(hits_of(image), DETECTOR)
    steps = growth_steps(clusters)
    assert len(clusters) == np.count_nonzero(image)
    assert (steps.token != NOTHING).sum() == (~clusters.is_first).sum()
    heads, ends = np.unique(steps.head[steps.token >= LINKS], return_counts=True)
    assert (ends == 1).all()  # of a head, until its cluster is whole
    assert set(clusters.parent[~clusters.is_first]) <= set(heads)
    size = np.bincount(clusters.first, minlength=len(clusters))
    if (size > 1).any():
        assert (steps.end - steps.first < size[steps.first]).all()
    rebuilt = np.zeros_like(image)
    place: dict[int, tuple[int, int]] = {}
    for pixel, link in enumerate(clusters.link):
        if link == NO_LINK:
            assert clusters.first[pixel] == pixel
            place[pixel] = int(clusters.row[pixel]), int(clusters.col[pixel])
        else:
            above = place[int(clusters.parent[pixel])]
            place[pixel] = above[0] + OFFSETS[link, 0], above[1] + OFFSETS[link, 1]
        assert rebuilt[place[pixel]] == 0
        rebuilt[place[pixel]] = clusters.adu[pixel]
    np.testing.assert_array_equal(rebuilt, image)
    points = np.argwhere(image)
    near = cdist(points, points, "chebyshev") <= REACH if len(points) else np.zeros((0, 0))
    assert clusters.is_first.sum() == connected_components(near)[0]


def test_gaps_of_one_pixel_are_linked_and_wider_ones_are_not() -> None:
    image = np.zeros((10, 20), int)
    image[2, [1, 3]] = 9  # one cluster
    image[8, [1, 4]] = 9  # two
    clusters = grown_clusters(hits_of(image), DETECTOR)
    assert np.bincount(clusters.first).tolist() == [2, 0, 1, 1]
    assert grown_clusters(hits_of(np.zeros((4, 4), int)), DETECTOR).link.tolist() == []


def test_a_cluster_grows_breadth_first_from_its_lowest_column() -> None:
    image = np.zeros((6, 8), int)
    image[3, 2:6] = [10, 11, 12, 13]
    image[2, 5] = 14
    clusters = grown_clusters(hits_of(image), DETECTOR)
    assert clusters.adu.tolist() == [10, 11, 12, 14, 13]
    assert clusters.parent.tolist() == [0, 0, 0, 1, 1]
    steps = growth_steps(clusters)
    link = {tuple(o): k for k, o in enumerate(OFFSETS.tolist())}
    order = np.lexsort((steps.end, steps.head))
    expected = [link[0, 1], LINKS + link[0, 2], link[-1, 2], LINKS + link[0, 2]]
    assert steps.token[order].tolist() == expected
    assert steps.last[order].tolist() == [NO_LINK, link[0, 1], NO_LINK, link[-1, 2]]
    assert steps.end[order].tolist() == [1, 2, 3, 4]
    plan = plans_of(clusters, 64)
    # Classes from 0 of 2 rows, 4 columns, 5 pixels, no gap, correlation -0.51, and type; numbers.
    assert plan.tolist() == [[1, 3, 15, 0, 4, 0, 2, 4, 5, 1]]


def test_a_pixel_beyond_a_gap_has_no_neighbour_when_it_is_added() -> None:
    image = np.zeros((6, 12), int)
    image[3, [2, 3, 5, 6]] = 9
    image[1, 3] = 9  # beyond a gap, until the next one
    image[2, 3] = 9
    clusters = grown_clusters(hits_of(image), DETECTOR)
    places = clusters.row * 100 + clusters.col
    assert places.tolist() == [302, 203, 303, 103, 305, 306]
    assert beyond_gap(clusters, 64).tolist() == [False] * 4 + [True, False]
    assert beyond_gap(clusters, 1).tolist() == [False] * 3 + [True, True, False]
    # Correlation of row and column 0.32.
    assert plans_of(clusters, 64)[0].tolist() == [2, 4, 15, 1, 7, 0, 3, 5, 6, 2]


@pytest.mark.parametrize("part", [0, 2], ids=["rows", "pixels beyond"])
def test_numbers_of_a_class_follow_the_classes_beside_it_and_small_ones_are_exact(
    part: int,
) -> None:
    edges = EDGES[part]
    small = np.searchsorted(edges, [1, 31])
    assert (np.diff(edges[slice(*small)]) == 1).all()
    assert (edges[small[1] + 2 : -1] / edges[small[1] + 1 : -2] < 1.3).all()
    share = np.linspace(0, 1, 1000, endpoint=False).astype(np.float32)
    middle = abs(edges[:-1] + edges[1:] - 1) / 2 + (part == 2)
    for power in (0, -4):  # of the frequency of numbers
        frequency = np.diff(edges) * middle**power
        logits = np.tile(np.log(frequency).astype(np.float32), (1000, 1))
        for classes in (0 if part == 0 else 6, 15, 40, 45) if power else (1, 33, 45):
            number = number_of_class(part, np.full(1000, classes), logits, share)
            numbers = np.arange(edges[classes], edges[classes + 1])
            assert set(np.asarray(number)) == set(numbers)
            weight = (abs(numbers.astype(float)) + (part == 2)) ** power
            mean = np.average(numbers, weights=weight)
            assert np.mean(number) == pytest.approx(mean, rel=3e-3)
    last = np.asarray(number_of_class(part, np.full(1000, PLANS - 1), logits, share))
    assert (last >= edges[-2]).all()
    assert (last < edges[-1]).all()


def test_planned_pixels_can_be_linked_in_their_rows_and_columns() -> None:
    rows, columns, beyond = np.int32([[1, 1, 2, 3, 1], [1, 7, 9, 4, 20], [3, -9, 1, 30, 0]])
    found = planned_pixels(rows, columns, beyond)
    assert np.asarray(found).tolist() == [1, 4, 10, 12, 20]


def test_a_plan_fits_on_the_sensor() -> None:
    numbers = np.arange(1, 4097, 7, dtype=np.int32)
    for part, edges in enumerate(EDGES):
        classes = np.asarray(class_of_number(part, numbers))
        assert (edges[classes] <= numbers).all()
        assert (numbers < edges[np.minimum(classes + 1, PLANS)]).all()
    # Three rows, the first pixel in the lowest one, in the highest, and between, of ten.
    fits = np.asarray(tilts_that_fit(np.int32([3, 3, 3]), np.int32([0, 9, 5]), 10))[:, :TILTS]
    falls, rises = [1, 2, 3], [9, 10, 11]
    assert np.flatnonzero(~fits[0]).tolist() == falls
    assert np.flatnonzero(~fits[1]).tolist() == rises
    assert fits[2].all()


def test_statistics_follow_the_data_whatever_their_shape() -> None:
    rng = np.random.default_rng(5)
    images = np.zeros((600, *SIZE), np.int64)
    spot = np.clip(np.round(rng.normal(30, 3, 600)), 0, 47).astype(int)  # a beam spot along v
    images[np.arange(600), rng.integers(20, 30, 600), spot] = rng.choice([7, 8, 200], 600)
    hits = from_dense(images, np.zeros(600, int), np.arange(600))
    found = sensor_statistics([hits.take(np.arange(k, k + 200)) for k in (0, 200, 400)], DETECTOR)
    assert found.rate[0] == pytest.approx(1)
    assert found.spread[0] == 0  # always one: less than Poisson
    assert found.along_u[0][[0, -1]] == pytest.approx([20, 30])
    middle = found.along_v[0][[len(found.along_v[0]) // 4, 3 * len(found.along_v[0]) // 4]]
    np.testing.assert_allclose(middle, np.percentile(spot, [25, 75]) + 0.5, atol=1)
    assert found.charge[0][0] == 6.5
    assert found.charge[0][-1] == 200.5
    assert found.rate[1] == 0  # no hits: the distributions of all sensors
    np.testing.assert_array_equal(found.charge[1], found.charge[0])


def test_clusters_of_two_events_merge_as_often_as_they_touch() -> None:
    """Of single pixels: two merge if they are at most two rows and columns apart."""
    rng = np.random.default_rng(5)
    images = np.zeros((1200, *SIZE), np.int64)
    for image in images:
        image[rng.integers(SIZE[0], size=4), rng.integers(SIZE[1], size=4)] = 9
    hits = from_dense(images, np.tile(np.arange(3), 400), np.repeat(np.arange(400), 3))
    near = [(5 - 6 / side) / side for side in SIZE]
    found = merged_share(hits, DETECTOR, ())
    assert found == pytest.approx(near[0] * near[1] / 2, rel=0.1)
    assert merged_share(hits.take(np.arange(3)), DETECTOR, ()) == 0


def test_what_is_stored_of_a_sensor_with_its_calibration_is_at_most_512_numbers() -> None:
    """Beside an embedding, which is learned, and with all that types and linked pairs add."""
    sensors = 1003
    made = ClusterNetwork(sensors, SIZE, width=16, types=(1, 2, 3))
    statistics = [w for w in made.statistics if w.shape[0] == sensors]
    assert {w.name for w in made.statistics} - {w.name for w in statistics} == {"length", "merged"}
    calibration = [made.rate, made.charge]
    links = RELATIONS * CELLS + 1 + 2 * BINS
    of_geometry = made.place, made.pitch, made.radius
    measured = [w for w in statistics if not any(w is x for x in of_geometry)]
    assert len(measured) == len(statistics) - 3
    stored = links + sum(int(np.prod(w.shape[1:])) for w in [*measured, *calibration])
    assert stored == 512
    learned = [w for w in made.trainable_weights if w.shape[:1] == (sensors,)]
    assert [w.shape[1] for w in learned] == [64]


def test_the_highest_class_of_charges_falls_as_in_the_data() -> None:
    """Levels are even within a class, whose charges are not."""
    rng = np.random.default_rng(4)
    wanted = np.bincount(np.minimum(7 + rng.exponential(15, 10**6), 255).astype(int))
    table = (quantiles(wanted, charge_levels()) - 0.5).astype(np.float32)[None]
    sensor = np.zeros(10**6, int)
    level = charge_level(np.repeat(np.arange(len(wanted)), wanted) + 0.0, sensor, table)
    level = (np.minimum(np.floor(level * CLASSES), CLASSES - 1) + rng.random(10**6)) / CLASSES
    made = np.bincount(np.floor(charge_of_level(level, sensor, table) + 0.5).astype(int))
    fitted = mapped_charges(table[0], made, wanted)[None]
    charge = np.floor(charge_of_level(level, sensor, fitted) + 0.5)
    above = np.cumsum(wanted[::-1])[::-1]
    for limit in (60, 80, 100, 130):
        assert abs((charge >= limit).sum() / above[limit] - 1) < 0.1 + 3 / above[limit] ** 0.5
    mean = wanted @ np.arange(len(wanted)) / 10**6
    assert abs(charge.mean() - mean) < 0.01


def test_charges_of_levels_are_the_inverse_of_levels_of_charges() -> None:
    hits = random_events()
    table = sensor_statistics([hits], DETECTOR).charge
    rng = np.random.default_rng(2)
    sensor = hits.sensor[hits.image].astype(int)
    for charge in (hits.adu + rng.uniform(-0.49, 0.49, len(hits.adu)), hits.adu + 0.0):
        level = charge_level(charge, sensor, table)
        assert ((level >= 0) & (level <= 1)).all()
        back = np.floor(charge_of_level(level, sensor, table) + 0.5)
        assert (back == hits.adu).mean() > 0.99

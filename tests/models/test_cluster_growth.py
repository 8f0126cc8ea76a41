"""Cluster growth: sequences, statistics, states, and that both samplers grow the same clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from small_run import geometry

from kerasgen.data.hits import Hits, from_dense
from kerasgen.data.pixel_events import event_hits
from kerasgen.errors import InputError
from kerasgen.models.cluster_growth import (
    lanes,
    numpy_functions,
    portable_sampling,
    sampling,
    tensor_functions,
)
from kerasgen.models.cluster_growth.batches import block_of_events, examples
from kerasgen.models.cluster_growth.calibration import (
    fit_calibration,
    ideal_charges,
    read_calibration,
)
from kerasgen.models.cluster_growth.growth import (
    LINKS,
    NO_LINK,
    NOTHING,
    OFFSETS,
    REACH,
    grown_clusters,
    growth_steps,
)
from kerasgen.models.cluster_growth.images import Clusters, moved_apart
from kerasgen.models.cluster_growth.network import (
    ClusterNetwork,
    cases,
    head_pixel,
    latest_pixels,
)
from kerasgen.models.cluster_growth.plan import (
    EDGES,
    PARTS,
    PIXELS,
    PLANS,
    beyond_gap,
    numbers_of_classes,
    plans_of,
)
from kerasgen.models.cluster_growth.start import set_statistics
from kerasgen.models.cluster_growth.statistics import (
    charge_level,
    charge_of_level,
    sensor_statistics,
)
from kerasgen.models.cluster_growth.surroundings import (
    LINKED,
    earlier_heads,
    linked_pixels,
    possible_tokens,
    surroundings,
)

DETECTOR = geometry()
SIZE = DETECTOR.rows, DETECTOR.cols


def hits_of(image: NDArray[Any]) -> Hits:
    """One event whose sensor 0 has this image, [rows, cols] ADU; the others are empty."""
    images = np.zeros((3, *SIZE), np.int64)
    images[0, : image.shape[0], : image.shape[1]] = image
    return from_dense(images, np.arange(3), np.zeros(3, np.int64))


def random_events(events: int = 6, seed: int = 3) -> Hits:
    """Events of crooked clusters with gaps."""
    rng = np.random.default_rng(seed)
    images = np.zeros((events * 3, *SIZE), np.int64)
    for image in images:
        for _ in range(rng.poisson(6)):
            row, col = rng.integers(SIZE[0]), rng.integers(SIZE[1])
            for _ in range(rng.integers(1, 9)):
                image[row % SIZE[0], col % SIZE[1]] = rng.integers(7, 200)
                row, col = row + rng.integers(-1, 2), col + rng.integers(0, 3)
    return from_dense(images, np.tile(np.arange(3), events), np.repeat(np.arange(events), 3))


@pytest.fixture(scope="module")
def network() -> ClusterNetwork:
    """Random weights, with the statistics of random events."""
    keras.utils.set_random_seed(1)
    made = ClusterNetwork(3, SIZE, width=16, layers=1, recent=12)
    statistics = sensor_statistics([random_events()], DETECTOR)
    set_statistics(made, statistics)
    made.token.kernel.assign(np.random.default_rng(1).normal(0, 0.2, made.token.kernel.shape))
    made.token.bias.assign(np.log(statistics.token))
    for layer, frequency in zip(made.plan_class, statistics.plan, strict=True):
        layer.bias.assign(np.log(frequency))
    return made


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
    # Classes from 0 of 2 rows, 4 columns, 5 pixels, no gap, correlation -0.51; then the numbers.
    assert plan.tolist() == [[1, 3, 4, 0, 4, 2, 4, 5, 1]]


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
    assert plans_of(clusters, 64)[0].tolist() == [2, 4, 5, 1, 7, 3, 5, 6, 2]


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


def test_what_is_stored_of_a_sensor_with_its_calibration_is_below_512_numbers() -> None:
    made = ClusterNetwork(1003, SIZE, width=16)
    of_sensor = [w for w in made.weights if w.shape and w.shape[0] == 1003]
    calibration = [made.rate, made.charge]
    assert sum(int(np.prod(w.shape[1:])) for w in [*of_sensor, *calibration]) <= 512


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


def states(hits: Hits, recent: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Clusters, levels, steps and the states before all steps."""
    rng = np.random.default_rng(0)
    block = block_of_events([hits], DETECTOR, sensor_statistics([hits], DETECTOR), recent, rng)
    state = examples(block, np.arange(len(block.steps)), recent)
    return block.clusters, block.level, block.steps, state


def test_numbers_of_a_class_are_even_and_small_ones_exact() -> None:
    assert (np.diff(EDGES[:16]) == 1).all()
    assert (EDGES[16:-1] / EDGES[15:-2] < 1.2).all()
    share = np.linspace(0, 1, 1000, endpoint=False).astype(np.float32)
    for classes in (0, 15, 20, PLANS - 1):
        number = np.asarray(numbers_of_classes(np.full(1000, classes), share))
        low, high = EDGES[classes], EDGES[classes + 1]
        assert (number.min(), number.max()) == (low, high - 1) or high - low > 500
        assert number.mean() == pytest.approx((low + high - 1) / 2, rel=0.01)


def test_clusters_have_their_planned_pixels_rows_and_columns(network: ClusterNetwork) -> None:
    rng = np.random.default_rng(3)
    n = 200
    size = rng.integers(2, 10, n)
    rows, columns = rng.integers(5, 14, (2, n))
    gaps, tilt = rng.integers(0, 10, (2, n))
    numbers = np.stack([rows, columns, size, gaps + 1], 1)
    plan = np.column_stack([numbers - 1, tilt, numbers]).astype(np.int32)  # classes, numbers
    first = np.tile([20, 10], (n + 1, 1)).astype(np.int32)
    start: Any = {"sensor": np.zeros(n + 1, np.int32), "first": first}
    start |= {"level": np.full(n + 1, 0.5, np.float32), "activity": np.zeros(n + 1, np.float32)}
    start["plan"] = np.pad(plan, [(0, 1), (0, 0)])
    now: Any = lanes.first_lanes(network, start)
    found = [np.stack([np.arange(n), *first[:n].T], 1)]
    while (np.asarray(now["cluster"]) < n).any():
        now, added = lanes.grow(network, start, now, rng.random((lanes.LANES[0], 3), np.float32))
        added = np.asarray(added)
        found.append(added[added[:, 0] >= 0, :3])
    cluster, row, col = np.concatenate(found).astype(int).T
    pixels = np.bincount(cluster)
    whole = pixels == plan[:, PIXELS]  # others found no place within their plan
    assert whole[gaps >= size - 1].mean() > 0.9
    assert (pixels <= plan[:, PIXELS]).all()
    for axis, place in enumerate((row, col)):
        extent = [np.ptp(place[cluster == k]) + 1 for k in range(n)]
        assert (extent <= numbers[:, axis]).all()
    for k in range(n):
        u, v = row[cluster == k], col[cluster == k]
        away = np.maximum(abs(u[:, None] - u), abs(v[:, None] - v))
        alone = [not (away[i, :i] <= 1).any() for i in range(1, len(u))]
        assert sum(alone) <= gaps[k]


def test_every_token_of_the_data_is_possible_and_no_pixel_is_added_twice() -> None:
    *_, steps, state = states(random_events(), 64)
    view = surroundings(state)
    around = np.asarray(view)[:, LINKED]
    earlier = earlier_heads(view)
    left_out = np.asarray(linked_pixels(earlier)) > 0
    assert (left_out & (around == 0)).any()
    possible = np.asarray(possible_tokens(state, view, earlier, SIZE))
    assert possible[np.arange(len(steps)), steps.token].all()
    assert (around != 0).any()
    for start in (0, LINKS):
        adds = possible[:, start : start + LINKS]
        assert not (adds & (around != 0)).any()
        assert not (adds & left_out).any()
        assert not (adds & (np.arange(LINKS) <= steps.last[:, None])).any()


def test_the_view_is_the_image_of_the_cluster_around_the_head() -> None:
    clusters, level, steps, state = states(random_events(), 64)
    view = np.asarray(surroundings(state)).reshape(-1, 11, 11)
    for row in range(0, len(steps), 37):
        image = np.zeros((SIZE[0] + 10, SIZE[1] + 10))
        known = np.arange(steps.first[row], steps.end[row])
        at = clusters.row[known] + 5, clusters.col[known] + 5
        image[at] = (0.5 + level[known]) * np.where(known < steps.head[row], -1, 1)
        u, v = clusters.row[steps.head[row]], clusters.col[steps.head[row]]
        np.testing.assert_allclose(view[row], image[u : u + 11, v : v + 11], rtol=1e-6)


def test_lanes_pass_through_the_states_of_the_training() -> None:
    """The tokens of real clusters, forced on lanes, lead to the states that were trained on."""
    recent = 8
    clusters, level, steps, state = states(random_events(), recent)
    order = np.lexsort((steps.end, steps.head, steps.first))
    begins = np.unique(steps.first)[:80]
    rows = [order[steps.first[order] == b] for b in begins]
    assert state["known"].max() > recent  # some pixels are forgotten
    start: dict[str, Any] = {
        "sensor": np.zeros(len(begins) + 1, np.int32),
        "first": np.stack([clusters.row[begins], clusters.col[begins]], 1).astype(np.int32),
        "level": level[begins],
        "activity": np.zeros(len(begins) + 1, np.float32),
        "plan": np.pad(plans_of(clusters, recent), [(0, 1), (0, 0)]).astype(np.int32),
    }
    numbers = np.flatnonzero(clusters.is_first).searchsorted(begins)
    start["plan"] = start["plan"][np.append(numbers, -1)]
    start["first"] = np.pad(start["first"], [(0, 1), (0, 0)])
    start["level"] = np.pad(start["level"], [(0, 1)])
    made = ClusterNetwork(3, SIZE, width=8, layers=0, recent=recent)
    now: Any = lanes.first_lanes(made, start)
    checked = 0
    for step in range(max(len(r) for r in rows)):
        here = [(lane, r[step]) for lane, r in enumerate(rows) if step < len(r)]
        lane, at = np.array(here).T
        for name in ("first", "head", "last", "known", "done", "low", "high", "plan", "gaps"):
            expected = state[name][at]
            np.testing.assert_array_equal(np.asarray(now[name])[lane], expected, err_msg=name)
        np.testing.assert_allclose(
            np.asarray(now["sums"])[lane], state["sums"][at], rtol=1e-4, atol=1e-5
        )
        ours = {name: np.asarray(now[name])[lane] for name in state if name in now}
        theirs = {name: x[at] for name, x in state.items()}
        for part in (surroundings, latest_pixels, head_pixel):
            np.testing.assert_allclose(part(ours), part(theirs), rtol=1e-5, atol=1e-6)
        token, value = (np.zeros(lanes.LANES[0], t) for t in (np.int32, np.float32))
        token[:] = NOTHING
        token[lane] = steps.token[at]
        value[lane] = level[np.minimum(steps.end[at], len(level) - 1)]
        place = lanes.place_of(now, token)
        now = lanes.after_token(now, start, token, place, value)
        checked += len(lane)
    assert checked > 200


def test_tokens_are_drawn_with_the_probabilities_of_their_temperature(
    network: ClusterNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = lanes.LANES[0]
    start: dict[str, Any] = {
        "sensor": np.zeros(count + 1, np.int32),
        "activity": np.zeros(count + 1, np.float32),
        "first": np.full((count + 1, 2), 20, np.int32),
        "level": np.full(count + 1, 0.5, np.float32),
        "plan": np.tile(np.array([2, 2, 4, 0, 8, 3, 3, 5, 1], np.int32), (count + 1, 1)),
    }
    now: Any = lanes.first_lanes(network, start)
    logits = np.asarray(network(now)[0], np.float64)[0]
    numbers = np.tile((np.arange(count, dtype=np.float32)[:, None] + 0.5) / count, 3)
    for temperature in (1.0, 0.5):
        monkeypatch.setattr(network, "temperature", temperature)
        added = np.asarray(lanes.grow(network, start, now, numbers)[1])
        weight = np.exp((logits - logits.max()) / temperature)[:NOTHING]
        expected = weight.reshape(2, LINKS).sum(0) / weight.sum()
        places = [(added[:, 1:3] == 20 + offset).all(1).mean() for offset in OFFSETS]
        np.testing.assert_allclose(places, expected, atol=2 / count)


def test_cases_number_the_patterns_around_the_head_its_charge_and_the_link_before() -> None:
    *_, state = states(random_events(), 64)
    around = np.asarray(surroundings(state))[:, LINKED]
    found = np.asarray(cases(state, around))
    bits = (around != 0).reshape(-1, 3, 8) @ (1 << np.arange(8))
    np.testing.assert_array_equal(found[:, :3] - 256 * np.arange(3), bits)
    charge = np.floor(64 * np.asarray(head_pixel(state))[:, 2]).clip(0, 63)
    np.testing.assert_array_equal(found[:, 3], 768 + charge)
    np.testing.assert_array_equal(found[:, 4], 768 + 64 + 1 + state["last"])
    of_plan = 768 + 64 + LINKS + 1 + PLANS * np.arange(PARTS)
    np.testing.assert_array_equal(found[:, 5:], of_plan + state["plan"][:, :PARTS])


@pytest.mark.parametrize("xp", [numpy_functions, tensor_functions], ids=["numpy", "tensorflow"])
def test_clusters_that_meet_move_apart(xp: Any, network: ClusterNetwork) -> None:
    rng = np.random.default_rng(4)
    images, each = 2, 12
    n = images * each
    clusters = Clusters(
        image=np.repeat(np.arange(images), each).astype(np.int32),
        number=np.tile(np.arange(each), images).astype(np.int32),
        key=rng.integers(-(2**62), 2**62, n),
        sensor=np.zeros(n, np.int32),
        row=rng.integers(0, SIZE[0], n).astype(np.int32),
        col=rng.integers(0, SIZE[1] - 3, n).astype(np.int32),
        activity=np.zeros(n, np.float32),
    )
    cluster = np.repeat(np.arange(n), 4).astype(np.int32)  # four pixels along v each
    row = clusters.row[cluster]
    col = clusters.col[cluster] + np.tile(np.arange(4), n).astype(np.int32)

    def together(row: NDArray[Any], col: NDArray[Any]) -> NDArray[Any]:
        near = (abs(row[:, None] - row) <= REACH) & (abs(col[:, None] - col) <= REACH)
        same_image = clusters.image[cluster][:, None] == clusters.image[cluster]
        return near & same_image & (cluster[:, None] != cluster)

    assert together(row, col).any()
    statistics = portable_sampling.StatisticsInNumpy(network)
    moved_to = moved_apart(xp, statistics, clusters, cluster, row, col, (images, *SIZE))
    new_row, new_col = (np.asarray(x) for x in moved_to)
    assert not together(new_row, new_col).any()
    assert ((new_row >= 0) & (new_row < SIZE[0]) & (new_col >= 0) & (new_col < SIZE[1])).all()
    moved = (new_row - row, new_col - col)
    for axis in moved:  # clusters move as a whole
        np.testing.assert_array_equal(axis.reshape(n, 4), axis.reshape(n, 4)[:, :1].repeat(4, 1))
    assert 0 < np.count_nonzero(moved[0].reshape(n, 4)[:, 0]) < n


def test_both_samplers_make_the_same_events(network: ClusterNetwork) -> None:
    low, high = DETECTOR.threshold, DETECTOR.max_charge
    ours, theirs = (
        kind(network, low, high)
        for kind in (sampling.EventGenerator, portable_sampling.PortableEventGenerator)
    )
    a, b = (event_hits(x, DETECTOR, range(5), 11) for x in (ours, theirs))
    assert len(a.adu) > 100
    for name, values in vars(a).items():
        np.testing.assert_array_equal(values, getattr(b, name), err_msg=name)


def test_generated_clusters_grow_in_the_order_of_real_ones(network: ClusterNetwork) -> None:
    """Else a cluster would have several sequences, of which the training has seen one."""
    first = {"row": np.full(300, 9), "col": np.full(300, 9), "sensor": np.zeros(300)}
    first |= {"image": np.arange(300), "number": np.zeros(300)}
    key = np.random.default_rng(1).integers(0, 2**62, 300)
    numbers = {k: tf.constant(x, "int32") for k, x in first.items()}
    clusters = Clusters(**numbers, key=key, activity=tf.zeros(300))
    grown = sampling.grown_pixels(network, clusters)
    cluster, row, col, _ = (np.asarray(x) for x in grown)
    order = np.argsort(cluster, kind="stable")  # of growth, in each cluster
    cluster, row, col = (x[order].astype(np.int64) for x in (cluster, row, col))
    images = np.zeros((300, *SIZE), np.int64)
    images[cluster, row, col] = 9
    hits = from_dense(images, np.zeros(300, int), np.arange(300))
    again = grown_clusters(hits, DETECTOR)
    assert len(again) > 600
    small = np.bincount(cluster)[cluster] <= network.recent  # of larger ones pixels are forgotten
    for ours, theirs in ((cluster, again.image), (row, again.row), (col, again.col)):
        np.testing.assert_array_equal(ours[small], theirs[small])


def test_a_row_depends_on_its_sensor_and_seed_alone(network: ClusterNetwork) -> None:
    generator = sampling.EventGenerator(network, DETECTOR.threshold, DETECTOR.max_charge)
    sensor = np.array([0, 2, 1, 7, -1] * 20, np.int32)  # more than one block
    seed = np.stack([np.full(100, 5), np.repeat(np.arange(20), 5)], 1)
    found = generator.digits(sensor, seed)
    count, hits = np.asarray(found["count"]), np.asarray(found["hits"])
    assert (count[sensor > 2] == -1).all()
    assert (count[sensor == -1] == -1).all()
    assert count.max() > 5
    for row in (0, 1, 57, 97):
        alone = generator.digits(sensor[row : row + 1], seed[row : row + 1])
        n = int(alone["count"][0])
        assert n == count[row]
        np.testing.assert_array_equal(np.asarray(alone["hits"])[0, :n], hits[row, :n])
    dense = np.asarray(generator.dense(sensor, seed)["adu"])
    assert [np.count_nonzero(x) for x in dense] == np.maximum(count, 0).tolist()
    assert not np.asarray(generator.digits(sensor[:0], seed[:0])["count"]).size


def test_calibration_brings_occupancy_and_charges_to_those_of_the_data(
    network: ClusterNetwork, tmp_path: Path
) -> None:
    low, high = DETECTOR.threshold, DETECTOR.max_charge
    wrong = ClusterNetwork(3, SIZE, width=16, layers=1, recent=12)
    for weight, values in zip(wrong.weights, network.weights, strict=True):
        weight.assign(values)
    wrong.rate.assign(2.4 * wrong.rate)
    wrong.charge.assign(wrong.charge + 15)
    generator = sampling.EventGenerator(wrong, low, high)
    data = random_events(200, seed=8)
    rate, charge = fit_calibration(generator, data, DETECTOR, 60, seed=1)
    calibrated = sampling.EventGenerator(wrong, low, high, rate, charge)
    before, after = (event_hits(x, DETECTOR, range(60), 2) for x in (generator, calibrated))
    found = []
    for hits in (data, before, after):
        per_event = len(hits) / 3
        sensor = hits.sensor[hits.image]
        found.append([np.sort(hits.adu[sensor == s]) for s in range(3)])
        found[-1].append(np.array([len(x) for x in found[-1]]) / per_event)
    (*real, fired), (*raw, fired_raw), (*ours, fired_ours) = found
    assert np.abs(fired_ours / fired - 1).max() < 0.2 < np.abs(fired_raw / fired - 1).max()
    levels = np.linspace(0.05, 0.95, 19)

    def apart(made: list[Any]) -> float:
        both = zip(made, real, strict=True)
        return np.mean([np.abs(np.quantile(a, levels) - np.quantile(b, levels)) for a, b in both])

    assert apart(ours) < 5 < apart(raw)
    uncalibrated = sampling.EventGenerator(network, low, high)
    assert (ideal_charges(uncalibrated, data, 3) == data.adu).mean() > 0.97
    assert (ideal_charges(calibrated, data, seed=3) == data.adu).mean() < 0.9
    path = tmp_path / "calibration.npz"
    np.savez(path, rate=rate, charge=charge)
    read = read_calibration(path, DETECTOR)
    np.testing.assert_array_equal(read[1], charge)
    for name, damaged in {
        "rate": rate[:2],
        "charge": charge * np.nan,
        "beyond": charge + 900,
    }.items():
        arrays = {"rate": rate, "charge": charge} | {name.replace("beyond", "charge"): damaged}
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=r"expected|charges beyond"):
            read_calibration(path, DETECTOR)
    path.write_bytes(b"PK damaged")
    with pytest.raises(InputError, match="not a calibration"):
        read_calibration(path, DETECTOR)


def test_few_lanes_have_the_bits_of_many_in_any_order() -> None:
    """A cluster may grow in either, as the other clusters want."""
    made = ClusterNetwork(3, SIZE, width=160, layers=2, recent=32)
    *_, state = states(random_events(60), 32)
    most = lanes.LANES[0]
    state = {name: x[:most] for name, x in state.items()}
    assert len(state["token"]) == most
    rng = np.random.default_rng(1)
    made.token.kernel.assign(rng.normal(size=made.token.kernel.shape))

    def logits(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        part = {name: x[rows] for name, x in state.items()}
        found, hidden = made(part)
        return np.concatenate([found, made.charge_logits(hidden, part["token"])], 1)

    expected = logits(np.arange(most))
    order = rng.permutation(most)
    np.testing.assert_array_equal(logits(order), expected[order])
    for few in lanes.LANES[1:]:
        for part in np.split(order, most // few):
            np.testing.assert_array_equal(logits(part), expected[part])

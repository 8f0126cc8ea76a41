"""From grown clusters to events: both samplers, clusters that meet, calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from growth_events import DETECTOR, SIZE, linked_pairs, random_events, random_network
from numpy.typing import NDArray

from kerasgen.data.hits import from_dense
from kerasgen.data.pixel_events import event_hits
from kerasgen.errors import InputError
from kerasgen.models.cluster_growth import (
    numpy_functions,
    portable_sampling,
    sampling,
    tensor_functions,
)
from kerasgen.models.cluster_growth.activity import ACTIVITY
from kerasgen.models.cluster_growth.calibration import (
    Calibration,
    fit_calibration,
    ideal_charges,
    read_calibration,
    write_calibration,
)
from kerasgen.models.cluster_growth.frequency import Clusters
from kerasgen.models.cluster_growth.growth import (
    REACH,
    grown_clusters,
)
from kerasgen.models.cluster_growth.images import drawn, moved_apart
from kerasgen.models.cluster_growth.network import ClusterNetwork


@pytest.fixture(scope="module")
def network() -> ClusterNetwork:
    return random_network()


ALL_FUNCTIONS = pytest.mark.parametrize(
    "xp", [numpy_functions, tensor_functions], ids=["numpy", "tensorflow"]
)


@ALL_FUNCTIONS
@pytest.mark.parametrize("types", [(), (4, 6)], ids=["one type", "two types"])
def test_clusters_of_a_type_that_meet_move_apart(xp: Any, types: tuple[int, ...]) -> None:
    network = random_network(types)
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
        kind=rng.integers(0, max(len(types), 1), n).astype(np.int32),
        activity=np.zeros((n, ACTIVITY), np.float32),
    )
    cluster = np.repeat(np.arange(n), 4).astype(np.int32)  # four pixels along v each
    row = clusters.row[cluster]
    col = clusters.col[cluster] + np.tile(np.arange(4), n).astype(np.int32)
    kind = clusters.kind

    def together(row: NDArray[Any], col: NDArray[Any]) -> NDArray[Any]:
        near = (abs(row[:, None] - row) <= REACH) & (abs(col[:, None] - col) <= REACH)
        same_image = clusters.image[cluster][:, None] == clusters.image[cluster]
        near &= same_image & (cluster[:, None] != cluster)
        same_type = kind[cluster][:, None] == kind[cluster]
        equal = (row[:, None] == row) & (col[:, None] == col)
        return near & same_type, near & ~same_type, near & ~same_type & equal

    before = together(row, col)
    assert before[0].any()
    assert before[2].any() == bool(types)
    statistics = portable_sampling.StatisticsInNumpy(network)
    moved_to = moved_apart(xp, statistics, clusters, cluster, row, col, (images, *SIZE))
    new_row, new_col = (np.asarray(x) for x in moved_to)
    same, different, covered = together(new_row, new_col)
    assert not same.any()
    assert different.any() == bool(types)  # of different types may touch
    assert not covered.any()
    assert ((new_row >= 0) & (new_row < SIZE[0]) & (new_col >= 0) & (new_col < SIZE[1])).all()
    moved = (new_row - row, new_col - col)
    for axis in moved:  # clusters move as a whole
        np.testing.assert_array_equal(axis.reshape(n, 4), axis.reshape(n, 4)[:, :1].repeat(4, 1))
    assert 0 < np.count_nonzero(moved[0].reshape(n, 4)[:, 0]) < n


@ALL_FUNCTIONS
@pytest.mark.parametrize("types", [1, 3])
def test_charges_of_clusters_in_one_pixel_add_up(xp: Any, types: int) -> None:
    none = np.zeros(2, np.int32)
    kind = np.int32([0, 2]) % types
    clusters = Clusters(np.int32([0, 1]), none, none, none, none, none, kind, none)
    cluster, row, col = np.int32([[0, 0, 1, 1, 0], [1, 2, 1, 1, 1], [3, 3, 3, 3, 3]])
    adu = np.int32([20, 30, 9, 8, 240])
    code = np.asarray(drawn(xp, clusters, cluster, row, col, adu, (2, 3, 5), types, 255))
    charge, found = np.divmod(code, types)
    expected = np.zeros((2, 3, 5), int)
    expected[0, 1, 3], expected[0, 2, 3], expected[1, 1, 3] = 255, 30, 17
    np.testing.assert_array_equal(charge, expected)
    assert found[1, 1, 3] == kind[1]
    # Of two types in a pixel that of the highest charge counts.
    one = Clusters(none, none, none, none, none, none, kind, none)
    at = np.int32([1, 1])
    code = np.asarray(
        drawn(xp, one, np.int32([0, 1]), at, at, np.int32([9, 20]), (1, 3, 5), types, 255)
    )
    assert code[0, 1, 1] == 29 * types + kind[1]


@pytest.mark.parametrize("linked", [False, True], ids=["alone", "with linked pairs"])
def test_both_samplers_make_the_same_events(network: ClusterNetwork, linked: bool) -> None:
    low, high = DETECTOR.threshold, DETECTOR.max_charge
    links = None
    if linked:
        network = random_network()
        links = linked_pairs(network)
    ours, theirs = (
        kind(network, low, high, links=links)
        for kind in (sampling.EventGenerator, portable_sampling.PortableEventGenerator)
    )
    a, b = (event_hits(x, DETECTOR, range(5), 11) for x in (ours, theirs))
    assert len(a.adu) > 100
    for name, values in vars(a).items():
        np.testing.assert_array_equal(values, getattr(b, name), err_msg=name)


def test_generated_clusters_grow_in_the_order_of_real_ones(network: ClusterNetwork) -> None:
    """Else a cluster would have several sequences, of which the training has seen one."""
    first = {"row": np.full(300, 9), "col": np.full(300, 9), "sensor": np.zeros(300)}
    first |= {"image": np.arange(300), "number": np.zeros(300), "kind": np.zeros(300)}
    key = np.random.default_rng(1).integers(0, 2**62, 300)
    numbers = {k: tf.constant(x, "int32") for k, x in first.items()}
    clusters = Clusters(**numbers, key=key, activity=tf.zeros((300, ACTIVITY)))
    grown = sampling.grown_pixels(network, sampling.planned(network, clusters), key)
    cluster, row, col, _ = (np.asarray(x) for x in grown)
    order = np.argsort(cluster, kind="stable")  # of growth, in each cluster
    # A pixel of a larger one is forgotten, and may be added again.
    order = order[np.bincount(cluster)[cluster[order]] <= network.recent]
    cluster, row, col = (x[order].astype(np.int64) for x in (cluster, row, col))
    images = np.zeros((300, *SIZE), np.int64)
    images[cluster, row, col] = 9
    hits = from_dense(images, np.zeros(300, int), np.arange(300))
    again = grown_clusters(hits, DETECTOR)
    assert len(again) > 600
    for ours, theirs in ((cluster, again.image), (row, again.row), (col, again.col)):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("linked", [False, True], ids=["alone", "with linked pairs"])
def test_a_row_depends_on_its_sensor_and_seed_alone(linked: bool) -> None:
    network = random_network()
    links = linked_pairs(network) if linked else None
    low, high = DETECTOR.threshold, DETECTOR.max_charge
    generator = sampling.EventGenerator(network, low, high, links=links)
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
    wrong.rate.assign(1.5 * wrong.rate)  # at which few clusters touch
    wrong.charge.assign(wrong.charge + 15)
    generator = sampling.EventGenerator(wrong, low, high)
    data = random_events(200, seed=8)
    rate, charge, links = fit_calibration(generator, [data], DETECTOR, 60, seed=1)
    assert links is None
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
    pairs = linked_pairs(random_network())
    for links in (None, pairs):
        write_calibration(path, Calibration(rate, charge, links))
        read = read_calibration(path, DETECTOR)
        np.testing.assert_array_equal(read.charge, charge)
        assert (read.links is None) == (links is None)
    assert read.links is not None
    np.testing.assert_array_equal(read.links.tried, pairs.tried)
    good = {"rate": rate, "charge": charge, **vars(pairs)}
    for name, damaged in {
        "rate": rate[:2],
        "charge": charge * np.nan,
        "beyond": charge + 900,
        "tried": pairs.tried[:, 1:],
        "share": -pairs.share,
    }.items():
        np.savez(path, **good | {name.replace("beyond", "charge"): damaged})
        with pytest.raises(InputError, match=r"expected|charges beyond|below 0"):
            read_calibration(path, DETECTOR)
    np.savez(path, rate=rate, charge=charge, tried=pairs.tried)
    with pytest.raises(InputError, match="not a calibration"):
        read_calibration(path, DETECTOR)
    path.write_bytes(b"PK damaged")
    with pytest.raises(InputError, match="not a calibration"):
        read_calibration(path, DETECTOR)

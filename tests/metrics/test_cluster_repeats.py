"""Patterns of clusters, their repeats at equal numbers of clusters, and errors that are right."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import label

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits, concatenate, from_dense, to_dense
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.metrics.cluster_repeats import (
    MIN_CLUSTERS,
    SIZES,
    compare_repeats,
    find_patterns,
    repeated_share,
)
from kerasgen.metrics.cluster_samples import (
    DESCRIBED_SIZE,
    DESCRIPTORS,
    MIN_SIZE,
    ClusterRecorder,
    ClusterSample,
    empty_sample,
    sample_clusters,
)

PXD = load_geometry("belle2-pxd")
SENSORS = len(PXD.sensors)


@pytest.fixture(scope="module")
def events() -> Hits:
    return concatenate(list(simulate_events(PXD, 5, 0, 3)))


def small_geometry() -> Geometry:
    return replace(PXD, sensors=PXD.sensors[:2], rows=24, cols=32)


def drawn(*pictures: list[str]) -> Hits:
    """One image of ``small_geometry`` each, from lines of digits of 10 ADU; events of two."""
    images = np.zeros((len(pictures), 24, 32), np.uint16)
    for image, lines in zip(images, pictures, strict=True):
        for row, line in enumerate(lines):
            image[row, : len(line)] = [10 * int(x) if x.isdigit() else 0 for x in line]
    number = np.arange(len(pictures))
    return from_dense(images, number % 2, number // 2)


def test_a_pattern_does_not_depend_on_place_and_charge_but_on_shape() -> None:
    hits = drawn(
        ["11111  2222", "   1    22"], ["", "  34567", "     8", "", "", "   9", "99999"], [], []
    )
    found = sample_clusters(hits, small_geometry())
    assert found.events == 2
    assert found.size.tolist() == [6, 6, 6, 6]
    assert found.sensor.tolist() == [0, 0, 1, 1]
    shape, other, moved, mirrored = found.pattern.tolist()
    assert shape == moved
    assert len({shape, other, mirrored}) == 3


def test_clusters_are_those_of_an_independent_search(events: Hits) -> None:
    found = sample_clusters(events, PXD)
    want: Counter[tuple[int, bytes]] = Counter()
    for image, sensor in zip(to_dense(events, PXD) > 0, events.sensor.tolist(), strict=True):
        position = np.argwhere(image)
        cluster = label(image, np.ones((3, 3)))[0][image]
        order = np.argsort(cluster, kind="stable")
        for pixels in np.split(position[order], np.flatnonzero(np.diff(cluster[order])) + 1):
            if len(pixels) >= MIN_SIZE:
                want[sensor, (pixels - pixels.min(0)).tobytes()] += 1
    got = Counter(zip(found.sensor.tolist(), found.pattern.tolist(), strict=True))
    assert sorted(got.values()) == sorted(want.values())
    assert (np.diff(found.event) >= 0).all()
    assert found.described.tolist() == np.flatnonzero(found.size >= DESCRIBED_SIZE).tolist()


def test_descriptors_of_a_straight_line() -> None:
    n = DESCRIBED_SIZE
    found = sample_clusters(drawn(["1" * n], []), small_geometry())
    got = dict(zip(DESCRIPTORS, found.descriptors[0].tolist(), strict=True))
    width = np.sqrt((n**2 - 1) / 12)
    assert got["log size"] == got["log extent v"] == pytest.approx(np.log(n))
    assert got["log extent u"] == got["deviation u"] == got["correlation u v"] == 0
    assert got["deviation v"] == pytest.approx(np.log1p(width))
    assert got["log charge"] == pytest.approx(np.log(10 * n))
    assert got["charge centre v"] == pytest.approx(0, abs=1e-6)
    assert got["charge deviation v"] == pytest.approx(0, abs=1e-6)


def test_blocks_are_recorded_as_the_whole_and_no_more_than_wanted(events: Hits) -> None:
    recorder = ClusterRecorder(PXD, 2)
    for k in range(3):
        recorder.add(events.take(np.arange(k * SENSORS, (k + 1) * SENSORS)))
    want = sample_clusters(events.take(np.arange(2 * SENSORS)), PXD)
    for got in (recorder.sample, sample_clusters(events, PXD).first(2)):
        for name, value in vars(want).items():
            np.testing.assert_array_equal(getattr(got, name), value)
    assert vars(ClusterRecorder(PXD).sample).keys() == vars(empty_sample(0)).keys()
    assert len(sample_clusters(events.where(events.adu > 999), PXD).size) == 0


def test_the_share_at_fewer_clusters_is_the_mean_of_all_subsets() -> None:
    patterns = [0, 0, 0, 1, 1, 2, 3]
    for m in range(2, 8):
        shares = []
        for subset in combinations(patterns, m):
            times = Counter(subset)
            shares.append(np.mean([times[x] > 1 for x in subset]))
        times = np.array(list(Counter(patterns).values()))
        got = repeated_share(times, np.zeros(4, int), np.array([7.0]), np.array([float(m)]))
        assert got == pytest.approx(np.mean(shares))


def made_sample(events: int, kinds: int, rng: np.random.Generator, rate: float) -> ClusterSample:
    """Clusters of two sensors with patterns drawn from ``kinds`` of unequal probability."""
    event = np.repeat(np.arange(events), rng.poisson(rate, events)).astype(np.int32)
    n = len(event)
    pattern = (kinds * rng.random(n) ** 2).astype(np.uint64)
    sensor, size = rng.integers(2, size=n).astype(np.int16), np.full(n, 7, np.int32)
    large = np.zeros(0, np.int64), np.zeros((0, len(DESCRIPTORS)), np.float32)
    return ClusterSample(events, sensor, event, size, pattern, *large)


@pytest.mark.parametrize("kinds", [300, 100_000])
def test_pulls_of_equal_samples_are_about_one(kinds: int) -> None:
    rng = np.random.default_rng(3)
    pulls, metrics = [], []
    for _ in range(60):
        a, b = (made_sample(40, kinds, rng, rate) for rate in (40, 30))
        metric, quantity = compare_repeats(a, b, 2)["cluster_repeats_6_8"]
        gap = quantity["candidate"] - quantity["reference"]
        pulls.append(gap / quantity["difference_error"])
        metrics.append(metric)
    assert 0.45 < np.sqrt(np.mean(np.square(pulls))) < 1.25
    assert abs(np.mean(pulls)) < 0.45
    assert all(m["within"] for m in metrics)
    values = np.mean([m["value"] for m in metrics])
    assert np.mean([m["floor"] for m in metrics]) == pytest.approx(values, rel=0.8)


def test_stored_patterns_are_outside_the_floor_at_any_number_of_clusters() -> None:
    rng = np.random.default_rng(4)
    real = made_sample(40, 10**9, rng, 40)
    for rate in (20, 80):
        metric, quantity = compare_repeats(real, made_sample(60, 3000, rng, rate), 2)[
            "cluster_repeats_6_8"
        ]
        assert metric["n"] == 40
        assert metric["within"] is False
        assert quantity["seen"]
        assert quantity["candidate"] > 0.1 > quantity["reference"]


def test_few_clusters_are_not_judged() -> None:
    rng = np.random.default_rng(5)
    a = made_sample(10, 5, rng, MIN_CLUSTERS / 20)
    for metric, quantity in compare_repeats(a, a, 2).values():
        assert metric["within"] is None
        assert metric["value"] is quantity["seen"] is None


def test_few_events_and_clusters_of_one_event_are_not_judged() -> None:
    rng = np.random.default_rng(6)
    real = made_sample(40, 300, rng, 40)
    few = made_sample(9, 300, rng, 40)
    n = len(real.event)
    for candidate in (few, replace(real, event=np.zeros(n, np.int32))):
        for sides in ((real, candidate), (candidate, real)):
            metric, _ = compare_repeats(*sides, 2)["cluster_repeats_6_8"]
            assert metric["within"] is metric["floor"] is metric["floor_error"] is None


def test_patterns_that_differ_in_the_last_bit_are_no_repeats() -> None:
    made = made_sample(20, 1, np.random.default_rng(0), 5)
    n = len(made.event)
    pattern = np.uint64(2**63) + np.arange(n, dtype=np.uint64)
    sample = replace(made, sensor=np.zeros(n, np.int16), pattern=pattern)
    assert len(find_patterns(sample, SIZES["cluster_repeats_6_8"], 2).times) == 0


def test_patterns_are_counted_by_sensor_and_block() -> None:
    event = np.arange(20, dtype=np.int32)
    sensor = np.zeros(20, np.int16)
    sensor[3] = 1  # the same pattern on another sensor is no repeat
    pattern = np.arange(20, dtype=np.uint64)
    pattern[[3, 5, 9]] = 100
    made = made_sample(20, 1, np.random.default_rng(0), 1)
    sample = replace(
        made, sensor=sensor, event=event, pattern=pattern, size=np.full(20, 7, np.int32)
    )
    found = find_patterns(sample, SIZES["cluster_repeats_6_8"], 2)
    assert found.clusters.sum(axis=1).tolist() == [19, 1]
    assert found.sensor.tolist() == [0]
    assert np.flatnonzero(found.times[0]).tolist() == [5, 9]

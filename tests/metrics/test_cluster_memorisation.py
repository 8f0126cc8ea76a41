"""Distances to training clusters, and clusters that come from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import concatenate
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.metrics import cluster_memorisation
from kerasgen.metrics.cluster_memorisation import (
    TrainingClusters,
    TrainingRecorder,
    cluster_memorised,
    distance_ratios,
    memorised_by_event,
)
from kerasgen.metrics.cluster_samples import (
    DESCRIPTORS,
    ClusterSample,
    empty_sample,
    sample_clusters,
)

PXD = load_geometry("belle2-pxd")
D = len(DESCRIPTORS)


def described(descriptors: np.ndarray, events: int) -> ClusterSample:
    """Large clusters of two sensors, equally many in each event."""
    n = len(descriptors)
    return ClusterSample(
        events, np.arange(n, dtype=np.int16) % 2, np.arange(n, dtype=np.int32) * events // n,
        np.full(n, 20, np.int32), np.arange(n, dtype=np.uint64), np.arange(n),
        descriptors.astype(np.float32),
    )  # fmt: skip


def known_clusters(rng: np.random.Generator, n: int) -> TrainingClusters:
    return TrainingClusters(
        np.arange(n, dtype=np.int16) % 2, rng.standard_normal((n, D)).astype(np.float32)
    )


def test_ratio_is_that_of_the_two_nearest_clusters_of_the_sensor() -> None:
    rng = np.random.default_rng(0)
    training = known_clusters(rng, 600)
    mine = rng.standard_normal((300, D)).astype(np.float32)
    sensor = rng.integers(3, size=300)
    deviation = training.descriptors.std(axis=0)
    want = []
    for x, s in zip(mine, sensor, strict=True):
        near = (training.descriptors[training.sensor == s] - x) / deviation
        distance = np.sort(np.sqrt((near.astype(float) ** 2).sum(axis=1)))
        want.append(distance[0] / distance[1] if len(distance) else 1.0)
    np.testing.assert_allclose(distance_ratios(sensor, mine, training), want, rtol=1e-4)
    few = TrainingClusters(np.zeros(1, np.int16), np.ones((1, D), np.float32))
    assert (distance_ratios(sensor, mine, few) == 1).all()


def test_copies_of_training_clusters_are_at_distance_zero_and_twins_do_not_count() -> None:
    training = known_clusters(np.random.default_rng(1), 400)
    ratio = distance_ratios(training.sensor, training.descriptors, training)
    assert ratio.max() < 1e-3
    twins = TrainingClusters(
        np.tile(training.sensor, 2), np.concatenate([training.descriptors] * 2)
    )
    assert (distance_ratios(training.sensor, training.descriptors, twins) == 1).all()


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_only_clusters_near_to_training_clusters_are_outside(shift: float) -> None:
    """Another distribution without copies is not memorised, jittered copies are."""
    rng = np.random.default_rng(2)
    training = known_clusters(rng, 4000)
    real = described(rng.standard_normal((2000, D)), 20)
    other = described(shift + 0.8 * rng.standard_normal((1600, D)), 16)
    chosen = rng.permutation(1600)
    counts = memorised_by_event(real, training, 0)
    metric = cluster_memorised(counts, memorised_by_event(other, training, 0), 0)
    assert metric["within"]
    assert metric["n"] == 16
    copies = described(training.descriptors[chosen] + 0.2 * rng.standard_normal((1600, D)), 16)
    copies = replace(copies, sensor=training.sensor[chosen])
    metric = cluster_memorised(counts, memorised_by_event(copies, training, 0), 0)
    assert metric["value"] > 0.5
    assert metric["within"] is False


def test_fewer_memorised_clusters_than_in_real_events_are_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, none = (np.full(20, 30.0), np.full(20, 100.0)), (np.zeros(20), np.full(20, 100.0))
    metric = cluster_memorised(real, none, 0)
    assert (metric["value"], metric["within"]) == (0, True)
    metric = cluster_memorised(none, real, 0)
    assert (metric["value"], metric["within"]) == (pytest.approx(0.3), False)
    rng = np.random.default_rng(7)
    training, mine = known_clusters(rng, 60), rng.standard_normal((50, D)).astype(np.float32)
    sensor = np.zeros(50, np.int16)
    whole = distance_ratios(sensor, mine, training)
    monkeypatch.setattr(cluster_memorisation, "MAX_DISTANCES", 20)  # one by one
    np.testing.assert_allclose(distance_ratios(sensor, mine, training), whole, rtol=1e-4)


def test_blocks_of_training_events_and_events_of_the_training() -> None:
    events = list(simulate_events(PXD, 5, 0, 6))
    recorder = TrainingRecorder(PXD)
    for hits in events[:4]:
        recorder.add(hits)
    training = recorder.clusters
    memorised, all_of_them = memorised_by_event(
        sample_clusters(concatenate(events[3:]), PXD), training, 0
    )
    assert memorised[0] == all_of_them[0] > 100
    assert (memorised[1:] < 0.05 * all_of_them[1:]).all()


def test_events_are_compared_by_equally_many_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_memorisation, "MAX_CLUSTERS", 40)
    monkeypatch.setattr(cluster_memorisation, "MIN_CLUSTERS", 30)
    rng = np.random.default_rng(3)
    training = known_clusters(rng, 100)
    _, compared = memorised_by_event(described(rng.standard_normal((500, D)), 8), training, 0)
    assert compared.tolist() == [5] * 8
    nothing = memorised_by_event(empty_sample(8), training, 0)
    real = memorised_by_event(described(rng.standard_normal((500, D)), 8), training, 0)
    for sides in ((real, nothing), (nothing, real)):
        metric = cluster_memorised(*sides, 0)
        assert (metric["value"], metric["within"]) == (None, None)

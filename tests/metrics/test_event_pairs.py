"""Pairs of clusters: distances on known curves, counts as by all pairs, excess of known tracks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_run import geometry

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, from_dense, to_dense
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.parameters import calibrated_parameters
from kerasgen.metrics.cluster_pairs import (
    PlacedClusters,
    Window,
    find_pairs,
    helix_ratio,
    pair_distances,
)
from kerasgen.metrics.event_pairs import (
    ABOUT,
    HELIX,
    LINE,
    EventPairs,
    PairRecorder,
)
from kerasgen.metrics.verdict import sigmas_above
from kerasgen.tracking.signal import simulate_signal

PXD = load_geometry("belle2-pxd")
DETECTOR = build_detector(PXD)
SENSORS = len(PXD.sensors)


def placed(n: int, r: float, seed: int) -> PlacedClusters:
    """Clusters at random places of a layer."""
    rng = np.random.default_rng(seed)
    return PlacedClusters(
        rng.integers(0, 4, n), np.zeros(n, np.int64), rng.uniform(r, 1.07 * r, n),
        rng.uniform(-np.pi, np.pi, n), rng.uniform(-30, 60, n), rng.uniform(7, 300, n),
    )  # fmt: skip


@pytest.mark.parametrize("radius", [12.0, 30.0, 500.0], ids="r = {} mm".format)
def test_points_of_a_helix_are_at_no_distance_from_it(radius: float) -> None:
    """Points of a circle through the beam spot, z proportional to the arc."""
    turn = np.array([14.0, 22.0]) / radius / 1.2
    x, y = radius * np.sin(turn), radius * (1 - np.cos(turn))
    r, phi, z = np.hypot(x, y), np.arctan2(y, x), 0.7 * radius * turn
    first, second = (
        PlacedClusters(*np.zeros((2, 1), int), *(v[k : k + 1] for v in (r, phi, z)), np.ones(1))
        for k in range(2)
    )
    one = np.zeros(1, np.int64)
    delta, dz = pair_distances(first, second, one, one, helix=True)
    assert delta[0] == pytest.approx((turn[1] - turn[0]) / 2)
    assert dz[0] == pytest.approx(0, abs=1e-9)
    straight = pair_distances(first, second, one, one, helix=False)[1]
    assert straight[0] == pytest.approx(abs(z[1] - z[0] * r[1] / r[0]))
    assert helix_ratio(np, r[:1], r[1:], delta)[0] == pytest.approx(turn[1] / turn[0])


WIDE = Window((0.1, 0.35), (0, 3.0), helix=True)


@pytest.mark.parametrize(
    ("window", "second"),
    [(LINE, 22.0), (HELIX, 22.0), (WIDE, 22.0), (LINE, 14.0)],
    ids=["line", "helix", "wide", "one layer"],
)
def test_pairs_are_those_of_all_pairs(window: Window, second: float) -> None:
    a, b = placed(600, 14, 1), placed(400, second, 2)
    i, j = (x.ravel() for x in np.meshgrid(np.arange(600), np.arange(400), indexing="ij"))
    delta, dz = pair_distances(a, b, i, j, window.helix)
    expected, *_ = np.histogram2d(delta, dz, (window.delta, window.dz))
    found = find_pairs(a, b, window)
    counts = np.bincount(found.cell, minlength=expected.size)
    np.testing.assert_array_equal(counts, expected.ravel())
    assert counts.sum() > 20
    delta, dz = pair_distances(a, b, found.first, found.second, window.helix)
    cells = np.searchsorted(window.delta, delta, "right") - 1
    np.testing.assert_array_equal(found.cell // window.shape[1], cells)


def test_no_clusters_make_no_pairs() -> None:
    for a, b in ((placed(0, 14, 1), placed(5, 22, 2)), (placed(5, 14, 1), placed(0, 22, 2))):
        assert not len(find_pairs(a, b, LINE).cell)


def shuffled(hits: Hits) -> Hits:
    """Each sensor from another event."""
    images = np.arange(len(hits)).reshape(-1, SENSORS)
    other = np.random.default_rng(4).permuted(images, axis=0)
    return replace(hits.take(other.ravel()), sensor=hits.sensor, event=hits.event)


@pytest.fixture(scope="module")
def judged() -> dict[str, Any]:
    """Straight tracks from the beam spot; others; and those with each sensor of another event."""
    signals = [
        simulate_signal(PXD, DETECTOR, calibrated_parameters(), seed, range(40), pt_gev=2.0)
        for seed in (1, 2)
    ]
    real, other = (s.hits(PXD) for s in signals)
    study = EventPairs(0)
    found: dict[str, Any] = {}
    for name, hits in {"": real, "other": other, "shuffled": shuffled(other)}.items():
        recorders = study.candidate(name) if name else study.reference(PXD, 40)
        for block in (range(16), range(16, 17), range(17, 40)):  # blocks of any size
            images = np.arange(block.start * SENSORS, block.stop * SENSORS)
            recorders[0].add(hits.take(images))
        if name:
            found[name] = {"metrics": {}, "outside": [], "sigmas": 3.0, "quantities": {}}
            found[name]["verdict"] = "within floor"
    assert study.judge(found)["about"] == ABOUT
    tracks = len(signals[0]) / 40
    return found | {"tracks": tracks}


def test_tracks_make_pairs_beyond_mixed_events(judged: dict[str, Any]) -> None:
    pairs = judged["other"]["quantities"]["line_pairs"]
    for side in ("reference", "candidate"):
        # Some tracks miss a layer, where they overlap they make more than one pair.
        assert 0.8 * judged["tracks"] < pairs[side] < 1.4 * judged["tracks"]
    gone = judged["shuffled"]["quantities"]["line_pairs"]
    assert abs(gone["candidate"]) < 4 * gone["candidate_error"] + 0.05 * judged["tracks"]


def test_shuffled_sensors_are_seen_and_others_are_within_the_floor(judged: dict[str, Any]) -> None:
    assert judged["other"]["metrics"].keys() == set(ABOUT)
    assert judged["other"]["verdict"] == "within floor"
    for name in ("line_pairs", "pair_charge", "ghost_seeds"):
        assert sigmas_above(judged["shuffled"]["metrics"][name]) > 4, name
        assert sigmas_above(judged["other"]["metrics"][name]) < 3, name


def test_busy_events_alone_make_no_excess() -> None:
    """Sensors that share the number of hits of the event, and nothing else."""
    rng = np.random.default_rng(5)
    images = np.zeros((30 * SENSORS, PXD.rows, PXD.cols), np.uint8)
    for k, image in enumerate(images):
        n = (20, 200)[k // SENSORS % 2]
        image.ravel()[rng.choice(image.size, n, replace=False)] = 50
    events = np.repeat(np.arange(30), SENSORS)
    recorder = PairRecorder(PXD, DETECTOR)
    recorder.add(from_dense(images, np.tile(np.arange(SENSORS), 30), events))
    excess = recorder.counts[:, : np.prod(LINE.shape)].sum(axis=1)
    assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(30)
    assert excess.std() > 0


def test_events_without_hits_give_no_numbers() -> None:
    images = np.zeros((4 * SENSORS, PXD.rows, PXD.cols), np.uint8)
    sensor, event = np.tile(np.arange(SENSORS), 4), np.repeat(np.arange(4), SENSORS)
    empty = from_dense(images, sensor, event)
    assert not to_dense(empty, PXD).any()
    recorder = PairRecorder(PXD, DETECTOR)
    recorder.add(empty)
    assert not recorder.counts.any()


def test_a_detector_without_places_has_no_such_metrics() -> None:
    study = EventPairs(0)
    assert study.reference(geometry(), 10) == []
    assert study.candidate("model") == []
    assert study.judge({"model": {}}) == {"about": {}}

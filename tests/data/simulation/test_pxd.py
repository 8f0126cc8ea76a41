import hashlib

import numpy as np
import pytest

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import concatenate
from kerasgen.data.simulation.parameters import calibration_targets
from kerasgen.data.simulation.pxd import (
    random_streams,
    simulate_event,
    simulate_events,
    sum_charges,
)
from kerasgen.errors import InputError

GEOMETRY = load_geometry("belle2-pxd")
NAMES = ("indptr", "row", "col", "adu", "type", "sensor", "event")


def fingerprint(hits):
    return hashlib.sha256(b"".join(getattr(hits, n).tobytes() for n in NAMES)).hexdigest()


@pytest.fixture(scope="module")
def events():
    return concatenate(list(simulate_events(GEOMETRY, seed=11, first=0, n=12)))


def test_same_seed_same_events_whatever_the_processes_and_the_first_event():
    alone = [fingerprint(simulate_event(GEOMETRY, 3, event)) for event in range(4)]
    shared = [fingerprint(h) for h in simulate_events(GEOMETRY, 3, 0, 4, processes=2)]
    later = [fingerprint(h) for h in simulate_events(GEOMETRY, 3, 2, 2)]
    assert alone == shared
    assert alone[2:] == later
    assert len(set(alone)) == 4
    assert fingerprint(simulate_event(GEOMETRY, 4, 0)) not in alone


def test_large_seeds_and_event_numbers_are_keys_of_their_own():
    big = 2**63 - 1
    draws = [random_streams(s, e)["pairs"].random() for s, e in ((big, 0), (0, big), (big, big))]
    assert len(set(draws)) == 3


def test_streams_of_an_event_differ():
    draws = [rng.random(3).tolist() for rng in random_streams(1, 2).values()]
    assert len({tuple(d) for d in draws}) == len(draws)


def test_hits_follow_the_layout(events):
    assert len(events) == 12 * 40
    assert events.sensor.tolist() == list(range(40)) * 12
    assert events.event.tolist() == np.repeat(np.arange(12), 40).tolist()
    assert events.adu.min() == 7
    assert events.adu.max() <= 255
    assert events.row.max() < 250
    assert events.col.max() < 768
    pixel = events.image * GEOMETRY.pixels + events.row.astype(np.int64) * 768 + events.col
    assert (np.diff(pixel) > 0).all()  # ascending, so that no pixel is there twice
    assert {n: getattr(events, n).dtype for n in NAMES} == {
        "indptr": np.int64,
        "row": np.uint16,
        "col": np.uint16,
        "adu": np.uint16,
        "type": np.uint8,
        "sensor": np.uint16,
        "event": np.int64,
    }


def test_every_type_is_there_and_synchrotron_hits_are_soft(events):
    fraction = np.bincount(events.type, minlength=4) / len(events.type)
    assert fraction[0] == 0
    assert fraction[1] > 0.15
    assert fraction[2] > 0.3
    assert 0.005 < fraction[3] < 0.15
    mean = [events.adu[events.type == k].mean() for k in (1, 2, 3)]
    assert mean[2] < 0.7 * min(mean[:2])


def test_occupancy_and_charge_are_those_of_the_published_sample(events):
    t = calibration_targets()
    occupancy = events.counts.reshape(12, 40).mean(0) / GEOMETRY.pixels
    wanted = np.array(t["mean_occupancy"])
    # The fast simulator is 1.2 % low; sd of the mean over 12 events: 0.6 and 0.8 %, a sensor 3.3 %.
    for layer in (slice(0, 16), slice(16, 40)):
        assert occupancy[layer].sum() / wanted[layer].sum() == pytest.approx(1, abs=0.04)
    assert np.abs(occupancy / wanted - 1).max() < 0.15
    assert events.adu.mean() == pytest.approx(21.61, rel=0.015)
    reference = np.zeros(256)
    reference[7:] = t["adu"]["counts"]
    difference = np.bincount(events.adu, minlength=256) / len(events.adu)
    difference -= reference / reference.sum()
    # Charges above 150 ADU are missing (docs/simulator.md): Geant4 has 0.8, the fast engine 1.1.
    assert np.abs(np.cumsum(difference)).sum() < 1.3


def test_more_at_phi_0_than_at_180(events):
    counts = events.counts.reshape(12, 40).mean(0)
    assert counts[[0, 1]].sum() > 1.15 * counts[[8, 9]].sum()


def test_a_pixel_has_the_type_that_gave_most_charge():
    pixel = np.array([5, 9, 5, 5, 9])
    charge = np.array([100.0, 50.0, 150.0, 60.0, 20.0])
    hit_type = np.array([1, 3, 2, 1, 2], np.uint8)
    found = sum_charges(pixel, charge, hit_type, GEOMETRY)
    assert found.pixel.tolist() == [5, 9]
    assert found.charge.tolist() == [310.0, 70.0]
    assert found.type.tolist() == [1, 3]


def test_a_part_of_the_detector_is_refused_because_its_rates_would_be_too_low():
    with pytest.raises(InputError, match="all its sensors"):
        simulate_event(GEOMETRY.select(["1.2.2", "2.10.1"]), 0, 7)


def test_another_geometry_is_refused():
    with pytest.raises(InputError, match="belle2-pxd"):
        simulate_event(load_geometry("timepix"), 0, 0)

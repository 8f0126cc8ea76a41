"""Paths through the beam pipe and modules, against kinematics, tables and Geant4."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.compare_engines import BOUNDS, TABLE, compare, distributions
from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.matter import MATTER
from kerasgen.data.simulation.passages import grazing_entries, is_straight, straight_segments
from kerasgen.data.simulation.paths import follow
from kerasgen.data.simulation.pxd import simulate_event
from kerasgen.data.simulation.tracks import Tracks, cross_sensors, grazing_cosine

GEOMETRY = load_geometry("belle2-pxd")
DETECTOR = build_detector(GEOMETRY)


def from_origin(radius, cot=0.0, n=2000, turn=1.0):
    """Electrons (turn 1) or positrons from the beam to all sides; radii in mm."""
    one, zero = np.ones(n), np.zeros(n)
    direction = np.linspace(0.0, 2.0 * np.pi, n)
    hit_type = np.ones(n, np.uint8)
    columns = (zero, zero, zero, direction, turn * one, radius * one, cot * one, zero)
    return Tracks(*columns, zero + 2.0 * np.pi, hit_type)


def test_the_wall_of_the_beam_pipe_has_the_thickness_of_its_layers():
    radiation, xi, _, _, first = MATTER[:, 0]
    # 1 mm of beryllium, 1 mm of paraffin, 10 um of gold
    assert 2.01 / radiation == pytest.approx(1 / 352.8 + 1 / 481.0 + 0.01 / 3.344, rel=1e-3)
    assert 2.01 * xi == pytest.approx(0.022, rel=0.02)  # MeV
    assert first == pytest.approx(0.38, abs=0.01)


def test_fast_particles_keep_to_their_helices():
    tracks = from_origin(1e4, 0.3)  # 4.5 GeV/c
    passages = follow(np.random.default_rng(0), tracks, DETECTOR)
    passages = passages.take(passages.momentum > 1.0)  # no electrons that they knock out
    segments = straight_segments(passages, DETECTOR)
    expected = cross_sensors(replace(tracks, t_max=tracks.t_max / 4), DETECTOR)
    assert len(segments.u) == pytest.approx(len(expected.u), rel=0.01)
    ours = {
        (passages.track[k], s): u
        for k, s, u in zip(segments.track, segments.sensor, segments.u, strict=True)
    }
    theirs = {
        (k, s): u for k, s, u in zip(expected.track, expected.sensor, expected.u, strict=True)
    }
    both = ours.keys() & theirs.keys()
    assert len(both) > 0.99 * len(theirs)
    off = np.abs([ours[key] - theirs[key] for key in both])
    assert np.median(off) < 2.0  # um
    assert np.quantile(off, 0.995) < 30.0  # a few are scattered by a single collision


def test_the_beam_pipe_takes_energy_and_scatters():
    momentum = 50.0  # MeV/c
    tracks = from_origin(momentum / 0.4497, n=20_000)
    passages = follow(np.random.default_rng(1), tracks, DETECTOR)
    _, first = np.unique(passages.track, return_index=True)
    loss = momentum - 1e3 * passages.momentum[first]
    assert np.median(loss) == pytest.approx(0.41, rel=0.08)  # most probable: 0.39 MeV
    slope = passages.direction[first, 1]
    # 13.6 MeV / 50 MeV sqrt(0.79 %) (1 + 0.038 ln 0.79 %)
    assert 1.4826 * np.median(np.abs(slope)) == pytest.approx(0.0197, rel=0.08)


def test_slow_particles_end_in_the_beam_pipe():
    passages = follow(np.random.default_rng(2), from_origin(4.9), DETECTOR)
    assert len(passages.track) == 0


def test_paths_are_straight_or_followed_from_the_face_where_they_enter():
    tracks = from_origin(np.linspace(8.0, 30.0, 2000), 0.4, turn=-1.0)
    passages = follow(np.random.default_rng(3), tracks, DETECTOR)
    straight = is_straight(passages, DETECTOR)
    assert 0.1 < straight.mean() < 0.95
    cosine = np.abs(passages.direction[straight, 2])
    assert (cosine > 0.999 * grazing_cosine(passages.momentum[straight], 75.0)).all()
    entries = grazing_entries(passages.take(~straight), DETECTOR)
    assert len(entries.u) > 50
    assert np.abs(entries.w) == pytest.approx(37.5)
    assert (entries.w * entries.direction[:, 2] < 0).all()
    assert np.linalg.norm(entries.direction, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_following_particles_is_a_pure_function_and_takes_none():
    tracks = from_origin(9.0, 0.3, 200)
    one, two = (follow(np.random.default_rng(4), tracks, DETECTOR) for _ in range(2))
    assert all((getattr(one, name) == getattr(two, name)).all() for name in vars(one))
    none = tracks.take(np.zeros(0, np.int64))
    assert len(follow(np.random.default_rng(4), none, DETECTOR).track) == 0


def test_events_agree_with_the_table_of_geant4():
    # 16 events: statistical errors of 0.5 % on numbers, less on shapes.
    found = distributions(simulate_event(GEOMETRY, 12, event) for event in range(16))
    geant4 = json.loads(Path(TABLE).read_text("utf-8"))
    for name, _, _, difference in compare(geant4, found):
        if name in BOUNDS:
            margin = 1.5 if name == "clusters per event" else 0.5
            assert abs(difference) < BOUNDS[name] + margin, name
    pixels = np.array(found["mean_pixels"]), np.array(geant4["mean_pixels"])
    for layer in (slice(0, 16), slice(16, 40)):
        fast, reference = (p[layer].sum() for p in pixels)
        assert fast == pytest.approx(reference, rel=0.035)

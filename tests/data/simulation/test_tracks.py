import numpy as np
import pytest

from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.tracks import (
    Tracks,
    cross_planes,
    cross_sensors,
    grazing_cosine,
    helix_radius,
)

GEOMETRY = load_geometry("belle2-pxd")
DETECTOR = build_detector(GEOMETRY)


def from_origin(direction, radius, cot=0.0, turn=1.0, turns=1.0):
    direction, radius, cot, turn = np.broadcast_arrays(
        np.atleast_1d(np.asarray(direction, float)), radius, cot, turn
    )
    zero = np.zeros(len(direction))
    hit_type = np.ones(len(direction), np.uint8)
    end = zero + 2 * np.pi * turns
    turn, radius, cot = turn * 1.0, radius * 1.0, cot * 1.0
    return Tracks(zero, zero, zero, direction, turn, radius, cot, zero, end, hit_type)


def test_helix_radius_is_pt_over_0_3_b():
    # 1 GeV/c in 1 T: 3.3356 m
    assert helix_radius(np.array([1.0]), 1.0) == pytest.approx(3335.64, rel=1e-5)
    assert helix_radius(np.array([3e-3]), 1.5) == pytest.approx(6.671, rel=1e-3)


def test_crossing_points_lie_on_the_plane_and_on_the_circle():
    rng = np.random.default_rng(0)
    tracks = from_origin(
        rng.uniform(0, 2 * np.pi, 300),
        rng.uniform(7, 80, 300),
        rng.normal(0, 1, 300),
        rng.choice([-1.0, 1.0], 300),
    )
    found = cross_planes(tracks, DETECTOR)
    assert len(found.track) > 500
    phi, distance = DETECTOR.phi[found.ladder], DETECTOR.distance[found.ladder]
    x = distance * np.cos(phi) - found.u * np.sin(phi)
    y = distance * np.sin(phi) + found.u * np.cos(phi)
    cx, cy = tracks.centre()
    r = np.hypot(x - cx[found.track], y - cy[found.track])
    assert r == pytest.approx(tracks.radius[found.track], rel=1e-9)
    # Step along the helix from the origin by the angle that z tells: it must arrive at (x, y).
    angle = found.z / (tracks.radius * tracks.cot)[found.track]
    psi = tracks.direction[found.track] + tracks.turn[found.track] * angle
    signed = (tracks.turn * tracks.radius)[found.track]
    assert cx[found.track] + signed * np.sin(psi) == pytest.approx(x, abs=1e-6)
    assert cy[found.track] - signed * np.cos(psi) == pytest.approx(y, abs=1e-6)
    assert np.sin(psi - phi) == pytest.approx(found.sine, abs=1e-6)


def test_a_straight_track_along_the_normal_goes_through_75_um():
    # Ladder 1.3 looks at 90 degrees; u = 0 is the foot of the normal. z stays 0: backward sensor.
    paths = cross_sensors(from_origin(np.pi / 2, 1e9, turns=0.5), DETECTOR)
    names = {GEOMETRY.names[s] for s in paths.sensor}
    assert names == {"1.3.2", "2.4.2"}
    assert paths.length == pytest.approx(75.0)


@pytest.mark.parametrize("cot", [0.5, 1.0, -1.0])
def test_path_length_is_thickness_over_cosine(cot):
    paths = cross_sensors(from_origin(np.pi / 2, 1e9, cot), DETECTOR)
    assert len(paths.sensor) > 0
    assert paths.length == pytest.approx(75.0 * np.sqrt(1 + cot**2), rel=1e-6)


def test_a_shallow_path_stays_inside_the_active_volume():
    rng = np.random.default_rng(1)
    tracks = from_origin(
        rng.uniform(0, 2 * np.pi, 3000), rng.uniform(7, 500, 3000), rng.normal(0, 2, 3000)
    )
    paths = cross_sensors(tracks, DETECTOR)
    for w in (paths.w_in, paths.w_out):
        assert (np.abs(w) <= 37.5).all()
        u, v = paths.u + paths.slope_u * w, paths.v + paths.slope_v * w
        assert u.min() > -1e-6
        assert u.max() < 12500 + 1e-6
        assert v.min() > -1e-6
        assert (v < DETECTOR.length[paths.sensor] + 1e-6).all()
    # Some leave a sensor through its side, so that their path is shorter than thickness / cosine.
    assert (paths.w_out - paths.w_in < 74.9).any()


def test_a_curling_track_crosses_both_layers_twice_and_a_soft_one_none():
    crossed = cross_sensors(from_origin(0.3, 13.0, 0.05), DETECTOR)
    layers = [GEOMETRY.sensors[s].layer for s in crossed.sensor]
    assert layers.count(1) >= 2
    assert layers.count(2) >= 2
    assert len(cross_sensors(from_origin(0.3, 6.4), DETECTOR).sensor) == 0


def test_the_sense_of_turning_follows_the_charge():
    # In a field along +z a positron turns clockwise: its centre is to the right of its direction.
    clockwise = from_origin(0.0, 10.0, turn=-1.0)
    assert [float(c[0]) for c in clockwise.centre()] == pytest.approx([0.0, -10.0])


def test_the_grazing_angle_shrinks_with_the_momentum():
    # 5 MeV/c: 13.6 / 5 sqrt(75 / 93 700) / 0.4 = 0.192 to the power of 2/3
    cosine = grazing_cosine(np.array([5e-3, 50e-3]), 75.0)
    assert cosine[0] == pytest.approx(0.333, abs=0.002)
    assert cosine[1] == pytest.approx(0.333 / 10 ** (2 / 3), abs=0.002)

from dataclasses import replace

import numpy as np
import pytest

from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.parameters import calibrated_parameters, read_parameters
from kerasgen.data.simulation.particles import (
    BEAM_PIPE_MM,
    absorption_length,
    poisson_numbers,
    shower_particles,
    shower_photons,
    synchrotron_photons,
    two_photon_pairs,
)
from kerasgen.data.simulation.paths import follow
from kerasgen.data.simulation.tracks import cross_sensors, helix_radius

GEOMETRY = load_geometry("belle2-pxd")
DETECTOR = build_detector(GEOMETRY)
PARAMETERS = calibrated_parameters()


def test_pairs_start_at_the_origin_with_opposite_charges_above_the_lowest_momentum():
    tracks = two_photon_pairs(np.random.default_rng(0), PARAMETERS, 1.5)
    first = tracks.z == 0
    assert set(tracks.turn[first]) == {-1.0, 1.0}
    assert not tracks.x.any()
    assert not tracks.y.any()
    # Nothing that could not leave the beam pipe, also after losses.
    assert tracks.radius.min() > 0.5 * BEAM_PIPE_MM
    # A steep spectrum: half of the rows within a factor two of the lowest momentum that arrives.
    assert np.median(tracks.radius) < 2.0 * helix_radius(np.array([4e-3]), 1.5)[0]


def test_the_crossing_angle_pushes_pairs_to_positive_x():
    flat = replace(PARAMETERS, pairs_per_event=20_000.0)
    tracks = two_photon_pairs(np.random.default_rng(0), flat, 1.5)
    first = tracks.z == 0
    n = first.sum()
    assert np.cos(tracks.direction[first]).mean() > 5 / np.sqrt(2 * n)
    assert abs(np.sin(tracks.direction[first]).mean()) < 4 / np.sqrt(2 * n)
    # ... and the beam energies to positive z
    assert np.tanh(tracks.cot[first]).mean() > 5 / np.sqrt(n)


def test_particles_curl_over_several_turns_and_neighbouring_ladders():
    rng = np.random.default_rng(1)
    tracks = two_photon_pairs(rng, PARAMETERS, 1.5)
    passages = follow(rng, tracks, DETECTOR)
    ladders = [set() for _ in range(len(tracks.x))]
    for track, ladder in zip(passages.track, passages.ladder, strict=True):
        ladders[track].add(int(ladder))
    layers = [{ladder >= 8 for ladder in found} for found in ladders]
    assert sum(len(found) == 2 for found in layers) > 100
    assert sum(len({k for k in found if k < 8}) > 1 for found in ladders) > 100
    assert np.bincount(passages.track).max() > 8  # several turns


def aimed_at(name, companions):
    rates = {n: 400.0 * (n == name) for n in GEOMETRY.names}
    return replace(
        PARAMETERS,
        shower_per_event=rates,
        shower_companions={"1": companions, "2": companions},
        common_spread=0.0,
    )


def test_shower_particles_leave_the_beam_pipe_and_hit_the_sensor_they_are_aimed_at():
    only = aimed_at("2.5.1", companions=0.0)
    tracks = shower_particles(np.random.default_rng(2), only, DETECTOR, GEOMETRY)
    assert 320 < len(tracks.x) < 480
    # Back to the birth: on the beam pipe, or a quarter turn back if the circle misses it.
    cx, cy = tracks.centre()
    psi = tracks.direction + tracks.turn * tracks.t_min
    signed = tracks.turn * tracks.radius
    r = np.hypot(cx + signed * np.sin(psi), cy - signed * np.cos(psi))
    met = np.abs(r - BEAM_PIPE_MM) < 1e-6
    distance = np.hypot(cx, cy)
    reaches = np.abs(distance - tracks.radius) < BEAM_PIPE_MM
    reaches &= distance + tracks.radius > BEAM_PIPE_MM
    assert np.array_equal(met, reaches)
    assert 0.2 < met.mean() < 0.9
    assert (tracks.t_min[~met] == -0.5 * np.pi).all()
    paths = cross_sensors(tracks, DETECTOR)
    aimed = paths.sensor == GEOMETRY.index_of_name["2.5.1"]
    assert len(np.unique(paths.track[aimed])) > 0.9 * len(tracks.x)
    # Correlation between sensors: many cross another one as well.
    assert len(np.unique(paths.track[~aimed])) > 0.2 * len(tracks.x)


def test_particles_of_a_shower_arrive_together():
    alone, many = (
        shower_particles(np.random.default_rng(6), aimed_at("1.4.2", c), DETECTOR, GEOMETRY)
        for c in (0.0, 1.5)
    )
    assert len(many.x) == pytest.approx(2.5 * len(alone.x), rel=0.15)
    # The next particle is within a few mm of more than every second one.
    gap = [np.hypot(np.hypot(np.diff(t.x), np.diff(t.y)), np.diff(t.z)) for t in (alone, many)]
    assert (gap[0] < 5).mean() < 0.35
    assert (gap[1] < 5).mean() > 0.55
    assert np.abs(np.diff(many.cot)).min() == 0.0


def test_shower_tracks_are_shallower_than_pairs():
    rng = np.random.default_rng(3)
    shower = cross_sensors(shower_particles(rng, PARAMETERS, DETECTOR, GEOMETRY), DETECTOR)
    pairs = cross_sensors(two_photon_pairs(rng, PARAMETERS, 1.5), DETECTOR)
    slopes = [np.median(np.abs(p.slope_v[p.sensor < 16])) for p in (shower, pairs)]
    assert slopes[0] > 2 * slopes[1]


def test_photons_are_inside_their_sensor():
    rng = np.random.default_rng(4)
    photons = synchrotron_photons(rng, PARAMETERS, DETECTOR, GEOMETRY)
    assert photons.energy.min() >= PARAMETERS.photon_kev[0]
    scattered = shower_photons(rng, PARAMETERS, DETECTOR, GEOMETRY)
    assert scattered.energy == pytest.approx(510.999, abs=1e-3)
    for found in (photons, scattered):
        assert np.linalg.norm(found.direction, axis=1) == pytest.approx(1.0)
        assert found.u.max() < 12500
        assert (found.v < DETECTOR.length[found.sensor]).all()


def test_multiplicities_have_the_common_factor_on_top_of_poisson():
    rng = np.random.default_rng(5)
    many = np.array([poisson_numbers(rng, np.full(20, 1e4), 0.02) for _ in range(1500)])
    # The sum over 20 means: variance = sum + (0.02 sum)^2
    total = many.sum(1)
    assert total.std() == pytest.approx(np.hypot(np.sqrt(2e5), 0.02 * 2e5), rel=0.08)
    assert np.corrcoef(many[:, 0], many[:, 1])[0, 1] == pytest.approx(0.8, abs=0.06)


def test_the_common_factor_stays_below_what_the_data_allow():
    assert PARAMETERS.common_spread <= 0.03


def test_parameters_survive_json():
    assert read_parameters(PARAMETERS.to_json()) == PARAMETERS
    assert set(PARAMETERS.shower_per_event) == set(GEOMETRY.names)


# F. Biggs, R. Lighthill; the expected values are mass energy-absorption coefficients of NIST
# (J. H. Hubbell, S. M. Seltzer, NISTIR 5632), cm2/g: photoelectric absorption at these energies.
@pytest.mark.parametrize(
    ("energy", "coefficient"),
    [(5, 239.8), (6, 143.2), (8, 63.13), (10, 32.89), (15, 9.794), (20, 4.076)],
)
def test_absorption_length_of_x_rays(energy, coefficient):
    (length,) = absorption_length(np.array([float(energy)]))
    assert length == pytest.approx(1e4 / (coefficient * 2.329), rel=0.05)

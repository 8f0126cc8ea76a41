from dataclasses import replace

import numpy as np
import pytest

from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation import electrons as module
from kerasgen.data.simulation.compton import compton_electrons
from kerasgen.data.simulation.delta_electrons import delta_electrons
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.electron_physics import (
    bhabha_weight,
    csda_range,
    moller_weight,
    momentum,
    recoil_cosine,
    stopping_power,
)
from kerasgen.data.simulation.electron_state import LIGHT_KEV_UM
from kerasgen.data.simulation.electrons import transport
from kerasgen.data.simulation.fly_back import neighbours
from kerasgen.data.simulation.particles import Photons, SlowElectrons

DETECTOR = build_detector(load_geometry("belle2-pxd"))
THICK = replace(DETECTOR, thickness=40_000.0)
LAYER_2 = 20  # a sensor far from the beam pipe


def shoot(n, energy, direction=(0.0, 0.0, 1.0), w=0.0, sensor=LAYER_2):
    one = np.ones(n)
    return SlowElectrons(
        np.full(n, sensor),
        6000 * one,
        20_000 * one,
        w * one,
        np.tile(direction, (n, 1)),
        energy * one,
    )


def isotropic(rng, n):
    direction = rng.standard_normal((n, 3))
    return direction / np.linalg.norm(direction, axis=1, keepdims=True)


def farthest(steps, n):
    distance = np.sqrt((steps.u - 6000) ** 2 + (steps.v - 20_000) ** 2 + steps.w**2)
    found = np.zeros(n)
    np.maximum.at(found, steps.row, distance)
    return found


def test_stopping_power_and_range_are_those_of_the_tables():
    # NIST ESTAR, silicon: MeV cm2/g at 10, 100, 1000 keV; range 1.8e-2 g/cm2 at 100 keV
    power = stopping_power(np.array([10.0, 100.0, 1000.0])) / 0.2329
    assert power == pytest.approx([16.9, 3.26, 1.51], rel=0.01)
    assert csda_range(np.array([100.0]))[0] == pytest.approx(78, rel=0.02)


# Geant4 with steps of 0.3 um: mean of the farthest deposit
@pytest.mark.parametrize(
    ("energy", "reach"), [(30.0, 5.4), (50.0, 13.5), (100.0, 45.9), (200.0, 142.8)]
)
def test_reach_of_slow_electrons(energy, reach):
    n = 1500
    steps = transport(np.random.default_rng(0), shoot(n, energy), THICK, stop_kev=2.0)
    assert farthest(steps, n).mean() == pytest.approx(reach, rel=0.15)


def test_energy_is_conserved_where_nothing_leaves():
    n = 500
    steps = transport(np.random.default_rng(1), shoot(n, 400.0), THICK)
    assert np.bincount(steps.row, steps.loss) == pytest.approx(np.full(n, 400.0), rel=1e-4)


def test_no_electrons_make_no_steps():
    assert len(transport(np.random.default_rng(0), shoot(0, 100.0), DETECTOR).row) == 0


def test_backscattering_from_a_thick_target():
    # Silicon, normal incidence, 20 to 60 keV: measured 0.15 to 0.18
    n = 3000
    start = shoot(n, 50.0, w=-0.5 * THICK.thickness + 1e-2)
    track = np.ones(n, bool)  # those that leave do not come back
    steps = transport(np.random.default_rng(2), start, THICK, track=track, stop_kev=3.0)
    left = np.bincount(steps.row, steps.loss, n) < 0.98 * 50.0
    assert left.mean() == pytest.approx(0.16, abs=0.03)


def test_an_electron_that_leaves_comes_back_on_its_circle(monkeypatch):
    monkeypatch.setattr(module, "MAX_STEPS", 2)
    start = shoot(200, 300.0, w=37.49)
    steps = transport(np.random.default_rng(3), start, DETECTOR, track=False)
    # Along the normal, half a turn later: a diameter aside, against the normal.
    diameter = 2 * momentum(np.array([300.0]))[0] / (LIGHT_KEV_UM * 1.5)
    back = steps.energy < 300.0
    assert back.sum() >= 200
    first = steps.length[back] * steps.direction[back, 0] / 2
    assert np.median(steps.u[back] - first) - 6000 == pytest.approx(diameter, rel=0.01)
    assert np.median(steps.direction[back, 2]) == pytest.approx(-1.0, abs=0.01)


def test_positrons_turn_the_other_way(monkeypatch):
    monkeypatch.setattr(module, "MAX_STEPS", 2)
    start = shoot(50, 300.0, w=37.49)
    steps = transport(np.random.default_rng(3), start, DETECTOR, sign=-1.0)
    assert np.median(steps.u[steps.energy < 300.0]) < 5000


def test_slow_electrons_return_until_they_stop():
    rng = np.random.default_rng(4)
    n = 1000
    start = replace(shoot(n, 200.0), direction=isotropic(rng, n), w=rng.uniform(-37, 37, n))
    steps = transport(rng, start, DETECTOR)
    deposit = np.bincount(steps.row, steps.loss, n)
    assert deposit.mean() > 0.97 * 200.0  # 120 keV without coming back
    alone = transport(rng, start, DETECTOR, track=np.ones(n, bool))
    assert np.bincount(alone.row, alone.loss, n).mean() < 0.75 * 200.0


def test_electrons_towards_the_beam_pipe_are_lost():
    # Layer 1: 2.2 mm in front of the pipe, 1 MeV electrons turn on circles of 3.2 mm.
    rng = np.random.default_rng(5)
    w = 37.49  # flipped: w points to the beam
    deposits = []
    for sensor, side in ((0, 1.0), (0, -1.0)):
        start = shoot(300, 1000.0, (0.0, 0.0, side), side * w, sensor)
        # The circle ends in the middle of the sensor, off the support at its side.
        start = replace(start, u=start.u + 1500.0 - 1500.0 * side)
        steps = transport(rng, start, DETECTOR)
        deposits.append(np.bincount(steps.row, steps.loss, 300).mean())
    assert deposits[0] < 5.0
    assert deposits[1] > 100.0


def test_sensors_of_a_ladder_are_neighbours():
    other, gap = neighbours(DETECTOR)
    assert (other[other] == np.arange(40)).all()
    assert (DETECTOR.ladder[other] == DETECTOR.ladder).all()
    assert gap[:16] == pytest.approx(np.full(16, 851.0))


def photons(n, energy=511.0):
    zero = np.zeros(n)
    along = np.tile([0.0, 1.0, 0.0], (n, 1))
    return Photons(np.zeros(n, np.int64), zero, zero, zero, along, np.full(n, energy))


def test_compton_electrons_follow_klein_and_nishina():
    n = 100_000
    found = compton_electrons(np.random.default_rng(6), photons(n, 510.99895))
    # k = 1: edge 2/3 of the energy; the formula integrated numerically
    cosine = np.linspace(-1, 1, 20_001)
    kept = 1 / (2 - cosine)
    section = kept**2 * (kept + 1 / kept - 1 + cosine**2)
    mean = (section * (1 - kept)).sum() / section.sum() * 510.99895
    assert found.energy.max() < 2 / 3 * 510.99895
    assert found.energy.max() == pytest.approx(340.67, rel=1e-3)
    assert found.energy.mean() == pytest.approx(mean, rel=0.005)
    # Kinematics: cot(angle of the electron) = (1 + k) tan(half the angle of the photon)
    half = np.sqrt((1 / (1 - found.energy / 510.99895) - 1) / 2)  # sin
    tangent = half / np.sqrt(1 - half**2)
    wanted = 2 * tangent / np.sqrt(1 + (2 * tangent) ** 2)
    assert found.direction[:, 1] == pytest.approx(wanted, abs=1e-6)
    assert np.linalg.norm(found.direction, axis=1) == pytest.approx(1.0)


def test_number_energy_and_angle_of_delta_electrons():
    n = 20_000
    parents = shoot(n, 1e6)
    row, found = delta_electrons(
        np.random.default_rng(8), parents, np.full(n, 3000.0), np.zeros(n, bool), 1e6
    )
    # xi = 17.85 eV/um: 1.785 above 30 keV and 0.5355 above 100 keV in 3 mm
    assert len(row) / n == pytest.approx(1.785, rel=0.02)
    assert (found.energy > 100).sum() / n == pytest.approx(0.5355, rel=0.03)
    square = found.energy / (found.energy + 2 * 511.0)  # of a fast particle
    assert found.direction[:, 2] ** 2 == pytest.approx(square, rel=0.01)
    assert np.abs(found.w).max() < 1500


def test_moller_and_bhabha_agree_for_small_transfers():
    energy, transfer = np.array([5000.0]), np.array([30.0])
    assert moller_weight(energy, transfer)[0] == pytest.approx(1.0, abs=0.01)
    assert bhabha_weight(energy, transfer)[0] == pytest.approx(1.0, abs=0.02)
    assert recoil_cosine(energy, energy)[0] == pytest.approx(1.0)


def test_electrons_that_come_back_beside_the_thinned_window_are_stopped():
    # 300 keV: circles of 1.3 mm radius. Below layer 2 the support begins 0.4 mm from the edge.
    rng = np.random.default_rng(6)
    found = []
    for u in (6000.0, 200.0):
        start = replace(shoot(300, 300.0, (0.0, 0.0, -1.0), -37.49), u=np.full(300, u))
        steps = transport(rng, start, DETECTOR)
        found.append(np.bincount(steps.row, steps.loss, 300).mean())
    assert found[0] > 150.0
    assert found[1] < 5.0

from dataclasses import replace

import numpy as np
import pytest
from columns import column_edge

from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation.charge import (
    EnergyDeposits,
    drift_to_gates,
    photon_deposits,
    share_among_pixels,
)
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.electron_physics import restricted_stopping_power
from kerasgen.data.simulation.parameters import calibrated_parameters
from kerasgen.data.simulation.particles import Photons, SlowElectrons
from kerasgen.data.simulation.silicon import (
    Chords,
    charged_deposits,
    chord_deposits,
    energy_loss,
)
from kerasgen.data.simulation.tracks import Tracks

GEOMETRY = load_geometry("belle2-pxd")
DETECTOR = build_detector(GEOMETRY)
PARAMETERS = calibrated_parameters()
GATE_W = 37.5 - 22.0


def cloud(sensor, u, v, w=GATE_W, charge=1000.0):
    arrays = np.broadcast_arrays(*(np.atleast_1d(a) for a in (u, v, w, charge)))
    u, v, w, charge = (np.asarray(a, float) for a in arrays)
    n = len(u)
    return EnergyDeposits(np.full(n, sensor), u, v, w, charge, np.ones(n, np.uint8))


def chords(n, energy=1e6, direction=(0.0, 0.0, 1.0)):
    """Paths of electrons (kinetic energy in keV) through the middle of sensor 0."""
    one = np.ones(n)
    length = 75.0 / direction[2]
    return Chords(
        np.zeros(n, np.int64),
        6000 * one,
        9000 * one,
        0 * one,
        np.tile(direction, (n, 1)),
        length * one,
        energy * one,
        np.ones(n, np.uint8),
    )


def mode_and_width(loss, bins=0.5):
    """Most probable value and full width at half maximum of a histogram."""
    counts, edges = np.histogram(loss, np.arange(5, 60, bins))
    centre = 0.5 * (edges[1:] + edges[:-1])
    top = slice(counts.argmax() - 4, counts.argmax() + 5)
    curve = np.polyfit(centre[top], counts[top], 2)
    mode = -0.5 * curve[1] / curve[0]
    above = np.flatnonzero(counts > 0.5 * np.polyval(curve, mode))
    return mode, centre[above[-1]] - centre[above[0]] + bins


@pytest.mark.parametrize(
    ("energy_kev", "most_probable"),
    [(1e6, 19.2), (2e4, 18.8)],  # PDG review, eq. 34.12
)
def test_most_probable_loss_and_width_in_75_um(energy_kev, most_probable):
    deposits = chord_deposits(np.random.default_rng(1), chords(60_000, energy_kev))
    loss = deposits.charge.reshape(60_000, -1).sum(1) * 3.65e-3
    mode, width = mode_and_width(loss)
    assert mode == pytest.approx(most_probable, rel=0.03)
    assert width == pytest.approx(10.5, rel=0.08)  # of PAI models


def test_the_mean_loss_is_that_of_bethe_whatever_the_steps():
    rng = np.random.default_rng(2)
    mean = float(restricted_stopping_power(np.array([1e6]))[0])
    for length, n in ((75.0, 40_000), (25.0, 120_000), (9.0, 300_000)):
        steps = np.full(n, length, np.float32)
        loss = energy_loss(rng, steps, (mean * steps).astype(np.float32))
        assert loss.mean() == pytest.approx(mean * length, rel=0.01)


def test_deposits_lie_along_the_path():
    direction = np.array([0.0, 3.0, 1.0]) / np.sqrt(10.0)
    deposits = chord_deposits(np.random.default_rng(2), chords(100, direction=direction))
    steps = len(deposits.u) // 100
    assert steps == 7  # 237 um of path, steps of 36 um across the sensor
    assert deposits.v - 9000 == pytest.approx(3 * deposits.w, abs=0.01)
    w = deposits.w.reshape(100, steps)
    assert w[0] == pytest.approx((np.arange(steps) + 0.5) * 75 / steps - 37.5, abs=1e-3)


def test_charged_deposits_conserve_the_type_of_the_particle():
    tracks = Tracks(
        *(np.full(2000, value) for value in (0.0, 0.0, 0.0, 0.3, 1.0, 30.0, 0.4, 0.0, 3.0)),
        np.where(np.arange(2000) < 1000, 1, 2).astype(np.uint8),
    )
    none = SlowElectrons(*([np.zeros(0)] * 4), np.zeros((0, 3)), np.zeros(0))
    none = replace(none, sensor=np.zeros(0, np.int64))
    rng = np.random.default_rng(0)
    deposits = charged_deposits(rng, tracks, none, np.zeros(0, np.uint8), DETECTOR)
    charge = np.bincount(deposits.type, deposits.charge, 4)
    assert charge[[0, 3]].tolist() == [0, 0]
    assert charge[1] == pytest.approx(charge[2], rel=0.15)


def test_sharing_conserves_charge_everywhere_also_at_the_edges():
    rng = np.random.default_rng(3)
    n = 5000
    for sensor in (0, 1, 20, 39):
        length = DETECTOR.length[sensor]
        deposits = cloud(
            sensor,
            rng.uniform(-5, 12505, n),
            rng.uniform(-5, length + 5, n),
            rng.uniform(-37.5, 37.5, n),
            rng.exponential(1000, n),
        )
        pixel, charge, hit_type = share_among_pixels(deposits, DETECTOR, PARAMETERS, GATE_W)
        assert charge.sum() == pytest.approx(deposits.charge.sum(), rel=1e-6)
        assert charge.min() >= -1e-3
        assert (pixel // GEOMETRY.pixels == sensor).all()
        assert (hit_type == 1).all()


def test_a_cloud_in_the_middle_of_a_pixel_stays_and_one_on_a_border_is_halved():
    sensor = GEOMETRY.index_of_name["2.3.1"]
    v = float(column_edge(DETECTOR, np.array([sensor]), np.array([600.5]))[0])
    charges = {}
    for name, u in (("middle", 10 * 50 + 25.0), ("border", 11 * 50.0)):
        pixel, charge, _ = share_among_pixels(cloud(sensor, u, v), DETECTOR, PARAMETERS, GATE_W)
        total = np.bincount(pixel - sensor * GEOMETRY.pixels, charge, GEOMETRY.pixels)
        charges[name] = total.reshape(250, 768)
    assert charges["middle"][10, 600] == pytest.approx(1000.0, rel=1e-3)
    assert charges["border"][10, 600] == pytest.approx(500.0, rel=1e-3)
    assert charges["border"][11, 600] == pytest.approx(500.0, rel=1e-3)


def test_the_cloud_spreads_as_a_gaussian():
    # One standard deviation away from a border, 15.87 % of the charge is beyond it.
    sigma = PARAMETERS.diffusion_u_um
    v = float(column_edge(DETECTOR, np.array([0]), np.array([100.5]))[0])
    pixel, charge, _ = share_among_pixels(
        cloud(0, 11 * 50.0 - sigma, v), DETECTOR, PARAMETERS, GATE_W
    )
    assert charge[pixel // 768 == 11].sum() == pytest.approx(158.7, abs=0.5)


def test_charge_below_the_gates_drifts_to_higher_rows_by_the_lorentz_angle():
    far, near = (drift_to_gates(cloud(0, 6000, 9000, w), PARAMETERS, GATE_W) for w in (-37.5, 10.0))
    assert far[0] - 6000 == pytest.approx(PARAMETERS.tan_lorentz * (GATE_W + 37.5))
    assert far[0] > near[0] > 6000
    assert far[1] == pytest.approx(9000)


def test_the_lorentz_shift_has_opposite_azimuth_in_the_two_layers():
    # Same side in rows everywhere, but rows of layer 1 run against phi.
    assert DETECTOR.flipped[:16].all()
    assert not DETECTOR.flipped[16:].any()


def test_absorbed_photons_leave_their_energy_where_they_are():
    n = 4000
    at = np.full(n, 5000.0)
    photons = Photons(np.full(n, 20), at, at, 0 * at, np.zeros((n, 3)), np.full(n, 3.0))
    deposits = photon_deposits(np.random.default_rng(4), photons)
    assert (deposits.u == at).all()
    assert not deposits.w.any()
    assert deposits.charge.mean() == pytest.approx(3000 / 3.65, rel=0.01)
    assert deposits.charge.std() == pytest.approx(np.sqrt(0.115 * 3000 / 3.65), rel=0.05)

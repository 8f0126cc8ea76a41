from dataclasses import replace

import numpy as np
import pytest
from columns import column_edge
from scipy import stats

from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.parameters import calibrated_parameters
from kerasgen.data.simulation.particles import Photons, SlowElectrons
from kerasgen.data.simulation.silicon import (
    EnergyDeposits,
    drift_to_gates,
    electron_deposits,
    energy_loss,
    landau,
    photon_deposits,
    share_among_pixels,
    track_deposits,
)
from kerasgen.data.simulation.tracks import TrackSegments

GEOMETRY = load_geometry("belle2-pxd")
DETECTOR = build_detector(GEOMETRY)
PARAMETERS = calibrated_parameters()
GATE_W = 37.5 - 22.0


def cloud(sensor, u, v, w=GATE_W, charge=1000.0):
    arrays = np.broadcast_arrays(*(np.atleast_1d(a) for a in (u, v, w, charge)))
    u, v, w, charge = (np.asarray(a, float) for a in arrays)
    n = len(u)
    return EnergyDeposits(np.full(n, sensor), u, v, w, charge, np.ones(n, np.uint8))


def straight(n, sensor=0):
    one = np.ones(n)
    return TrackSegments(
        np.full(n, sensor),
        6000 * one,
        9000 * one,
        0 * one,
        0 * one,
        -37.5 * one,
        37.5 * one,
        np.ones(n, np.uint8),
        np.arange(n),
    )


def test_landau_follows_its_distribution():
    # scipy's stable distribution has scale 1; Landau's has scale pi / 2 and mode -0.223.
    law = stats.landau(np.log(np.pi / 2), np.pi / 2)
    got = landau(np.random.default_rng(0), 20_000)
    assert stats.kstest(got, law.cdf).pvalue > 0.001
    assert law.median() == pytest.approx(1.3558, abs=1e-3)


def test_most_probable_loss_is_that_of_the_formula_and_steps_add_up():
    sharp = replace(PARAMETERS, energy_scale=1.0, binding_kev2_per_um=0.0, delta_max_kev=1e6)
    rng = np.random.default_rng(1)
    whole = energy_loss(rng, np.full(100_000, 75.0), sharp) / 1e3
    steps = energy_loss(rng, np.full(400_000, 18.75), sharp).reshape(-1, 4).sum(1) / 1e3
    # xi = 1.337 keV; mode = xi [ln(2 m xi / (hbar omega)^2) + 0.2] = 19.2 keV; the median of
    # Landau's distribution is 1.579 xi above its mode.
    for loss in (whole, steps):
        assert np.median(loss) == pytest.approx(19.2 + 1.579 * 1.337, rel=0.01)
        counts, edges = np.histogram(loss, np.arange(15, 26, 0.5))
        assert edges[counts.argmax()] == pytest.approx(19.0, abs=0.6)


def test_deposits_carry_the_energy_lost_along_the_path():
    sharp = replace(PARAMETERS, energy_scale=1.0, binding_kev2_per_um=0.0, delta_max_kev=1e6)
    deposits = track_deposits(np.random.default_rng(2), straight(20_000), sharp)
    assert len(deposits.u) == 4 * 20_000
    assert np.unique(deposits.w) == pytest.approx([-28.125, -9.375, 9.375, 28.125])
    per_track = deposits.charge.reshape(-1, 4).sum(1)
    assert np.median(per_track) == pytest.approx((19.2 + 1.579 * 1.337) * 1e3 / 3.65, rel=0.02)


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
        assert charge.sum() == pytest.approx(deposits.charge.sum(), rel=1e-9)
        assert charge.min() >= 0
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


def test_soft_photons_stop_at_the_face_that_looks_at_the_beam():
    n = 4000
    for sensor, side in ((0, 1.0), (20, -1.0)):
        at = np.full(n, 5000.0)
        photons = Photons(np.full(n, sensor), at, at, np.full(n, 3.0))
        deposits = photon_deposits(np.random.default_rng(4), photons, DETECTOR)
        depth = 37.5 - side * deposits.w
        assert depth.mean() == pytest.approx(133 * 0.3**3, rel=0.1)
        assert depth.max() < 75
        assert deposits.charge.mean() == pytest.approx(3000 / 3.65, rel=0.01)
        assert deposits.charge.std() == pytest.approx(np.sqrt(0.115 * 3000 / 3.65), rel=0.05)


def test_slow_electrons_leave_all_their_energy_where_they_stop():
    # 60 keV: range 57 um times 0.6 by scattering; along u from the middle nothing escapes.
    one = SlowElectrons(
        np.array([3]),
        np.array([6000.0]),
        np.array([6000.0]),
        np.zeros(1),
        np.array([[1.0, 0.0, 0.0]]),
        np.array([60.0]),
    )
    deposits = electron_deposits(one, DETECTOR)
    assert deposits.charge.sum() == pytest.approx(60e3 / 3.65)
    assert 10 < deposits.u.max() - 6000 < 40
    assert deposits.charge[-1] == deposits.charge.max()  # more at the end of the range
    through = replace(one, direction=np.array([[0.0, 0.0, 1.0]]), energy=np.array([300.0]))
    assert electron_deposits(through, DETECTOR).charge.sum() < 0.5 * 300e3 / 3.65

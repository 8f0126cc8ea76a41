"""Helices, fit and search against closed forms, and the study on real simulated background."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits, from_dense, overlay, to_dense
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.parameters import calibrated
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.data.simulation.tracks import LIGHT_MM
from kerasgen.data.store import EventWriter
from kerasgen.errors import InputError
from kerasgen.tracking import material
from kerasgen.tracking.comparison import Recorder
from kerasgen.tracking.fit import Points, fit
from kerasgen.tracking.helix import from_points, perigee, residuals, to_cylinder
from kerasgen.tracking.pixels import column_centre, to_ladder
from kerasgen.tracking.signal import simulate_signal
from kerasgen.tracking.study import TrackingStudy, efficiency, half_width, wrong_rate
from kerasgen.zoo.evaluate import main as evaluate

GEOMETRY = load_geometry("belle2-pxd")
DETECTOR = build_detector(GEOMETRY)

helices = st.tuples(
    st.floats(-2, 2),
    st.floats(-3, 3),
    st.floats(2e-4, 2.5e-3),
    st.sampled_from([-1, 1]),
    st.floats(-5, 5),
    st.floats(-3, 3),
)


def parameters(drawn: tuple[float, ...]) -> np.ndarray:
    d0, phi0, size, sign, z0, cot = drawn
    return np.array([[d0, phi0, sign * size, z0, cot]])


def along(p: np.ndarray, path: float) -> tuple[np.ndarray, ...]:
    """The point at a path length from the perigee, from the equation of motion."""
    d0, phi0, k, z0, cot = p[0]
    psi = phi0 + k * path
    x = -d0 * np.sin(phi0) + (np.sin(psi) - np.sin(phi0)) / k
    y = d0 * np.cos(phi0) - (np.cos(psi) - np.cos(phi0)) / k
    return np.array([[x]]), np.array([[y]]), np.array([[z0 + cot * path]])


@given(helices, st.floats(1, 150))
def test_a_point_on_the_helix_has_no_residual(drawn: tuple[float, ...], path: float) -> None:
    p = parameters(drawn)
    found = residuals(p, *along(p, path))
    np.testing.assert_allclose(found.value, 0, atol=1e-7)
    np.testing.assert_allclose(found.path, path, rtol=1e-7)


@given(helices, st.floats(5, 150), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_derivatives_are_those_of_the_residuals(
    drawn: tuple[float, ...], path: float, off: float, high: float
) -> None:
    p = parameters(drawn)
    x, y, z = along(p, path)
    point = x + off, y - off, z + high
    exact = residuals(p, *point).jacobian[0, 0]
    for k, step in enumerate([1e-4, 1e-6, 1e-7, 1e-4, 1e-5]):
        up, down = p.copy(), p.copy()
        up[0, k] += step
        down[0, k] -= step
        slope = (residuals(up, *point).value - residuals(down, *point).value)[0, 0] / (2 * step)
        np.testing.assert_allclose(exact[:, k], slope, rtol=2e-3, atol=2e-3)


@given(helices)
def test_three_points_give_their_helix_back(drawn: tuple[float, ...]) -> None:
    p = parameters(drawn)
    points = [along(p, path) for path in (40.0, 80.0, 130.0)]
    x, y, z = (np.concatenate([q[k] for q in points], 1) for k in range(3))
    np.testing.assert_allclose(from_points(x, y, z), p, rtol=1e-5, atol=1e-6)


@given(helices, st.floats(3, 130))
def test_a_helix_reaches_a_cylinder_on_its_own_path(drawn: tuple[float, ...], r: float) -> None:
    p = parameters(drawn)
    x, y, z = along(p, 0.0)
    state = np.array([[x[0, 0], y[0, 0], z[0, 0], p[0, 1], p[0, 2], p[0, 4]]])
    there = to_cylinder(state, r)
    assert np.hypot(there[0], there[1])[0] == pytest.approx(r)
    back = perigee(*(v for v in there[:3]), there[3], p[:, 2], p[:, 4])
    np.testing.assert_allclose(back, p, atol=1e-6)


def test_scattering_is_highlands() -> None:
    """1 GeV pion, 1 % of a radiation length: 13.6 MeV / 0.9904 GeV x 0.1 x (1 - 0.175)."""
    found = material.scattering_angle(np.array([1.0]), np.array([0.01]))
    assert found[0] == pytest.approx(0.0136 / 0.990401 * 0.1 * (1 + 0.038 * np.log(0.01)), rel=1e-5)
    assert material.scattering_angle(np.array([1.0]), np.array([0.0]))[0] == 0


def test_fit_of_two_strips_has_the_lever_arm_error() -> None:
    """Stiff track, two exact measurements of z at radii a and b: sigma(z0) by propagation."""
    a, b, sigma = 39.0, 135.0, 0.025
    x = np.zeros((1, 6))
    x[0, 2:] = material.STRIPS_MM
    wide = np.full((1, 6), 1000.0)
    sigma_z = wide.copy()
    sigma_z[0, [2, 5]] = sigma
    sigma_e = wide.copy()
    sigma_e[0, 2:] = 0.01
    zero = np.zeros((1, 6))
    points = Points(x, zero, zero, zero, sigma_e, sigma_z, zero)
    start = np.array([[0, 0, 1e-6, 0, 1e-9]])  # 450 GeV: no scattering
    expected = sigma * np.hypot(a, b) / (b - a)
    assert fit(points, start, 1.5).sigma(3)[0] == pytest.approx(expected, rel=1e-4)


def test_pixel_positions_are_the_edges_of_the_sensor() -> None:
    sensor = np.arange(40)
    for column, v in ((0.0, 0 * DETECTOR.length), (768.0, DETECTOR.length)):
        found = column_centre(DETECTOR, sensor, np.full(40, column))
        np.testing.assert_allclose(found, v, atol=1.0)
    e, z = to_ladder(DETECTOR, sensor, np.zeros(40), np.zeros(40))
    low, high = (x[DETECTOR.ladder] for x in (DETECTOR.u_low, DETECTOR.u_high))
    np.testing.assert_allclose(e, np.where(DETECTOR.flipped, high, low), atol=1e-9)
    np.testing.assert_allclose(z, np.where(DETECTOR.forward, DETECTOR.z_high, DETECTOR.z_low))


@pytest.fixture(scope="module")
def study() -> TrackingStudy:
    return TrackingStudy(GEOMETRY, 6, 5)


@pytest.fixture(scope="module")
def background() -> Hits:
    from kerasgen.data.hits import concatenate

    return concatenate(list(simulate_events(GEOMETRY, 3, 0, 6)))


def records(study: TrackingStudy, background: Hits, rotated: int = 0):
    recorder = Recorder(study, rotated)
    recorder.add(background)
    return recorder.records


def test_pulls_without_background_have_width_one(study: TrackingStudy) -> None:
    found = records(study, study.empty(6))
    assert len(found) >= 20_000
    good = (found.found & found.expected).all(1)
    for value, sigma in ((found.d0, found.sigma_d0), (found.z0, found.sigma_z0)):
        pull = (value / sigma)[good]
        assert half_width(pull) == pytest.approx(1, abs=0.04)
        assert abs(pull.mean()) < 5 / np.sqrt(good.sum())
    assert (efficiency(found) > 0.98).all()
    assert (wrong_rate(found) < 1e-3).all()


def test_resolution_of_slow_tracks_is_the_scattering_of_the_pipe(study: TrackingStudy) -> None:
    """At low pT d0 is blurred by the pipe, r theta0, and half as much by all that comes after."""
    found = records(study, study.empty(6))
    some = (found.pt > 0.2) & (found.pt < 0.22) & (found.found & found.expected).all(1)
    signal = simulate_signal(GEOMETRY, DETECTOR, calibrated(), 5, range(3))
    slant = np.sqrt(1 + signal.parameters[:, 4] ** 2)
    angle = material.scattering_angle(0.21 * slant, material.PIPE * slant) * slant
    expected = material.PIPE_MM * np.sqrt((angle**2).mean())
    assert 1.0 < half_width(found.d0[some]) / expected < 1.5


def test_background_costs_efficiency_and_brings_wrong_hits(
    study: TrackingStudy, background: Hits
) -> None:
    alone, below = records(study, study.empty(6)), records(study, background)
    np.testing.assert_array_equal(alone.pt, below.pt)  # the same signal
    assert (efficiency(below) < efficiency(alone)).all()
    assert (wrong_rate(below) > 10 * wrong_rate(alone)).all()


def test_events_are_independent_of_the_blocks(study: TrackingStudy, background: Hits) -> None:
    whole, parts = records(study, background), Recorder(study)
    for start in range(0, 6, 2):
        parts.add(background.take(np.arange(40 * start, 40 * (start + 2))))
    for name, values in vars(whole).items():
        np.testing.assert_allclose(getattr(parts.records, name), values, rtol=1e-6, atol=1e-9)


def test_signal_tracks_curl_as_their_momentum_says() -> None:
    signal = simulate_signal(GEOMETRY, DETECTOR, calibrated(), 1, range(2), pt_gev=1.0)
    np.testing.assert_allclose(np.abs(signal.parameters[:, 2]), LIGHT_MM * 1.5)
    assert set(np.sign(signal.parameters[:, 2])) == {-1.0, 1.0}


SMALL = Geometry("small", 6, 8, 7, 255, GEOMETRY.sensors[:2])
images = st.lists(st.integers(0, 200), min_size=96, max_size=96).map(
    lambda x: np.array(x).reshape(2, 6, 8)
)


@given(images, images)
@settings(max_examples=30)
def test_overlay_adds_charges_and_saturates(a: np.ndarray, b: np.ndarray) -> None:
    sensor, event = np.arange(2), np.zeros(2, int)
    one, two = (from_dense(x, sensor, event) for x in (a, b))
    both = overlay(one, two, SMALL)
    np.testing.assert_array_equal(to_dense(both, SMALL), np.minimum(a + b, 255))
    np.testing.assert_array_equal(to_dense(overlay(two, one, SMALL), SMALL), to_dense(both, SMALL))


def test_overlay_wants_the_same_sensors() -> None:
    a = from_dense(np.ones((2, 6, 8), int), np.arange(2), np.zeros(2))
    with pytest.raises(InputError, match="same sensors"):
        overlay(a, a.take(np.array([1, 0])), SMALL)


def test_the_command_reports_tracks_of_two_files(tmp_path: Path, background: Hits) -> None:
    out = tmp_path / "a report"
    files = []
    for name, hits in (("real.h5", background), ("made.h5", background.take(np.arange(160)))):
        with EventWriter(tmp_path / name, GEOMETRY, "test") as file:
            file.write(hits)
        files.append(str(tmp_path / name))
    arguments = ["--reference", files[0], "--candidate", files[1], "--tracking", "--out", str(out)]
    assert evaluate(arguments) == 0
    document = json.loads((out / "metrics.json").read_text())
    assert document["metrics"]["tracking_d0"]["value"] == 0  # the same events, the same signal
    assert document["tracking"]["cases"]["candidate"]["tracks"] >= 20_000
    assert "Tracks under each background" in (out / "report.html").read_text()


def test_other_detectors_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "small.h5"
    hits = from_dense(np.full((8, 6, 8), 9), np.tile([0, 1], 4), np.repeat(np.arange(4), 2))
    with EventWriter(path, SMALL, "test") as file:
        file.write(hits)
    with pytest.raises(InputError, match="cannot be simulated"):
        evaluate(["--reference", str(path), "--candidate", str(path), "--tracking"])

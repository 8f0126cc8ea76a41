"""Helices, fit and search against closed forms, and the study on simulated background."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits, concatenate, from_dense, overlay, to_dense
from kerasgen.data.simulation.detector import build_detector, column_centre
from kerasgen.data.simulation.parameters import calibrated_parameters
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.data.simulation.tracks import LIGHT_MM
from kerasgen.data.store import EventWriter
from kerasgen.errors import InputError
from kerasgen.tracking import material
from kerasgen.tracking.comparison import Recorder
from kerasgen.tracking.fit import Points, fit_tracks
from kerasgen.tracking.helix import D0, Z0, from_points, perigee, residuals, to_cylinder
from kerasgen.tracking.measures import (
    Measures,
    bootstrap_measures,
    measure_tracks,
    metric_and_error,
    tracking_metrics,
    tracking_quantities,
    tracking_table,
)
from kerasgen.tracking.pixels import measure_clusters, to_ladder
from kerasgen.tracking.search import find_tracks
from kerasgen.tracking.signal import simulate_signal
from kerasgen.tracking.study import TRACKS, Records, TrackingStudy, half_width
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


def parameters(values: tuple[float, ...]) -> np.ndarray:
    d0, phi0, size, sign, z0, cot = values
    return np.array([[d0, phi0, sign * size, z0, cot]])


def along(p: np.ndarray, path: float) -> tuple[np.ndarray, ...]:
    """The point at a path length from the perigee, from the equation of motion."""
    d0, phi0, k, z0, cot = p[0]
    psi = phi0 + k * path
    x = -d0 * np.sin(phi0) + (np.sin(psi) - np.sin(phi0)) / k
    y = d0 * np.cos(phi0) - (np.cos(psi) - np.cos(phi0)) / k
    return np.array([[x]]), np.array([[y]]), np.array([[z0 + cot * path]])


@given(helices, st.floats(1, 150))
def test_a_point_on_the_helix_has_no_residual(values: tuple[float, ...], path: float) -> None:
    p = parameters(values)
    found = residuals(p, *along(p, path))
    np.testing.assert_allclose(found.value, 0, atol=1e-7)
    np.testing.assert_allclose(found.path, path, rtol=1e-7)


@given(helices, st.floats(5, 150), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_derivatives_are_those_of_the_residuals(
    values: tuple[float, ...], path: float, off: float, high: float
) -> None:
    p = parameters(values)
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
def test_three_points_give_their_helix_back(values: tuple[float, ...]) -> None:
    p = parameters(values)
    points = [along(p, path) for path in (40.0, 80.0, 130.0)]
    x, y, z = (np.concatenate([q[k] for q in points], 1) for k in range(3))
    np.testing.assert_allclose(from_points(x, y, z), p, rtol=1e-5, atol=1e-6)


@given(helices, st.floats(3, 130))
def test_a_helix_reaches_a_cylinder_on_its_own_path(values: tuple[float, ...], r: float) -> None:
    p = parameters(values)
    x, y, z = along(p, 0.0)
    state = np.array([[x[0, 0], y[0, 0], z[0, 0], p[0, 1], p[0, 2], p[0, 4]]])
    there = to_cylinder(state, r)
    assert np.hypot(there[0], there[1])[0] == pytest.approx(r)
    back = perigee(*(v for v in there[:3]), there[3], p[:, 2], p[:, 4])
    np.testing.assert_allclose(back, p, atol=1e-6)


def test_scattering_is_highlands() -> None:
    """1 GeV pion, 1 % of a radiation length, beta 0.99040: 13.6 MeV / 0.9904 GeV x 0.1 x 0.8257."""
    found = material.scattering_angle(np.array([1.0]), np.array([0.01]))
    assert found[0] == pytest.approx(1.1338e-3, rel=1e-4)
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
    assert fit_tracks(points, start, 1.5).sigma(3)[0] == pytest.approx(expected, rel=1e-4)


def test_pixel_positions_are_the_edges_of_the_sensor() -> None:
    sensor = np.arange(40)
    for column, v in ((0.0, 0 * DETECTOR.length), (768.0, DETECTOR.length)):
        found = column_centre(DETECTOR, sensor, np.full(40, column))
        np.testing.assert_allclose(found, v, atol=1.0)
    e, z = to_ladder(DETECTOR, sensor, np.zeros(40), np.zeros(40))
    low, high = (x[DETECTOR.ladder] for x in (DETECTOR.u_low, DETECTOR.u_high))
    np.testing.assert_allclose(e, np.where(DETECTOR.flipped, high, low), atol=1e-9)
    np.testing.assert_allclose(z, np.where(DETECTOR.forward, DETECTOR.z_high, DETECTOR.z_low))


def few_tracks(events: int, seed: int) -> TrackingStudy:
    """A study in which every background event is used once."""
    return TrackingStudy(GEOMETRY, events, seed, tracks=1)


@pytest.fixture(scope="module")
def background() -> Hits:
    return concatenate(list(simulate_events(GEOMETRY, 3, 0, 6)))


def records(study: TrackingStudy, background: Hits, rotated: int = 0) -> Records:
    recorder = Recorder(study, rotated)
    recorder.add(background)
    return recorder.records


@pytest.fixture(scope="module")
def alone() -> Records:
    """At least 20 000 tracks without background."""
    study = few_tracks(504, 5)
    return records(study, study.empty(504))


def test_pulls_without_background_have_width_one(alone: Records) -> None:
    assert len(alone) >= TRACKS == 20_000
    good = (alone.found & alone.expected).all(1)
    for value, sigma in ((alone.d0, alone.sigma_d0), (alone.z0, alone.sigma_z0)):
        pull = (value / sigma)[good]
        assert half_width(pull) == pytest.approx(1, abs=0.03)
        assert abs(pull.mean()) < 5 / np.sqrt(good.sum())
    assert (measure_tracks(alone).efficiency > 0.98).all()
    assert (measure_tracks(alone).wrong < 1e-3).all()


def filtered(radius: np.ndarray, sigma: np.ndarray, scatter: np.ndarray, terms: int) -> np.ndarray:
    """Error of the position at the beam from a Kalman filter that goes inwards.

    In a field the transverse coordinate is a parabola of the path (``terms`` 3), z a line (2).

    Args:
        radius: [layers], from inside to outside, the pipe first.
        sigma: [layers, N], of the points; infinite for the pipe.
        scatter: [layers, N], rms of the change of slope.
        terms: position, slope and, if 3, curvature.
    """
    n = sigma.shape[1]
    covariance = np.tile(np.diag([1e4, 1e2, 1e0][:terms]), (n, 1, 1)).astype(float)
    here = radius[-1]
    for k in reversed(range(len(radius))):
        step = radius[k] - here
        transport = np.eye(terms)
        transport[0, 1] = step
        if terms == 3:
            transport[0, 2], transport[1, 2] = step**2 / 2, step
        covariance = transport @ covariance @ transport.T
        gain = covariance[:, :, 0] / (covariance[:, 0, 0] + sigma[k] ** 2)[:, None]
        covariance = covariance - gain[:, :, None] * covariance[:, None, 0, :]
        covariance[:, 1, 1] += scatter[k] ** 2
        here = radius[k]
    back = np.array([1.0, -here, here**2 / 2][:terms])
    return np.sqrt(back @ covariance @ back)


@pytest.mark.parametrize("pt", [0.3, 2.0])
def test_resolution_is_that_of_an_analytic_filter(pt: float) -> None:
    """Errors of the fit, and the residuals, against scattering and points propagated by hand."""
    study = few_tracks(2, 5)
    signal = simulate_signal(GEOMETRY, DETECTOR, calibrated_parameters(), 8, range(100), pt_gev=pt)
    clusters = measure_clusters(
        signal.hits(GEOMETRY), GEOMETRY, DETECTOR, study.shift_um, study.errors
    )
    found = find_tracks(signal, clusters, GEOMETRY, DETECTOR)
    good = (found.cluster >= 0).all(1)
    chosen = found.cluster[good].T
    cot = signal.parameters[good, 4]
    slant = np.sqrt(1 + cot**2)
    radius = np.array([material.PIPE_MM, 14.0, 22.0, *material.STRIPS_MM])
    thick = np.array([material.PIPE, *[material.PIXELS] * 2, *[material.STRIPS] * 4])
    angle = material.scattering_angle(pt * slant, thick[:, None] * slant) * slant
    one = np.ones_like(cot)
    no, strip_e, strip_z = np.inf * one, material.STRIP_RPHI_MM * one, material.STRIP_Z_MM * one
    across = np.stack([no, *clusters.sigma_e[chosen], *[strip_e] * 4])
    along = np.stack([no, *clusters.sigma_z[chosen], *[strip_z] * 4])
    for parameter, expected in (
        (D0, filtered(radius, across, angle, 3)),
        (Z0, filtered(radius, along, angle * slant, 2)),
    ):
        ratio = found.fit.sigma(parameter)[good] / expected
        assert np.median(ratio) == pytest.approx(1, abs=0.04)
        gap = (found.fit.parameters - signal.parameters)[good, parameter]
        assert half_width(gap / expected) == pytest.approx(1, abs=0.09)


def test_background_costs_efficiency_and_brings_wrong_hits(
    alone: Records, background: Hits
) -> None:
    below = records(few_tracks(6, 5), background)
    np.testing.assert_array_equal(alone.pt[: len(below)], below.pt)  # the same signal
    assert (measure_tracks(below).efficiency < measure_tracks(alone).efficiency).all()
    assert (measure_tracks(below).wrong > 10 * measure_tracks(alone).wrong).all()


def test_events_are_independent_of_the_blocks(background: Hits) -> None:
    study = few_tracks(6, 5)
    whole, parts = records(study, background), Recorder(study)
    for start in range(0, 6, 2):
        parts.add(background.take(np.arange(40 * start, 40 * (start + 2))))
    for name, values in vars(whole).items():
        np.testing.assert_allclose(getattr(parts.records, name), values, rtol=1e-6, atol=1e-9)


def normal_records(n: int, seed: int, width: float, wrong: float) -> Records:
    """Tracks of n events whose residuals are normal with a known width, mm."""
    rng = np.random.default_rng(seed)
    size = n * 40
    d0, z0 = width * rng.standard_normal((2, size))
    mistaken = rng.random((size, 2)) < wrong
    every = np.ones((size, 2), bool)
    return Records(
        np.repeat(np.arange(n), 40), np.exp(rng.uniform(np.log(0.16), np.log(3.9), size)),
        d0, z0, np.full(size, width), np.full(size, width), every, ~mistaken, mistaken,
    )  # fmt: skip


def test_measures_of_known_residuals() -> None:
    """Widths 10 and 12 um: ratio 1.2, W2^2 of two coordinates 2 (12 - 10)^2 um^2."""
    a, b = normal_records(200, 1, 0.010, 0.02), normal_records(200, 2, 0.012, 0.05)
    rotated = normal_records(200, 3, 0.010, 0.02)
    cases = [a, rotated, b, normal_records(200, 4, 0.010, 0.02)]
    of_a, of_rotated, of_b, of_same = bootstrap_measures(cases, 0)
    found = tracking_metrics(of_a, of_rotated, of_b, len(b))
    assert found["tracking_d0"]["value"] == pytest.approx(0.2, abs=0.03)
    assert found["tracking_frechet"]["value"] == pytest.approx(8e-6, rel=0.2)
    assert found["tracking_wrong_hits"]["value"] == pytest.approx(0.03, abs=0.004)
    assert not any(m["within"] for m in found.values())
    same = tracking_metrics(of_a, of_rotated, of_same, len(b))
    assert all(m["within"] for m in same.values())
    listed = tracking_table(
        {"none": a, "real": rotated, "made": b}, {"none": of_a, "real": of_rotated, "made": of_b}
    )
    assert [pair[:2] for pair in listed["frechet"]] == [
        ["none", "real"], ["none", "made"], ["real", "made"],
    ]  # fmt: skip
    value, error = listed["frechet"][1][2:]
    assert abs(value - 8e-6) < 4 * error
    width, error = listed["cases"]["made"]["d0"][2]
    assert abs(width - 12) < 4 * error
    systematic = tracking_quantities(of_a, of_b, 200)["d0_resolution"]
    gap = systematic["candidate"] - systematic["reference"]
    assert abs(gap - 2) < 4 * systematic["difference_error"]
    assert systematic["seen"]


def test_bins_and_samples_without_a_value_are_left_out() -> None:
    """A pT bin with two equal residuals has no width, one without tracks no value."""
    a, b = normal_records(40, 1, 0.010, 0.02), normal_records(40, 2, 0.012, 0.02)
    low = a.pt < 0.3
    cases = []
    for records_of in (a, a, b):
        d0 = np.where(low, 0.001, records_of.d0)
        pt = np.where(records_of.pt > 1.2, 1.0, records_of.pt)
        expected = records_of.expected & np.array([True, False])
        cases.append(replace(records_of, pt=np.where(low, a.pt, pt), d0=d0, expected=expected))
    real, same, made = bootstrap_measures(cases, 0)
    assert real[0].d0[0] == 0
    assert np.isnan(real[0].d0[-1])
    assert np.isnan(real[0].efficiency[1])
    found = tracking_metrics(real, same, made, len(b))
    assert found["tracking_d0"]["value"] == pytest.approx(0.2, abs=0.1)
    assert found["tracking_d0"]["error"] < 0.1
    assert found["tracking_efficiency"]["error"] < 0.1
    assert tracking_quantities(real, made, 40)["hit_efficiency"]["difference_error"] < 0.1


def test_infinite_values_of_bootstrap_samples_are_no_error() -> None:
    of = [measure_tracks(normal_records(40, k, 0.01, 0.02)) for k in range(6)]

    def metric(a: Measures, b: Measures) -> float:
        return float("inf") if a is of[2] else float(b.d0[0])

    value, error = metric_and_error(metric, of, of)
    assert value == of[0].d0[0]
    assert error == pytest.approx(np.std([of[k].d0[0] for k in (1, 3, 4, 5)], ddof=1))


def test_signal_tracks_curl_as_their_momentum_says() -> None:
    signal = simulate_signal(GEOMETRY, DETECTOR, calibrated_parameters(), 1, range(2), pt_gev=1.0)
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
    arguments = ["--reference", files[0], "--candidate", files[1], "--out", str(out)]
    with pytest.raises(InputError, match="--tracks goes with --tracking"):
        evaluate([*arguments, "--tracks", "400"])
    assert evaluate([*arguments, "--tracking", "--tracks", "400"]) == 0
    document = json.loads((out / "metrics.json").read_text())
    assert document["metrics"]["tracking_d0"]["value"] == 0  # the same events, the same signal
    assert document["tracking"]["cases"]["candidate"]["tracks"] == 480
    assert document["quantities"]["d0_resolution"]["unit"] == "um"
    html = (out / "report.html").read_text()
    assert "Tracks under each background" in html
    assert "no background - real background" in html
    assert {"track_resolution.png", "track_residuals.png"} <= {p.name for p in out.iterdir()}


def test_other_detectors_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "small.h5"
    hits = from_dense(np.full((8, 6, 8), 9), np.tile([0, 1], 4), np.repeat(np.arange(4), 2))
    with EventWriter(path, SMALL, "test") as file:
        file.write(hits)
    with pytest.raises(InputError, match="cannot be simulated"):
        evaluate(["--reference", str(path), "--candidate", str(path), "--tracking"])

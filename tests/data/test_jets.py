"""Jets: coordinates, features, simulation with Pythia and FastJet, foreign files."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kerasgen.command import run
from kerasgen.data import convert, simulate
from kerasgen.data.jet_files import JetNetFile
from kerasgen.data.jet_simulation import simulate_part, simulated_jets
from kerasgen.data.jets import (
    COORDINATES,
    SCHEMA,
    build_jets,
    from_coordinates,
    jet_observables,
    to_coordinates,
)
from kerasgen.data.point_store import PointFile
from kerasgen.data.points import TYPES, check_sets, concatenate
from kerasgen.errors import InputError

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def test_two_particles_by_hand():
    # pT 1/2 each at phi = ±0.4: m^2 = 2 (1/2)(1/2)(1 - cos 0.8), pT = cos 0.4.
    points = np.array([[[0, 0.4, 0.5], [0, -0.4, 0.5], [9, 9, 9]]])
    found = jet_observables(points, np.array([[True, True, False]]))
    assert found["mass"][0] == pytest.approx(math.sqrt(0.5 * (1 - math.cos(0.8))))
    assert found["pt"][0] == pytest.approx(math.cos(0.4))
    assert found["eta"][0] == pytest.approx(0)


def test_decay_at_rest_seen_in_flight():
    # A particle of mass 80 and pT 1000 at eta 0.5 decays in two; the sum must be the particle.
    rng = np.random.default_rng(0)
    cos, phi = rng.uniform(-1, 1, 50), rng.uniform(0, 2 * np.pi, 50)
    sin = np.sqrt(1 - cos**2)
    half = 40 * np.stack([sin * np.cos(phi), sin * np.sin(phi), cos], -1)
    p, e = np.array([1000, 0, 1000 * math.sinh(0.5)]), math.hypot(1000 * math.cosh(0.5), 80)
    gamma_minus_1 = e / 80 - 1
    direction = p / np.linalg.norm(p)
    constituents = []
    for q in half:
        both = [s * q + direction * (gamma_minus_1 * (s * q) @ direction) + p / 2 for s in (1, -1)]
        pt = [np.hypot(k[0], k[1]) for k in both]
        rows = [
            [t, np.arcsinh(k[2] / t), np.arctan2(k[1], k[0])] for k, t in zip(both, pt, strict=True)
        ]
        constituents.append(np.array(rows))
    axes = np.tile([1000, 0.5, 0, 80], (50, 1))
    sets = build_jets(constituents, axes, np.zeros(50), 30, "toy")
    found = jet_observables(sets.points, sets.mask)
    np.testing.assert_allclose(found["mass"], 0.08, rtol=1e-3)
    np.testing.assert_allclose(found["pt"], 1, rtol=1e-5)
    # A massive jet is a little off its axis: rapidities add up, pseudorapidities do not.
    np.testing.assert_allclose(found["eta"], 0, atol=2e-3)
    assert (np.diff(sets.points[:, :2, 2], axis=1) <= 0).all()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), system=st.sampled_from(sorted(COORDINATES)))
def test_coordinates_and_back(seed: int, system: str):
    rng = np.random.default_rng(seed)
    points = rng.uniform([-0.8, -0.8, 1e-3], [0.8, 0.8, 0.5], (5, 6, 3))
    mask = np.arange(6) < rng.integers(1, 7, (5, 1))
    points = np.where(mask[..., None], points, 0)
    features = np.stack([rng.uniform(800, 1600, 5), rng.uniform(-2, 2, 5)], -1)
    moved = to_coordinates(points, mask, features, system)
    assert not moved[~mask].any()
    np.testing.assert_allclose(from_coordinates(moved, mask, features, system), points, atol=1e-9)


def test_momentum_along_the_beam_stays_a_number():
    mask, features = np.array([[True]]), np.array([[1000.0, 0.3]])
    found = from_coordinates(np.array([[[0.0, 0.0, 5.0]]]), mask, features, "cartesian")
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize(
    ("momenta", "pt", "reason"),
    [
        ([], 900.0, "jet 0 has no constituents"),
        ([[-1.0, 0, 0]], 900.0, "jet 0 has a pT that is negative"),
        ([[np.nan, 0, 0]], 900.0, "not a number"),
        ([[1.0, 0, 0]], 0.0, "jet 0 has a pT"),
    ],
)
def test_bad_jets(momenta: list, pt: float, reason: str):
    with pytest.raises(InputError) as error:
        build_jets(
            [np.array(momenta).reshape(-1, 3)], np.array([[pt, 0, 0, 1]]), np.zeros(1), 5, "x"
        )
    assert reason in str(error.value)


@pytest.fixture(scope="module")
def gluons():
    return simulate_part("gluon", 150, 1, 0, jets=60)


def test_simulated_jets_are_jets(gluons):
    check_sets(gluons, SCHEMA, "simulation")
    pt, _, mass, count = gluons.features.T
    assert ((pt > 800) & (pt < 1600)).all()
    assert (np.diff(gluons.points[..., 2], axis=1) <= 0).all()
    found = jet_observables(gluons.points, gluons.mask)
    # What is left out below 1 GeV is soft and at wide angles: little pT, more mass.
    assert (found["pt"] > 0.93).all()
    assert (found["mass"] * pt < mass * 1.001).all()
    assert 0.8 < np.mean(found["mass"] * pt / mass) < 0.95
    assert np.hypot(gluons.points[..., 0], gluons.points[..., 1]).max() < 1.2
    assert (count == gluons.counts).mean() > 0.95  # few jets have more than 150


def test_same_seed_same_jets(gluons):
    again = simulate_part("gluon", 150, 1, 0, jets=10)
    np.testing.assert_array_equal(again.points, gluons.points[:10])
    other = simulate_part("gluon", 150, 1, 1, jets=10)
    assert not np.array_equal(other.points, again.points)


def test_multiplicity_of_classes(gluons):
    """Means as in JetNet within the statistical error of 60 jets (sd 22, 17 and 17)."""
    for name, mean, sd in (("gluon", 66.6, 22.0), ("quark", 38.3, 16.9), ("top", 62.9, 17.5)):
        sets = gluons if name == "gluon" else simulate_part(name, 150, 1, 0, jets=60)
        assert abs(sets.features[:, 3].mean() - mean) < 4 * sd / math.sqrt(60)


def test_interrupted_simulation_resumes_from_the_cache(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("kerasgen.data.jet_simulation.JETS_PER_PART", 8)
    monkeypatch.setattr(simulate_part, "__defaults__", (8,))

    def sample(jets: int, size: int):
        return concatenate(simulated_jets(tmp_path, ["gluon", "quark"], jets, size, 1))

    first = sample(20, 30)
    assert first.label.tolist() == [0] * 8 + [1] * 8 + [0] * 4
    assert first.points.shape == (20, 30, 3)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert len(times) == 3
    damaged, gone, kept = sorted(times)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    gone.unlink()
    again = sample(20, 150)
    np.testing.assert_array_equal(again.points[:, :30], first.points)
    assert kept.stat().st_mtime_ns == times[kept]
    assert damaged.stat().st_mtime_ns != times[damaged]


def test_simulate_command(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kerasgen.data.jet_simulation.JETS_PER_PART", 8)
    monkeypatch.setattr(simulate_part, "__defaults__", (8,))
    out = tmp_path / "jets.h5"
    arguments = ["jets", "--events", "10", "--out", str(out), "--classes", "top", "--points", "20"]
    assert run(simulate.main, arguments) == 0
    with PointFile(out) as file:
        assert (len(file), file.size, file.schema) == (10, 20, SCHEMA)
        assert (file.read(0, 10).label == 2).all()
    for classes, reason in (("gloun", "did you mean 'gluon'"), ("z", "unknown class of jets 'z'")):
        more = ["--classes", classes, "--force"]
        assert run(simulate.main, ["jets", "--events", "10", "--out", str(out), *more]) == 2
        line = capsys.readouterr().err
        assert reason in line
        assert line.count("\n") == 1
    assert run(simulate.main, [*arguments[:5], "--points", "151", "--force"]) == 2


def write_jetnet(path: Path, columns: int = 4, gap: bool = False) -> np.ndarray:
    rng = np.random.default_rng(2)
    particles = rng.uniform(0.01, 0.5, (6, 5, 4)).astype(np.float32)
    particles[..., 3] = 1
    particles[1, 3:] = 0
    if gap:
        particles[2, 1] = 0
    jets = np.tile([1000, 0.5, 90, 5.0], (6, 1))
    with h5py.File(path, "w") as file:
        file["particle_features"] = particles[..., :columns]
        file["jet_features"] = jets
    return particles


@pytest.mark.parametrize("gap", [False, True])
def test_convert_jetnet(tmp_path: Path, gap: bool):
    particles = write_jetnet(tmp_path / "g5.hdf5", gap=gap)
    assert run(convert.main, [str(tmp_path / "g5.hdf5"), str(tmp_path / "out.h5")]) == 0
    with PointFile(tmp_path / "out.h5") as file:
        sets = file.read(0, 6)
    assert (sets.label == 0).all()
    assert sets.counts.tolist() == [5, 3, 4 if gap else 5, 5, 5, 5]
    for row, (points, mask) in enumerate(zip(sets.points, sets.mask, strict=True)):
        given_points = particles[row][particles[row, :, 3] > 0, :3]
        order = np.argsort(-given_points[:, 2])
        np.testing.assert_array_equal(points[mask], given_points[order])


@pytest.mark.parametrize("gap", [False, True])
def test_jetnet_as_it_is_and_converted_are_the_same_jets(tmp_path: Path, monkeypatch, gap: bool):
    monkeypatch.setattr("kerasgen.data.jet_files.BLOCK", 4)
    source, out = tmp_path / "q5.hdf5", tmp_path / "out.h5"
    write_jetnet(source, gap=gap)
    assert run(convert.main, [str(source), str(out)]) == 0
    with JetNetFile(source) as file, PointFile(out) as converted:
        assert (len(file), file.size, file.schema) == (6, 5, converted.schema)
        np.testing.assert_array_equal(file.labels(), converted.labels())
        for start, stop in ((0, 6), (1, 3), (3, 6), (5, 9)):
            found, expected = file.read(start, stop), converted.read(start, stop)
            check_sets(found, SCHEMA, "found")
            for name in TYPES:
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_jetnet_reader_names_jets_of_the_file(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("kerasgen.data.jet_files.BLOCK", 2)
    for index, value, reason in (
        ((4, slice(None), 3), 0, "jet 4 has no particles; kerasgen convert leaves such jets out"),
        ((5, 1, 2), -1, "jet 5, particle 1 has a negative pt_rel"),
    ):
        path = tmp_path / "anything.hdf5"
        write_jetnet(path)
        with h5py.File(path, "a") as file:
            file["particle_features"][index] = value
        with JetNetFile(path) as jets:
            assert jets.schema.classes == ("unknown",)
            with pytest.raises(InputError, match=reason):
                jets.read(0, 6)


@pytest.mark.parametrize(
    ("name", "columns", "options", "reason"),
    [
        ("x.hdf5", 4, [], "--class of its jets is None"),
        ("g.hdf5", 4, ["--class", "gluno"], "did you mean 'gluon'"),
        ("g.hdf5", 3, [], "expected particle_features [n, P, 4]"),
        ("g.hdf5", 4, ["--points", "6"], "has 5 constituents per jet, 6 were asked for"),
        ("g.hdf5", 4, ["--collection", "Jet"], "--collection is not for jetnet input"),
    ],
)
def test_bad_jetnet_is_one_line(tmp_path, name, columns, options, reason, capsys):
    write_jetnet(tmp_path / name, columns)
    out = tmp_path / "out.h5"
    assert run(convert.main, [str(tmp_path / name), str(out), *options]) == 2
    line = capsys.readouterr().err
    assert reason in line
    assert line.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("dataset", "place", "value", "reason"),
    [
        ("particle_features", (0, 0, 2), -1, "jet 0, particle 0 has a negative pt_rel, -1.0"),
        ("particle_features", (5, 3, 2), np.nan, "jet 5, particle 3: pt_rel is nan, not a number"),
        ("particle_features", (2, 1, 0), np.inf, "particle 1: eta_rel is inf, not a finite number"),
        ("particle_features", (2, 0, 3), np.nan, "jet 2, particle 0: mask is nan, not a number"),
        ("particle_features", (..., 2), 300, "pt_rel is above 1 in 6 of 6 jets (up to 300)"),
        ("particle_features", (..., 3), 0, "none of its 6 jets has constituents"),
        ("jet_features", (3, 2), np.nan, "jet 3: mass is nan, not a number"),
        ("jet_features", (3, 0), 1e300, "jet 3: pt is inf, not a finite number"),
    ],
)
def test_bad_jets_of_jetnet(tmp_path, dataset, place, value, reason, capsys):
    write_jetnet(tmp_path / "g.hdf5")
    with h5py.File(tmp_path / "g.hdf5", "a") as file:
        file[dataset][place] = value
    assert_refused(tmp_path / "g.hdf5", reason, capsys)


def assert_refused(source: Path, reason: str, capsys, *options: str) -> None:
    """The file is refused in one line, and nothing is written."""
    out = source.with_name("out.h5")
    assert run(convert.main, [str(source), str(out), *options]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"kerasgen: {source}: ")
    assert reason in line
    assert line.count("\n") == 1
    assert not list(source.parent.glob("*out.h5"))


@pytest.mark.parametrize(
    ("dataset", "change", "reason"),
    [
        ("jet_features", lambda a: a[:-2], "particle_features are of 6 jets and jet_features of 4"),
        ("jet_features", lambda a: a[[*range(6), 0]], "of 6 jets and jet_features of 7"),
        ("jet_features", lambda a: a[:, 0], "expected jet_features [n, 4], numbers"),
        ("jet_features", lambda a: a.astype("S8"), "expected jet_features [n, 4], numbers"),
        ("jet_features", None, "expected jet_features [n, 4]"),
        ("particle_features", lambda a: a[..., 0], "expected particle_features [n, P, 4]"),
        ("particle_features", None, "expected particle_features [n, P, 4]"),
        ("particle_features", lambda a: a[:, :0], "none of its 6 jets has constituents"),
    ],
)
def test_arrays_of_jetnet_that_do_not_fit(tmp_path, dataset, change, reason, capsys):
    write_jetnet(tmp_path / "g.hdf5")
    with h5py.File(tmp_path / "g.hdf5", "a") as file:
        values = file[dataset][()]
        del file[dataset]
        if change:
            file[dataset] = change(values)
    assert_refused(tmp_path / "g.hdf5", reason, capsys)


def test_a_jetnet_file_of_no_jets(tmp_path, capsys):
    with h5py.File(tmp_path / "g.hdf5", "w") as file:
        file["particle_features"], file["jet_features"] = np.zeros((0, 5, 4)), np.zeros((0, 4))
    assert_refused(tmp_path / "g.hdf5", "empty, there are no jets", capsys)


def test_jets_of_one_particle_may_round_above_one(tmp_path):
    write_jetnet(tmp_path / "g.hdf5")
    with h5py.File(tmp_path / "g.hdf5", "a") as file:
        file["particle_features"][:, 0, 2] = np.float32(1.0000001)
        file["particle_features"][:, 1:, 3] = 0
    assert run(convert.main, [str(tmp_path / "g.hdf5"), str(tmp_path / "out.h5")]) == 0


def test_jets_of_jetnet_without_particles_are_left_out(tmp_path, capsys):
    write_jetnet(tmp_path / "g.hdf5")
    with h5py.File(tmp_path / "g.hdf5", "a") as file:
        file["particle_features"][4, :, 3] = 0
        file["particle_features"][4, :, :3] = np.nan  # padding may hold anything
    out = tmp_path / "out.h5"
    assert run(convert.main, [str(tmp_path / "g.hdf5"), str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: written; 1 of 6 jets left out: no constituents\n"
    with PointFile(out) as file:
        assert file.read(0, 5).counts.tolist() == [5, 3, 5, 5, 5]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_jetnet_is_refused_or_good(data):
    numbers = st.sampled_from([0.0, 0.4, 1.0, -1.0, 1e39, 1e300, math.nan, math.inf])

    def array(axes: int) -> np.ndarray:
        shape = data.draw(st.tuples(*[st.integers(0, 5)] * axes))
        return data.draw(arrays(data.draw(st.sampled_from(["f8", "i4", "?"])), shape))

    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name) / "g.hdf5", Path(name) / "out.h5"
        write_jetnet(source)
        with h5py.File(source, "a") as file:
            dataset = data.draw(st.sampled_from(["particle_features", "jet_features"]))
            if data.draw(st.booleans()):
                shape = file[dataset].shape
                place = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
                values = file[dataset][()].astype(np.float64)
                values[place] = data.draw(numbers)
            else:
                values = array(data.draw(st.integers(0, 4)))
            del file[dataset]
            file[dataset] = values
        code = run(convert.main, [str(source), str(out)])
        assert code == (0 if out.exists() else 2)
        if code == 0:
            with PointFile(out) as file:
                check_sets(file.read(0, len(file)), SCHEMA, "out")


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not here")
@pytest.mark.parametrize(
    ("collection", "name"), [("FatJet", "ak8"), ("Jet", "ak4"), ("GenJetAK8", "genak8")]
)
def test_cms_jets(tmp_path: Path, collection: str, name: str):
    folder = SHARED / "cms_pfnano_jets"
    source, out = folder / "pfnano.root", tmp_path / "cms.h5"
    assert run(convert.main, [str(source), str(out), "--collection", collection]) == 0
    jets = np.load(folder / "pfnano_jets.npz")[f"{name}_jets"]
    with PointFile(out) as file:
        sets = file.read(0, len(file))
        assert file.schema.classes == ("unknown",)
    np.testing.assert_array_equal(sets.features[:, 3], jets[:, 5])
    np.testing.assert_allclose(sets.features[:, 0], jets[:, 1], rtol=1e-6)
    closure = jet_observables(sets.points, sets.mask)["pt"]
    if name == "genak8":  # generated constituents add up to their jet
        np.testing.assert_allclose(closure, 1, atol=1e-3)
    else:
        assert 0.7 < np.median(closure) < 1.1


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not here")
def test_unknown_collection(tmp_path: Path, capsys):
    source = SHARED / "cms_pfnano_jets" / "pfnano.root"
    arguments = [str(source), str(tmp_path / "cms.h5"), "--collection", "FatJets"]
    assert run(convert.main, arguments) == 2
    assert "did you mean 'FatJet'" in capsys.readouterr().err

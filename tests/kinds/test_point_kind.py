"""Point sets: how few are compared at all, and jets whose pT is not relative."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from point_sets import toy_jets, toy_superpixels, write_jetnet, write_toy_jets
from scipy.stats import wasserstein_distance

from kerasgen.command import run
from kerasgen.data.jets import SCHEMA as JETS
from kerasgen.data.jets import jet_observables
from kerasgen.data.point_source import PointDataSettings, divide, open_sets, read_sets
from kerasgen.data.point_store import PointFile, write_points
from kerasgen.data.superpixels import SCHEMA
from kerasgen.errors import InputError
from kerasgen.evaluation.point_sets import PointEvaluationSettings
from kerasgen.zoo.evaluate import main


@pytest.mark.parametrize(
    ("sets", "jets", "least"), [(6, True, 100), (99, True, 100), (150, False, 200)]
)
def test_few_sets_are_refused_in_one_line(
    tmp_path: Path, sets: int, jets: bool, least: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sets.h5"
    if jets:
        write_toy_jets(path, sets)
    else:
        write_points(path, SCHEMA, [toy_superpixels(sets)], "tests")
    out = tmp_path / "report"
    files = ["--reference", str(path), "--candidate", str(path), "--out", str(out)]
    assert run(main, files) == 2
    line = capsys.readouterr().err
    assert f"has {sets} point sets; at least {least} are needed" in line
    assert line.count("\n") == 1
    assert not out.exists()


def absolute(path: Path, jets: int | None = None) -> Path:
    """A file of jets, of which the first so many have constituents with pT in GeV."""
    write_toy_jets(path)
    with h5py.File(path, "a") as file:
        file["points"][:jets, :, 2] *= file["features"][:jets, :1]
    return path


@pytest.mark.parametrize("bad", ["reference", "candidate"])
def test_absolute_pt_is_refused_in_one_line(
    tmp_path: Path, bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"{name}.h5" for name in ("reference", "candidate")}
    for name, path in files.items():
        absolute(path, None if name == bad else 0)
    arguments = [x for name, path in files.items() for x in (f"--{name}", str(path))]
    assert run(main, [*arguments, "--out", str(tmp_path / "report")]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"kerasgen: {files[bad]}: pt_rel is above 1 in 600 of 600 jets (up to ")
    assert "expected: the pT of a constituent divided by the pT of its jet, 0 to 1" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_training_refuses_absolute_pt(tmp_path: Path) -> None:
    path = absolute(tmp_path / "jets.h5")
    settings = PointDataSettings(source=str(path), held_out=100)
    with PointFile(path) as file, pytest.raises(InputError, match="pt_rel is above 1 in 600"):
        divide(file, settings)


def test_a_few_jets_above_one_are_those_of_a_bad_generator(tmp_path: Path) -> None:
    path = absolute(tmp_path / "jets.h5", 200)
    settings = PointDataSettings(source=str(path), held_out=100)
    with PointFile(path) as file:
        assert len(divide(file, settings).training) == 500


def test_jets_of_other_coordinates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "jets.h5"
    schema = replace(JETS, coordinates=("px", "py", "pz"))
    write_points(path, schema, [toy_jets(200)], "tests")
    settings = PointDataSettings(source=str(path), held_out=100)
    with PointFile(path) as file, pytest.raises(InputError, match=r"jets of px.*expected: eta_rel"):
        divide(file, settings)


def test_the_same_sets_twice_are_remarked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, copy = tmp_path / "sets.h5", tmp_path / "copy.h5"
    write_toy_jets(path, 100)
    copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(
        "kerasgen.evaluation.point_sets.WITHOUT_RUN", PointEvaluationSettings(100, 2, 10)
    )
    out = tmp_path / "report"
    files = ["--reference", str(path), "--candidate", str(copy), "--out", str(out)]
    assert run(main, files) == 0
    line = f"Candidate and reference are the same events: {copy} and {path}."
    assert capsys.readouterr().out.startswith(f"{line}\n")
    assert json.loads((out / "metrics.json").read_text())["remarks"] == [line]


@pytest.fixture
def few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    small = PointEvaluationSettings(100, 2, 10)
    monkeypatch.setattr("kerasgen.evaluation.point_sets.WITHOUT_RUN", small)


def judge(out: Path, reference: Path, candidate: Path | str, *options: str) -> dict[str, Any]:
    files = ["--reference", str(reference), "--candidate", str(candidate), "--out", str(out)]
    assert run(main, [*files, *options]) == 0
    document: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return document


@pytest.mark.usefixtures("few_batches")
def test_jetnet_files_are_judged_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 30 particles of jets whose pT is that of more: the sum stays below 1, as in JetNet."""
    real, other = (toy_jets(n, 30, seed=n) for n in (300, 200))
    real = replace(real, points=real.points * np.array([1, 1, 0.9], np.float32))
    for name, sets in (("jetnet.hdf5", real), ("g30.hdf5", other)):
        write_jetnet(tmp_path / name, sets)
    found = judge(tmp_path / "report", tmp_path / "jetnet.hdf5", tmp_path / "g30.hdf5")
    assert found["events"] == {"reference": 300, "generated": 200}
    sums = [x.points[..., 2].sum(axis=1).mean() for x in (real, other)]
    assert sums[0] == pytest.approx(0.9)
    plain = [jet_observables(x.points, x.mask) for x in (real, other)]
    for name in ("mass", "pt"):
        values = [found["quantities"][name][side] for side in ("reference", "candidate")]
        assert values == pytest.approx([x[name].mean() for x in plain], rel=1e-6)
    w1m = wasserstein_distance(*(x["mass"] for x in plain))
    assert found["metrics"]["w1m"]["value"] == pytest.approx(w1m, rel=1e-6)
    assert (found["jetnet"]["batches"], found["jetnet"]["batch"]) == (5, 50_000)
    drawn = found["jetnet"]["metrics"]["w1m"]
    assert drawn["value"] == pytest.approx(w1m, rel=0.2)
    assert 0 < drawn["error"] < 0.1 * w1m
    assert "W1 of 5 batches of 50 000 jets drawn with replacement" in capsys.readouterr().out
    write_points(tmp_path / "same.h5", JETS, [other], "tests")
    again = judge(tmp_path / "again", tmp_path / "jetnet.hdf5", tmp_path / "same.h5")
    assert again["metrics"] == found["metrics"]


@pytest.mark.usefixtures("few_batches")
def test_classes_have_metrics_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kerasgen.evaluation.point_sets.MIN_OF_CLASS", 100)
    samples = [toy_jets(n, 6, seed=n) for n in (400, 420)]
    # Quarks of the candidate are as wide as gluons.
    wide = samples[1].label == 1
    samples[1].points[wide, :, :2] *= 3
    for name, sets in zip("ab", samples, strict=True):
        write_points(tmp_path / f"{name}.h5", JETS, [sets], "tests")
    found = judge(tmp_path / "report", tmp_path / "a.h5", tmp_path / "b.h5")["classes"]
    assert list(found) == ["gluon", "quark"]
    for label, name in enumerate(found):
        mass = [
            jet_observables(x.points, x.mask)["mass"][x.label == label]
            for x in (PointFile(tmp_path / f"{n}.h5").read(0, 500) for n in "ab")
        ]
        value = found[name]["w1m"]["value"]
        assert value == pytest.approx(wasserstein_distance(*mass), rel=1e-6)
    assert found["gluon"]["w1m"]["within"]
    assert not found["quark"]["w1m"]["within"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Metrics by class" in page
    gluons = samples[0].take(samples[0].label == 0)
    write_points(tmp_path / "gluons.h5", JETS, [gluons], "tests")
    of_gluons = judge(tmp_path / "two", tmp_path / "gluons.h5", tmp_path / "gluons.h5")
    assert of_gluons["classes"] == {}


@pytest.mark.usefixtures("few_batches")
def test_a_recipe_is_judged_on_a_jetnet_file(tmp_path: Path) -> None:
    write_jetnet(tmp_path / "g30.hdf5", toy_jets(200, 30))
    found = judge(tmp_path / "a", tmp_path / "g30.hdf5", "jet_vae_flow", "--events", "150")
    assert found["events"] == {"reference": 200, "generated": 150}
    assert found["data"].keys() == {"g30.hdf5", "jet_vae_flow"}
    assert found["verdict"] == "outside floor"  # of Gaussian toys


def test_jetnet_files_of_other_sizes_and_broken_ones_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / name for name in ("g30.hdf5", "g150.hdf5", "g.hdf5", "q.hdf5")]
    for path, n, size in zip(paths, (150, 150, 150, 0), (30, 150, 30, 30), strict=True):
        write_jetnet(path, toy_jets(150, size).take(slice(0, n)))
    with h5py.File(paths[2], "a") as file:
        del file["jet_features"]
    out = tmp_path / "report"
    for path, reason in (
        (paths[1], "sets of at most 30 and of 150 points do not compare; kerasgen convert IN OUT "
         "--points 30 keeps the hardest particles"),
        (paths[2], f"{paths[2]}: expected jet_features [n, 4], numbers"),
        (tmp_path, f"{tmp_path}: no run folder"),
        (paths[3], f"{paths[3]} has 0 point sets; at least 100 are needed"),
        (tmp_path / "no.hdf5", f"{tmp_path / 'no.hdf5'}: cannot be read (No such file"),
    ):  # fmt: skip
        files = ["--reference", str(paths[0]), "--candidate", str(path), "--out", str(out)]
        assert run(main, files) == 2
        line = capsys.readouterr().err
        assert reason in line
        assert line.count("\n") == 1
        assert not out.exists()


def test_a_training_reads_jetnet(tmp_path: Path) -> None:
    path = tmp_path / "t30.hdf5"
    write_jetnet(path, toy_jets(300, 30))
    settings = PointDataSettings(source=str(path), classes=["top"], held_out=100, points=20)
    with open_sets(path) as file:
        training, held_out = read_sets(file, settings)
    assert training.points.shape == (200, 20, 3)
    assert (held_out.label == 2).all()
    whole = np.sort(toy_jets(300, 30).points[:, 0, 2])
    leading = np.concatenate([x.points[:, 0, 2] for x in (training, held_out)])
    np.testing.assert_array_equal(np.sort(leading), whole)

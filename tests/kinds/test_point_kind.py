"""Point sets: how few are compared at all, and jets whose pT is not relative."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
from point_sets import toy_jets, toy_superpixels, write_toy_jets

from kerasgen.command import run
from kerasgen.data.jets import SCHEMA as JETS
from kerasgen.data.point_source import PointDataSettings, divide
from kerasgen.data.points import PointFile, write_points
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

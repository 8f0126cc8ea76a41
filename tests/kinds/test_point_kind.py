"""Point sets: how few are compared at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from point_sets import toy_superpixels, write_toy_jets

from kerasgen.command import run
from kerasgen.data.points import write_points
from kerasgen.data.superpixels import SCHEMA
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

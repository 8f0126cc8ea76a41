"""Point sets: how few are compared at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from point_sets import toy_superpixels, write_toy_jets

from kerasgen.command import run
from kerasgen.data.points import write_points
from kerasgen.data.superpixels import SCHEMA
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

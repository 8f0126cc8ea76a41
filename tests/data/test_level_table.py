"""Levels of background by run."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasgen.data.level_table import read_levels
from kerasgen.errors import InputError


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_runs_have_the_levels_of_their_lines(tmp_path: Path) -> None:
    text = "# of one experiment\nrun, level\n\n7-12, 1.5\n3, 0.5\n*, 1\n"
    table = read_levels(written(tmp_path / "a.csv", text))
    assert [table.at(run) for run in (3, 6, 7, 12, 13)] == [0.5, 1, 1.5, 1.5, 1]


def test_types_have_columns_of_their_own(tmp_path: Path) -> None:
    text = "two_photon,run,shower\n2,1,\n,2,0.5\n1,3,3\n"
    table = read_levels(written(tmp_path / "a.csv", text))
    assert table.at(1) == {"two_photon": 2}
    assert table.at(2) == {"shower": 0.5}
    assert table.at(3) == {"two_photon": 1, "shower": 3}
    with pytest.raises(InputError, match="no line for run 4"):
        table.at(4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty, there are no runs"),
        ("run,level\n", "empty, there are no runs"),
        ("level\n1\n", "line 1: the column 'run' is missing"),
        ("run,photon\n1,1\n", "line 1: unknown column 'photon'; did you mean 'two_photon'?"),
        ("run,level\n1,11\n", "line 2: level '11' is not in 0..10"),
        ("run,level\n1,nan\n", "line 2: level 'nan' is not in 0..10"),
        ("run,level\n1,much\n", "line 2: level 'much' is not in 0..10"),
        ("run,level\n1\n", "line 2: the level is missing"),
        ("run,level\n1,1,2\n", "line 2: 3 values, there are 2 columns"),
        ("run,level\n9-5,1\n", "line 2: run '9-5', allowed"),
        ("run,level\n1-5,1\n\n5,2\n", "line 4: run 5 is there twice"),
        ("run,level\n*,1\n*,2\n", "line 3: run * is there twice"),
        ("run,level,shower\n1,1,2\n", "line 2: level is of all types"),
    ],
)
def test_bad_tables_give_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_levels(written(tmp_path / "a.csv", text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_levels(tmp_path / "missing.csv")
    (tmp_path / "a.csv").write_bytes(b"\0\1\2")
    with pytest.raises(InputError, match="levels are a table of runs with commas"):
        read_levels(tmp_path / "a.csv")

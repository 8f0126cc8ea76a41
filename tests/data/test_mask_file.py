"""Lists of dead, masked and hot pixels: reading, and their text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from pixel_events import random_events
from pixel_masks import GEOMETRY, masks, write_list

from kerasgen.data.mask_file import mask_from_text, mask_of_run, mask_to_text, read_mask
from kerasgen.data.pixel_mask import ALWAYS, PixelMask
from kerasgen.data.store import EventWriter
from kerasgen.errors import InputError


@given(masks())
def test_text_holds_everything(mask: PixelMask) -> None:
    again = mask_from_text(mask_to_text(mask), GEOMETRY, "tests")
    np.testing.assert_array_equal(again.lines, mask.lines)


def test_a_list_in_all_its_forms(tmp_path: Path) -> None:
    path = tmp_path / "mask.csv"
    path.write_bytes(
        b"\xef\xbb\xbf# a comment, then columns in any order\r\n"
        b"kind, sensor, col, row, rate\r\n\r\n"
        b'dead, 1.10.1, 3, "11"\r\n'
        b"masked,900,*,0-2,\r\n"  # the id of 1.1.1
        b"hot,*,19,5,2e-3\r\n"
    )
    lines = read_mask(path, GEOMETRY).lines
    assert lines["sensor"].tolist() == [2, 0, 0, 1, 2]
    assert lines["row"].tolist() == [[11, 11], [0, 2], *[[5, 5]] * 3]
    assert lines["col"].tolist() == [[3, 3], [0, 19], *[[19, 19]] * 3]
    assert lines["rate"].tolist() == [0, 0, 2e-3, 2e-3, 2e-3]
    assert (lines["charge"] == (2, 300)).all()
    assert (lines["span"] == ALWAYS).all()


def test_runs_choose_lines(tmp_path: Path) -> None:
    path = write_list(
        tmp_path / "m.csv",
        "1.1.1,1,1,dead,,,7",
        "1.1.1,1,2,dead,,,7-9",
        "1.1.1,1,3,dead",
        "1.1.1,1,4,hot,1,,1-5",
        "1.1.1,1,4,hot,1,,6-8",
    )
    for number, cols in ((7, [1, 2, 3, 4]), (9, [2, 3]), (5, [3, 4]), (0, [3])):
        mask = mask_of_run(path, GEOMETRY, number)
        assert mask.lines["col"][:, 0].tolist() == cols
        assert not mask.has_spans
    with pytest.raises(InputError, match="--run-number R says the run"):
        mask_of_run(path, GEOMETRY, None)
    runs = np.array([9, 9, 7, 7, 20, 7, 9])
    mask = read_mask(path, GEOMETRY)
    entries = mask.by_position(runs)
    for k, run_number in enumerate(runs.tolist()):
        found = np.unique(entries.lines[entries.holds(k)])
        expected = mask.of_run(run_number).lines
        assert sorted(found["col"][:, 0]) == expected["col"][:, 0].tolist()
    only = mask.by_position(np.full(4, 7))
    assert not only.has_spans
    np.testing.assert_array_equal(only.lines, mask.of_run(7).lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty, there are no pixels"),
        ("# nothing\n\n", "empty, there are no pixels"),
        ("sensor,row,col,kind\n", "empty, there are no pixels"),
        ("sensor,row,kind\n1.1.1,1,dead\n", "line 1: the column 'col' is missing, of: sensor, row"),
        ("sensor;row;col;kind\n", "line 1: unknown column 'sensor;row;col;kind'"),
        ("sensor,row,col,kind,rates\n", "did you mean 'rate'"),
        ("sensor,row,col,row,kind\n", "the column 'row' is there twice"),
        ("sensor,row,col,kind,entry\n", "unknown column 'entry'"),
        ("sensor,row,col,kind\n1.3.1,1,1,dead\n", "line 2: unknown sensor '1.3.1'; did you mean"),
        ("sensor,row,col,kind\n\n,1,1,dead\n", "line 3: the sensor is missing"),
        ("sensor,row,col,kind\n1.1.1,12,1,dead\n", "row '12', allowed: a whole number or a range"),
        ("sensor,row,col,kind\n1.1.1,1,20,dead\n", "in 0-19"),
        ("sensor,row,col,kind\n1.1.1,-1,1,dead\n", "row '-1'"),
        ("sensor,row,col,kind\n1.1.1,3-1,1,dead\n", "row '3-1'"),
        ("sensor,row,col,kind\n1.1.1,1.5,1,dead\n", "row '1.5'"),
        ("sensor,row,col,kind\n1.1.1,,1,dead\n", "row ''"),
        ("sensor,row,col,kind\n1.1.1,1," + "9" * 30 + ",dead\n", "col '999"),
        ("sensor,row,col,kind\n1.1.1,1,1\n", "unknown kind ''"),
        ("sensor,row,col,kind\n1.1.1,1,1,ded\n", "did you mean 'dead'"),
        ("sensor,row,col,kind\n1.1.1,1,1,dead,1\n", "5 values, there are 4 columns"),
        ("sensor,row,col,kind\n1.1.1,1,1,hot\n", "rate '' of a hot pixel, allowed: 0..1"),
        ("sensor,row,col,kind,rate\n1.1.1,1,1,hot,1.01\n", "rate '1.01'"),
        ("sensor,row,col,kind,rate\n1.1.1,1,1,hot,-0.1\n", "rate '-0.1'"),
        ("sensor,row,col,kind,rate\n1.1.1,1,1,hot,nan\n", "rate 'nan'"),
        ("sensor,row,col,kind,rate\n1.1.1,1,1,dead,0.5\n", "rate 0.5 of a pixel that is dead"),
        ("sensor,row,col,kind,rate,charge\n1.1.1,1,1,hot,1,1\n", "charge '1', allowed"),
        ("sensor,row,col,kind,rate,charge\n1.1.1,1,1,hot,1,9-301\n", "in 2-300"),
        ("sensor,row,col,kind,run\n1.1.1,1,1,dead,16777216\n", "run '16777216'"),
        ("sensor,row,col,kind\n1.1.1,1,1,dead\n900,1,1,dead\n", "line 3: has the pixels of line 2"),
        ("sensor,row,col,kind\n1.1.1,1,1,dead\n1.1.1,1,1,masked\n", "of line 2 again"),
        (
            "sensor,row,col,kind,rate\n1.1.1,1-3,5,hot,1\n1.1.1,2,*,hot,1\n",
            "line 3: pixel (2, 5) of sensor 1.1.1 is hot by line 2 too",
        ),
        (
            "sensor,row,col,kind,rate,run\n1.1.1,2,5,hot,1,1-6\n1.1.1,2,*,hot,1,6-9\n",
            "is hot by line 2 too",
        ),
        ('sensor,row,col,kind\n"1.1.1,' + "x" * 200_000, "line 2"),
        ("sensor,row\0", "not a text file"),
    ],
)  # fmt: skip
def test_bad_lists_give_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mask.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_mask(path, GEOMETRY)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_lists(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "a.h5", GEOMETRY, "tests") as writer:
        writer.write(random_events(GEOMETRY, [1]))
    (tmp_path / "latin.csv").write_bytes(b"sensor,row,col,kind\n1.1.1,1,1,d\xe9ad\n")
    for name, words in (
        ("a.h5", "not a text file"),
        ("latin.csv", "not a text file"),
        ("none.csv", "no such file"),
        (".", "no such file"),
    ):
        with pytest.raises(InputError, match=words):
            read_mask(tmp_path / name, GEOMETRY)

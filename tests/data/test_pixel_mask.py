"""Lists of dead, masked and hot pixels: reading, storing, and what they do to events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from pixel_events import assert_same_hits, random_events, toy_geometry

from kerasgen.command import run
from kerasgen.data.convert import main as convert
from kerasgen.data.geometry import load_geometry
from kerasgen.data.hit_files import write_stream
from kerasgen.data.hit_lists import read_hit_list
from kerasgen.data.hits import Hits, concatenate, from_dense, to_dense
from kerasgen.data.mask_file import HEADER, mask_from_text, mask_of_run, mask_to_text, read_mask
from kerasgen.data.pixel_mask import ALWAYS, KINDS, LINE, EventMasking, PixelMask, pixels_of
from kerasgen.data.reduction import Reduction, write_reduced
from kerasgen.data.root import read_root
from kerasgen.data.simulate import main as simulate
from kerasgen.data.simulation.pxd import simulate_event
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError

GEOMETRY = toy_geometry()  # 3 sensors of 12 x 20 pixels, charges 2..300
PXD = load_geometry("belle2-pxd")


def mask_of(*lines: str, columns: str = HEADER) -> PixelMask:
    return mask_from_text("\n".join([columns, *lines]), GEOMETRY, "tests")


def write_list(path: Path, *lines: str, columns: str = "sensor,row,col,kind,rate,charge,run"):
    path.write_text("\n".join([columns, *lines]) + "\n")
    return path


@st.composite
def masks(draw: st.DrawFn) -> PixelMask:
    """Rectangles of any kind, which may overlap, some for a range of entries."""

    def span(last: int) -> tuple[int, int]:
        first = draw(st.integers(0, last))
        return first, draw(st.integers(first, last))

    lines = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.integers(0, 2))
        hot = KINDS[kind] == "hot"
        lines.append((
            draw(st.integers(0, 2)), span(11), span(19), kind,
            draw(st.floats(0, 1)) if hot else 0.0,
            tuple(c + 2 for c in span(298)) if hot else (2, 300),
            draw(st.sampled_from([ALWAYS, span(5)])),
        ))  # fmt: skip
    return PixelMask(GEOMETRY, np.array(lines, LINE))


@given(masks())
def test_text_holds_everything(mask: PixelMask) -> None:
    again = mask_from_text(mask_to_text(mask), GEOMETRY, "tests")
    np.testing.assert_array_equal(again.lines, mask.lines)


@given(masks(), st.integers(0, 2**63 - 1))
def test_no_silent_pixel_fires_and_others_keep_their_hits(mask: PixelMask, seed: int) -> None:
    """Pixel by pixel, against the meaning of the lines in a loop."""
    events = random_events(GEOMETRY, [4, 9, 2])
    before, masking = to_dense(events, GEOMETRY), EventMasking(mask)
    after = masking.apply_at(events, [(seed, 4), (seed, 9), (seed, 2)], 3)
    images = to_dense(after, GEOMETRY).astype(int)
    silent, hot = np.zeros((2, *images.shape), np.bool_)
    for line in mask.lines:
        for k in range(3):
            if line["span"][0] <= 3 + k <= line["span"][1]:
                (r, s), (c, d) = line["row"], line["col"]
                which = hot if KINDS[line["kind"]] == "hot" else silent
                which[3 * k + line["sensor"], r : s + 1, c : d + 1] = True
    assert not images[silent].any()
    np.testing.assert_array_equal(images[~silent & ~hot], before[~silent & ~hot])
    assert (images[hot & ~silent] >= before[hot & ~silent]).all()
    np.testing.assert_array_equal(after.event, events.event)


@given(masks(), st.integers(0, 2**63 - 1), st.integers(0, 2))
def test_an_event_does_not_depend_on_others(mask: PixelMask, seed: int, k: int) -> None:
    events = random_events(GEOMETRY, [4, 9, 2])
    keys = [(seed, 4), (seed, 9), (seed, 2)]
    together = EventMasking(mask).apply_at(events, keys, 0)
    images = np.arange(3) + 3 * k
    alone = EventMasking(mask).apply_at(events.take(images), keys[k : k + 1], k)
    assert_same_hits(alone, together.take(images))


def empty_event(number: int = 0) -> Hits:
    return from_dense(np.zeros((3, 12, 20), int), np.arange(3), np.full(3, number))


def fired_counts(mask: PixelMask, events: int, seed: int = 5) -> np.ndarray:
    """How often each pixel fires in events that have no hits: [sensors, rows, cols]."""
    masking = EventMasking(mask)
    images = [to_dense(masking.apply(empty_event(k), seed), GEOMETRY) > 0 for k in range(events)]
    return np.sum(images, axis=0)


def test_hot_pixels_fire_at_their_rate() -> None:
    """Within five binomial errors of 4000 events, each pixel, and independently of each other."""
    n = 4000
    rates = {(0, 3, 4): 0.3, (0, 3, 5): 0.3, (2, 11, 19): 0.003, (1, 0, 0): 1.0, (1, 0, 1): 0.0}
    names = GEOMETRY.names
    counts = fired_counts(
        mask_of(*(f"{names[s]},{r},{c},hot,{rate}" for (s, r, c), rate in rates.items())), n
    )
    for pixel, rate in rates.items():
        error = np.sqrt(n * rate * (1 - rate))
        assert abs(counts[pixel] - n * rate) <= 5 * error, (pixel, rate)
        counts[pixel] = 0
    assert not counts.any()
    masking = EventMasking(mask_of("1.1.1,3,4-5,hot,0.3"))
    pairs = [len(masking.apply(empty_event(k), 5).adu) == 2 for k in range(n)]
    assert abs(np.sum(pairs) - 0.09 * n) <= 5 * np.sqrt(n * 0.09 * 0.91)


def test_charges_of_hot_pixels_are_uniform_in_their_range() -> None:
    masking = EventMasking(mask_of("*,*,*,hot,1,10-13"))
    adu = masking.apply(empty_event(), 1).adu
    counts = np.bincount(adu, minlength=14)
    assert counts[:10].sum() == 0
    assert len(counts) == 14
    n = GEOMETRY.pixels * 3 / 4
    assert (abs(counts[10:] - n) <= 5 * np.sqrt(n * 0.75)).all()
    whole = EventMasking(mask_of("*,*,*,hot,1")).apply(empty_event(), 1).adu
    assert 2 <= whole.min() < 10
    assert 290 < whole.max() <= 300


def test_seeds_and_events_differ_and_repeat() -> None:
    masking = EventMasking(mask_of("*,*,*,hot,0.5"))
    keys = [(0, 0), (0, 1), (1, 0), (2**63 - 1, 2**63 - 1), (0, -(2**63))]
    found = [masking.apply_at(empty_event(), [key], 0) for key in keys]
    assert len({x.row.tobytes() + x.adu.tobytes() for x in found}) == len(keys)
    assert_same_hits(EventMasking(masking.mask).apply_at(empty_event(), keys[3:4], 0), found[3])


def test_charges_add_up_to_the_highest() -> None:
    images = np.zeros((3, 12, 20), int)
    images[0, 5, 6:9] = [10, 295, 3]
    event = from_dense(images, np.arange(3), np.zeros(3))
    event.type[:] = 2
    found = EventMasking(mask_of("1.1.1,5,6-7,hot,1,20")).apply(event, 0)
    assert found.adu.tolist() == [30, 300, 3]
    assert found.type.tolist() == [0, 2, 2]  # of the higher charge


def test_silence_wins_and_of_hot_lines_the_first() -> None:
    mask = mask_of(
        "1.1.1,2,3-5,hot,1,9", "1.1.1,2,4-7,hot,0.25,8", "1.1.1,2,3,dead", "*,*,7,masked"
    )
    pixels = pixels_of(mask)
    assert pixels.hot.tolist() == [44, 45, 46]
    assert pixels.rate.tolist() == [1, 1, 0.25]
    assert pixels.charge[:, 0].tolist() == [9, 9, 8]
    assert pixels.silent.sum() == 3 * 12 + 1
    assert mask.summary() == "37 pixels dead or masked, 3 hot"


def test_hot_pixels_that_have_fired_do_not_fire_again() -> None:
    """The mask of a file merged with the same one, and with another."""
    first, more = mask_of("1.1.1,2,3,hot,1,9"), mask_of("1.1.1,2,3,hot,1,9", "1.1.1,2,3-4,hot,1,7")
    event = EventMasking(first).apply(empty_event(), 0)
    merged = first.merged(more)
    assert len(merged.lines) == 2
    both = EventMasking(merged, fired=first).apply(event, 0)
    assert both.col.tolist() == [3, 4]
    assert both.adu.tolist() == [9, 7]


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


def masked_file(path: Path, *lines: str) -> tuple[PixelMask, Hits]:
    """A file of events with a mask, one of which depends on the event."""
    mask = mask_of(*lines)
    hits = EventMasking(mask).apply(random_events(GEOMETRY, [3, 8, 5]), 1)
    write_stream(iter([hits]), path, 3, GEOMETRY, "tests", 1, mask)
    return mask, hits


LINES = ("1.2.1,*,3-5,dead", "1.1.1,4,4,hot,0.125,7-9", "1.10.1,0-3,*,masked")


def test_the_mask_travels_through_all_formats(tmp_path: Path) -> None:
    """HDF5, ROOT, NPZ and back: the same list, and hits on no silent pixel."""
    mask, hits = masked_file(tmp_path / "a.h5", *LINES)
    masked_file(tmp_path / "a.npz", *LINES)
    masked_file(tmp_path / "direct.root", *LINES)
    assert convert([str(tmp_path / "a.h5"), str(tmp_path / "a.root")]) == 0
    for name in ("direct.root", "a.root"):
        assert convert([str(tmp_path / name), str(tmp_path / "b.h5"), "--force"]) == 0
        with EventFile(tmp_path / "b.h5") as file:
            assert mask_to_text(file.mask) == mask_to_text(mask)
            assert_same_hits(file.read_events(0, 3), hits)
    source = read_hit_list(tmp_path / "a.npz", GEOMETRY)
    assert mask_to_text(source.mask) == mask_to_text(mask)
    with uproot.open(tmp_path / "a.root") as file:
        assert str(file["pixel_mask"]) == mask_to_text(mask)
    with np.load(tmp_path / "a.npz") as file:
        assert bytes(file["pixel_mask"]).decode() == mask_to_text(mask)
    with h5py.File(tmp_path / "a.h5") as file:
        assert bytes(file["pixel_mask"][:]).decode() == mask_to_text(mask)


def test_files_without_a_mask_say_nothing(tmp_path: Path) -> None:
    hits = random_events(GEOMETRY, [1])
    for name, mask in (("none", None), ("healthy", mask_of())):
        write_stream(iter([hits]), tmp_path / f"{name}.h5", 1, GEOMETRY, "tests", 1, mask)
        assert convert([str(tmp_path / f"{name}.h5"), str(tmp_path / f"{name}.root")]) == 0
        found = read_root(tmp_path / f"{name}.root").mask
        assert (found is None) == (mask is None)
        assert found is None or len(found.lines) == 0


def test_a_list_of_other_programs_is_none_of_ours(tmp_path: Path) -> None:
    names = ("event", "sensor", "row", "col")
    columns: dict[str, Any] = {name: np.zeros(1, int) for name in names}
    for other in (np.ones(5, np.bool_), np.frombuffer(b"other", np.uint8)):
        np.savez(tmp_path / "a.npz", **columns, adu=np.full(1, 9), pixel_mask=other)
        assert read_hit_list(tmp_path / "a.npz", GEOMETRY).mask is None


def test_a_hit_on_a_silent_pixel_is_no_event_of_the_file(tmp_path: Path) -> None:
    images = np.zeros((6, 12, 20), int)
    images[4, 5, 6] = 9
    hits = from_dense(images, np.tile(np.arange(3), 2), np.repeat([3, 8], 3))
    with pytest.raises(InputError, match=r"event 8, sensor 1\.2\.1: pixel \(5, 6\) has a hit"):
        write_stream(
            iter([hits]), tmp_path / "a.h5", 2, GEOMETRY, "tests", 1, mask_of("1.2.1,5,*,dead")
        )
    write_stream(
        iter([hits]), tmp_path / "a.h5", 2, GEOMETRY, "tests", 1, mask_of("1.2.1,5,*,dead,,,0")
    )


@pytest.mark.parametrize("content", [b"no list", f"{HEADER}\n1.1.1,99,1,dead".encode()])
def test_a_damaged_list_of_a_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    masked_file(tmp_path / "a.h5", *LINES)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["pixel_mask"]
        file["pixel_mask"] = np.frombuffer(content, np.uint8)
    with EventFile(tmp_path / "a.h5") as events, pytest.raises(InputError, match="list of pixels"):
        _ = events.mask
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["pixel_mask"]
        file["pixel_mask"] = np.zeros((2, 2))
    with EventFile(tmp_path / "a.h5") as events, pytest.raises(InputError, match="expected uint8"):
        _ = events.mask


def test_a_part_of_the_detector_has_its_part_of_the_mask(tmp_path: Path) -> None:
    masked_file(tmp_path / "a.h5", "1.2.1,*,3-5,dead", "1.1.1,4,4,hot,1", "1.10.1,2,3-9,masked")
    with EventFile(tmp_path / "a.h5") as file:
        whole = file.mask.unhealthy()
        write_reduced(file, tmp_path / "b.h5", Reduction(["1.2.1", "1.10.1"], 8, 5))
    with EventFile(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(file.mask.unhealthy(), whole[1:, :8, :5])


def simulated(path: Path, *arguments: str) -> Hits:
    assert run(simulate, ["pxd", "--out", str(path), "--seed", "9", *arguments]) == 0
    with EventFile(path) as file:
        return file.read_events(0, file.n_events)


def test_simulated_events_are_masked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Masked pixels never fire, the others are those without the mask; an event alone is equal."""
    path = write_list(
        tmp_path / "m.csv",
        "1.3.2,*,*,dead",
        "2.4.1,0-99,700-767,masked,,,5",
        "1.1.1,17,*,hot,0.5,20-40",
    )
    asked = ["--mask", str(path), "--run-number", "5"]
    hits = simulated(tmp_path / "a.h5", *asked, "--events", "2", "--first-event", "5")
    assert "198800 pixels dead or masked, 768 hot" in capsys.readouterr().out
    alone = simulated(tmp_path / "b.h5", *asked, "--events", "1", "--first-event", "6")
    assert_same_hits(alone, hits.take(np.arange(40, 80)))
    images, plain = (
        to_dense(x, PXD) for x in (hits, concatenate([simulate_event(PXD, 9, k) for k in (5, 6)]))
    )
    silent = np.zeros((40, 250, 768), np.bool_)
    silent[PXD.index_of_name["1.3.2"]] = True
    silent[PXD.index_of_name["2.4.1"], :100, 700:] = True
    images, plain = (x.reshape(2, 40, 250, 768) for x in (images, plain))
    assert not images[:, silent].any()
    assert plain[:, silent].any()
    n = 2 * 768
    fired = (images[:, 0, 17] > 0).sum() - (plain[:, 0, 17] > 0).sum() / 2
    assert abs(fired - n / 2) <= 5 * np.sqrt(n / 4)
    for x in (images, plain):
        x[:, silent] = 0
        x[:, 0, 17] = 0
    np.testing.assert_array_equal(images, plain)


def test_misuse_of_simulate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_list(tmp_path / "m.csv", "1.3.2,1,1,dead,,,7")
    out = ["--events", "1", "--out", str(tmp_path / "a.h5")]
    mask = ["--mask", str(path)]
    for arguments, words in (
        (["pxd", *out, *mask], "--run-number R says the run"),
        (["pxd", *out, "--run-number", "7"], "--run-number goes with --mask"),
        (["jets", *out, *mask], "--mask is for detectors"),
        (["pxd", *out, "--mask", str(tmp_path)], "no such file"),
    ):
        assert run(simulate, arguments) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


def test_another_geometry_has_other_sensors(tmp_path: Path) -> None:
    path = write_list(tmp_path / "m.csv", "1.10.1,1,1,dead")
    other = replace(GEOMETRY, sensors=GEOMETRY.sensors[:2])
    with pytest.raises(InputError, match=r"unknown sensor '1\.10\.1'"):
        read_mask(path, other)

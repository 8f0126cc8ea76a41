"""Masks in files of events, of all formats and of the simulator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import uproot
from pixel_events import assert_same_hits, random_events
from pixel_masks import GEOMETRY, PXD, mask_of, write_list

from kerasgen.command import run
from kerasgen.data.convert import main as convert
from kerasgen.data.hit_files import write_stream
from kerasgen.data.hit_lists import read_hit_list
from kerasgen.data.hits import Hits, concatenate, from_dense, to_dense
from kerasgen.data.mask_file import HEADER, mask_to_text, read_mask
from kerasgen.data.pixel_mask import EventMasking, PixelMask
from kerasgen.data.reduction import Reduction, write_reduced
from kerasgen.data.root import read_root
from kerasgen.data.simulate import main as simulate
from kerasgen.data.simulation.pxd import simulate_event
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError


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

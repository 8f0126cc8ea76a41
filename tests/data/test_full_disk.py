"""Writers of events on a disk that is full: one error that names the file, and nothing lost."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from full_disk import largest_file
from pixel_events import assert_same_hits, random_events, toy_geometry
from point_sets import toy_jets

from kerasgen.command import leave, run
from kerasgen.data import convert
from kerasgen.data.hit_files import write_stream
from kerasgen.data.jets import SCHEMA
from kerasgen.data.new_hdf5 import NewHDF5
from kerasgen.data.point_files import write_sets
from kerasgen.data.store import EventFile, EventWriter

GEOMETRY = toy_geometry(40, 60)


def write_hits(path: Path) -> None:
    blocks = (random_events(GEOMETRY, list(range(k, k + 5)), k) for k in range(0, 40, 5))
    write_stream(blocks, path, 40, GEOMETRY, "tests", 0)


def write_jets(path: Path) -> None:
    write_sets((toy_jets(300, seed=k) for k in range(4)), path, SCHEMA, "tests", 0)


@pytest.mark.parametrize("size", [0, 1000, 20_000])
@pytest.mark.parametrize("suffix", [".h5", ".root", ".rntuple.root", ".npz"])
@pytest.mark.parametrize("write", [write_hits, write_jets])
def test_a_full_disk_keeps_the_old_file(
    write: Callable[[Path], None], suffix: str, size: int, tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text("old")
    with largest_file(size), pytest.raises(OSError, match=r"File too large") as refused:
        write(path)
    assert (refused.value.errno, refused.value.filename) == (errno.EFBIG, str(path))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    write(path)  # the same goes on once there is room
    assert path.stat().st_size > 20_000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_command_says_it_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_hits(tmp_path / "a.h5")
    out = tmp_path / "b.root"
    with largest_file(5000):
        assert run(convert.main, [str(tmp_path / "a.h5"), str(out)]) == 1
    assert capsys.readouterr().err == f"kerasgen: {out}: file too large\n"
    assert not out.exists()


@pytest.mark.parametrize("size", [0, 50, 900, 3000, 10_000, 40_000])
def test_hdf5_reads_again_what_the_disk_did_not_take(size: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**60, 8000)
    file = NewHDF5(tmp_path / "a.h5")
    with largest_file(size):
        for k in range(4):
            file.create_dataset(f"{k}/x", data=values, chunks=(500,), fletcher32=True)
            file.flush()
        for k in range(4):
            file[f"{k}/x"].id.refresh()  # from the file, not from HDF5's cache
            np.testing.assert_array_equal(file[f"{k}/x"], values)
    for finish in (file.check, file.close):
        with pytest.raises(OSError, match="File too large"):
            finish()


def test_a_file_with_room_is_that_of_hdf5(tmp_path: Path) -> None:
    hits = random_events(GEOMETRY, list(range(9)))
    with EventWriter(tmp_path / "a.h5", GEOMETRY, "tests") as writer:
        writer.write(hits)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["adu"].chunks == (16384,)
    with EventFile(tmp_path / "a.h5") as events:
        assert_same_hits(events.read_events(0, 9), hits)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_hdf5_writes_waits_for_the_next_check(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In C code it would be lost, or be a failed write, which HDF5 does not survive."""

    def interrupting(data: Any) -> memoryview:
        signal.raise_signal(number)
        return memoryview(data)

    before = signal.signal(signal.SIGTERM, leave), signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)) as ended:  # noqa: PT012
            file = NewHDF5(tmp_path / "x.h5")
            file["a"] = np.arange(100_000)
            with monkeypatch.context() as patch:
                patch.setattr("kerasgen.data.new_hdf5.memoryview", interrupting, raising=False)
                file.flush()
            file["b"] = np.arange(10)
            file.check()
        file.close()
        assert ended.type is (KeyboardInterrupt if number == signal.SIGINT else SystemExit)
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == (
            leave,
            before[1],
        )
    finally:
        signal.signal(signal.SIGTERM, before[0])
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["a"], np.arange(100_000))

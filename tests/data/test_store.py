"""The HDF5 store: round trip, streaming, and every kind of damaged file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_events import assert_same_hits, pixel_events, random_events, toy_geometry

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.store import EventFile, EventWriter, checksum
from kerasgen.errors import InputError

EVENTS = [7, 3, 11, 20, -5]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return write(tmp_path / "events.h5")


def write(path: Path, geometry: Geometry | None = None) -> Path:
    geometry = geometry or toy_geometry()
    with EventWriter(path, geometry, "a test", seed=5) as writer:
        writer.write(random_events(geometry, EVENTS))
    return path


@settings(max_examples=50)
@given(pixel_events(), st.integers(1, 3), st.integers(1, 3))
def test_round_trip(case: tuple[Geometry, Hits], per_write: int, per_read: int) -> None:
    geometry, hits = case
    step = per_write * len(geometry.sensors)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with EventWriter(path, geometry, "a test") as writer:
            for start in range(0, len(hits), step):
                writer.write(hits.take(np.arange(start, min(start + step, len(hits)))))
        with EventFile(path) as file:
            assert_same_hits(concatenate(list(file.blocks(per_read))), hits)
            assert file.geometry == geometry
            assert file.n_hits == len(hits.row)
            np.testing.assert_array_equal(file.events, hits.event[:: len(geometry.sensors)])


def test_all_sensors_of_the_pxd_keep_their_images(tmp_path: Path) -> None:
    geometry = load_geometry("belle2-pxd")
    hits = random_events(geometry, [1], fraction=1e-4)
    path = tmp_path / "pxd.h5"
    with EventWriter(path, geometry, "a test") as writer:
        writer.write(hits)
    with EventFile(path) as file:
        assert file.geometry.extra == geometry.extra
        for i, name in enumerate(geometry.names):
            image = file.read_images(i, i + 1)
            assert file.geometry.names[image.sensor[0]] == name
            assert_same_hits(image, hits.take(np.array([i])))


def test_hits_are_stored_in_order_of_row_and_column(tmp_path: Path) -> None:
    geometry = toy_geometry()
    hits = random_events(geometry, [1])
    order = np.argsort(hits.image * 1000 + np.random.default_rng(0).permutation(len(hits.row)) % 9)
    mixed = replace(
        hits, **{name: getattr(hits, name)[order] for name in ("row", "col", "adu", "type")}
    )
    assert not np.array_equal(mixed.row, hits.row)
    with EventWriter(tmp_path / "a.h5", geometry, "a test") as writer:
        writer.write(mixed)
    with EventFile(tmp_path / "a.h5") as file:
        assert_same_hits(file.read_events(0, 1), hits)


def test_attributes_and_ranges(stored: Path) -> None:
    with EventFile(stored) as file:
        assert (file.n_events, file.n_images) == (5, 15)
        assert file.attributes["creator"] == "a test"
        assert file.attributes["seed"] == 5
        assert file.attributes["kind"] == "pixel-hits"
        assert "ADU" in file.attributes["units"]
        assert_same_hits(file.read_events(1, 3), file.read_images(3, 9))
        assert len(file.read_events(2, 2)) == 0
        with pytest.raises(IndexError):
            file.read_events(4, 6)


def test_same_events_same_file(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.h5"), write(tmp_path / "b.h5")
    assert checksum(a) == checksum(b) == hashlib.sha256(a.read_bytes()).hexdigest()
    with pytest.raises(InputError, match="cannot be read"):
        checksum(tmp_path / "none.h5")


def test_hits_of_some_types(stored: Path) -> None:
    """Only their hits are read, and every image is still there."""
    with EventFile(stored) as file, EventFile(stored, types=[3, 1]) as some:
        whole, found = file.read_events(1, 4), some.read_events(1, 4)
    kept = (whole.type == 1) | (whole.type == 3)
    assert 0 < kept.sum() < len(kept)
    for name in ("image", "row", "col", "adu", "type"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[kept])
    for name in ("sensor", "event"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert found.indptr[-1] == kept.sum()


def _write_all(path: Path, geometry: Geometry, parts: list[Hits]) -> None:
    with EventWriter(path, geometry, "a test") as writer:
        for part in parts:
            writer.write(part)


def _swap_sensors(hits: Hits) -> Hits:
    return hits.take(np.array([1, 0, 2, 3, 4, 5]))


def _repeat_pixel(hits: Hits) -> Hits:
    return replace(hits, row=hits.row * 0, col=hits.col * 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_swap_sensors, "all 3 sensors of geometry toy in numeric order"),
        (lambda h: h.take(np.arange(5)), "all 3 sensors"),
        (lambda h: h.take(np.array([0, 1, 5])), "event 2: an event must hold all 3"),
        (lambda h: h.take(np.array([0, 1, 2, 0, 1, 2])), "event 1 is there twice"),
        (lambda h: replace(h, event=h.event * 0 + 9), "event 9 is there twice"),
        (lambda h: replace(h, sensor=h.sensor + np.uint16(1)), "unknown sensor 3"),
        (lambda h: replace(h, col=h.col + np.uint16(1)), "column 20, allowed: 0..19"),
        (lambda h: replace(h, row=h.row + np.uint16(1)), "row 12, allowed: 0..11"),
        (lambda h: replace(h, adu=h.adu + np.uint16(50)), "charge .* allowed: 2..300"),
        (_repeat_pixel, r"pixel \(0, 0\) appears twice"),
        (lambda h: replace(h, adu=h.adu.astype(float)), "adu is float64"),
        (lambda h: replace(h, type=h.type[1:]), "type is uint8"),
        (lambda h: replace(h, indptr=h.indptr + 1), "indptr must hold"),
    ],
)
def test_writer_refuses(tmp_path: Path, change: Callable[[Hits], Hits], message: str) -> None:
    geometry = toy_geometry()
    first, bad = random_events(geometry, [9]), change(random_events(geometry, [1, 2]))
    with pytest.raises(InputError, match=message):
        _write_all(tmp_path / "a.h5", geometry, [first, bad])
    assert list(tmp_path.iterdir()) == []


def test_file_appears_only_when_complete(tmp_path: Path) -> None:
    geometry = toy_geometry()
    path = write(tmp_path / "a.h5")
    before = path.read_bytes()
    writer = EventWriter(path, geometry, "a test")
    writer.write(random_events(geometry, [1]))
    assert path.read_bytes() == before
    writer.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="no events to write"):
        _write_all(path, geometry, [])
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="does not exist"):
        EventWriter(tmp_path / "none" / "a.h5", geometry, "t")


def _set(name: str, values: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


def _put(name: str, index: int, value: int) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][index] = value

    return change


def _attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__(name, value)


def _empty(file: h5py.File) -> None:
    for name in ("row", "col", "adu", "type", "sensor", "event"):
        file[name].resize((0,))
    file["indptr"].resize((1,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_attribute("format_version", 99), "format version 99, this version reads 1"),
        (_attribute("kind", "jets"), "kind 'jets', expected 'pixel-hits'"),
        (_attribute("geometry", "{}"), "not a geometry"),
        (_attribute("geometry", 3), "attribute 'geometry' is missing"),
        (lambda f: f.__delitem__("adu"), "dataset 'adu' is missing"),
        (_set("adu", np.full(9, np.nan)), "adu is float64 .* no NaN"),
        (_set("row", np.zeros((9, 1), np.uint16)), "row is uint16 with 2 axes"),
        (_set("col", np.zeros(9, np.uint16)), "col has 9 hits and row has"),
        (_set("indptr", np.zeros(3, np.int64)), "indptr has 3 entries .* expected 16"),
        (_put("indptr", 15, 10), "indptr must rise from 0 to the number of hits"),
        (_put("indptr", 3, 0), "falls after image 2"),
        (_put("sensor", 4, 3), r"event 3: unknown sensor 3, allowed: 0\.\.2"),
        (_put("sensor", 4, 2), "all 3 sensors .* image 4 breaks it"),
        (_put("event", 4, 2), "all 3 sensors .* image 4 breaks it"),
        (_empty, "empty, there are no events"),
        (_put("adu", 0, 301), r"event 7, sensor 1\.1\.1: charge \(ADU\) 301, allowed: 2\.\.300"),
        (_put("adu", 0, 0), r"charge \(ADU\) 0, allowed: 2\.\.300"),
        (_put("row", -1, 12), r"event -5, sensor 1\.10\.1: row 12, allowed: 0\.\.11"),
        (_put("col", -1, 20), r"event -5, sensor 1\.10\.1: column 20, allowed: 0\.\.19"),
        (_put("row", -1, 0), r"event -5, sensor 1\.10\.1: pixel \(0, .*\) is out of order"),
    ],
)
def test_reader_refuses(stored: Path, change: Callable[[h5py.File], None], message: str) -> None:
    with h5py.File(stored, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=message) as error, EventFile(stored) as events:
        list(events.blocks())
    assert str(error.value).startswith(str(stored))
    assert "\n" not in str(error.value)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    for content, message in ((b"", "not an HDF5 file"), (b"hello, world", "not an HDF5 file")):
        (tmp_path / "a.h5").write_bytes(content)
        with pytest.raises(InputError, match=message):
            EventFile(tmp_path / "a.h5")
    with pytest.raises(InputError, match="no such file"):
        EventFile(tmp_path / "none.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="kind None, expected 'pixel-hits'"):
        EventFile(tmp_path / "b.h5")


def test_truncated_anywhere(stored: Path) -> None:
    content = stored.read_bytes()
    for length in range(1, len(content), 997):
        stored.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"truncated|not an HDF5 file"):
            EventFile(stored)


def test_flipped_bits_of_hits_are_seen(stored: Path) -> None:
    with h5py.File(stored, "r") as file:
        chunk = file["adu"].id.get_chunk_info(0)
    content = bytearray(stored.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    stored.write_bytes(content)
    with EventFile(stored) as file, pytest.raises(InputError, match=r"event 7 .*corrupted"):
        file.read_events(0, 1)


STREAM = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from benchmarks.stream_memory import read, write
write(sys.argv[1], 12)
small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write(sys.argv[1], 120)
read(sys.argv[1])
print(small, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", STREAM, str(tmp_path / "a.h5"), str(root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    small, large = map(int, run.stdout.split())  # KiB
    # 120 events are 8.4 million hits, 59 MB if they were all in memory.
    assert large - small < 25_000

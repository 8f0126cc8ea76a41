"""ROOT in C++ reads what kerasgen writes, and kerasgen what ROOT writes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted_files import convert, store, stored
from pixel_events import assert_same_hits, random_events, toy_geometry
from point_sets import toy_jets

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits, from_lists
from kerasgen.data.jets import SCHEMA
from kerasgen.data.point_files import write_sets
from kerasgen.data.root_writing import RNTUPLE
from kerasgen.data.store import EventWriter

PYTHON = Path(
    os.environ.get("KERASGEN_ROOT_PYTHON") or Path(__file__).parents[2] / ".root/bin/python"
)
pytestmark = pytest.mark.skipif(
    not PYTHON.is_file(),
    reason="needs ROOT: `make root`, or KERASGEN_ROOT_PYTHON with a Python that has PyROOT",
)


both_forms = pytest.mark.parametrize("end", [".root", RNTUPLE])


def root(command: str, *paths: Path) -> str:
    program = Path(__file__).with_name("root_events.py")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [PYTHON, program, command, *paths],
        capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Error in <" not in done.stderr, done.stderr
    return done.stdout


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(root("read", path))
    return found


def expected(hits: Hits, geometry: Geometry) -> dict[str, list[int]]:
    """Per event as in ``root_events.py``; the hash has all columns and the order of the hits."""
    sensors = len(geometry.sensors)
    ends = hits.indptr[::sensors]
    ids = np.array([s.id for s in geometry.sensors], np.uint64)[hits.sensor[hits.image]]
    row, col, adu, kind = (
        getattr(hits, name).astype(np.uint64) for name in ("row", "col", "adu", "type")
    )
    value = (((ids * 1009 + row) * 1009 + col) * 1009 + adu) * 17 + kind
    place = np.arange(len(adu)) - np.repeat(ends[:-1], np.diff(ends))

    def sums(values: np.ndarray) -> list[int]:  # modulo 2**64
        return np.diff(np.concatenate([[np.uint64(0)], np.cumsum(values)])[ends]).tolist()

    return {
        "event": hits.event[::sensors].tolist(),
        "run": [0] * (len(ends) - 1),
        "hits": np.diff(ends).tolist(),
        "charge": sums(adu),
        "hash": sums(value * (place + 1).astype(np.uint64)),
    }


def check(path: Path, hits: Hits, geometry: Geometry) -> dict[str, Any]:
    """Read a file by ROOT and compare with the hits that are in it; the rest of what it found."""
    found = read(path)
    for name, values in expected(hits, geometry).items():
        assert found.pop(name) == values, name
    assert found.pop("charge_of_all") == hits.adu.sum(dtype=np.int64)
    if found["class"] == "TTree":
        assert found.pop("drawn") == len(hits.adu)
    return found


@both_forms
def test_all_columns_in_many_baskets(tmp_path: Path, end: str) -> None:
    """Events whose numbers need 64 bits, some of them without hits, and the strings beside them."""
    geometry, numbers = toy_geometry(), [*range(95), 2**31, 2**33, 2**63 - 1, -1, -(2**63)]
    hits = random_events(geometry, numbers)
    empty = np.isin(hits.event[hits.image], [0, 3, 4, 2**33, -(2**63)])
    hits = hits.where(~empty)
    store(tmp_path / "a.h5", geometry, hits, seed=17)
    convert(tmp_path / "a.h5", tmp_path / f"a{end}")
    found = check(tmp_path / f"a{end}", hits, geometry)
    assert found["class"] == {".root": "TTree", RNTUPLE: "ROOT::RNTuple"}[end]
    assert found["parts"] == 7
    assert found["strings"] == {"geometry": geometry.to_json(), "creator": "a test", "seed": "17"}


@both_forms
def test_a_file_without_any_hit(tmp_path: Path, end: str) -> None:
    hits = random_events(toy_geometry(), list(range(40)), fraction=0)
    assert len(hits.adu) == 0
    store(tmp_path / "a.h5", toy_geometry(), hits)
    convert(tmp_path / "a.h5", tmp_path / f"a{end}")
    check(tmp_path / f"a{end}", hits, toy_geometry())


@pytest.mark.parametrize(
    ("command", "end"), [("copy", ".root"), ("copy", RNTUPLE), ("vectors", ".root")]
)
def test_what_root_writes_is_read(tmp_path: Path, command: str, end: str) -> None:
    geometry = load_geometry("belle2-pxd")
    hits = random_events(geometry, [5, 2**40, 7], fraction=1e-4)
    hits = hits.where(hits.event[hits.image] != 2**40)
    store(tmp_path / "a.h5", geometry, hits)
    convert(tmp_path / "a.h5", tmp_path / "a.root")
    root(command, tmp_path / "a.root", tmp_path / f"b{end}")
    convert(tmp_path / f"b{end}", tmp_path / "b.h5")
    assert_same_hits(stored(tmp_path / "b.h5"), hits)


@both_forms
def test_point_sets(tmp_path: Path, end: str) -> None:
    """One of the sets has no points."""
    sets = toy_jets(50, seed=1)
    sets.mask[7] = False
    write_sets(iter([sets]), tmp_path / f"a{end}", SCHEMA, "tests", 0)
    found = json.loads(root("sets", tmp_path / f"a{end}"))
    assert found.pop("label") == sets.label.tolist()
    assert sorted(found) == sorted(SCHEMA.coordinates)
    for k, name in enumerate(SCHEMA.coordinates):
        points = [p[m].tolist() for p, m in zip(sets.points[..., k], sets.mask, strict=True)]
        assert found[name] == points


def big_event(number: int, geometry: Geometry, hits: int) -> Hits:
    rng = np.random.default_rng(number)
    sensors = len(geometry.sensors)
    pixel = np.sort(rng.choice(sensors * geometry.pixels, hits, replace=False, shuffle=False))
    sensor, place = np.divmod(pixel, geometry.pixels)
    row, col = np.divmod(place, geometry.cols)
    columns = {"row": row, "col": col, "adu": rng.integers(7, 256, hits)}
    columns["type"] = rng.integers(0, 4, hits)
    events = np.array([number])
    return from_lists(events, np.zeros(hits, np.int64), sensor, columns, geometry, "a test")


@pytest.mark.slow
@both_forms
def test_ten_million_hits(tmp_path: Path, end: str) -> None:
    geometry, parts = load_geometry("belle2-pxd"), {}
    with EventWriter(tmp_path / "a.h5", geometry, "a test") as writer:
        for number in range(100):
            hits = big_event(number, geometry, 100_000)
            writer.write(hits)
            for name, values in expected(hits, geometry).items():
                parts.setdefault(name, []).extend(values)
    convert(tmp_path / "a.h5", tmp_path / f"a{end}")
    found = read(tmp_path / f"a{end}")
    assert {name: found[name] for name in parts} == parts
    assert sum(found["hits"]) == 10_000_000

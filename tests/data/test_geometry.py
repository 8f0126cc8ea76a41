"""Geometry tables: numeric order, round trip of names and ids, bad files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from kerasgen.data.geometry import (
    builtin_geometries,
    geometry_from_json,
    load_geometry,
    numeric_order,
)
from kerasgen.errors import InputError

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def test_forty_sensors_in_numeric_order() -> None:
    names = load_geometry("belle2-pxd").names
    expected = [f"1.{ladder}.{s}" for ladder in range(1, 9) for s in (1, 2)]
    expected += [f"2.{ladder}.{s}" for ladder in range(1, 13) for s in (1, 2)]
    assert list(names) == expected
    # A sort of strings puts 2.10.1 before 2.2.1 and scrambles layer 2.
    assert sorted(names) != list(names)
    assert sorted(names, key=numeric_order) == list(names)


def test_names_and_ids_lead_back_to_the_index() -> None:
    geometry = load_geometry("belle2-pxd")
    for index, sensor in enumerate(geometry.sensors):
        assert geometry.index_of_name[sensor.name] == index
        assert geometry.index_of_id[sensor.id] == index
        layer, ladder, number = numeric_order(sensor.name)
        # Bits of a VxdID: layer 3, ladder 5, sensor 3, segment 5.
        assert sensor.id == layer << 13 | ladder << 8 | number << 5
        assert (sensor.layer, sensor.ladder) == (layer, ladder)


@pytest.mark.parametrize("name", builtin_geometries())
def test_round_trip_through_json(name: str) -> None:
    geometry = load_geometry(name)
    again = geometry_from_json(geometry.to_json())
    assert again == geometry
    assert again.extra == geometry.extra


def test_geometry_agrees_with_the_experiment() -> None:
    source = SHARED / "pxd_geometry" / "pxd_geometry.json"
    if not source.is_file():
        pytest.skip("needs ../shared/data/pxd_geometry")
    text = source.read_text(encoding="utf-8")
    for sensor in load_geometry("belle2-pxd").sensors:
        assert f'"{sensor.name}"' in text
        assert str(sensor.id) in text


def test_selected_sensors_stay_in_order() -> None:
    part = load_geometry("belle2-pxd").select(["2.10.1", "2.2.1"])
    assert part.names == ("2.2.1", "2.10.1")
    with pytest.raises(InputError, match=r"unknown sensor '2\.13\.1'; did you mean '"):
        load_geometry("belle2-pxd").select(["2.13.1"])


def _table(**changes: object) -> str:
    sensor = {"name": "1.1.1", "id": 1, "layer": 1, "ladder": 1}
    table = {"name": "t", "rows": 4, "cols": 4, "threshold": 1, "max_charge": 9}
    return json.dumps(table | {"sensors": [sensor]} | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a geometry"),
        ("[]", "not a geometry"),
        (_table(rows=None), "not a geometry"),
        (_table(rows=0), "rows and cols"),
        (_table(threshold=10), "threshold <= max_charge"),
        (_table(max_charge=70000), "65535"),
        (_table(sensors=[]), "each once"),
        (_table(sensors=[{"name": 7, "id": 1, "layer": 1}]), "not a geometry"),
        (_table(sensors=[{"name": "a.b", "id": 1, "layer": 1, "ladder": 1}] * 1), "numbers joined"),
        (
            _table(
                sensors=[
                    {"name": n, "id": i, "layer": 1, "ladder": i}
                    for i, n in enumerate(["1.10.1", "1.2.1"])
                ]
            ),
            "numeric order",
        ),
        (
            _table(
                sensors=[{"name": n, "id": 5, "layer": 1, "ladder": 1} for n in ("1.1.1", "1.1.2")]
            ),
            "same id",
        ),
        (
            _table(sensors=[{"name": "1.1.1", "id": 2**31, "layer": 1, "ladder": 1}]),
            "ids of sensors must fit into 32 bits",
        ),
        (_table(rows=math.inf), "not a geometry"),
        (_table(sensors=[{"name": "1.1.1", "id": math.inf}]), "not a geometry"),
    ],
)
def test_bad_tables(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        geometry_from_json(text, origin="t.json")
    assert "\n" not in str(error.value)


def test_geometry_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(_table(rows=33), encoding="utf-8")
    assert load_geometry(str(path)).rows == 33
    path.write_text(_table(rows=33), encoding="utf-8-sig")  # with a byte-order mark
    assert load_geometry(str(path)).rows == 33
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text"):
        load_geometry(str(path))
    with pytest.raises(InputError, match="no such geometry file"):
        load_geometry(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="did you mean 'belle2-pxd'"):
        load_geometry("belle2-pdx")


def test_pixels() -> None:
    assert load_geometry("belle2-pxd").pixels == np.prod((250, 768))

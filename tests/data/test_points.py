"""The store of point sets: round trip, and rejected files and sets."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kerasgen.data.point_source import holds_point_sets
from kerasgen.data.point_store import PointFile, write_points
from kerasgen.data.points import (
    PointSchema,
    PointSets,
    build_point_sets,
    check_sets,
    choose_classes,
    concatenate,
)
from kerasgen.errors import InputError

SCHEMA = PointSchema("toy", ("x", "y", "i"), ("total",), ("a", "b"), "x: none")


def toy_sets(n: int = 7, size: int = 4, seed: int = 0) -> PointSets:
    rng = np.random.default_rng(seed)
    points = np.sort(rng.uniform(0.1, 1, (n, size, 3)), axis=1)[:, ::-1]
    counts = rng.integers(1, size + 1, n)
    return build_point_sets(points, counts, rng.integers(0, 2, n), points.sum((1, 2)))


def test_round_trip_in_blocks(tmp_path: Path):
    path, sets = tmp_path / "sets.h5", toy_sets()
    blocks = [sets.take(slice(0, 5)), sets.take(slice(5, 7))]
    assert write_points(path, SCHEMA, blocks, "tests", seed=3) == 7
    with PointFile(path) as file:
        assert (len(file), file.size, file.schema) == (7, 4, SCHEMA)
        assert file.attributes["seed"] == 3
        found = concatenate([file.read(0, 3), file.read(3, 7)])
    for name in vars(sets):
        np.testing.assert_array_equal(getattr(found, name), getattr(sets, name))
    assert not found.points[~found.mask].any()
    assert [p.name for p in tmp_path.iterdir()] == ["sets.h5"]


def broken(**changes) -> PointSets:
    sets = toy_sets()
    fields = {name: getattr(sets, name).copy() for name in vars(sets)}
    fields["points"][:] = np.where(fields["mask"][..., None], fields["points"], 0)
    for name, (index, value) in changes.items():
        fields[name][index] = value
    return PointSets(**fields)


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        (broken(points=((2, 0, 1), np.nan)), "set 2 has a point or feature that is not a finite"),
        (broken(features=((1, 0), np.inf)), "set 1 has a point or feature that is not a finite"),
        (broken(points=((3, 0, 2), -0.1)), "set 3 has a negative i"),
        (broken(mask=(4, False), points=(4, 0)), "set 4 has no points"),
        (broken(label=(6, 2)), "set 6 has a label that is none of the 2 classes"),
        (broken(mask=((0, 0), False), points=((0, 0), 0)), "set 0 has"),
        (broken(mask=(5, [True, False, False, False])), "set 5 has padding that is not zero"),
        (replace(toy_sets(), features=np.zeros((7, 2), np.float32)), "features is float32 [7, 2]"),
        (replace(toy_sets(), label=np.zeros(7, np.int64)), "label is int64"),
    ],
)
def test_bad_sets_are_not_written(tmp_path: Path, sets: PointSets, reason: str):
    if "padding" in reason:
        sets.points[5, 1] = 0.5
    with pytest.raises(InputError) as error:
        write_points(tmp_path / "sets.h5", SCHEMA, [sets], "tests")
    assert reason in str(error.value)
    assert not list(tmp_path.iterdir())


def test_nothing_to_write(tmp_path: Path):
    with pytest.raises(InputError, match="no point sets"):
        write_points(tmp_path / "sets.h5", SCHEMA, [], "tests")
    with pytest.raises(InputError, match="does not exist"):
        write_points(tmp_path / "no" / "sets.h5", SCHEMA, [toy_sets()], "tests")
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_such_files(tmp_path: Path):
    path = tmp_path / "sets.h5"
    write_points(path, SCHEMA, [toy_sets()], "tests")
    with h5py.File(path, "a") as file:
        del file["label"]
    with pytest.raises(InputError, match="'label' is missing"):
        PointFile(path)
    with h5py.File(path, "a") as file:
        file["label"] = np.zeros(3, np.uint8)
    with pytest.raises(InputError, match="one row for each set"):
        PointFile(path)
    with h5py.File(path, "a") as file:
        file.attrs["kind"] = "pixel-hits"
    with pytest.raises(InputError, match="kind 'pixel-hits', expected 'point-sets'"):
        PointFile(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not an HDF5 file"):
        PointFile(path)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("points", np.zeros((7, 4)), "points is float64 with 2 axes, expected float32 with 3"),
        ("points", np.zeros((6, 4, 3), np.float32), "do not have one row for each set"),
        ("mask", np.ones(7, bool), "mask is bool with 1 axes, expected bool with 2"),
        ("label", np.uint8(1), "label is uint8 with 0 axes, expected uint8 with 1"),
        ("label", np.zeros(7, "S3"), "label is |S3 with 1 axes"),
        ("features", np.zeros((8, 1), np.float32), "do not have one row for each set"),
    ],
)
def test_datasets_that_do_not_fit(tmp_path: Path, name: str, values, reason: str):
    path = tmp_path / "sets.h5"
    write_points(path, SCHEMA, [toy_sets()], "tests")
    with h5py.File(path, "a") as file:
        del file[name]
        file[name] = values
    with pytest.raises(InputError) as error:
        PointFile(path)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("name", "place", "reason"),
    [
        ("points", (5, 0, 1), "set 5 .* not a finite number .y of point 0 is nan"),
        ("features", (6, 0), "set 6 .* not a finite number .total is nan"),
    ],
)
def test_a_bad_number_is_named_by_its_place_in_the_file(tmp_path: Path, name, place, reason):
    path = tmp_path / "sets.h5"
    write_points(path, SCHEMA, [toy_sets()], "tests")
    with h5py.File(path, "a") as file:
        file[name][place] = np.nan
    with PointFile(path) as file:
        file.read(0, 4)
        with pytest.raises(InputError, match=reason):
            file.read(4, 7)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_sets_are_refused_or_good(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sets.h5"
        write_points(path, SCHEMA, [toy_sets()], "tests")
        with h5py.File(path, "a") as file:
            name = data.draw(st.sampled_from(["points", "mask", "label", "features"]))
            values = file[name][()]
            if data.draw(st.booleans()):
                place = tuple(data.draw(st.integers(0, n - 1)) for n in values.shape)
                values[place] = data.draw(arrays(values.dtype, ()))
            else:
                shape = data.draw(st.lists(st.integers(0, 7), max_size=3))
                values = data.draw(arrays(values.dtype, tuple(shape)))
            del file[name]
            file[name] = values
        with suppress(InputError), PointFile(path) as file:
            check_sets(file.read(0, len(file)), SCHEMA, "again")


def test_a_kind_that_is_no_word(tmp_path: Path):
    path = tmp_path / "sets.h5"
    with h5py.File(path, "w") as file:
        file.attrs["kind"] = [1, 2]
    assert not holds_point_sets(path)
    with pytest.raises(InputError, match=r"kind \[1, 2\], expected 'point-sets'"):
        PointFile(path)


def test_damage_is_seen(tmp_path: Path):
    path = tmp_path / "sets.h5"
    write_points(path, SCHEMA, [toy_sets(2000, 30)], "tests")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(InputError, match="truncated or corrupted"), PointFile(path) as file:
        file.read(0, len(file))


def test_classes_by_name():
    assert choose_classes([], SCHEMA, "x") == [0, 1]
    assert choose_classes(["b"], SCHEMA, "x") == [1]
    with pytest.raises(InputError, match="unknown class 'c'"):
        choose_classes(["c"], SCHEMA, "x")

"""Converters: round trips, the branches of basf2, and every bad input through the command."""

from __future__ import annotations

import gzip
import math
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pixel_events import assert_same_hits, pixel_events, random_events, toy_geometry
from point_sets import write_toy_jets

from kerasgen.command import run
from kerasgen.data.convert import main
from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits, concatenate, to_dense
from kerasgen.data.root import read_provenance
from kerasgen.data.source import FORMATS
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError
from kerasgen.zoo.overlay import open_signal

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def convert(*arguments: object) -> None:
    assert main([str(a) for a in arguments]) == 0


def stored(path: Path) -> Hits:
    with EventFile(path) as file:
        return concatenate(list(file.blocks()))


def store(path: Path, geometry: Geometry, hits: Hits, seed: int | None = None) -> Path:
    with EventWriter(path, geometry, "a test", seed) as writer:
        writer.write(hits)
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Geometry file of the toy detector, for --geometry."""
    path = tmp_path / "toy.json"
    path.write_text(toy_geometry().to_json(), encoding="utf-8")
    return path


@settings(max_examples=20)
@given(pixel_events())
def test_root_there_and_back(case: tuple[Geometry, Hits]) -> None:
    geometry, hits = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store(folder / "a.h5", geometry, hits, seed=17)
        convert(folder / "a.h5", folder / "a.root")
        convert(folder / "a.root", folder / "b.h5")
        assert_same_hits(stored(folder / "b.h5"), hits)
        with EventFile(folder / "a.h5") as a, EventFile(folder / "b.h5") as b:
            assert (a.geometry, a.attributes) == (b.geometry, b.attributes)
            assert b.attributes["seed"] == 17


def test_a_seed_that_is_no_number_is_not_carried_over(tmp_path: Path) -> None:
    store(tmp_path / "a.h5", toy_geometry(), random_events(toy_geometry(), [5]))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["seed"] = "none"
    convert(tmp_path / "a.h5", tmp_path / "a.root")
    with uproot.open(tmp_path / "a.root") as file:
        assert sorted(file.keys(cycle=False)) == ["creator", "digits", "geometry"]


def test_digits_branches(tmp_path: Path) -> None:
    geometry = load_geometry("belle2-pxd")
    hits = random_events(geometry, [5, 9], fraction=1e-4)
    store(tmp_path / "a.h5", geometry, hits)
    convert(tmp_path / "a.h5", tmp_path / "a.root")
    with uproot.open(tmp_path / "a.root") as file:
        tree = file["digits"].arrays()
    assert tree["event"].tolist() == [5, 9]
    assert tree["run"].tolist() == [0, 0]
    for entry in range(2):
        part = hits.take(np.arange(40) + 40 * entry)
        ids = [geometry.sensors[s].id for s in part.sensor[part.image]]
        assert tree["sensor"][entry].tolist() == ids
        for branch, name in (("u", "row"), ("v", "col"), ("adu", "adu"), ("type", "type")):
            assert tree[branch][entry].tolist() == getattr(part, name).tolist()


@pytest.mark.parametrize("values", [ak.Array([[1], [2, 3]]), np.array([0.5, 1])])
def test_runs_that_are_no_numbers(tmp_path: Path, values: object) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        branches = {n: ak.Array([[8480], [8480]]) for n in ("sensor", "u", "v", "adu")}
        branches["run"] = ak.Array(values)
        types = {n: str(v.type.content) for n, v in branches.items()}
        file.mktree("digits", types, counter_name=lambda name: f"n{name}").extend(branches)
    with pytest.raises(InputError, match=r"a\.root: run (has the type var|is 0\.5 in row 0)"):
        open_signal(tmp_path / "a.root", None, False)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damaged_digits_are_refused_or_good(data: st.DataObject) -> None:
    hit = {"sensor": 8480, "u": 3, "v": 4, "adu": 9}
    lists = {name: [[value], [value], []] for name, value in hit.items()}
    branches: dict[str, list] = {"event": [3, 4, 5], **lists}
    name = data.draw(st.sampled_from(sorted(branches)))
    number = data.draw(st.sampled_from([-1.0, 0.5, 300.0, 1e30, math.nan, math.inf, 8481.0, 4.0]))
    # A number or a list per event where the other belongs, a bad number, or lists too long.
    branches[name] = data.draw(
        st.sampled_from(
            [[number] * 3, [[number], [number], []], [[number, number], [4.0], []], [[], [], []]]
        )
    )
    arrays = {n: ak.values_astype(ak.Array(v), float) for n, v in branches.items()}
    types = {n: str(a.type.content) for n, a in arrays.items()}
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.root", Path(folder) / "out.h5"
        with uproot.recreate(source) as file:
            file.mktree("digits", types, counter_name=lambda name: f"n{name}").extend(arrays)
        code = run(main, [str(source), str(out)])
        assert code == (0 if out.exists() else 2)
        if code == 0:
            stored(out)


# Keys of other programs, beside a tree of ours or of basf2.
FOREIGN: dict[str, object] = {
    "histogram": np.histogram(np.arange(9)),
    "text": "CMS Run 3",
    "list": "[1, 2]",
    "tree": {"x": np.arange(3)},
}


def add_key(path: Path, name: str, content: object) -> None:
    with uproot.update(path) as file:
        if isinstance(content, dict):
            file.mktree(name, content).extend(content)
        else:
            file[name] = content


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["Events", "seed", "creator", "geometry", "other/digits"])
def test_keys_of_others_are_left_alone(tmp_path: Path, kind: str, name: str, toy: Path) -> None:
    hits = random_events(toy_geometry(), [5, 9])
    store(tmp_path / "a.h5", toy_geometry(), hits)
    convert(tmp_path / "a.h5", tmp_path / "own.root")
    with uproot.open(tmp_path / "own.root") as file:
        columns = file["digits"].arrays()
        branches = [branch for branch in columns.fields if branch != "nhits"]
    with uproot.recreate(tmp_path / "plain.root") as file:
        types = {b: str(columns[b].type.content) for b in branches}
        file.mktree("digits", types).extend({b: columns[b] for b in branches})
    for file_name in ("own.root", "plain.root"):
        path = tmp_path / file_name
        add_key(path, name, FOREIGN[kind])
        convert(path, tmp_path / "b.h5", "--geometry", toy, "--force")
        assert_same_hits(stored(tmp_path / "b.h5"), hits)
        with EventFile(tmp_path / "b.h5") as file:
            assert "seed" not in file.attributes
            if file_name == "plain.root":
                assert file.attributes["creator"] == "ROOT tree digits of plain.root"
            elif name != "creator":  # a newer text could be ours
                assert file.attributes["creator"] == "a test"
        source, numbers = open_signal(path, None, False)
        assert source.n_events == 2
        assert numbers is None


def test_a_newer_key_of_another_type_does_not_hide_ours(tmp_path: Path) -> None:
    hits = random_events(toy_geometry(), [5, 9])
    store(tmp_path / "a.h5", toy_geometry(), hits, seed=3)
    convert(tmp_path / "a.h5", tmp_path / "a.root")
    for name in ("digits", "geometry", "creator", "seed"):
        add_key(tmp_path / "a.root", name, FOREIGN["histogram"])
    convert(tmp_path / "a.root", tmp_path / "b.h5")
    assert_same_hits(stored(tmp_path / "b.h5"), hits)
    events = np.array([5, 9])
    creator, seed, found = read_provenance(tmp_path / "a.root")
    assert (creator, seed) == ("a test", 3)
    np.testing.assert_array_equal(found, events)


def test_a_file_is_overwritten_only_by_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path / "a.h5", toy_geometry(), random_events(toy_geometry(), [5, 9]))
    convert(tmp_path / "a.h5", tmp_path / "a.root")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for source, taken in (("a.h5", "a.root"), ("a.root", "a.h5")):
        arguments = [str(tmp_path / source), str(tmp_path / taken)]
        assert run(main, arguments) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"kerasgen: {tmp_path / taken}: exists already; --force")
        assert line.count("\n") == 1
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "a.root").write_text("old")
    convert(tmp_path / "a.h5", tmp_path / "a.root", "--force")
    convert(tmp_path / "a.root", tmp_path / "b.h5")
    assert_same_hits(stored(tmp_path / "b.h5"), stored(tmp_path / "a.h5"))


def write_basf2(path: Path, events: list[dict[str, list[int]]], name: str = "tree") -> Path:
    digits = {
        f"PXDDigits.m_{key}": ak.values_astype(ak.Array([e[key] for e in events]), np.uint16)
        for key in ("sensorID", "uCellID", "vCellID", "charge")
    }
    types = dict.fromkeys(digits, "var * uint16")
    with uproot.recreate(path) as file:
        tree = file.mktree(name, types, counter_name=lambda _: "PXDDigits")
        tree.extend(digits)
    return path


def basf2_events(geometry: Geometry, hits: Hits) -> list[dict[str, list[int]]]:
    sensors = len(geometry.sensors)
    events = []
    for start in range(0, len(hits), sensors):
        part = hits.take(np.arange(start, start + sensors)[::-1])  # basf2 promises no order
        events.append(
            {
                "sensorID": [geometry.sensors[s].id for s in part.sensor[part.image]],
                "uCellID": part.row.tolist(),
                "vCellID": part.col.tolist(),
                "charge": part.adu.tolist(),
            }
        )
    return events


@pytest.mark.parametrize("tree", ["tree", "other"])
def test_basf2_digits_of_all_sensors(tmp_path: Path, tree: str) -> None:
    geometry = load_geometry("belle2-pxd")
    hits = random_events(geometry, [0, 1, 2], fraction=1e-4)
    hits.type[:] = 0
    write_basf2(tmp_path / "a.root", basf2_events(geometry, hits), tree)
    convert(tmp_path / "a.root", tmp_path / "a.h5", "--tree", tree)
    assert_same_hits(stored(tmp_path / "a.h5"), hits)
    convert(tmp_path / "a.root", tmp_path / "b.h5")
    assert_same_hits(stored(tmp_path / "b.h5"), hits)


def write_images(folder: Path, geometry: Geometry, hits: Hits, dtype: type = np.uint8) -> Path:
    for image, sensor, event in zip(to_dense(hits, geometry), hits.sensor, hits.event, strict=True):
        path = folder / geometry.names[sensor] / f"{event}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(dtype)).save(path)
    return folder


def test_images_of_all_sensors_in_numeric_order(tmp_path: Path) -> None:
    geometry = load_geometry("belle2-pxd")
    hits = random_events(geometry, [2, 10], fraction=1e-4)
    hits.type[:] = 0
    convert(write_images(tmp_path / "png", geometry, hits), tmp_path / "a.h5")
    again = stored(tmp_path / "a.h5")
    assert_same_hits(again, hits)
    assert again.event[::40].tolist() == [2, 10]  # as strings 10 would come first


def test_sixteen_bit_images(tmp_path: Path, toy: Path) -> None:
    hits = random_events(toy_geometry(), [0, 1])
    hits.type[:] = 0
    assert hits.adu.max() > 255
    folder = write_images(tmp_path / "png", toy_geometry(), hits, np.uint16)
    convert(folder, tmp_path / "a.h5", "--geometry", toy)
    assert_same_hits(stored(tmp_path / "a.h5"), hits)


def columns(hits: Hits) -> dict[str, np.ndarray]:
    flat = {name: getattr(hits, name) for name in ("row", "col", "adu", "type")}
    return {"event": hits.event[hits.image], "sensor": hits.sensor[hits.image], **flat}


def test_npz_columns_and_empty_events(tmp_path: Path, toy: Path) -> None:
    hits = random_events(toy_geometry(), [2, 5, 9])
    hits = concatenate([hits, random_events(toy_geometry(), [11], fraction=0)])
    order = np.random.default_rng(0).permutation(len(hits.row))
    arrays = {name: values[order] for name, values in columns(hits).items()}
    np.savez(tmp_path / "a.npz", events=np.array([11, 2, 5, 9]), **arrays)
    convert(tmp_path / "a.npz", tmp_path / "a.h5", "--geometry", toy)
    assert_same_hits(stored(tmp_path / "a.h5"), hits)
    np.savez(tmp_path / "b.npz", **arrays)
    convert(tmp_path / "b.npz", tmp_path / "b.h5", "--geometry", toy)
    assert_same_hits(stored(tmp_path / "b.h5"), hits.take(np.arange(9)))


def test_npz_frames_keep_empty_frames(tmp_path: Path) -> None:
    table = np.array([[0, 5, 2, 11810], [2, 255, 0, 1]])  # frame, x, y, charge
    np.savez(tmp_path / "a.npz", one=table, one_nframes=4)
    convert(tmp_path / "a.npz", tmp_path / "a.h5", "--geometry", "timepix")
    hits = stored(tmp_path / "a.h5")
    assert hits.event.tolist() == [0, 1, 2, 3]
    assert hits.counts.tolist() == [1, 0, 1, 0]
    assert (hits.row.tolist(), hits.col.tolist()) == ([2, 0], [5, 255])
    assert hits.adu.tolist() == [11810, 1]


def test_npz_frames_from_their_numbers(tmp_path: Path) -> None:
    table = np.array([[7, 5, 2, 11810], [3, 255, 0, 1], [7, 6, 2, 9]])  # frame, x, y, charge
    np.savez(tmp_path / "a.npz", hits=table, events_of_run=np.arange(3))
    for name, options in (("a.h5", []), ("b.h5", ["--array", "hits"])):
        convert(tmp_path / "a.npz", tmp_path / name, "--geometry", "timepix", *options)
        hits = stored(tmp_path / name)
        assert hits.event.tolist() == [3, 4, 5, 6, 7]
        assert hits.counts.tolist() == [1, 0, 0, 0, 2]
        assert hits.adu.tolist() == [1, 11810, 9]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_hit_lists_are_refused_or_good(data: st.DataObject) -> None:
    geometry = toy_geometry(names=("1.1.1",))
    if data.draw(st.booleans()):
        arrays = {"hits": np.array([[0, 5, 2, 9], [2, 3, 0, 4]]), "hits_nframes": np.array(3)}
    else:
        arrays = columns(random_events(geometry, [2, 5, 9], fraction=0.02)) | {"events": [2, 5, 9]}
    name = data.draw(st.sampled_from(sorted(arrays)))
    values = np.array(arrays[name])
    change = data.draw(st.sampled_from(["drop", "shape", "type", "number", "length"]))
    if change == "drop":
        del arrays[name]
    elif change == "shape":
        arrays[name] = data.draw(st.sampled_from([values[None], values.ravel(), values[..., None]]))
    elif change == "type":
        arrays[name] = values.astype(data.draw(st.sampled_from(["U4", "c8", "f4", "?", "S2"])))
    elif change == "length":
        arrays[name] = values.ravel()[:-1]
    else:
        wide = values.astype(np.float64)
        place = data.draw(st.integers(0, wide.size - 1))
        wide.ravel()[place] = data.draw(
            st.sampled_from([math.nan, math.inf, -1, 0.5, 1e30, -(2.0**63), 2.0**62, 7])
        )
        arrays[name] = wide
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "toy.json").write_text(geometry.to_json(), encoding="utf-8")
        np.savez(path / "in.npz", **arrays)
        options = ["--geometry", str(path / "toy.json")]
        code = run(main, [str(path / "in.npz"), str(path / "out.h5"), *options])
        assert code == (0 if (path / "out.h5").exists() else 2)
        if code == 0:
            stored(path / "out.h5")


def test_timepix_frames_to_root_and_back(tmp_path: Path) -> None:
    source = SHARED / "timepix_cernatschool" / "timepix_frames.npz"
    if not source.is_file():
        pytest.skip("needs ../shared/data/timepix_cernatschool")
    table = np.load(source)["kcl_data"]
    options = ("--geometry", "timepix", "--array", "kcl_data")
    convert(source, tmp_path / "a.h5", *options)
    hits = stored(tmp_path / "a.h5")
    assert len(hits) == 121
    assert (hits.counts == 0).sum() == 1
    image = to_dense(hits, load_geometry("timepix"))
    np.testing.assert_array_equal(image[table[:, 0], table[:, 2], table[:, 1]], table[:, 3])
    assert image.sum() == table[:, 3].sum()
    convert(tmp_path / "a.h5", tmp_path / "a.root")
    convert(tmp_path / "a.root", tmp_path / "b.h5")
    assert_same_hits(stored(tmp_path / "b.h5"), hits)


def test_drop_below_threshold(tmp_path: Path, toy: Path) -> None:
    hits = random_events(toy_geometry(), [2])
    arrays = columns(hits)
    arrays["adu"] = arrays["adu"].astype(int)
    arrays["adu"][::3] %= 2  # 0 and 1 ADU, the threshold is 2
    np.savez(tmp_path / "a.npz", **arrays)
    convert(tmp_path / "a.npz", tmp_path / "a.h5", "--geometry", toy, "--drop-below-threshold")
    kept = arrays["adu"] >= 2
    np.testing.assert_array_equal(stored(tmp_path / "a.h5").adu, arrays["adu"][kept])


# Every case makes an input in a folder and returns the arguments; toy.json lies in that folder.
Case = Callable[[Path], list[object]]


def npz(**changes: object) -> Case:
    def make(folder: Path) -> list[object]:
        arrays = {n: np.array([v]) for n, v in zip(("event", "sensor"), (4, 1), strict=True)}
        arrays |= {n: np.array([v]) for n, v in zip(("row", "col", "adu"), (3, 3, 9), strict=True)}
        arrays |= {name: np.asarray(value) for name, value in changes.items()}
        np.savez(folder / "in.npz", **{n: a for n, a in arrays.items() if a.dtype != object})
        return [folder / "in.npz", "--geometry", folder / "toy.json"]

    return make


def frames(table: object, n_frames: object, *options: str) -> Case:
    def make(folder: Path) -> list[object]:
        np.savez(folder / "in.npz", a=table, a_nframes=n_frames, b=table, b_nframes=n_frames)
        return [folder / "in.npz", *options]

    return make


def content(name: str, data: bytes) -> Case:
    def make(folder: Path) -> list[object]:
        (folder / name).write_bytes(data)
        return [folder / name]

    return make


def truncated(name: str, fraction: float) -> Case:
    """A valid file of the format of its ending, truncated to a fraction of its bytes."""

    def make(folder: Path) -> list[object]:
        hits = random_events(toy_geometry(), [0, 1])
        store(folder / "good.h5", toy_geometry(), hits)
        if name.endswith(".root"):
            convert(folder / "good.h5", folder / name)
        elif name.endswith(".npz"):
            np.savez(folder / name, **columns(hits))
        else:
            (folder / name).write_bytes((folder / "good.h5").read_bytes())
        (folder / "good.h5").unlink()
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * fraction)])
        return [folder / name]

    return make


def basf2(**changes: int) -> Case:
    def make(folder: Path) -> list[object]:
        hit = {"sensorID": [8480], "uCellID": [3], "vCellID": [3], "charge": [9]}
        bad = hit | {name: [value] for name, value in changes.items()}
        return [write_basf2(folder / "in.root", [hit, bad])]

    return make


def empty_root(folder: Path) -> list[object]:
    with uproot.recreate(folder / "in.root") as file:
        file.mktree("digits", dict.fromkeys(("sensor", "u", "v", "adu"), "var * int32"))
    return [folder / "in.root"]


def foreign_root(folder: Path) -> list[object]:
    with uproot.recreate(folder / "in.root") as file:
        file.mktree("events", {"x": "int32"}).extend({"x": np.arange(3)})
    return [folder / "in.root"]


def foreign_hdf5(**datasets: object) -> Case:
    def make(folder: Path) -> list[object]:
        with h5py.File(folder / "in.h5", "w") as file:
            for name, values in datasets.items():
                file[name] = values
            file.attrs["kind"] = [1, 2]
        return [folder / "in.h5"]

    return make


def foreign_npz(folder: Path) -> list[object]:
    np.savez(folder / "in.npz", weights=np.zeros((3, 3)), bias=np.zeros(3))
    return [folder / "in.npz"]


def zip_of_text(folder: Path) -> list[object]:
    with zipfile.ZipFile(folder / "in.npz", "w") as archive:
        archive.writestr("event", "no array")
        archive.writestr("data.pkl", b"\x80\x02")
    return [folder / "in.npz"]


def digits(**changes: object) -> Case:
    """A tree of digits of one event, with changed branches."""

    def make(folder: Path) -> list[object]:
        branches = {"event": np.array([4])}
        branches |= {n: ak.Array([[v]]) for n, v in (("sensor", 8480), ("u", 3), ("v", 3))}
        branches |= {"adu": ak.Array([[9]])} | changes
        with uproot.recreate(folder / "in.root") as file:
            types = {n: ak.Array(v).type.content for n, v in branches.items()}
            tree = file.mktree("digits", {n: str(t) for n, t in types.items()},
                               counter_name=lambda name: f"n{name}")  # fmt: skip
            tree.extend(branches)
        return [folder / "in.root"]

    return make


def two_geometries(folder: Path) -> list[object]:
    store(folder / "good.h5", toy_geometry(), random_events(toy_geometry(), [0]))
    convert(folder / "good.h5", folder / "in.root")
    (folder / "good.h5").unlink()
    return [folder / "in.root", "--geometry", "timepix"]


def images(change: Callable[[Path], object]) -> Case:
    def make(folder: Path) -> list[object]:
        hits = random_events(toy_geometry(), [0, 7])
        write_images(folder / "png", toy_geometry(), hits, np.uint16)
        change(folder / "png")
        return [folder / "png", "--geometry", folder / "toy.json"]

    return make


def new_image(array: np.ndarray) -> Case:
    return images(lambda png: Image.fromarray(array).save(png / "1.2.1" / "7.png"))


READ = re.escape(FORMATS)
GOOD_FRAMES = np.array([[0, 5, 2, 9]])
BAD: dict[str, tuple[Case, str]] = {
    "missing": (lambda f: [f / "none.root"], r"none\.root: no such file or folder"),
    "empty file": (content("in.npz", b""), r"in\.npz: empty file"),
    "unknown format": (content("in.txt", b"hello"), "truncated, corrupted or of unknown format"),
    "root truncated early": (truncated("in.root", 0.1), "not a ROOT file, truncated or corrupted"),
    "root truncated": (truncated("in.root", 0.5), "not a ROOT file, truncated or corrupted"),
    "npz truncated": (truncated("in.npz", 0.5), "truncated or corrupted"),
    "hdf5 truncated": (truncated("in.h5", 0.5), "truncated"),
    "root garbage": (content("in.root", b"root" + bytes(99)), "no tree with the branches"),
    "npz garbage": (content("in.npz", b"PK\x03\x04" + bytes(99)), "not an NPZ file"),
    "hdf5 garbage": (content("in.h5", b"\x89HDF" + bytes(99)), "not an HDF5 file"),
    "root without tree": (foreign_root, r"no tree with the branches sensor, u, v, adu or PXDD"),
    "root of unknown kind": (foreign_root, rf"\(trees: events\); {READ}"),
    "hdf5 of unknown kind": (foreign_hdf5(hits=np.zeros((3, 4))), READ),
    "hdf5 of nothing": (foreign_hdf5(), READ),
    "npz of unknown kind": (foreign_npz, rf"no hit list \(arrays: bias, weights\); {READ}"),
    "zip of text": (zip_of_text, rf"no hit list \(arrays: none\); {READ}"),
    "gzip of unknown kind": (content("in.gz", gzip.compress(b"<LesHouchesEvents>")), READ),
    "npy": (content("in.npy", b"\x93NUMPY\x01\x00"), READ),
    "digits shorter": (digits(v=ak.Array([[3, 4]])), "event 4: 2 values of v and 1 of sensor"),
    "digits of no list": (digits(adu=np.array([9])),
                          "adu has the type int64, expected a list of numbers per event"),
    "digits of nan": (digits(adu=ak.Array([[np.nan]])), "adu is nan in row 0, expected whole"),
    "list of event numbers": (digits(event=ak.Array([[4, 5]])),
                              r"event has the type var \* int64, expected one number per event"),
    "wrong tree": (lambda f: [*foreign_root(f), "--tree", "x"], "no tree 'x', there are: events"),
    "root without events": (empty_root, "empty, the tree digits has no events"),
    "mixed geometries": (two_geometries, "geometry toy differs from the geometry timepix"),
    "basf2 sensor": (basf2(sensorID=3), "event 1: unknown sensor id 3, allowed: the 40 ids"),
    "basf2 row": (basf2(uCellID=250), r"event 1, sensor 1\.1\.1: row 250, allowed: 0\.\.249"),
    "basf2 column": (basf2(vCellID=768), r"column 768, allowed: 0\.\.767"),
    "basf2 charge": (basf2(charge=256), r"charge \(ADU\) 256, allowed: 7\.\.255"),
    "basf2 threshold": (basf2(charge=6), r"charge \(ADU\) 6, allowed: 7\.\.255"),
    "charge": (npz(adu=[301]), r"event 4, sensor 1\.2\.1: charge \(ADU\) 301, allowed: 2\.\.300"),
    "charge that wraps": (npz(adu=[65536 + 9]), r"charge \(ADU\) 65545"),
    "negative charge": (npz(adu=[-1]), r"charge \(ADU\) -1"),
    "sensor": (npz(sensor=[3]), r"event 4: unknown sensor 3 in row 0, allowed: 0\.\.2"),
    "nan": (npz(adu=[np.nan]), "adu is nan in row 0, expected whole numbers"),
    "fraction": (npz(row=[0.5]), r"row is 0\.5 in row 0, expected whole numbers"),
    "text": (npz(row=["a"]), "row has type <U1, expected whole numbers"),
    "type": (npz(type=[256]), r"background type 256, allowed: 0\.\.255"),
    "shape": (npz(row=[1, 2]), r"row has shape \[2\] and event \[1\]"),
    "no array": (npz(col=None), "no array 'col'; expected event, sensor, row, col, adu"),
    "no events": (npz(**{n: np.zeros(0, int) for n in ("event", "sensor", "row", "col", "adu")}),
                  "empty, there are no events"),
    "event list": (npz(events=[[4]]), r"events has shape \[1, 1\], expected \[n\]"),
    "unlisted event": (npz(events=[1]), "event 4 is not in 'events'"),
    "pixel twice": (npz(**{n: [1, 1] for n in ("event", "sensor", "row", "col")}, adu=[9, 9]),
                    r"event 1, sensor 1\.2\.1: pixel \(1, 1\) appears twice"),
    "several arrays": (frames(GOOD_FRAMES, 1, "--geometry", "timepix"),
                       r"several hit lists, choose one by --array: a, b"),
    "unknown array": (frames(GOOD_FRAMES, 1, "--geometry", "timepix", "--array", "c"),
                      r"no hit list 'c' .*allowed: a, b"),
    "frames of forty": (frames(GOOD_FRAMES, 1, "--array", "a"), "belle2-pxd has 40; choose"),
    "frame number": (frames(GOOD_FRAMES + 1, 1, "--geometry", "timepix", "--array", "a"),
                     r"a: frame 1 in row 0, allowed: 0\.\.0"),
    "frame shape": (frames(GOOD_FRAMES[:, :3], 1, "--geometry", "timepix", "--array", "a"),
                    r"a has shape \[1, 3\]"),
    "frame negative": (frames(GOOD_FRAMES - [1, 0, 0, 0], 1, "--geometry", "timepix", "--array",
                              "a"), r"a: frame -1 in row 0, allowed: 0\.\.0"),
    "frames without end": (frames(GOOD_FRAMES, 10**15, "--geometry", "timepix", "--array", "a"),
                           "a: 1000000000000000 frames, at most 10000000"),
    "frames of many": (frames(GOOD_FRAMES, [1, 2], "--geometry", "timepix", "--array", "a"),
                       r"a_nframes has shape \[2\], expected one number"),
    "frame beyond 64 bits": (frames(GOOD_FRAMES * 1e300, 1, "--geometry", "timepix", "--array",
                                    "a"), r"a is 5e\+300 in row 0, expected whole numbers below"),
    "frame charge": (frames(GOOD_FRAMES * 2000, 1, "--geometry", "timepix", "--array", "a"),
                     "allowed"),
    "missing image": (images(lambda p: (p / "1.10.1" / "7.png").unlink()),
                      r"missing images: 1\.10\.1/7\.png"),
    "unknown folder": (images(lambda p: (p / "1.3.1").mkdir()), r"unknown sensor '1\.3\.1'"),
    "missing folder": (images(lambda p: (p / "1.2.1").rename(p / ".x")), r"no folder for 1\.2\.1"),
    "image name": (images(lambda p: (p / "1.1.1" / "7.png").rename(p / "1.1.1" / "x.png")),
                   r"x\.png: the name of an image is its event number"),
    "image number": (images(lambda p: (p / "1.1.1" / "7.png").rename(p / f"1.1.1/{10**30}.png")),
                     "the name of an image is its event number"),
    "image truncated": (images(lambda p: (p / "1.1.1" / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n")),
                  "not a PNG image, truncated or corrupted"),
    "image size": (new_image(np.zeros((20, 12), np.uint8)),
                   r"20 x 12 pixels, expected 12 x 20 \(rows x columns\) of geometry toy"),
    "colour image": (new_image(np.zeros((12, 20, 3), np.uint8)),
                     "image mode RGB, expected 8 or 16"),
    "image charge": (new_image(np.full((12, 20), 301, np.uint16)),
                     r"event 7, sensor 1\.2\.1: charge \(ADU\) 301"),
    "no images": (lambda f: [f / "png"] if (f / "png").mkdir() is None else [], "no folder for"),
    "unknown geometry": (lambda f: [*npz()(f)[:1], "--geometry", "x"], "unknown geometry 'x'"),
    "misplaced option": (lambda f: [*npz()(f), "--tree", "x"], "--tree is for ROOT input"),
    "misplaced array": (lambda f: [*foreign_root(f), "--array", "x"], "--array is for NPZ input"),
    "unknown option": (lambda f: [*npz()(f), "--geometri", "x"], "did you mean '--geometry'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(
    tmp_path: Path, toy: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    make, message = BAD[name]
    source, *options = make(tmp_path)
    out = tmp_path / ("out.root" if str(source).endswith(".h5") else "out.h5")
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    arguments = [str(a) for a in (source, out, *options)]
    assert run(main, arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert re.search(message, written.err), written.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["basf2 charge", "hdf5 truncated"])
def test_bad_input_as_a_process(tmp_path: Path, toy: Path, name: str) -> None:
    source, *options = BAD[name][0](tmp_path)
    out = tmp_path / ("out.root" if str(source).endswith(".h5") else "out.h5")
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "kerasgen.data.convert", source, out, *options]
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("kerasgen: ")
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_output_name_must_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    geometry = toy_geometry()
    source = store(tmp_path / "a.h5", geometry, random_events(geometry, [0]))
    assert run(main, [str(source), str(tmp_path / "b.h5")]) == 2
    assert "hdf5 input is converted to .root, not '.h5'" in capsys.readouterr().err
    sets = tmp_path / "sets.h5"
    write_toy_jets(sets, 3)
    for out in ("b.h5", "b.root"):
        assert run(main, [str(sets), str(tmp_path / out)]) == 2
        assert "is a kerasgen file of point sets already" in capsys.readouterr().err
    with pytest.raises(InputError, match="point-sets, allowed: kerasgen HDF5 and ROOT"):
        open_signal(sets, None, False)
    sets.unlink()
    assert run(main, [str(source), str(tmp_path / "none" / "b.root")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [source]

"""Converters: round trips, the branches of basf2, and damaged numbers."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
from converted_files import columns, convert, store, stored, write_basf2, write_images
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_events import assert_same_hits, pixel_events, random_events, toy_geometry

from kerasgen.command import run
from kerasgen.data.convert import main
from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits, concatenate, to_dense
from kerasgen.data.root import read_provenance
from kerasgen.data.root_writing import RNTUPLE
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError
from kerasgen.zoo.overlay import open_signal

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.parametrize("suffix", [".root", RNTUPLE])
@settings(max_examples=20)
@given(case=pixel_events())
def test_root_there_and_back(suffix: str, case: tuple[Geometry, Hits]) -> None:
    geometry, hits = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store(folder / "a.h5", geometry, hits, seed=17)
        convert(folder / "a.h5", folder / f"a{suffix}")
        convert(folder / f"a{suffix}", folder / "b.h5")
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


@pytest.mark.parametrize(("suffix", "kind"), [(".root", "TTree"), (RNTUPLE, "ROOT::RNTuple")])
def test_digits_branches(tmp_path: Path, suffix: str, kind: str) -> None:
    geometry = load_geometry("belle2-pxd")
    hits = random_events(geometry, [5, 9], fraction=1e-4)
    store(tmp_path / "a.h5", geometry, hits)
    convert(tmp_path / "a.h5", tmp_path / f"a{suffix}")
    with uproot.open(tmp_path / f"a{suffix}") as file:
        assert file.classname_of("digits") == kind
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
    "rntuple": ak.Array({"x": np.arange(3)}),
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

"""Every bad input of the converters through the command: one line, and nothing is written."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
from converted_files import columns, convert, store, write_basf2, write_images
from PIL import Image
from pixel_events import random_events, toy_geometry
from point_sets import write_toy_jets

from kerasgen.command import run
from kerasgen.data.convert import main
from kerasgen.data.source import FORMATS
from kerasgen.errors import InputError
from kerasgen.zoo.overlay import open_signal

ROOT = Path(__file__).parents[2]


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
    "rntuple truncated early": (truncated("in.rntuple.root", 0.1), "truncated or corrupted"),
    "rntuple truncated": (truncated("in.rntuple.root", 0.5), "truncated or corrupted"),
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

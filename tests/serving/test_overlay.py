"""Background added to signal by the command, and by the module for basf2."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from signal_events import GEOMETRY, NUMBERS, signal_events
from toy_run import write_toy_run

from kerasgen.data.hit_files import write_stream
from kerasgen.data.hits import Hits, concatenate, from_dense, to_dense
from kerasgen.data.mask_file import mask_to_text, read_mask
from kerasgen.data.pixel_events import event_hits
from kerasgen.data.pixel_mask import EventMasking
from kerasgen.data.root import read_root
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError
from kerasgen.models.trained import Trained, load_trained
from kerasgen.serving.overlay import add_background
from kerasgen.serving.saved_model import export_model
from kerasgen.zoo.overlay import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "basf2" / "overlay_background.py"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_run(tmp_path_factory.mktemp("runs") / "toy-1")


@pytest.fixture(scope="module")
def loaded(run_folder: Path) -> Trained:
    return load_trained(run_folder)


@pytest.fixture
def loaded_once(loaded: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gets the loaded model, as loading takes most of its time."""
    monkeypatch.setattr("kerasgen.zoo.lookup.load_model", lambda run: loaded)


def write_signal(path: Path, n: int = 3) -> Hits:
    hits = signal_events(n, c5=90, c9=40)
    with EventWriter(path, GEOMETRY, "tests") as writer:
        writer.write(hits)
    return hits


def read_hits(path: Path) -> Hits:
    with EventFile(path) as file:
        return file.read_events(0, file.n_events)


def assert_same(a: Hits, b: Hits) -> None:
    for name, values in vars(b).items():
        np.testing.assert_array_equal(getattr(a, name), values, err_msg=name)


def overlay_command(run: Path, *arguments: str | Path) -> int:
    return main([*map(str, arguments), "--model", str(run)])


def test_background_is_that_of_generate(run_folder: Path, loaded: Trained, tmp_path: Path) -> None:
    """Event k of run R over an empty event is event k of ``generate --seed R``."""
    signal, out = tmp_path / "signal.h5", tmp_path / "out.h5"
    hits = write_signal(signal)
    assert overlay_command(run_folder, signal, out, "--run-number", "9") == 0
    generated = event_hits(loaded.generator, GEOMETRY, range(3), 9)
    background = to_dense(generated, GEOMETRY).astype(int)
    expected = np.minimum(background + to_dense(hits, GEOMETRY), 255)
    np.testing.assert_array_equal(to_dense(read_hits(out), GEOMETRY), expected)
    with EventFile(out) as file:
        assert file.attributes["seed"] == 0
        assert "overlay toy-1 over signal.h5" in file.attributes["creator"]


BASF2 = {"sensorID": np.uint16, "uCellID": np.uint16, "vCellID": np.uint16, "charge": np.uint16}


def write_basf2(path: Path, hits: Hits, numbers: np.ndarray, meta: str = "EventMetaData") -> None:
    """A tree as basf2 writes it: digits of every event, and its numbers."""
    ids = np.array([s.id for s in GEOMETRY.sensors])[hits.sensor[hits.image]]
    counts = hits.counts.reshape(-1, 3).sum(1)
    columns = {"sensorID": ids, "uCellID": hits.row, "vCellID": hits.col, "charge": hits.adu}
    jagged = {
        f"PXDDigits.m_{k}": ak.unflatten(columns[k].astype(t), counts) for k, t in BASF2.items()
    }
    names = ("experiment", "run", "event")
    flat = {f"{meta}.m_{k}": numbers[:, i].astype(np.int32) for i, k in enumerate(names)}
    types = {k: f"var * {np.dtype(t)}" for k, t in zip(jagged, BASF2.values(), strict=True)}
    with uproot.recreate(path) as file:
        file["geometry"] = GEOMETRY.to_json()
        tree = file.mktree(
            "tree", types | dict.fromkeys(flat, "int32"), counter_name=lambda _: "PXDDigits"
        )
        tree.extend(jagged | flat)


@pytest.mark.usefixtures("loaded_once")
def test_basf2_files_contain_their_runs(run_folder: Path, loaded: Trained, tmp_path: Path) -> None:
    """Two files with events of one run have the background of one file with all of them."""
    hits = signal_events(4, c5=90)
    numbers = np.array([[12, 345, 7], [12, 345, 8], [12, 346, 7], [12, 346, 9]])
    parts = []
    for name, events in (("all", slice(0, 4)), ("a", slice(0, 1)), ("b", slice(1, 4))):
        part = hits.take(np.arange(12)[3 * events.start : 3 * events.stop])
        write_basf2(tmp_path / f"{name}.root", part, numbers[events])
        out = tmp_path / f"{name}.h5"
        assert overlay_command(run_folder, tmp_path / f"{name}.root", out, "--seed", "2") == 0
        parts.append(read_hits(out))
    of_two_files = concatenate(parts[1:])
    assert_same(replace(of_two_files, event=parts[0].event), parts[0])
    images = to_dense(parts[0], GEOMETRY).reshape(4, -1)
    assert len(np.unique(images, axis=0)) == 4
    assert_same(add_background(hits, numbers, loaded.generator, GEOMETRY, 2), parts[0])


@pytest.mark.usefixtures("loaded_once")
def test_root_output_and_input(run_folder: Path, tmp_path: Path) -> None:
    """kerasgen's own ROOT files have no runs: the option is needed."""
    write_signal(tmp_path / "s.h5")
    run = ["--run-number", "9"]
    assert overlay_command(run_folder, tmp_path / "s.h5", tmp_path / "a.root", *run) == 0
    assert overlay_command(run_folder, tmp_path / "s.h5", tmp_path / "a.h5", *run) == 0
    assert_same(
        concatenate(list(read_root(tmp_path / "a.root").blocks)), read_hits(tmp_path / "a.h5")
    )
    with pytest.raises(InputError, match="does not say the runs of its events"):
        overlay_command(run_folder, tmp_path / "a.root", tmp_path / "b.root")
    assert overlay_command(run_folder, tmp_path / "a.root", tmp_path / "b.root", *run) == 0


@pytest.mark.usefixtures("loaded_once")
def test_event_numbers_may_repeat_from_run_to_run(
    run_folder: Path, loaded: Trained, tmp_path: Path
) -> None:
    """The tree ``digits`` of two runs: events get the number of their entry."""
    hits = signal_events(2, c5=90)
    ids = np.array([s.id for s in GEOMETRY.sensors])
    columns = {
        "u": hits.row,
        "v": hits.col,
        "adu": hits.adu,
        "sensor": ids[hits.sensor[hits.image]],
    }
    counts = hits.counts.reshape(2, -1).sum(1)
    with uproot.recreate(tmp_path / "s.root") as file:
        file["geometry"] = GEOMETRY.to_json()
        jagged = {name: ak.unflatten(x.astype(np.int32), counts) for name, x in columns.items()}
        types = dict.fromkeys(jagged, "var * int32") | {"event": "int64", "run": "int32"}
        tree = file.mktree("digits", types, counter_name=lambda _: "nhits")
        tree.extend(jagged | {"event": np.array([7, 7]), "run": np.array([1, 2], np.int32)})
    assert overlay_command(run_folder, tmp_path / "s.root", tmp_path / "o.h5") == 0
    found = read_hits(tmp_path / "o.h5")
    np.testing.assert_array_equal(found.event[::3], [0, 1])
    numbers = np.array([[0, 1, 7], [0, 2, 7]])
    expected = add_background(hits, numbers, loaded.generator, GEOMETRY, 0)
    assert_same(replace(expected, event=found.event), found)


@pytest.mark.usefixtures("loaded_once")
def test_misuse_is_one_line(run_folder: Path, tmp_path: Path) -> None:
    signal, out = tmp_path / "signal.h5", tmp_path / "out.h5"
    hits = write_signal(signal)
    write_basf2(tmp_path / "runs.root", hits, np.array([[0, 1, 1], [0, 1, 2], [0, 1, 1]]))
    write_basf2(tmp_path / "good.root", hits, np.array([[0, 1, 1], [0, 1, 2], [0, 1, 3]]))
    write_basf2(tmp_path / "none.root", hits, np.ones((3, 3)), meta="Other")
    other = tmp_path / "other.h5"
    with EventWriter(other, replace(GEOMETRY, max_charge=100), "tests") as writer:
        writer.write(hits)
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04")
    before = sorted(tmp_path.iterdir())
    cases: list[tuple[list[Any], str]] = [
        ([signal, out], "--run-number R says it"),
        ([signal, out, "--run-number", "-1"], "whole number in 0.."),
        ([signal, out, "--seed", str(2**23)], "whole number in 0..8388607"),
        ([signal, signal, "--run-number", "1", "--force"], "is the file of the signal"),
        ([signal, signal, "--run-number", "1"], "exists already"),
        ([other, out, "--run-number", "1"], "differs from that of the model, toy"),
        ([tmp_path / "x.npz", out], "allowed: kerasgen HDF5 and ROOT"),
        ([tmp_path / "no.h5", out], "no such file"),
        ([tmp_path / "runs.root", out], "same experiment, run and event number"),
        ([tmp_path / "none.root", out], "does not say the runs"),
        ([tmp_path / "good.root", out, "--run-number", "3"], "says the runs of its events itself"),
        ([tmp_path / "good.root", out, "--tree", "x"], "no tree 'x', there are: tree"),
    ]
    for arguments, text in cases:
        with pytest.raises(InputError) as caught:
            overlay_command(run_folder, *arguments)
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


class Digit:
    def __init__(self, sensor: int, u: int, v: int, charge: int) -> None:
        self.values = sensor, u, v, charge

    def getSensorID(self) -> Any:
        return SimpleNamespace(getID=lambda: self.values[0])

    def getUCellID(self) -> int:
        return self.values[1]

    def getVCellID(self) -> int:
        return self.values[2]

    def getCharge(self) -> float:
        return float(self.values[3])


class Array(list[Digit]):
    def registerInDataStore(self) -> None: ...

    def fillArray(self, sensorID: Any, uCellID: Any, vCellID: Any, charge: Any) -> None:
        for values in (sensorID, uCellID, vCellID, charge):
            assert values.dtype == np.ushort
        self.extend(map(Digit, sensorID, uCellID, vCellID, charge))


def test_the_module_for_basf2(
    loaded: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module gives the events of the command, for any order of the digits."""
    numbers = np.array([[12, 345, 7], [12, 346, 9]])
    hits = signal_events(2, c5=90, c9=40)
    model = export_model(loaded, tmp_path, "toy")
    arrays = {"PXDDigits": Array(), "PXDDigitsWithBackground": Array()}
    info = SimpleNamespace()
    root: Any = ModuleType("ROOT")
    root.Belle2 = SimpleNamespace(PyStoreObj=lambda _: info, PyStoreArray=arrays.__getitem__)
    basf2: Any = ModuleType("basf2")
    basf2.Module = type("Module", (), {})
    monkeypatch.setitem(sys.modules, "ROOT", root)
    monkeypatch.setitem(sys.modules, "basf2", basf2)
    spec = importlib.util.spec_from_file_location("overlay_background", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    module = example.OverlayBackground(model, seed=2)
    module.initialize()
    ids = [s.id for s in GEOMETRY.sensors]
    expected = add_background(hits, numbers, module.generator, GEOMETRY, 2)
    for i, (experiment, run, event) in enumerate(numbers.tolist()):
        for array in arrays.values():
            array.clear()
        info.__dict__.update(
            getExperiment=lambda e=experiment: e,
            getRun=lambda r=run: r,
            getEvent=lambda n=event: n,
        )
        part = hits.take(np.arange(3 * i, 3 * i + 3))
        sensors = [ids[s] for s in part.sensor[part.image]]
        digits = zip(sensors, part.row, part.col, part.adu, strict=True)
        arrays["PXDDigits"].extend(Digit(*d) for d in reversed(list(digits)))
        module.event()
        wanted = expected.take(np.arange(3 * i, 3 * i + 3))
        sensors = [ids[s] for s in wanted.sensor[wanted.image]]
        found = [d.values for d in arrays["PXDDigitsWithBackground"]]
        assert found == list(zip(sensors, wanted.row, wanted.col, wanted.adu, strict=True))
    arrays["PXDDigitsWithBackground"].clear()
    arrays["PXDDigits"].append(Digit(ids[0], 0, 0, GEOMETRY.threshold - 1))
    with pytest.raises(InputError, match="PXDDigits"):
        module.event()
    module.drop = True
    module.event()
    assert [d.values for d in arrays["PXDDigitsWithBackground"]] == found


def write_masks(folder: Path) -> tuple[Path, Path]:
    """Masks of a signal and of the overlay, which share a hot pixel."""
    signal, more = folder / "signal.csv", folder / "more.csv"
    head, shared = "sensor,row,col,kind,rate,charge\n", "1.1.1,19,47,hot,1,50\n"
    signal.write_text(f"{head}{shared}1.1.1,0,5,dead\n1.1.2,*,40,masked\n")
    more.write_text(f"{head}{shared}1.1.1,0,9,masked\n1.1.1,*,0,hot,0.5,7-9\n*,18,*,dead\n")
    return signal, more


def assert_silent(hits: Hits, events: int, *places: tuple[Any, ...]) -> None:
    images = to_dense(hits, GEOMETRY).reshape(events, 3, 20, 48)
    for place in places:
        assert not images[(slice(None), *place)].any()


@pytest.mark.usefixtures("loaded_once")
@pytest.mark.parametrize("form", ["h5", "root"])
def test_the_result_is_masked_by_both(
    run_folder: Path, loaded: Trained, tmp_path: Path, form: str
) -> None:
    """Hot pixels of the signal have fired there; the same mask again changes nothing."""
    lists = write_masks(tmp_path)
    masks = [read_mask(path, GEOMETRY) for path in lists]
    events = EventMasking(masks[0]).apply(signal_events(3, c5=90, c9=40), 0)
    signal, run = tmp_path / f"signal.{form}", ["--run-number", "9"]
    write_stream(iter([events]), signal, 3, GEOMETRY, "tests", 0, masks[0])

    out = {name: tmp_path / f"{name}.h5" for name in ("none", "same", "both")}
    assert overlay_command(run_folder, signal, out["none"], *run) == 0
    assert overlay_command(run_folder, signal, out["same"], *run, "--mask", lists[0]) == 0
    assert overlay_command(run_folder, signal, out["both"], *run, "--mask", lists[1]) == 0
    hits = {name: read_hits(path) for name, path in out.items()}
    assert_same(hits["same"], hits["none"])
    own = (0, 0, 5), (1, slice(None), 40)
    assert_silent(hits["none"], 3, *own)
    assert_silent(hits["both"], 3, *own, (0, 0, 9), (slice(None), 18))
    plain = add_background(
        events, NUMBERS + [[0, 9, k] for k in range(3)], loaded.generator, GEOMETRY
    )
    images, before = (to_dense(x, GEOMETRY).reshape(3, 3, 20, 48) for x in (hits["both"], plain))
    assert before[:, 0, 19, 47].tolist() == images[:, 0, 19, 47].tolist()
    rises = images[:, 0, :, 0].astype(int) - before[:, 0, :, 0]
    rises[:, 18] = 0
    assert set(rises[before[:, 0, :, 0] < 240]) == {0, 7, 8, 9}
    with EventFile(out["both"]) as file:
        kinds = [line.split(",")[3] for line in mask_to_text(file.mask).splitlines()[1:]]
    assert kinds == ["hot", "dead", "masked", "masked", "hot", "dead", "dead", "dead"]


@pytest.mark.usefixtures("loaded_once")
def test_hot_pixels_do_not_depend_on_the_division_into_files(
    run_folder: Path, loaded: Trained, tmp_path: Path
) -> None:
    """A mask that depends on the run, over events of three runs, together and apart."""
    path = tmp_path / "mask.csv"
    path.write_text(
        "sensor,row,col,kind,rate,run\n1.1.1,*,*,hot,0.1,345\n1.1.2,0-9,*,dead,,346-347\n"
        "1.10.1,*,47,dead\n"
    )
    numbers = np.array([[12, 345, 7], [12, 345, 8], [12, 346, 7], [12, 348, 9]])
    images = np.zeros((12, 20, 48), np.int64)
    images[:, 2, 3:8] = images[:, 12, 47] = 90
    hits = from_dense(images, np.tile(np.arange(3), 4), np.repeat(np.arange(4), 3))
    found = {}
    for name, events in (("all", slice(0, 4)), ("a", slice(0, 1)), ("b", slice(1, 4))):
        part = hits.take(np.arange(12)[3 * events.start : 3 * events.stop])
        write_basf2(tmp_path / f"{name}.root", part, numbers[events])
        out = tmp_path / f"{name}.h5"
        assert overlay_command(run_folder, tmp_path / f"{name}.root", out, "--mask", path) == 0
        found[name] = read_hits(out)
    together = concatenate([found["a"], found["b"]])
    assert_same(replace(together, event=found["all"].event), found["all"])
    assert_silent(found["all"], 4, (2, slice(None), 47))
    images = to_dense(found["all"], GEOMETRY).reshape(4, 3, 20, 48)
    plain = add_background(hits, numbers, loaded.generator, GEOMETRY)
    expected = to_dense(plain, GEOMETRY).reshape(4, 3, 20, 48)
    expected[:, 2, :, 47] = 0
    assert expected[2, 1, :10].any()
    expected[2, 1, :10] = 0
    np.testing.assert_array_equal(images[:, 1:], expected[:, 1:])
    assert ((images[:, 0] > expected[:, 0]).sum((1, 2)) > 0).tolist() == [True, True, False, False]
    with EventFile(tmp_path / "all.h5") as file:
        spans = [line.split(",")[-1] for line in mask_to_text(file.mask).splitlines()[1:]]
    assert spans == ["0-1", "2", ""]
    # The file of the result keeps its mask as the signal of another overlay.
    again = tmp_path / "again.h5"
    assert overlay_command(run_folder, tmp_path / "all.h5", again, "--run-number", "1") == 0
    images = to_dense(read_hits(again), GEOMETRY).reshape(4, 3, 20, 48)
    assert not images[2, 1, :10].any()
    assert images[(0, 1, 3), 1, :10].any()
    with EventFile(again) as file:
        again_spans = [line.split(",")[-1] for line in mask_to_text(file.mask).splitlines()[1:]]
    assert again_spans == spans

    write_basf2(tmp_path / "two.root", hits, np.array([[k, 345, k] for k in range(4)]))
    with pytest.raises(InputError, match="several experiments"):
        overlay_command(run_folder, tmp_path / "two.root", tmp_path / "x.h5", "--mask", path)
    assert not (tmp_path / "x.h5").exists()

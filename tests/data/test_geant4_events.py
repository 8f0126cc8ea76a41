"""Events of the Geant4 engine: files, child processes, interrupts and crashes."""

import os
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from kerasgen.command import run
from kerasgen.data import geant4_events
from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.pixel_source import event_file
from kerasgen.data.simulate import main
from kerasgen.data.simulation.geant4 import environment
from kerasgen.data.simulation.geant4.workers import Geant4Events
from kerasgen.data.store import EventFile
from kerasgen.errors import RunFailure

needs_geant4 = pytest.mark.skipif(
    find_spec("geant4_pybind") is None, reason="geant4-pybind is not installed"
)
GEOMETRY = load_geometry("belle2-pxd")
NAMES = ("indptr", "row", "col", "adu", "type", "sensor", "event")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path / "cache"))


def same(a: Hits, b: Hits) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in NAMES)


@pytest.fixture(scope="module")
def events() -> Hits:
    with Geant4Events(GEOMETRY, seed=3, processes=2) as geant4:
        return concatenate(list(geant4.simulate(range(3))))


@needs_geant4
def test_same_seed_same_events_wherever_they_are_made(events, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(geant4_events, "EVENTS_PER_PART", 1)
    out = tmp_path / "a.h5"
    asked = ["pxd", "--engine", "geant4", "--events", "2", "--seed", "3", "--first-event", "1"]
    assert run(main, [*asked, "--processes", "2", "--out", str(out)]) == 0
    printed = capfd.readouterr().out
    assert printed.startswith(f"{out}: 2 events")
    assert printed.count("\n") == 1  # Geant4 greets on standard output, its children do not
    with EventFile(out) as file:
        assert same(file.read_events(0, 2), events.take(np.arange(40, 120)))
        assert file.attributes["seed"] == 3
        assert file.attributes["engine"] == "Geant4 transport of assumed sources"
        assert file.attributes["geant4_version"].startswith("geant4-11")
        assert "G4EmStandardPhysics" in file.attributes["physics_list"]
        assert "1 um" in file.attributes["production_cuts"]
        assert file.attributes["geant4_data_files"] in ("none", "used")
    parts = list((tmp_path / "cache").rglob("*.h5"))
    assert parts == []  # their events are in the file


@needs_geant4
def test_occupancy_and_charge(events):
    # Wide bounds for three events: the calibration is measured by benchmarks/simulate_pxd.py.
    occupancy = events.counts.reshape(3, 40).mean(0) / GEOMETRY.pixels
    assert occupancy[:16].mean() == pytest.approx(0.0149, rel=0.06)
    assert occupancy[16:].mean() == pytest.approx(0.00512, rel=0.06)
    assert events.adu.mean() == pytest.approx(21.6, rel=0.03)
    fraction = np.bincount(events.type, minlength=4) / len(events.type)
    assert fraction[0] == 0
    assert fraction[1:].min() > 0.004


@needs_geant4
def test_as_a_source_of_data(events):
    with event_file("simulate:pxd-geant4", 3, 3) as file:
        assert same(file.read_events(0, 3), events)


@needs_geant4
def test_a_crashed_child_is_replaced_and_its_event_tried_again(events, capfd):
    with Geant4Events(GEOMETRY, seed=3) as geant4:
        simulated = geant4.simulate(range(3))
        found = [next(simulated)]
        os.kill(geant4.workers[0].process.pid, signal.SIGSEGV)
        found += list(simulated)
    assert same(concatenate(found), events)
    assert capfd.readouterr().err == "event 1: Geant4 crashed (SIGSEGV), tried again\n"


@needs_geant4
def test_an_event_that_always_crashes_ends_the_run():
    stop = threading.Event()

    def kill_all(geant4):
        while not stop.wait(0.05):
            for worker in list(geant4.workers):
                if worker.event is not None:
                    worker.process.kill()

    with Geant4Events(GEOMETRY, seed=3) as geant4:
        killer = threading.Thread(target=kill_all, args=(geant4,))
        killer.start()
        try:
            with pytest.raises(RunFailure, match="Geant4 crashed 3 times \\(SIGKILL\\)"):
                list(geant4.simulate([0]))
        finally:
            stop.set()
            killer.join()


def children(pid: int) -> list[int]:
    """Processes that Geant4 runs in for this parent."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@needs_geant4
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_simulation_leaves_no_half_file_and_goes_on(tmp_path, number, code):
    out = tmp_path / "a.h5"
    asked = ["pxd", "--engine", "geant4", "--events", "9", "--seed", "5", "--out", str(out)]
    command = [sys.executable, "-m", "kerasgen.data.simulate", *asked, "--processes", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "cache" / "geant4"
    give_up = time.monotonic() + 60
    while not list(folder.glob("*/0-5.h5")):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.send_signal(number)
    error = process.communicate()[1]
    assert process.returncode == code
    assert error == ("kerasgen: interrupted\n" if number == signal.SIGINT else "")
    assert not out.exists()
    give_up = time.monotonic() + 30
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < give_up
        time.sleep(0.1)
    (first,) = folder.glob("*/0-5.h5")
    made = first.stat().st_mtime_ns
    kept = []

    def watch(path):
        kept.append(path.stat().st_mtime_ns if path.is_file() else None)
        return was_whole(path)

    was_whole = geant4_events.is_whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geant4_events, "is_whole", watch)
        assert run(main, asked) == 0
    assert kept[0] == made  # the first part was not simulated again
    with EventFile(out) as file:
        assert file.events.tolist() == list(range(9))
    assert list(folder.rglob("*.h5")) == []


@needs_geant4
def test_a_damaged_part_is_simulated_again(events, tmp_path):
    asked = ["pxd", "--engine", "geant4", "--events", "1", "--seed", "3"]
    with geant4_events.Geant4Parts(GEOMETRY, 3, 0, 1, 1):
        (part,) = (tmp_path / "cache").rglob("*.h5")
    part.write_bytes(part.read_bytes()[:-100])
    assert run(main, [*asked, "--out", str(tmp_path / "a.h5")]) == 0
    with EventFile(tmp_path / "a.h5") as file:
        assert same(file.read_events(0, 1), events.take(np.arange(40)))


def test_what_is_missing_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    asked = ["pxd", "--engine", "geant4", "--events", "1", "--out", str(tmp_path / "a.h5")]
    assert run(main, asked) == 2
    assert capsys.readouterr().err == (
        "kerasgen: geant4-pybind is not installed: pip install 'kerasgen[geant4]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_geant4_makes_no_jets(tmp_path, capsys):
    asked = ["jets", "--engine", "geant4", "--events", "1", "--out", str(tmp_path / "a.h5")]
    assert run(main, asked) == 2
    assert "Pythia makes the jets" in capsys.readouterr().err


def test_data_files_are_used_where_the_user_has_them(tmp_path):
    assert not environment.has_data_files({})
    assert not environment.has_data_files({environment.VARIABLE: str(tmp_path)})
    for name in (environment.ELECTROMAGNETIC, environment.NUCLEAR, environment.DE_EXCITATION):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.dat").touch()
    assert environment.has_data_files({environment.VARIABLE: str(tmp_path)})

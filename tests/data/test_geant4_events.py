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
from kerasgen.data.pixel_source import event_file, event_path
from kerasgen.data.simulate import main
from kerasgen.data.simulation.geant4 import environment, workers
from kerasgen.data.simulation.geant4.workers import Geant4Events
from kerasgen.data.store import EventFile
from kerasgen.errors import RunFailure

needs_geant4 = pytest.mark.skipif(
    find_spec("geant4_pybind") is None, reason="geant4-pybind is not installed"
)
GEOMETRY = load_geometry("belle2-pxd")
NAMES = ("indptr", "row", "col", "adu", "type", "sensor", "event")


@pytest.fixture(autouse=True, scope="module")
def no_data_files():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(environment.VARIABLE, raising=False)
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path / "cache"))


def same(a: Hits, b: Hits) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in NAMES)


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Hits:
    with Geant4Events(GEOMETRY, 3, tmp_path_factory.mktemp("geant4"), 2) as geant4:
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
        assert file.attributes["geant4_data_files"] == "none"
    parts = list((tmp_path / "cache").rglob("*.h5"))
    assert parts == []  # their events are in the file


@needs_geant4
def test_masked_pixels_never_fire_and_others_are_as_they_are(events, tmp_path):
    mask, out = tmp_path / "mask.csv", tmp_path / "a.h5"
    mask.write_text("sensor,row,col,kind\n1.1.1,*,0-399,dead\n2.*,0,0,masked\n")
    asked = ["pxd", "--engine", "geant4", "--events", "1", "--seed", "3", "--out", str(out)]
    assert run(main, [*asked, "--mask", str(mask)]) == 2  # no sensor has that name
    mask.write_text("sensor,row,col,kind\n1.1.1,*,0-399,dead\n")
    assert run(main, [*asked, "--mask", str(mask)]) == 0
    silent = (events.sensor[events.image] == 0) & (events.col < 400)
    with EventFile(out) as file:
        assert file.mask.unhealthy().sum() == 250 * 400
        assert same(file.read_events(0, 1), events.where(~silent).take(np.arange(40)))


@needs_geant4
def test_a_level_is_of_the_types_that_it_names(events, tmp_path):
    out = tmp_path / "a.h5"
    asked = ["pxd", "--engine", "geant4", "--events", "1", "--seed", "3", "--out", str(out)]
    assert run(main, [*asked, "--level", "two_photon=0,synchrotron=2"]) == 0
    with EventFile(out) as file:
        found = np.bincount(file.read_events(0, 1).type, minlength=4)
        assert "two_photon=0.0,shower=1.0,synchrotron=2.0" in file.attributes["creator"]
    usual = np.bincount(events.type, minlength=4) / 3
    assert found[1] == 0
    assert found[2] == pytest.approx(usual[2], rel=0.2)
    assert found[3] == pytest.approx(2 * usual[3], rel=0.2)


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
def test_a_crashed_child_is_replaced_and_its_event_tried_again(events, tmp_path, capfd):
    with Geant4Events(GEOMETRY, 3, tmp_path) as geant4:
        simulated = geant4.simulate(range(3))
        found = [next(simulated)]
        os.kill(geant4.workers[0].process.pid, signal.SIGSEGV)
        found += list(simulated)
    assert same(concatenate(found), events)
    assert capfd.readouterr().err == "event 1: Geant4 crashed (SIGSEGV), tried again\n"


@needs_geant4
def test_an_event_that_always_crashes_ends_the_run(tmp_path):
    stop = threading.Event()

    def kill_all(geant4):
        while not stop.wait(0.05):
            for worker in list(geant4.workers):
                if worker.event is not None:
                    worker.process.kill()

    with Geant4Events(GEOMETRY, 3, tmp_path) as geant4:
        killer = threading.Thread(target=kill_all, args=(geant4,))
        killer.start()
        try:
            with pytest.raises(RunFailure, match="Geant4 crashed 3 times \\(SIGKILL\\)"):
                list(geant4.simulate([0]))
        finally:
            stop.set()
            killer.join()


def descendants(pid: int) -> list[int]:
    """Child processes: the workers, and one of multiprocessing itself."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@needs_geant4
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_simulation_leaves_no_half_file_and_goes_on(
    tmp_path, monkeypatch, number, code
):
    monkeypatch.setattr(geant4_events, "EVENTS_PER_PART", 1)
    out, folder = tmp_path / "a.h5", tmp_path / "cache" / "geant4"
    asked = ["pxd", "--engine", "geant4", "--events", "12", "--seed", "5", "--out", str(out)]
    code_of_user = (
        "import sys; from kerasgen.command import run; from kerasgen.data import geant4_events;"
        "from kerasgen.data.simulate import main; geant4_events.EVENTS_PER_PART = 1;"
        "sys.exit(run(main, sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code_of_user, *asked, "--processes", "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: list(folder.glob("*/0-1.h5")), 300)
        started = descendants(process.pid)
        # As a terminal does: Ctrl-C goes to every process of the group.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        error = process.communicate()[1]
    finally:
        process.kill()
    assert process.returncode == code
    assert error == ("kerasgen: interrupted\n" if number == signal.SIGINT else "")
    assert not out.exists()
    wait_for(lambda: not any(map(is_running, started)), 60)
    whole = []

    def watch(path):
        whole.append(was_whole(path))
        return whole[-1]

    was_whole = geant4_events.is_whole
    monkeypatch.setattr(geant4_events, "is_whole", watch)
    assert run(main, [*asked, "--processes", "2"]) == 0
    assert whole[0]  # the first part was not simulated again
    assert not whole[-1]
    with EventFile(out) as file:
        assert file.events.tolist() == list(range(12))
    assert list(folder.rglob("*.h5")) == []


@needs_geant4
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize("seconds", [0.1, 0.6])
def test_ctrl_c_while_geant4_starts_prints_one_line(tmp_path, seconds):
    asked = ["pxd", "--engine", "geant4", "--events", "2", "--out", str(tmp_path / "a.h5")]
    command = [sys.executable, "-m", "kerasgen.data.simulate", *asked]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(lambda: descendants(process.pid), 60)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        error = process.communicate()[1]
    finally:
        process.kill()
    assert (process.returncode, error) == (130, "kerasgen: interrupted\n")


def serve_and_fail(task, connection) -> None:
    connection.send("Geant4: MemoryError: too much")


def serve_half_an_answer(task, connection) -> None:
    os.write(connection.fileno(), b"\0\0\1\0half")
    os._exit(3)


@pytest.mark.parametrize(
    ("body", "words"),
    [(serve_and_fail, "Geant4: MemoryError: too much"), (serve_half_an_answer, "exit code 3")],
)
def test_a_child_that_fails_is_one_line(tmp_path, monkeypatch, body, words):
    monkeypatch.setattr(workers, "check_installed", lambda: None)
    monkeypatch.setattr(workers, "serve", body)
    with pytest.raises(RunFailure, match=words), Geant4Events(GEOMETRY, 3, tmp_path):
        pass


@needs_geant4
def test_the_cache_names_what_makes_the_events(tmp_path, monkeypatch):
    names = {event_path("simulate:pxd-geant4", 3, seed) for seed in (1, 2)}
    names.add(event_path("simulate:pxd", 3, 1))
    for name in (environment.ELECTROMAGNETIC, environment.NUCLEAR, environment.DE_EXCITATION):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "file.dat").touch()
    assert not environment.uses_data_files()
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path))
    assert not environment.uses_data_files()
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "data"))
    assert environment.uses_data_files()
    assert environment.data_folder(tmp_path) == tmp_path / "data"
    names.add(event_path("simulate:pxd-geant4", 3, 1))
    assert len(names) == 4


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

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kerasgen.command import run
from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulate import main
from kerasgen.data.simulation.pxd import simulate_event
from kerasgen.data.store import EventFile


def test_writes_the_events_it_simulates(tmp_path, capsys):
    out = tmp_path / "a.h5"
    asked = ["pxd", "--events", "2", "--seed", "9", "--first-event", "5", "--out", str(out)]
    assert run(main, asked) == 0
    assert "2 events" in capsys.readouterr().out
    with EventFile(out) as file:
        assert file.events.tolist() == [5, 6]
        assert file.attributes["seed"] == 9
        assert file.geometry.name == "belle2-pxd"
        stored = file.read_events(1, 2)
    again = simulate_event(load_geometry("belle2-pxd"), 9, 6)
    for name in ("indptr", "row", "col", "adu", "type", "sensor"):
        assert np.array_equal(getattr(stored, name), getattr(again, name)), name


def test_levels_of_types(tmp_path):
    """Each type has its own frequency, and the file says so."""
    shares = {}
    for level in ("1", "two_photon=2,synchrotron=0"):
        out = tmp_path / f"{level}.h5"
        asked = ["pxd", "--events", "2", "--seed", "9", "--out", str(out), "--level", level]
        assert run(main, asked) == 0
        with EventFile(out) as file:
            shares[level] = np.bincount(file.read_events(0, 2).type, minlength=4)
            creator = file.attributes["creator"]
    assert " level two_photon=2.0,shower=1.0,synchrotron=0.0 " in creator
    usual, other = shares.values()
    assert other[3] == 0
    assert usual[3] > 100
    assert abs(other[1] / usual[1] - 2) < 0.2
    assert abs(other[2] / usual[2] - 1) < 0.2
    again = simulate_event(load_geometry("belle2-pxd"), 9, 0)
    with EventFile(tmp_path / "1.h5") as file:
        assert np.array_equal(file.read_events(0, 1).adu, again.adu)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pxd", "--events", "0"], "--events"),
        (["pxd", "--events", "two"], "--events"),
        (["pxd", "--events", "1", "--seed", "-1"], "--seed"),
        (["pxd", "--events", "1", "--first-event", "-2"], "--first-event"),
        (["pxd", "--events", "2", "--first-event", str(2**63 - 2)], "--first-event"),
        (["pxd", "--events", "1", "--processes", "0"], "--processes"),
        (["pdx", "--events", "1"], "did you mean 'pxd'"),
        (["pxd", "--events", "1", "--level", "11"], "is not a number in 0..10"),
        (["pxd", "--events", "1", "--level", "two_photons=2"], "did you mean 'two_photon'"),
        (["pxd", "--events", "1", "--level", "shower=2,shower=3"], "shower is there twice"),
        (["pxd", "--events", "1", "--level", "shower="], "'' is not a number"),
        (["jets", "--events", "1", "--level", "2"], "--level is for detectors"),
        (["pxd", "--evnts", "1"], "--events"),
    ],
)
def test_bad_options_give_one_line_and_write_nothing(tmp_path, capsys, arguments, words):
    assert run(main, [*arguments, "--out", str(tmp_path / "a.h5")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_overwritten_only_by_force(tmp_path, capsys):
    out = tmp_path / "a.h5"
    out.write_text("mine")
    asked = ["pxd", "--events", "1", "--out", str(out)]
    assert run(main, asked) == 2
    assert capsys.readouterr().err == (
        f"kerasgen: {out}: exists already; --force overwrites it, or name another file\n"
    )
    assert out.read_text() == "mine"
    assert run(main, [*asked, "--force"]) == 0
    with EventFile(out) as file:
        assert file.n_events == 1
    assert list(tmp_path.iterdir()) == [out]


def test_a_missing_folder_is_named(tmp_path, capsys):
    out = tmp_path / "none" / "a.h5"
    assert run(main, ["pxd", "--events", "1", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(out.parent) in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("processes", ["1", "2"])
def test_interrupt_leaves_no_half_file(tmp_path, processes):
    out = tmp_path / "a.h5"
    command = [sys.executable, "-m", "kerasgen.data.simulate", "pxd", "--events", "5000"]
    command += ["--out", str(out), "--processes", processes]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)
        child.send_signal(signal.SIGINT)
        error = child.communicate(timeout=60)[1]
    assert child.returncode == 130
    assert error.splitlines() == ["kerasgen: interrupted"]
    assert list(tmp_path.iterdir()) == []

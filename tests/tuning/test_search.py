"""Whole searches: killed, interrupted, parallel; failed trials are recorded."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from point_sets import write_toy_jets
from small_study import STUDY, deprecated_thread_names, write_study

from kerasgen.command import run
from kerasgen.tuning import search, trials, workers
from kerasgen.tuning.tuner import process_role
from kerasgen.zoo.recipes import load_config

pytestmark = deprecated_thread_names
STAND_IN = str(Path(__file__).with_name("stand_in.py"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jets") / "jets.h5"
    write_toy_jets(path)
    return path


def start_search(study: Path, out: Path, *more: str, phase: float = 0.02, **chief: str):
    """A search in a process of its own; its trainings are stand-ins."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PHASE_SECONDS": str(phase)}
    environment |= {f"KERASTUNER_{key}": value for key, value in chief.items()}
    return subprocess.Popen(
        [sys.executable, STAND_IN, "search", str(study), "--out", str(out), *more],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=out.parent,
    )  # fmt: skip


def wait_for_exit(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, out + err
    return out + err


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings of searches in this process are stand-ins."""
    monkeypatch.setattr(trials, "COMMAND", [sys.executable, STAND_IN])
    monkeypatch.setattr(trials, "POLL", 0.02)
    monkeypatch.setenv("PHASE_SECONDS", "0.1")


def search_in_process(study: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(search.main, [str(study), "--out", str(out)]) == 0
    return capsys.readouterr().out


def wait_for(condition, process: subprocess.Popen[str], seconds: float = 200) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)


def calls(out: Path) -> list[list[str]]:
    path = out / "trials/calls.txt"
    return [x.split() for x in path.read_text().splitlines()] if path.exists() else []


def results_of(out: Path) -> dict[str, dict]:
    return {p.stem: json.loads(p.read_text()) for p in (out / "trials").glob("*.json")}


def test_killed_and_interrupted_searches_resume(tmp_path: Path, data: Path, stand_in, capsys):
    study, out = write_study(tmp_path, data, trials="3"), tmp_path / "out"
    process = start_search(study, out, phase=0.3)
    wait_for(lambda: ["1", "1"] in [x[:2] for x in calls(out)], process)
    process.kill()
    process.communicate()
    first = (out / "trials/0.json").read_bytes()
    process = start_search(study, out, phase=0.3)
    wait_for(lambda: ["2", "0"] in [x[:2] for x in calls(out)], process)
    process.send_signal(signal.SIGINT)
    assert "interrupted" in wait_for_exit(process, 130)
    printed = search_in_process(study, out, capsys)
    assert (out / "trials/0.json").read_bytes() == first
    # Every phase of every trial once: nothing is repeated, the running trial is resumed.
    assert [x[:2] for x in calls(out)] == [[t, p] for t in "012" for p in "0123"]
    results = json.loads((out / "results.json").read_text())
    assert [x["trial"] for x in results["trials"]] == ["0", "1", "2"]
    assert len({x["seed"] for x in results["trials"]}) == 3
    best = min(results["trials"], key=lambda x: x["objective"])
    assert results["best"]["trial"] == best["trial"]
    assert len(results["reruns"]) == 6
    assert best["values"]["loss.beta"] == pytest.approx(
        results["comparison"]["tuned"]["mean"], abs=0.01
    )
    config = load_config("jet_vae", str(out / "best.toml"))
    assert config.loss.beta == best["values"]["loss.beta"]
    assert "tuned is better" in printed or "recipe is better" in printed
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page.replace("http-equiv", "")
    assert "3 of them done" in search_in_process(study, out, capsys)
    assert len(calls(out)) == 12


def test_a_search_on_jax(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    study, out = write_study(tmp_path, data, trials="2"), tmp_path / "out"
    assert "Winner" in wait_for_exit(start_search(study, out))
    assert {x["status"] for x in results_of(out).values()} == {"completed"}
    assert len(json.loads((out / "results.json").read_text())["reruns"]) == 6


def test_failed_and_pruned_trials_are_recorded(tmp_path: Path, data: Path, stand_in, capsys):
    """Diverged and pruned trials are recorded; the search continues."""
    space = "training.rate = { choices = [0.001, 1.0] }\n[set]"
    stop = '[stop]\nmetric = "w1_points"\nfactor = 1.5\n[space]'
    text = STUDY.replace("[set]", space).replace("[space]", stop)
    study, out = write_study(tmp_path, data, text, trials="14"), tmp_path / "out"
    printed = search_in_process(study, out, capsys)
    results = results_of(out)
    by_status: dict[str, list] = {}
    for result in results.values():
        by_status.setdefault(result["status"], []).append(result)
    assert len(results) == 14
    assert set(by_status) == {"completed", "failed", "stopped"}
    assert {x["reason"] for x in by_status["failed"]} == {"the loss is not a number"}
    assert all("the median of the others" in x["reason"] for x in by_status["stopped"])
    assert all(x["values"]["training.rate"] == 0.001 for x in by_status["completed"])
    assert "the loss is not a number" in printed


def test_five_failures_at_the_start_end_the_search(tmp_path, data, stand_in, monkeypatch, capsys):
    study, out = write_study(tmp_path, data, trials="9", time_limit="0.1"), tmp_path / "out"
    monkeypatch.setenv("PHASE_SECONDS", "5")
    assert run(search.main, [str(study), "--out", str(out)]) == 1
    line = capsys.readouterr().err.strip()
    assert line == "kerasgen: the first 5 trials failed, the last one: time limit of 0 s"


def test_two_workers_one_of_them_killed_and_a_second_search(tmp_path: Path, data: Path, capsys):
    study, out = write_study(tmp_path, data), tmp_path / "out"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    place = {"ORACLE_IP": "localhost", "ORACLE_PORT": port}
    chief = start_search(study, out, TUNER_ID="chief", **place)
    workers = [start_search(study, out, phase=0.5, TUNER_ID=f"w{k}", **place) for k in (1, 2)]
    wait_for(lambda: {x[2] for x in calls(out)} == {"w1", "w2"}, chief)
    workers[0].kill()
    workers[0].communicate()
    assert run(search.main, [str(study), "--out", str(out)]) == 2
    assert "another search is at work there" in capsys.readouterr().err
    wait_for_exit(workers[1])
    assert "w1 is lost" in wait_for_exit(chief)
    results = results_of(out)
    assert sorted(results) == ["0", "1", "2", "3"]
    assert {x["status"] for x in results.values()} == {"completed"}
    assert sorted(x[:2] for x in calls(out)) == [[t, p] for t in "0123" for p in "0123"]
    assert len(json.loads((out / "results.json").read_text())["reruns"]) == 6


def test_workers_of_one_command(tmp_path: Path, monkeypatch):
    """Workers get chief, identity and their part of the cores, and end with the search."""
    for key in ("ORACLE_IP", "ORACLE_PORT", "TUNER_ID"):
        monkeypatch.setenv(f"KERASTUNER_{key}", "")  # restored after the test
    script = (
        "import os, pathlib, sys; e = os.environ; "
        "pathlib.Path(sys.argv[1], e['KERASTUNER_TUNER_ID'])"
        ".write_text(e['KERASTUNER_ORACLE_PORT'] + ' ' + e['TF_NUM_INTRAOP_THREADS']); "
        "sys.stdin.read()"
    )
    monkeypatch.setattr(workers, "COMMAND", [sys.executable, "-c", script])
    with workers.running_workers(2, [str(tmp_path)]):
        limit = time.monotonic() + 60
        while len(files := sorted(tmp_path.glob("worker?"))) < 2 and time.monotonic() < limit:
            time.sleep(0.01)
        assert process_role() == "chief"
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert [p.name for p in files] == ["worker0", "worker1"]
    assert files[0].read_text() == f"{os.environ['KERASTUNER_ORACLE_PORT']} {threads}"

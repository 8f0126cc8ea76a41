"""Who may have a run folder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kerasgen.errors import InputError
from kerasgen.run_folder import (
    append_metrics,
    check_unused,
    claim_folder,
    create_run,
    locked,
    read_metrics,
)


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_start_that_was_killed_leaves_the_folder_to_the_next(tmp_path: Path, ended: int) -> None:
    """Killed after the schema, before the configuration."""
    for name in (".lock", "schema.json", f".partial-{platform.node()}-{ended}-config.toml"):
        (tmp_path / name).write_text("old")
    check_unused(tmp_path)
    with locked(tmp_path):
        create_run(tmp_path, "config", "schema")
    assert (tmp_path / "config.toml").read_text() == "config"
    assert (tmp_path / "schema.json").read_text() == "schema\n"
    assert sorted(os.listdir(tmp_path)) == [".lock", "config.toml", "schema.json"]


@pytest.mark.parametrize("names", [["schema.json"], [".lock", "notes"], [".lock", "config.toml"]])
def test_a_folder_with_anything_else_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        create_run(tmp_path, "config", "schema")
    assert sorted(os.listdir(tmp_path)) == names
    assert {(tmp_path / name).read_text() for name in names} == {"mine"}


def test_opening_a_run_sweeps_what_killed_processes_left(tmp_path: Path, ended: int) -> None:
    dead, alive = (f".partial-{platform.node()}-{n}-last.weights.h5" for n in (ended, os.getpid()))
    (tmp_path / "checkpoints").mkdir()
    for name in (dead, alive, "last.weights.h5"):
        (tmp_path / "checkpoints" / name).touch()
    with locked(tmp_path):
        assert sorted(os.listdir(tmp_path / "checkpoints")) == [alive, "last.weights.h5"]


def test_an_evaluation_takes_the_place_of_the_one_of_the_same_data(tmp_path: Path) -> None:
    """The first line stays first: it says which data trained."""
    for step, document in (
        (5, {"metrics": {"a": 1}}),
        (5, {"metrics": {"a": 2}}),  # trained again after a resume
        (9, {"metrics": {"a": 3}}),
        (9, {"verdict": "x", "data": {"own": "1"}}),
        (9, {"verdict": "y", "data": {"other": "2"}}),
        (9, {"verdict": "z", "data": {"own": "1"}}),
    ):
        append_metrics(tmp_path, step, document)
    lines = read_metrics(tmp_path)
    assert [x.get("verdict") for x in lines] == [None, None, "z", "y"]
    assert [x["metrics"]["a"] for x in lines[:2]] == [2, 3]
    append_metrics(tmp_path, 5, {"metrics": {"a": 4}})  # a resume from an earlier checkpoint
    assert read_metrics(tmp_path) == [{"step": 5, "metrics": {"a": 4}}]


def test_runs_of_the_same_second_get_a_folder_each(tmp_path: Path) -> None:
    wanted = tmp_path / "runs" / "toy-20261128-120000"
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(claim_folder, [wanted] * 8))
    names = [wanted.name, *(f"{wanted.name}-{k}" for k in range(2, 9))]
    assert sorted(f.name for f in folders) == sorted(names)
    assert all(f.is_dir() for f in folders)


@pytest.mark.parametrize("cut", ['{"step": 9, "met', "\0\0\0\0", '{"step": 9, "met\xff', "9"])
def test_a_last_line_that_was_cut_is_left_out(
    cut: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 5, "metrics": {}}\n' + cut.encode("latin-1"))
    kept = [{"step": 5, "metrics": {}}]
    assert read_metrics(tmp_path) == kept
    assert read_metrics(tmp_path) == kept
    warning = f"kerasgen: warning: {path}: line 2, the last, was cut and is left out\n"
    assert capsys.readouterr().err == warning
    append_metrics(tmp_path, 9, {"metrics": {}})
    assert [x["step"] for x in read_metrics(tmp_path)] == [5, 9]


def test_another_damaged_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 5}\n{"st\n{"step": 9}\n')
    with pytest.raises(InputError, match="line 2 is damaged"):
        read_metrics(tmp_path)

"""Who may have a run folder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from kerasgen.errors import InputError
from kerasgen.run_folder import check_unused, create_run, locked


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

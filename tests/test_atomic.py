"""Temporary names: what a killed process leaves goes, and nothing else."""

from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kerasgen.atomic import (
    make_folder,
    partial_name,
    refused_writes,
    sweep_partials,
    write_atomic,
)
from kerasgen.command import ended_cleanly

KILLED = """
import os, signal, sys
from pathlib import Path
from kerasgen.atomic import write_atomic

def write(partial):
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

write_atomic(Path(sys.argv[1]), write)
"""


def test_a_file_is_complete_or_not_there(tmp_path: Path) -> None:
    def fail(partial: Path) -> None:
        partial.write_text("half")
        raise KeyboardInterrupt

    path = tmp_path / "new" / "a.weights.h5"
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, fail)
    assert not list(path.parent.iterdir())
    write_atomic(path, lambda partial: partial.write_text(partial.name))
    assert [p.name for p in path.parent.iterdir()] == ["a.weights.h5"]
    assert path.read_text().endswith("a.weights.h5")


def test_a_file_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    path, replace = tmp_path / "a.h5", os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append(os.fstat(file).st_ino))
    monkeypatch.setattr(os, "replace", lambda *names: done.append("named") or replace(*names))
    write_atomic(path, lambda partial: partial.write_text("new"))
    assert done == [path.stat().st_ino, "named"]


def test_only_what_ended_processes_of_this_machine_left_is_swept(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.h5")])
    assert done.returncode == -9
    (left,) = tmp_path.iterdir()
    folder = left.with_name(left.name + "-folder")
    folder.mkdir()
    (folder / "half").touch()
    process = left.name.removeprefix(f".partial-{platform.node()}-").partition("-")[0]
    kept = [
        partial_name(tmp_path / "ours"),
        partial_name(tmp_path / "init").with_name(f".partial-{platform.node()}-1-init"),
        tmp_path / f".partial-other.{platform.node()}-{process}-a.h5",
        tmp_path / ".partial-notes",
        tmp_path / "a.h5",
    ]
    for path in kept:
        path.touch()
    sweep_partials(tmp_path.iterdir())
    assert sorted(os.listdir(tmp_path)) == sorted(p.name for p in kept)


@pytest.mark.parametrize("there", [True, False])
def test_the_file_behind_a_link_is_written(there: bool, tmp_path: Path) -> None:
    link, file = tmp_path / "link.h5", tmp_path / "disk" / "file.h5"
    file.parent.mkdir()
    if there:
        file.write_text("old")
    (tmp_path / "first.h5").symlink_to("disk/file.h5")
    link.symlink_to(tmp_path / "first.h5")
    write_atomic(link, lambda partial: partial.write_text(str(partial.parent)))
    assert link.is_symlink()
    assert file.read_text() == str(file.parent)  # another disk may be behind the link
    assert os.listdir(file.parent) == ["file.h5"]


def test_a_folder_may_be_a_link_to_none_yet(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "runs")
    make_folder(tmp_path / "runs" / "mine")
    assert (tmp_path / "disk/runs/mine").is_dir()


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "a.h5"
    link.symlink_to(link)
    with pytest.raises(OSError, match="symbolic links") as refused:
        write_atomic(link, Path.touch)
    assert refused.value.filename == str(link)
    assert link.is_symlink()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.ENOSPC, "No space left on device", "/disk/.partial-here-1-a.h5"),
        RuntimeError("Can't write (errno = 28, error message = 'No space left on device')"),
    ],
)
def test_a_refusal_names_the_file_whatever_its_form(error: Exception) -> None:
    with pytest.raises(OSError, match="No space left") as refused, refused_writes(Path("a.h5")):
        raise error
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, "a.h5")


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no", "input.h5"), BrokenPipeError(), ValueError("x")]
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as found, refused_writes(Path("a.h5")):
        raise error
    assert found.value is error


def test_sigterm_leaves_no_half_written_file(tmp_path: Path):
    before = signal.getsignal(signal.SIGTERM)

    def write(partial: Path) -> None:
        partial.write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)  # the signal ends it

    with pytest.raises(SystemExit) as ended, ended_cleanly():
        write_atomic(tmp_path / "file.h5", write)
    assert ended.value.code == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before

"""The Makefile: from a folder with spaces, from another folder, and installing only when needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with spaces in its name that has the Makefile and what it depends on."""
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    for name in ("Makefile", "setup.cfg", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The suite itself runs below make: its settings must not reach the make that is tested.
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )


def with_recording_interpreter(checkout: Path) -> Path:
    """Put a stand-in for ``.venv/bin/python`` there; it writes its arguments to the file given."""
    calls = checkout / "calls"
    interpreter = checkout / ".venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text('#!/bin/sh\necho "$@" >> calls\n')
    interpreter.chmod(0o755)
    return calls


def test_wrong_python_is_refused_with_what_to_do(checkout: Path):
    for python in ("false", "no-such-python"):
        result = make(checkout, "venv", f"PYTHON={python}")
        assert result.returncode != 0
        assert "needs Python 3.11 to 3.13" in result.stderr
        assert not (checkout / ".venv").exists()


def test_installs_again_only_when_the_requirements_change(checkout: Path):
    calls = with_recording_interpreter(checkout)
    for _ in range(2):
        assert make(checkout, "venv").returncode == 0
    assert calls.read_text() == "-m pip install -q -c constraints.txt -e .[test]\n"
    for name in ("setup.cfg", "constraints.txt"):
        later = (checkout / ".venv" / ".installed").stat().st_mtime + 10
        os.utime(checkout / name, (later, later))
        calls.write_text("")
        assert make(checkout, "venv").returncode == 0
        assert calls.read_text().count("pip install") == 1
        os.utime(checkout / ".venv" / ".installed", (later + 1, later + 1))


def test_a_failed_install_is_done_again(checkout: Path):
    calls = with_recording_interpreter(checkout)
    interpreter = checkout / ".venv" / "bin" / "python"
    working = interpreter.read_text()
    interpreter.write_text("#!/bin/sh\nexit 1\n")
    assert make(checkout, "venv").returncode != 0
    interpreter.write_text(working)
    assert make(checkout, "venv").returncode == 0
    assert calls.read_text().count("pip install") == 1


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("train", "-m kerasgen.zoo.train pxd_biggan --quick"),
        ("test", "-m pytest"),
        ("check", "-m pytest -n 2 --dist loadfile -m not slow"),
        ("lint", "-m mypy kerasgen"),
    ],
)
def test_targets_install_first_and_then_run(checkout: Path, target: str, command: str):
    calls = with_recording_interpreter(checkout)
    assert make(checkout, target).returncode == 0
    lines = calls.read_text().splitlines()
    assert lines[0].startswith("-m pip install")
    assert lines[-1].startswith(command)


def with_recording_python(checkout: Path, folder: str) -> Path:
    """A stand-in for PYTHON that records, and puts itself into the environment that it makes."""
    python = checkout / "python"
    python.write_text(
        f'#!/bin/sh\necho "$@" >> calls\nmkdir -p {folder}/bin\ncp python {folder}/bin/new\n'
        f"mv -n {folder}/bin/new {folder}/bin/python\n"
    )
    python.chmod(0o755)
    return checkout / "calls"


def test_lowest_versions_have_an_environment_of_their_own(checkout: Path):
    calls = with_recording_python(checkout, ".lowest")
    (checkout / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "lowest_versions.py", checkout / "tests")
    for _ in range(2):
        assert make(checkout, "lowest", "PYTHON=./python", "TESTS=tests/data").returncode == 0
    tests = "-m pytest -n 2 --dist loadfile -m not slow tests/data"
    assert calls.read_text().splitlines() == [
        "-m venv --clear .lowest",
        "-m pip install -q packaging",
        "tests/lowest_versions.py setup.cfg",
        "-m pip install -q -c .lowest/constraints.txt -e .[test]",
        tests,
        tests,
    ]


def test_root_has_an_environment_of_its_own(checkout: Path):
    calls = with_recording_python(checkout, ".root")
    for _ in range(2):
        assert make(checkout, "root", "PYTHON=./python").returncode == 0
    assert calls.read_text() == "-m venv .root\n-m pip install -q --pre root\n"


def test_root_that_does_not_install_leaves_nothing(checkout: Path):
    with_recording_python(checkout, ".root")
    with (checkout / "python").open("a") as file:
        file.write('[ "$2" = venv ]\n')
    assert make(checkout, "root", "PYTHON=./python").returncode != 0
    assert not (checkout / ".root").exists()


@pytest.mark.parametrize("installs", [True, False])
def test_continuous_integration_installs_a_browser_and_runs_make_test(
    checkout: Path, installs: bool
):
    """With a stand-in for apt-get on the PATH, and no Chromium there."""
    calls, tools = with_recording_interpreter(checkout), checkout / "tools"
    (checkout / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", checkout / ".ci" / "run")
    tools.mkdir()
    for name in ("bash", "dirname", "make", "sh", "python3", "touch"):
        (tools / name).symlink_to(shutil.which(name) or "")
    for name, text in (
        ("apt-get", f'echo "$@" >> installed\n{"true" if installs else "false"}'),
        ("id", "echo 0"),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        [shutil.which("bash") or "", checkout / ".ci" / "run"],
        check=True, capture_output=True, text=True, timeout=60,
        env=environment | {"PATH": str(tools)},
    )  # fmt: skip
    assert (checkout / "installed").read_text().startswith("update -qq")
    assert ("could not be installed" in done.stdout) == (not installs)
    assert calls.read_text().splitlines()[-1].startswith("-m pytest")

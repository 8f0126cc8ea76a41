"""The C++ program over ONNX Runtime: built by its Makefile, and equal to Python in every hit.

Headers are those of a package of the system, or of the folder ONNXRUNTIME_INCLUDE; the library is
that of the Python package, which runs programs built with older headers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from onnx_models import gan_model

from kerasgen.data.geometry import Geometry
from kerasgen.data.pixel_events import event_hits
from kerasgen.serving.onnx_export import export_onnx
from kerasgen.serving.onnx_model import OnnxModel

SOURCE = Path(__file__).parents[2] / "examples" / "onnx"
INCLUDE = Path(os.environ.get("ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime"))
if not (shutil.which("make") and shutil.which("c++")):
    pytest.skip("needs make and a C++ compiler", allow_module_level=True)
if not (INCLUDE / "onnxruntime_cxx_api.h").is_file():
    pytest.skip("needs the headers of ONNX Runtime, see docs/onnx.md", allow_module_level=True)


def library() -> Path | None:
    """The library inside the Python package; None where a release of it has none."""
    spec = find_spec("onnxruntime")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    found = sorted((Path(spec.submodule_search_locations[0]) / "capi").glob("libonnxruntime.so.*"))
    return found[-1] if found else None


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cpp program")
    for name in ("Makefile", "generate_hits.cpp"):
        shutil.copy(SOURCE / name, folder)
    command = ["make", "-s", f"INCLUDE={INCLUDE}"]
    path = library()
    if path is not None:  # the name by which the program asks for it
        link = folder / "libonnxruntime.so.1"
        link.symlink_to(path)
        (folder / "libonnxruntime.so").symlink_to(path)
        command.append("LIBRARY=./libonnxruntime.so")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "generate_hits"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Geometry, Path]:
    """The geometry of a model of two image channels, and its folder."""
    folder = tmp_path_factory.mktemp("model")
    trained = gan_model(folder / "run", (2, 6))
    return trained.schema, export_onnx(trained, folder, "toy", ["digits"])[0]


def call(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, cwd=program.parent)


def test_hits_are_those_of_python(program: Path, model: tuple[Geometry, Path]) -> None:
    geometry, folder = model
    done = call(program, folder / "digits.onnx", "3", "9", "4", "3")
    assert done.returncode == 0, done.stderr
    found = np.loadtxt(done.stdout.splitlines(), np.int64)
    expected = event_hits(OnnxModel(folder), geometry, range(4, 7), 9)
    columns = [expected.event[expected.image], expected.sensor[expected.image], expected.row]
    columns += [expected.col, expected.adu, expected.type]
    assert len(found) > 30
    np.testing.assert_array_equal(found, np.transpose(columns))


def test_misuse_is_one_line(program: Path, model: tuple[Geometry, Path], tmp_path: Path) -> None:
    path = model[1] / "digits.onnx"
    cases: dict[tuple[str | Path, ...], tuple[int, str]] = {
        (): (2, "usage: "),
        (path, "3", "9", "4", "x"): (2, "EVENTS: x is not a whole number from 1 on"),
        (path, "3", "9", "4", ""): (2, "EVENTS:  is not a whole number from 1 on"),
        (path, "3", "9", "-4", "1"): (2, "FIRST_EVENT: -4 is not a whole number from 0 on"),
        (path, "4", "9", "4", "1"): (1, "SENSORS: the model has fewer"),
        (tmp_path / "missing", "3", "9", "4", "1"): (1, "missing"),
    }
    for arguments, (code, text) in cases.items():
        done = call(program, *arguments)
        assert done.returncode == code
        assert text in done.stderr
        assert done.stderr.count("\n") == 1

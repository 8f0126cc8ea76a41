"""The C program: built by its Makefile, and equal to Python in every hit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_run import write_toy_run

from kerasgen.kinds.pixels import PIXELS
from kerasgen.models.trained import load_trained
from kerasgen.serving.saved_model import export_model, load_exported

SOURCE = Path(__file__).parents[2] / "examples" / "c"
if not (shutil.which("make") and shutil.which("cc")):
    pytest.skip("needs make and a C compiler", allow_module_level=True)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("c program")
    for name in ("Makefile", "generate_hits.c"):
        shutil.copy(SOURCE / name, folder)
    command = ["make", "-s", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "generate_hits"


@pytest.fixture(scope="module", params=[(), (2, 6)], ids=["one channel", "two channels"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    trained = load_trained(write_toy_run(folder / "toy-1", request.param))
    return export_model(trained, folder / "exported", "toy")


def call(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def test_hits_are_those_of_python(program: Path, model: Path) -> None:
    done = call(program, model, "3", "9", "4", "3")
    assert done.returncode == 0, done.stderr
    found = np.loadtxt(done.stdout.splitlines(), np.int64)
    expected = PIXELS.generate(load_exported(model), range(4, 7), 9)
    columns = [expected.event[expected.image], expected.sensor[expected.image], expected.row]
    columns += [expected.col, expected.adu]
    if found.shape[1] == 6:
        columns.append(expected.type)
    assert len(found) > 30
    np.testing.assert_array_equal(found, np.transpose(columns))


def test_misuse_is_one_line(program: Path, model: Path, tmp_path: Path) -> None:
    cases = {
        (): (2, "usage: "),
        (model, "3", "9", "4", "x"): (2, "EVENTS: x is not a whole number from 1 on"),
        (model, "4", "9", "4", "1"): (1, "SENSORS: the model has fewer"),
        (tmp_path, "3", "9", "4", "1"): (1, "Could not find SavedModel"),
    }
    for arguments, (code, text) in cases.items():
        done = call(program, *arguments)
        assert done.returncode == code
        lines = [x for x in done.stderr.splitlines() if x.startswith(("generate_hits", "usage"))]
        assert len(lines) == 1
        assert text in lines[0]

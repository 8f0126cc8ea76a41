"""Commands in processes where TensorFlow is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shared_runs import Case, small_recipe
from small_run import write_events

from kerasgen.data.store import EventFile
from kerasgen.models.algorithm import algorithm_of
from kerasgen.run_folder import read_metrics
from kerasgen.serving.versions import is_exported

ROOT = Path(__file__).resolve().parents[1]
# Run by Python as it starts: as if these packages were not installed.
HIDE = """
from importlib.machinery import PathFinder

HIDDEN = ("tensorflow", "tensorflow_serving", "keras_tuner")
find = PathFinder.find_spec


def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] in HIDDEN else find(name, path, target)


PathFinder.find_spec = find_spec
"""


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that hides TensorFlow from the processes that have it on their path."""
    folder = tmp_path_factory.mktemp("hidden")
    (folder / "sitecustomize.py").write_text(HIDE)
    return folder


def kerasgen(
    *arguments: str, cwd: Path, hidden: Path | None, backend: str = ""
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with its own backend and, if ``hidden``, no TensorFlow."""
    path = [str(x) for x in (hidden, ROOT) if x]
    keras_saves = "ignore:__array__ implementation:DeprecationWarning"  # as it saves its variables
    return subprocess.run(
        [sys.executable, "-W", "error", "-W", keras_saves, "-m", "kerasgen", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=900,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that refuses its input."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_tensorflow_is_hidden(hidden: Path, tmp_path: Path) -> None:
    done = kerasgen("list", cwd=tmp_path, hidden=hidden, backend="tensorflow")
    assert done.returncode == 0, done.stderr  # it needs no Keras
    code = "import tensorflow"
    path = {"PYTHONPATH": str(hidden)}
    found = subprocess.run([sys.executable, "-c", code], env=os.environ | path, stderr=-1)
    assert b"No module named 'tensorflow'" in found.stderr


def test_events_are_simulated_converted_and_compared(hidden: Path, tmp_path: Path) -> None:
    for arguments in (
        ["simulate", "pxd", "--events", "8", "--out", "a.h5"],
        ["simulate", "pxd", "--events", "4", "--seed", "1", "--out", "b.h5"],
        ["convert", "b.h5", "b.root"],
        ["convert", "b.root", "c.h5"],
        ["evaluate", "--reference", "a.h5", "--candidate", "c.h5", "--out", "report"],
    ):
        done = kerasgen(*arguments, cwd=tmp_path, hidden=hidden)
        assert done.returncode == 0, done.stderr
    assert EventFile(tmp_path / "c.h5").n_events == 4
    assert (tmp_path / "report/report.html").is_file()
    assert "fired pixels per sensor" in done.stdout


@pytest.fixture(scope="module")
def trained(hidden: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A small run of the conditional GAN, trained without TensorFlow."""
    case = Case(algorithm_of("pxd_gan"), tmp_path_factory.mktemp("trained"))
    write_events(case.events)
    case.recipe.write_text(small_recipe(case))
    short = ["training.steps=2", "training.evaluate_every=2"]
    changes = [x for change in short for x in ("--set", change)]
    command = ["train", str(case.recipe), "--run", "run", *changes]
    done = kerasgen(*command, cwd=case.home, hidden=hidden)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "SavedModel: not written, TensorFlow is not installed; where it is: kerasgen export run\n"
    )
    return case


def test_a_run_without_tensorflow_lacks_only_the_saved_model(trained: Case, hidden: Path) -> None:
    for name in ("model.weights.h5", "calibration.npz", "report/report.html"):
        assert (trained.folder / name).is_file(), name
    assert [x["step"] for x in read_metrics(trained.folder)] == [2, 2]
    assert not (trained.folder / "exported").exists()
    resume = ["train", str(trained.recipe), "--run", "run", "--resume"]
    again = kerasgen(*resume, cwd=trained.home, hidden=hidden)
    assert again.returncode == 0, again.stderr
    assert len(again.stdout.splitlines()) == 2  # no training
    export = ["export", "run"]
    line = refused(kerasgen(*export, cwd=trained.home, hidden=hidden))
    assert line == "kerasgen: kerasgen export: needs TensorFlow, which is not installed\n"
    line = refused(kerasgen(*export, cwd=trained.home, hidden=None, backend="jax"))
    assert line == "kerasgen: kerasgen export: needs TensorFlow; set KERAS_BACKEND=tensorflow\n"


def test_the_saved_model_is_written_later_by_tensorflow(
    trained: Case, hidden: Path, tmp_path: Path
) -> None:
    """By a resume on JAX where TensorFlow is installed; a failure of it is one line."""
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    resume = ["train", str(trained.recipe), "--run", "run", "--resume"]
    (folder / "exported").touch()
    failed = kerasgen(*resume, cwd=tmp_path, hidden=None, backend="jax")
    assert failed.returncode == 1
    assert failed.stderr.startswith("kerasgen: run: SavedModel not written: --out run/exported")
    assert failed.stderr.count("\n") == 1
    (folder / "exported").unlink()
    done = kerasgen(*resume, cwd=tmp_path, hidden=None, backend="jax")
    assert done.stdout.endswith("SavedModel: run/exported/small/1\n"), done.stderr
    assert is_exported(folder / "exported/small")
    generate = ["generate", "run/exported/small", "--events", "1", "--out", "x.h5"]
    line = refused(kerasgen(*generate, cwd=tmp_path, hidden=None, backend="jax"))
    assert "the SavedModel run/exported/small: needs TensorFlow; set" in line
    generate[1] = "run"
    for backend, out in (("jax", "jax.h5"), ("tensorflow", "tf.h5")):
        done = kerasgen(*generate[:-1], out, cwd=tmp_path, hidden=None, backend=backend)
        assert done.returncode == 0, done.stderr
        assert EventFile(tmp_path / out).n_events == 1

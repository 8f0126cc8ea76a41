"""The command that exports a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from full_disk import largest_file
from toy_run import write_toy_run

from kerasgen.command import run
from kerasgen.errors import InputError
from kerasgen.serving.versions import new_version
from kerasgen.zoo import export
from kerasgen.zoo.export import main


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_run(tmp_path_factory.mktemp("runs") / "toy-1")


def test_each_call_writes_the_next_version(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "exported"
    for version in ("1", "2"):
        assert main([str(run_folder), "--out", str(out)]) == 0
        assert capsys.readouterr().out == f"{out / 'toy' / version}: written\n"
        assert (out / "toy" / version / "saved_model.pb").is_file()
    assert main([str(run_folder), "--out", str(out), "--no-calibration"]) == 0
    manifest = json.loads((out / "toy" / "3" / "manifest.json").read_text())
    assert manifest["calibrated"] is False


def test_onnx_has_versions_of_its_own(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "exported"
    arguments = [str(run_folder), "--out", str(out), "--format", "onnx"]
    assert main([*arguments, "--signature", "digits"]) == 0
    assert capsys.readouterr().out == f"{out / 'onnx' / 'toy' / '1'}: written\n"
    names = sorted(p.name for p in (out / "onnx" / "toy" / "1").iterdir())
    assert names == ["digits.onnx", "manifest.json"]
    assert sorted(p.name for p in out.iterdir()) == ["onnx"]


def test_onnx_without_its_packages_is_one_line(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    installed = export.is_installed
    monkeypatch.setattr(export, "is_installed", lambda x: x != "tf2onnx" and installed(x))
    out = tmp_path / "exported"
    assert run(main, [str(run_folder), "--out", str(out), "--format", "onnx"]) == 2
    text = "kerasgen: --format onnx: needs tf2onnx: pip install 'kerasgen[onnx]'\n"
    assert capsys.readouterr().err == text
    assert not out.exists()


def test_a_run_whose_calibration_is_lost_is_exported_without(
    run_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "lost"
    shutil.copytree(run_folder, run)
    (run / "calibration.npz").unlink()
    with pytest.raises(InputError, match="--no-calibration goes without"):
        main([str(run), "--out", str(tmp_path / "exported")])
    assert main([str(run), "--out", str(tmp_path / "exported"), "--no-calibration"]) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{run}x"], "did you mean '{run}'?"),
        (["pxd_biggan_deep"], "has no released weights"),
        (["{run}", "--out", "{run}/config.toml"], "is a file, a folder is needed"),
        (["{run}", "--out", "{run}/config.toml/exported"], "is a file, a folder is needed"),
        (["{run}", "--version", "3"], "unknown option '--version'"),
        (["{run}", "--format", "onx"], "did you mean 'onnx'?"),
        (["{run}", "--signature", "digits"], "--signature goes with --format onnx"),
        (["{run}", "--format", "onnx", "--signature", "x"], "no signature 'x' (allowed: digits, "),
        ([], "the following arguments are required: RUN"),
    ],
)
def test_misuse_is_one_line(
    run_folder: Path, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(p.name for p in run_folder.iterdir())
    assert run(main, [a.format(run=run_folder) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert text.format(run=run_folder) in error
    assert error.count("\n") == 1
    assert sorted(p.name for p in run_folder.iterdir()) == before


def test_a_full_disk_leaves_no_version(tmp_path: Path) -> None:
    """TensorFlow writes the variables, and raises an exception of its own."""
    module = tf.Module()
    module.weights = tf.Variable(np.random.default_rng(0).random(10_000))

    def write(folder: Path) -> None:
        tf.saved_model.save(module, str(folder))

    folder = tmp_path / "exported" / "toy"
    with largest_file(20_000), pytest.raises(OSError, match="File too large") as refused:
        new_version(folder, write)
    assert refused.value.filename == str(folder)
    assert not list(tmp_path.iterdir())
    assert new_version(folder, write).name == "1"


def test_a_failed_export_leaves_the_folders_that_were_there(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    def write(folder: Path) -> None:
        (folder / "whole").touch()

    out = tmp_path / "exported"
    (out / "empty").mkdir(parents=True)
    new_version(out / "toy", write)
    before = sorted(tmp_path.rglob("*"))
    for name in ("empty", "toy", "new"):
        with pytest.raises(KeyboardInterrupt):
            new_version(out / name, fail)
        assert sorted(tmp_path.rglob("*")) == before

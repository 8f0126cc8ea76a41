"""ONNX models where users give a model: the commands, and ``kerasgen.load``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_models import gan_model, growth_model, point_model
from signal_events import GEOMETRY, signal_events

import kerasgen
from kerasgen.command import run
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, to_dense
from kerasgen.data.point_source import open_sets
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError
from kerasgen.kinds.pixels import PIXELS
from kerasgen.kinds.points import POINTS
from kerasgen.models.trained import Trained
from kerasgen.serving.onnx_export import export_onnx
from kerasgen.zoo.generate import main as generate_main

Pair = tuple[Trained, Path]
# Commands one after another, as if no such package were installed; exits with the first failure.
WITHOUT = """
import json, sys
for name in ("tensorflow", "keras", "onnx", "tf2onnx"): sys.modules[name] = None
from kerasgen.cli import main
for arguments in json.loads(sys.argv[1]):
    if main(arguments): sys.exit(1)
"""


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A GAN, and the folder of the versions of its ONNX model."""
    home = tmp_path_factory.mktemp("gan")
    trained = gan_model(home / "toy")
    return trained, export_onnx(trained, home / "exported", "toy")[0].parent


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line of a ``generate`` that refuses its input."""
    assert run(generate_main, [*map(str, arguments)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def stored(path: Path) -> Hits:
    with EventFile(path) as file:
        return file.read_events(0, file.n_events)


def assert_alike(a: Hits, b: Hits, geometry: Geometry) -> None:
    """The same hits but for rounding, which another pixel in a few hundred may show."""
    assert len(b.adu) > 20
    for name in ("sensor", "event"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    images = [to_dense(x, geometry) for x in (a, b)]
    assert np.count_nonzero(images[0] != images[1]) <= max(1, len(b.adu) // 200)


def test_commands_need_no_tensorflow(gan: Pair, tmp_path: Path) -> None:
    trained, folder = gan
    expected = PIXELS.generate(trained, range(3, 7), 9)
    empty = signal_events(4)
    with EventWriter(tmp_path / "signal.h5", GEOMETRY, "tests") as writer:
        writer.write(Hits(**vars(empty) | {"event": expected.event}))
    with EventWriter(tmp_path / "real.h5", GEOMETRY, "tests") as writer:
        writer.write(PIXELS.generate(trained, range(8), 1))
    commands = [
        ["generate", folder, "--events", 4, "--first-event", 3, "--seed", 9, "--out", "made.h5"],
        ["generate", folder / "1", "--events", 4, "--first-event", 3, "--seed", 9, "--out",
         "made.h5", "--resume"],
        ["overlay", "signal.h5", "both.h5", "--model", folder, "--run-number", 9],
        ["evaluate", "--reference", "real.h5", "--candidate", folder, "--events", 4,
         "--out", "report"],
    ]  # fmt: skip
    text = json.dumps([[str(x) for x in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, text], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "made.h5: complete already" in done.stdout
    for name in ("made.h5", "both.h5"):
        assert_alike(stored(tmp_path / name), expected, GEOMETRY)
    with EventFile(tmp_path / "made.h5") as file:
        assert f"toy {trained.identity}" in file.attributes["creator"]
    assert "toy (exported) against real.h5" in (tmp_path / "report" / "report.html").read_text()


def test_a_loaded_model_generates_and_is_drawn(gan: Pair) -> None:
    trained, folder = gan
    model = kerasgen.load(folder)
    assert (model.name, model.identity, model.schema) == ("toy", trained.identity, trained.schema)
    hits = kerasgen.generate(model, events=2, seed=4)
    assert_alike(hits, PIXELS.generate(trained, range(2), 4), GEOMETRY)
    assert kerasgen.plot(model, hits).axes
    with pytest.raises(InputError, match="was exported with calibration"):
        kerasgen.load(folder, calibrated=False)


def test_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file without the signature ``digits``, which events without a level need."""
    trained = growth_model(tmp_path / "run")
    folder, _ = export_onnx(trained, tmp_path, "small", ["digits_level"])
    out = tmp_path / "a.h5"
    command = ["generate", folder, "--events", "3", "--out", out]
    line = refused(capsys, *command[1:])
    assert f"{folder}: has no signature 'digits' (digits_level)" in line
    assert not out.exists()
    for text, level in (("2.5", 2.5), ("shower=3,two_photon=0", {"shower": 3, "two_photon": 0})):
        assert run(generate_main, [*map(str, command[1:]), "--force", "--level", text]) == 0
        expected = PIXELS.generate(trained, range(3), 0, {"level": level})
        assert_alike(stored(out), expected, trained.schema)
    assert set(stored(out).type.tolist()) == {2, 3}


def test_point_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = point_model(tmp_path / "run", "jet_vae_flow")
    folder, _ = export_onnx(trained, tmp_path, "jets", ["serving_default"])
    out = tmp_path / "a.h5"
    command = [str(folder), "--events", "30", "--seed", "5", "--out", str(out), "--force"]
    assert run(generate_main, command) == 0
    expected = POINTS.generate(trained, range(30), 5)
    with open_sets(out) as file:
        found = file.read(0, 30)
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_array_equal(found.label, expected.label)
    np.testing.assert_allclose(found.points, expected.points, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-4, atol=1e-5)
    assert "--pt: " in refused(capsys, *command, "--pt", "800")


def test_what_cannot_be_used_is_one_line(
    gan: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = gan
    copy = tmp_path / "toy" / "1"
    shutil.copytree(folder / "1", copy)
    rest = ["--events", "1", "--out", str(tmp_path / "a.h5")]
    line = refused(capsys, folder, *rest, "--level", "2")
    assert "takes no such condition (it takes: none)" in line
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        line = refused(capsys, copy, *rest)
    assert line == f"kerasgen: {copy}: needs onnxruntime: pip install 'kerasgen[onnx]'\n"
    content = bytearray((copy / "digits.onnx").read_bytes())
    content[-5] ^= 1
    (copy / "digits.onnx").write_bytes(content)
    line = refused(capsys, copy.parent, *rest)
    assert f"{copy}: damaged, digits.onnx is not the file that manifest.json names" in line
    (copy / "digits.onnx").unlink()
    assert "incomplete, digits.onnx is missing" in refused(capsys, copy, *rest)
    table = json.loads((copy / "manifest.json").read_text())
    table["attributes"] = {"types": "none"}
    (copy / "manifest.json").write_text(json.dumps(table))
    assert "manifest.json: not a manifest" in refused(capsys, copy, *rest)
    (copy / "manifest.json").unlink()
    for place in (copy, copy.parent):
        line = refused(capsys, place, *rest)
        assert line == f"kerasgen: {place}: holds no exported model (no manifest.json)\n"
    assert not (tmp_path / "a.h5").exists()

"""What training refuses before it writes anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kerasgen.cli import run
from kerasgen.data.geometry import geometry_from_json
from kerasgen.data.hits import from_dense
from kerasgen.data.store import EventWriter
from kerasgen.zoo.train import main


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six events of one sensor of 32 x 64 pixels."""
    sensor = {"name": "1.1.1", "id": 1, "layer": 1, "ladder": 1}
    detector = {"name": "one", "rows": 32, "cols": 64, "threshold": 7, "max_charge": 255}
    geometry = geometry_from_json(json.dumps(detector | {"sensors": [sensor]}))
    path = tmp_path_factory.mktemp("data") / "events.h5"
    images = np.zeros((6, 32, 64), np.int64)
    images[:, 3, 5:9] = 20
    with EventWriter(path, geometry, "tests") as writer:
        writer.write(from_dense(images, np.zeros(6), np.arange(6)))
    return path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["training.crop=[64,64]"], "larger than the padded sensor"),
        (["training.crop=[16,24]"], "generator: training.crop of 16 x 24 pixels"),
        (["training.crop=[16,32]", "critic.attention=[4,4]"], "critic: training.crop"),
        (["training.crop=[16,32]", "generator.factor=12"], "generator: the padded sensor"),
        (["training.crop=[]", "data.held_out=6"], "none is left to train on"),
        (["architecture=biggan_deep", "training.crop=[]"], "multiple of 64"),
    ],
)
def test_sizes_that_do_not_fit(
    events: Path,
    tmp_path: Path,
    changes: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = ["data.events=0", "data.held_out=4", "generator.attention=[4,8]", "critic.attention=[]"]
    sets = [x for change in [*base, *changes] for x in ("--set", change)]
    folder = tmp_path / "run"
    assert run(main, ["pxd_biggan", "--data", str(events), "--run", str(folder), *sets]) == 2
    line = capsys.readouterr().err
    assert reason in line
    assert line.count("\n") == 1
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["pxd_bigan"], "did you mean 'pxd_biggan'"),
        (["pxd_biggan", "--data", "none.h5"], "no such file"),
        (["pxd_biggan", "--data", "simulate:cms"], "unknown data"),
        (["pxd_biggan", "--resume"], "--resume needs --run"),
        (["pxd_biggan", "--resume", "--run", "none"], "not a run folder"),
        (["pxd_biggan", "--resume", "--run", "none", "--steps", "3"], "leave out --steps"),
        (["pxd_biggan", "--resume", "--run", "none", "--seed", "0"], "leave out --seed"),
        (["pxd_biggan", "--run", "."], "exists already"),
        (["pxd_biggan", "--steps", "0"], "0"),
    ],
)
def test_misuse_is_one_line(
    arguments: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keep.txt").write_text("mine")
    assert run(main, arguments) == 2
    line = capsys.readouterr().err
    assert reason in line
    assert line.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["keep.txt"]

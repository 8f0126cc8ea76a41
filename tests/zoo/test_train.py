"""What training refuses before it writes anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kerasgen.command import run
from kerasgen.data.geometry import geometry_from_json
from kerasgen.data.hits import from_dense
from kerasgen.data.store import EventWriter
from kerasgen.run_folder import locked
from kerasgen.zoo import run as zoo_run
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


SMALL = [
    "data.events=0", "data.held_out=4", "generator.channels=8", "generator.attention=[4,8]",
    "discriminator.channels=8", "discriminator.attention=[]", "training.crop=[16,32]",
]  # fmt: skip


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["training.crop=[64,64]"], "larger than the padded sensor"),
        (["training.crop=[16,24]"], "generator: training.crop of 16 x 24 pixels"),
        (["discriminator.attention=[4,4]"], "discriminator: training.crop"),
        (["generator.factor=12"], "generator: the padded sensor"),
        (["generator.up_blocks=2"], "generator: 2 up-blocks need"),
        (["discriminator.attention=[1,1]"], "discriminator: attention windows need even sides"),
        (["data.channels=[3]"], "no hits of the types data.channels = [3]"),
        (["training.crop=[]", "data.held_out=6"], "none is left to train on"),
        (["architecture=biggan_deep", "training.crop=[]"], "multiple of 64"),
    ],
)
def test_sizes_that_do_not_fit(
    events: Path,
    tmp_path: Path,
    changes: list[str],
    dry: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sets = [x for change in [*SMALL, *changes] for x in ("--set", change)]
    folder = tmp_path / "run"
    arguments = ["pxd_biggan_crops", "--data", str(events), "--run", str(folder), *sets, *dry]
    assert run(main, arguments) == 2
    line = capsys.readouterr().err
    assert reason in line
    assert line.count("\n") == 1
    assert not folder.exists()


def test_events_without_types_are_learned_without(
    events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe has types; those of a user's events are often unknown."""
    job = ["pxd_clusters", "--data", str(events), "--dry-run", "--set", "data.held_out=4"]
    assert run(main, job) == 0
    text = capsys.readouterr().out
    assert f"{events}: its hits have no types: data.channels = []" in text
    assert "channels: []" in text
    assert run(main, [*job, "--set", "data.channels=[2,1]"]) == 2
    assert "the training events have no hits" in capsys.readouterr().err


def test_a_dry_run_of_files_leaves_nothing(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [x for change in SMALL for x in ("--set", change)]
    command = ["pxd_biggan_crops", "--run", str(tmp_path / "run"), "--dry-run", *sets]
    assert run(main, [*command, "--data", str(events)]) == 0
    assert "recipe" in capsys.readouterr().out
    for data, reason in ((tmp_path / "none.h5", "no such file"), (tmp_path, "no such file")):
        assert run(main, [*command, "--data", str(data)]) == 2
        assert f"{data}: {reason}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ([], 0, ""),
        (["architecture=biggan_deep", "training.crop=[64,96]"], 2, "needs multiples of 64 pixels"),
        (["training.crop=[512,64]"], 2, "larger than the padded sensor [256, 768]"),
        (["data.held_out=50"], 2, "data.events = 50 of a simulation must be above"),
    ],
)
def test_a_dry_run_does_not_simulate(
    tmp_path: Path,
    changes: list[str],
    code: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path / "cache"))
    every = [*SMALL, "data.events=50", "generator.attention=[]", *changes]
    sets = [x for change in every for x in ("--set", change)]
    command = ["pxd_biggan_crops", "--run", str(tmp_path / "run"), "--dry-run", *sets]
    assert run(main, command) == code
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_another_process_starts_in_is_left_to_it(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other has the lock, and has not written its configuration yet."""
    sets = [x for change in SMALL for x in ("--set", change)]
    with locked(tmp_path):
        command = ["pxd_biggan_crops", "--data", str(events), "--run", str(tmp_path), *sets]
        assert run(main, command) == 2
        assert "another process is training there" in capsys.readouterr().err
        assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_runs_without_a_name_get_a_folder_each(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started in the same second, with a configuration that begins with a byte-order mark."""
    trained: list[Path] = []
    monkeypatch.setattr(zoo_run, "train_to_end", lambda config, folder, *_: trained.append(folder))
    monkeypatch.setattr(zoo_run.time, "strftime", lambda form: "20261128-120000")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bom.toml").write_text("[training]\nseed = 5\n", encoding="utf-8-sig")
    sets = [x for change in SMALL for x in ("--set", change)]
    command = ["pxd_biggan_crops", "--data", str(events), "--config", "bom.toml", *sets]
    assert [run(main, command), run(main, command)] == [0, 0]
    name = "runs/pxd_biggan_crops-20261128-120000"
    assert trained == [Path(name), Path(f"{name}-2")]
    assert all("seed = 5" in (folder / "config.toml").read_text() for folder in trained)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["pxd_bigan_crops"], "did you mean 'pxd_biggan_crops'"),
        (["pxd_biggan_crops", "--data", "none.h5"], "no such file"),
        (["pxd_biggan_crops", "--data", "simulate:cms"], "unknown data"),
        (["pxd_biggan_crops", "--resume"], "--resume needs --run"),
        (["pxd_biggan_crops", "--resume", "--run", "none"], "not a run folder"),
        (["pxd_biggan_crops", "--resume", "--run", "none", "--steps", "3"], "leave out --steps"),
        (["pxd_biggan_crops", "--resume", "--run", "none", "--seed", "0"], "leave out --seed"),
        (["pxd_biggan_crops", "--run", "."], "exists already"),
        (["pxd_biggan_crops", "--run", "keep.txt"], "keep.txt is a file, a folder is needed"),
        (["pxd_biggan_crops", "--run", "keep.txt/run"], "keep.txt is a file, a folder is needed"),
        (["pxd_biggan_crops", "--steps", "0"], "0"),
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


def test_digits_start_from_their_released_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema that is known before the digits are made is that of the released weights."""
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path / "cache"))
    command = ["superpixel_vae", "--init", "zoo", "--dry-run", "--run", str(tmp_path / "run")]
    assert run(main, command) == 0
    assert not list(tmp_path.iterdir())

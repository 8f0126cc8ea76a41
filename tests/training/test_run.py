"""A whole run of the PXD GAN: what it leaves, released, and the start of another training.

Kills, interrupts and resumes are tried on every algorithm in ``test_algorithms``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from shared_runs import Case, shared_case, tensors

from kerasgen.command import run
from kerasgen.data.store import checksum
from kerasgen.evaluation import cards
from kerasgen.evaluation.report import BASELINE
from kerasgen.kinds.pixels import PIXELS
from kerasgen.models.trained import read_config
from kerasgen.run_folder import read_metrics
from kerasgen.zoo import evaluate, release, train
from kerasgen.zoo.list import main as list_main
from kerasgen.zoo.lookup import load_model

# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def case(shared_folder: Path) -> Case:
    return shared_case("pxd_gan", shared_folder)


def test_run_folder_is_complete(case: Case) -> None:
    whole = case.folder
    for name in (
        "config.toml", "schema.json", "model.weights.h5", "calibration.npz",
        "report/report.html", "report/metrics.json",
    ):  # fmt: skip
        assert (whole / name).is_file(), name
    assert list((whole / "exported").glob("small/1/saved_model.pb"))
    assert list((whole / "logs").glob("events.out.tfevents.*"))
    assert not list(whole.rglob(".partial*"))
    document = json.loads((whole / "report/metrics.json").read_text())
    assert set(document["candidates"]) == {BASELINE, "uncalibrated", "calibrated"}
    assert read_config(whole).training.steps == 6
    lines = [json.loads(x) for x in (whole / "metrics.jsonl").read_text().splitlines()]
    # That of the checkpoint in training, and that of the end.
    assert [(x["step"], "verdict" in x) for x in lines] == [(3, False), (6, False), (6, True)]


@pytest.fixture
def zoo(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one recipe, with the run released."""
    path = tmp_path / "zoo"
    (path / "small").mkdir(parents=True)
    shutil.copy(case.recipe, path / "small" / "recipe.toml")
    assert run(release.main, [str(case.folder), "--zoo", str(path)]) == 0
    monkeypatch.setattr("kerasgen.zoo.catalogue.zoo_folder", lambda: path)
    return path


def test_a_released_run_is_used_by_its_name(case: Case, zoo: Path, capsys) -> None:
    released = zoo / "small"
    names = {p.name for p in released.iterdir()}
    assert {"model.weights.h5", "calibration.npz", "metrics.json", "training.png"} <= names
    assert read_config(released).data.source == "events.h5"  # no path of this machine
    assert str(case.home) not in (released / "metrics.json").read_text()
    own, theirs = (
        PIXELS.generate(load_model(name), range(4), 5) for name in (str(case.folder), "small")
    )
    assert abs(len(theirs.adu) / len(own.adu) - 1) < 0.05
    before = {p: checksum(p) for p in released.iterdir()}
    data, out = str(case.events), str(zoo.parent / "report")
    assert run(evaluate.main, ["small", "--data", data, "--out", out]) == 0
    assert run(list_main, []) == 0
    assert "fired pixels per sensor" in capsys.readouterr().out
    assert {p: checksum(p) for p in released.iterdir()} == before
    # What was written by hand stays, what is gone from the report goes.
    text = (released / "README.md").read_text()
    (released / "README.md").write_text(text.replace(cards.UNWRITTEN, "By hand."))
    (released / "old.png").touch()
    assert run(release.main, [str(case.folder), "--zoo", str(zoo)]) == 0
    assert (released / "README.md").read_text() == text.replace(cards.UNWRITTEN, "By hand.")
    assert {p.name for p in released.iterdir()} == names


def test_training_starts_from_the_zoo(
    case: Case, zoo: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The first evaluation, before any step, is that of the released weights."""

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    weights = zoo / "small" / "model.weights.h5"
    meant = f"zoo:{checksum(weights)[:12]}"
    started = zoo.parent / "run"
    events = ["--data", str(case.events)]
    arguments = ["small", *events, "--run", str(started), "--init", "zoo"]
    with monkeypatch.context() as patch:
        patch.setattr("kerasgen.training.trainer.train_steps", interrupted)
        assert run(train.main, arguments) == 130
    assert f"Starts from the released weights of small ({meant})" in capsys.readouterr().out
    assert read_config(started).training.init == meant
    (line,) = read_metrics(started)
    assert line["step"] == 0
    best = tensors(started / "checkpoints/best.weights.h5")
    kernels = {k: x for k, x in tensors(weights).items() if x.ndim > 1}
    assert kernels
    for key, kernel in kernels.items():
        np.testing.assert_array_equal(best[key], np.float32(kernel), err_msg=key)
    for change, reason in (
        ("generator.channels=16", "networks differ, generator.channels = 16 and of the released"),
        ("training.init=zoo:0123456789ab", "the released weights of small are others, zoo:"),
        ("training.init=zo", "allowed: '' and 'zoo'"),
    ):
        more = ["--set", change, "--run", str(zoo.parent / "no")]
        asked = [*arguments, *more]
        if change.startswith("training.init"):
            asked.remove("--init")
            asked.remove("zoo")
        capsys.readouterr()
        assert run(train.main, asked) == 2
        assert reason in capsys.readouterr().err
        assert not (zoo.parent / "no").exists()

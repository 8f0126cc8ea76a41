"""A whole training as real processes: to the end, killed, interrupted, resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_run import resume_command, run_process, train_command, wait_for, write_events

# The one that TensorBoard uses; that of ``event_accumulator`` keeps every tensor.
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from kerasgen.command import run
from kerasgen.data.store import checksum
from kerasgen.evaluation import cards
from kerasgen.evaluation.report import BASELINE
from kerasgen.kinds.pixels import PIXELS
from kerasgen.models.trained import read_config
from kerasgen.run_folder import read_metrics
from kerasgen.zoo import evaluate, release, train
from kerasgen.zoo.catalogue import zoo_folder
from kerasgen.zoo.list import main as list_main
from kerasgen.zoo.lookup import load_model


def tensors(path: Path) -> dict[str, np.ndarray]:
    """Every array of a weights file by its path."""
    found = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with spaces in its name, with events in it."""
    path = tmp_path_factory.mktemp("a folder")
    write_events(path / "events.h5")
    return path


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """A run that nothing disturbed."""
    done = run_process(train_command(folder / "events.h5", folder / "whole"), folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return folder / "whole"


def assert_same_run(run: Path, whole: Path) -> None:
    for name in ("checkpoints/last.weights.h5", "model.weights.h5"):
        a, b = tensors(run / name), tensors(whole / name)
        assert a.keys() == b.keys()
        assert len(a) > 20
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=f"{name}: {key}")
    lines = [(r / "metrics.jsonl").read_text().splitlines() for r in (run, whole)]
    assert [json.loads(x)["step"] for x in lines[0]] == [json.loads(x)["step"] for x in lines[1]]


def logged_steps(run: Path) -> dict[str, list[int]]:
    """The steps of every tag in TensorBoard."""
    events = EventAccumulator(str(run / "logs"), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    return {x: [e.step for e in events.Tensors(x)] for x in tags if not x.startswith("_hparams_")}


def test_run_folder_is_complete(whole: Path) -> None:
    for name in (
        "config.toml", "schema.json", "model.weights.h5", "calibration.npz",
        "report/report.html", "report/metrics.json",
    ):  # fmt: skip
        assert (whole / name).is_file(), name
    assert list((whole / "exported").glob("pxd_biggan/1/saved_model.pb"))
    assert list((whole / "logs").glob("events.out.tfevents.*"))
    assert not list(whole.rglob(".partial*"))
    document = json.loads((whole / "report/metrics.json").read_text())
    assert set(document["candidates"]) == {BASELINE, "uncalibrated", "calibrated"}
    assert read_config(whole).training.steps == 12
    lines = [json.loads(x) for x in (whole / "metrics.jsonl").read_text().splitlines()]
    # That of the checkpoint in training, and that of the end.
    assert [(x["step"], "verdict" in x) for x in lines] == [(6, False), (12, False), (12, True)]


def test_killed_run_resumes_to_the_same_bits(folder: Path, whole: Path) -> None:
    run = folder / "killed"
    command = train_command(folder / "events.h5", run)
    process = subprocess.Popen(command, cwd=folder, stdout=-3, stderr=subprocess.PIPE, text=True)
    wait_for(run / "metrics.jsonl", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (run / "model.weights.h5").exists(), "killed too late to test anything"
    done = run_process(resume_command(run), folder)
    assert done.returncode == 0, done.stderr
    assert "Skipping variable loading" not in done.stderr
    assert_same_run(run, whole)
    assert logged_steps(run) == logged_steps(whole)


def test_interrupted_run_says_so_and_resumes(folder: Path, whole: Path) -> None:
    """From the written configuration of another run, whose result it repeats."""
    run = folder / "interrupted"
    command = train_command(folder / "events.h5", run)
    command = [*command[: command.index("--set")], "--config", str(whole / "config.toml")]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(run / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "--resume" in out
    assert "Traceback" not in err
    done = run_process(resume_command(run), folder)
    assert done.returncode == 0, done.stderr
    assert_same_run(run, whole)


def test_an_unevaluated_checkpoint_is_evaluated_first(folder: Path, whole: Path) -> None:
    """As an interrupt leaves it that comes after the last step of an interval."""
    run = folder / "unevaluated"
    shutil.copytree(whole, run)
    for name in ("model.weights.h5", "calibration.npz", "metrics.jsonl"):
        (run / name).unlink()
    for name in ("report", "exported"):
        shutil.rmtree(run / name)
    (run / "checkpoints/best.weights.h5").unlink()
    done = run_process(resume_command(run), folder)
    assert done.returncode == 0, done.stderr
    assert (run / "checkpoints/best.weights.h5").is_file()
    assert (run / "report/metrics.json").is_file()


@pytest.fixture
def zoo(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one recipe, with the run released."""
    path = tmp_path / "zoo"
    (path / "pxd_biggan").mkdir(parents=True)
    shutil.copy(zoo_folder() / "pxd_biggan" / "recipe.toml", path / "pxd_biggan")
    assert run(release.main, [str(whole), "--zoo", str(path)]) == 0
    monkeypatch.setattr("kerasgen.zoo.catalogue.zoo_folder", lambda: path)
    return path


def test_a_released_run_is_used_by_its_name(folder: Path, whole: Path, zoo: Path, capsys) -> None:
    released = zoo / "pxd_biggan"
    names = {p.name for p in released.iterdir()}
    assert {"model.weights.h5", "calibration.npz", "metrics.json", "training.png"} <= names
    assert read_config(released).data.source == "events.h5"  # no path of this machine
    assert str(folder) not in (released / "metrics.json").read_text()
    own, theirs = (
        PIXELS.generate(load_model(name), range(4), 5) for name in (str(whole), "pxd_biggan")
    )
    assert abs(len(theirs.adu) / len(own.adu) - 1) < 0.05
    before = {p: checksum(p) for p in released.iterdir()}
    data, out = str(folder / "events.h5"), str(zoo.parent / "report")
    assert run(evaluate.main, ["pxd_biggan", "--data", data, "--out", out]) == 0
    assert run(list_main, []) == 0
    assert "occupancy_per_sensor" in capsys.readouterr().out
    assert {p: checksum(p) for p in released.iterdir()} == before
    # What was written by hand stays, what is gone from the report goes.
    text = (released / "README.md").read_text()
    (released / "README.md").write_text(text.replace(cards.UNWRITTEN, "By hand."))
    (released / "old.png").touch()
    assert run(release.main, [str(whole), "--zoo", str(zoo)]) == 0
    assert (released / "README.md").read_text() == text.replace(cards.UNWRITTEN, "By hand.")
    assert {p.name for p in released.iterdir()} == names


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_training_starts_from_the_zoo(
    folder: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The first evaluation, before any step, is that of the released weights."""

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    weights = zoo / "pxd_biggan" / "model.weights.h5"
    meant = f"zoo:{checksum(weights)[:12]}"
    started = zoo.parent / "run"
    command = train_command(folder / "events.h5", started, "--init", "zoo")
    arguments = command[command.index("pxd_biggan") :]
    with monkeypatch.context() as patch:
        patch.setattr("kerasgen.training.trainer.train_steps", interrupted)
        assert run(train.main, arguments) == 130
    assert f"Starts from the released weights of pxd_biggan ({meant})" in capsys.readouterr().out
    assert read_config(started).training.init == meant
    (line,) = read_metrics(started)
    assert line["step"] == 0
    best = tensors(started / "checkpoints/best.weights.h5")
    kernels = {k: x for k, x in tensors(weights).items() if x.ndim > 1}
    assert kernels
    for key, kernel in kernels.items():
        if key.startswith("vars/"):  # statistics of clusters, of the data and not rounded
            np.testing.assert_allclose(best[key], kernel, rtol=1e-3, atol=1e-3, err_msg=key)
        else:
            np.testing.assert_array_equal(best[key], np.float32(kernel), err_msg=key)
    for change, reason in (
        ("generator.channels=16", "networks differ, generator.channels = 16 and of the released"),
        ("training.init=zoo:0123456789ab", "the released weights of pxd_biggan are others, zoo:"),
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


def test_resume_of_a_finished_run_changes_nothing(folder: Path, whole: Path) -> None:
    def content() -> dict[str, str]:
        files = [p for p in whole.rglob("*") if p.is_file() and p.name != ".lock"]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    before = content()
    done = run_process(resume_command(whole), folder)
    assert done.returncode == 0, done.stderr
    assert "nothing left to do" in done.stdout
    assert content() == before


@pytest.mark.parametrize("on_collapse", ["stop", "rollback"])
def test_a_run_that_diverges_stops_and_keeps_its_checkpoint(folder: Path, on_collapse: str) -> None:
    run = folder / f"diverged-{on_collapse}"
    changes = ["training.generator_rate=1e30", f"training.on_collapse={on_collapse}"]
    sets = [x for change in changes for x in ("--set", change)]
    done = run_process(train_command(folder / "events.h5", run, *sets), folder)
    assert done.returncode == 1, done.stderr
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line.startswith("kerasgen: step 12: ")
    assert "last good checkpoint" in last_line
    assert "Traceback" not in done.stderr
    # The rates, 1/2, 1/4, 1/8 and 1/16 of them are tried.
    assert done.stdout.count("half the rates") == (4 if on_collapse == "rollback" else 0)
    assert all(np.isfinite(x).all() for x in tensors(run / "checkpoints/last.weights.h5").values())

"""Runs of every registered algorithm that are killed, interrupted or fail, and go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from shared_runs import Case, arrays, assert_same_run, assert_same_tensors, shared_case
from small_run import wait_for

# The one that TensorBoard uses; that of ``event_accumulator`` keeps every tensor.
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from kerasgen.atomic import PARTIAL
from kerasgen.data.store import checksum
from kerasgen.models.algorithm import algorithms
from kerasgen.models.trained import load_trained
from kerasgen.run_folder import BEST, CONFIG, LAST, LOCK, METRICS, SCHEMA, WEIGHTS, read_metrics
from kerasgen.training import trainer
from kerasgen.training.event_log import EventLog
from kerasgen.training.progress import Progress
from kerasgen.zoo.lookup import load_model

# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module", params=sorted(algorithms()))
def case(request: pytest.FixtureRequest, shared_folder: Path) -> Case:
    return shared_case(request.param, shared_folder)


@pytest.fixture(scope="module")
def third(shared_folder: Path) -> Case:
    """The algorithm whose trainings take a moment."""
    return shared_case("gaussian_points", shared_folder)


def logged_steps(folder: Path) -> dict[str, list[int]]:
    """The steps of every tag in TensorBoard."""
    events = EventAccumulator(str(folder / "logs"), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    return {x: [e.step for e in events.Tensors(x)] for x in tags if not x.startswith("_hparams_")}


@contextmanager
def keras_defaults(policy: str, floatx: str, image_data_format: str, epsilon: float) -> Any:
    """Other defaults of Keras, as a user sets them; they are kept."""
    names = ("dtype_policy", "floatx", "image_data_format", "epsilon")
    before = [getattr(keras.config, name)() for name in names]
    values = [policy, floatx, image_data_format, epsilon]
    try:
        for name, value in zip(names, values, strict=True):
            getattr(keras.config, f"set_{name}")(value)
        yield
        left = [getattr(keras.config, name)() for name in names]
        assert [left[0].name, *left[1:]] == values
    finally:
        for name, value in zip(names, before, strict=True):
            getattr(keras.config, f"set_{name}")(value)


def test_killed_and_under_other_defaults_of_keras_a_run_ends_in_the_same_bits(
    case: Case, tmp_path: Path
) -> None:
    """A real process with settings of its own and a real SIGKILL; the resume has others.

    With float64 the default of whole numbers is int64.
    """
    folder, kind = tmp_path / "run", case.algorithm.kind
    defaults = {"floatx": "float64", "image_data_format": "channels_first", "epsilon": 0.1}
    (tmp_path / "keras.json").write_text(json.dumps(defaults))
    process = case.start(folder, KERAS_HOME=str(tmp_path))
    wait_for(folder / METRICS, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / WEIGHTS).exists(), "killed too late to test anything"
    expected = arrays(kind.generate(load_trained(case.folder), range(3), 4))
    with keras_defaults("mixed_float16", "float16", "channels_first", 0.1):
        assert case.resume(folder) == 0
        served = load_model(str(folder / "exported" / "small"))
        found = [kind.generate(model, range(3), 4) for model in (load_trained(folder), served)]
    assert_same_run(folder, case)
    assert logged_steps(folder) == logged_steps(case.folder)
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays(found[0])[name], values, err_msg=name)
        np.testing.assert_allclose(arrays(found[1])[name], values, atol=1e-6, err_msg=name)
    reports = [
        json.loads((f / "report" / "metrics.json").read_text()) for f in (folder, case.folder)
    ]
    assert reports[0]["metrics"] == reports[1]["metrics"]


class Killed(BaseException):
    """Ends a training in this process as a kill ends it, except that the kernel does more."""


def test_killed_after_any_write_a_run_goes_on_to_the_same_bits(
    third: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file gets its name at once, so a run is killed after one of its writes or before all."""
    monkeypatch.setattr("kerasgen.zoo.run.finish", lambda *_: None)
    replace, written = os.replace, []

    def killed(source: Any, target: Any) -> None:
        replace(source, target)
        written.append(Path(target).name)
        if len(written) == limit:
            raise Killed

    limit, ended = 0, False
    while not ended:
        limit += 1
        folder = tmp_path / str(limit)
        written.clear()
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", killed)
            try:
                third.train(folder)
                ended = True
            except Killed:
                begun = (folder / CONFIG).is_file()
        if not ended:
            assert (third.resume if begun else third.train)(folder) == 0
            for name in (LAST, WEIGHTS):
                assert_same_tensors(folder / name, third.folder / name)
            assert not list(folder.rglob(f"{PARTIAL}*"))
    assert {CONFIG, SCHEMA, METRICS, Path(LAST).name, WEIGHTS} <= set(written)


def test_an_interrupted_process_says_how_to_go_on(third: Case, tmp_path: Path) -> None:
    """A real process and a real Ctrl-C, from the written configuration of another run."""
    folder = tmp_path / "run"
    more = ["--config", str(third.folder / CONFIG), "--set", "training.steps=100000"]
    process = third.start(folder, *more)
    wait_for(folder / METRICS, process)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 130, error
    assert "--resume" in out
    assert "Traceback" not in error
    assert (folder / LAST).is_file()


class InterruptedEnd:
    """A real Ctrl-C comes in its destructor, where Python does not raise what its handler does."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_in_a_destructor_ends_the_run_at_the_next_step(
    third: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it may come while an evaluation draws its figures; its checkpoint is kept."""
    folder, drawn, reported, steps = tmp_path / "run", [], [], []
    figure, advance = EventLog.figure, Progress.advance

    def interrupted(self: EventLog, *given: Any) -> None:
        if not drawn:
            InterruptedEnd()
        drawn.append(1)
        figure(self, *given)

    def counted(self: Progress) -> None:
        steps.append(1)
        advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "figure", interrupted)
        patch.setattr(Progress, "advance", counted)
        patch.setattr(sys, "unraisablehook", reported.append)
        assert third.train(folder) == 130
    assert drawn
    assert not reported
    assert len(steps) == 4
    assert "--resume" in capsys.readouterr().out
    assert [x["step"] for x in read_metrics(folder)] == [3]
    assert third.resume(folder) == 0
    assert_same_run(folder, third)


def test_an_interrupted_run_goes_on_to_the_same_bits(
    third: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an interval, whose steps are kept."""
    folder, steps = tmp_path / "run", []
    advance = Progress.advance

    def interrupted(self: Progress) -> None:
        advance(self)
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", interrupted)
        assert third.train(folder) == 130
    assert not (folder / WEIGHTS).exists()
    assert third.resume(folder) == 0
    assert_same_run(folder, third)


def test_an_unevaluated_checkpoint_is_evaluated_first(third: Case, tmp_path: Path) -> None:
    """As an interrupt leaves it that comes after the last step of an interval."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (CONFIG, SCHEMA, LAST):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(third.folder / name, folder / name)
    assert third.resume(folder) == 0
    assert (folder / BEST).is_file()
    assert (folder / "report/metrics.json").is_file()


def test_resume_of_a_finished_run_changes_nothing(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    def content() -> dict[str, str]:
        files = [p for p in case.folder.rglob("*") if p.is_file() and p.name != LOCK]
        return {str(p): checksum(p) for p in files}

    before = content()
    assert case.resume(case.folder) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert content() == before


def test_a_failure_goes_back_to_the_start_of_its_stage(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first interval of the last stage fails once: the stage begins a second time."""
    last, begun, failed = case.algorithm.stages(case.config)[-1][0], [], []
    train_steps, begin_stage = trainer.train_steps, type(case.algorithm).begin_stage

    def failing(training: Any, *arguments: Any) -> str:
        if training.model.stage == last and not failed:
            failed.append(last)
            return "it shall fail"
        return train_steps(training, *arguments)

    def begin(self: Any, model: Any, stage: str, batches: Any, fresh: bool) -> None:
        begun.append((stage, fresh))
        begin_stage(self, model, stage, batches, fresh)
        if begun.count((last, True)) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "train_steps", failing)
    monkeypatch.setattr(type(case.algorithm), "begin_stage", begin)
    assert case.train(tmp_path / "run", "--set", "training.on_collapse=rollback") == 130
    assert begun.count((last, True)) == 2
    assert {fresh for _, fresh in begun} == {True}

"""A training that ends after some minutes, and goes on."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_runs import Case, assert_same_run, assert_same_tensors, shared_case, tensors
from small_run import wait_for

from kerasgen.command import run
from kerasgen.run_folder import LAST, METRICS, WEIGHTS, read_metrics
from kerasgen.training import deadline, trainer
from kerasgen.training.deadline import Deadline, OutOfTime
from kerasgen.training.monitor import Monitor
from kerasgen.zoo import train

# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def case(shared_folder: Path) -> Case:
    return shared_case("gaussian_points", shared_folder)


def test_it_ends_in_time_with_a_checkpoint(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, start = tmp_path / "run", time.monotonic()
    more = "--set", "training.steps=1000000", "--set", "training.evaluate_every=500000"
    assert case.train(folder, *more, "--minutes", "0.1") == 0
    assert 3 < time.monotonic() - start < 9
    assert "Time is over" in capsys.readouterr().out
    assert (folder / LAST).is_file()
    assert not (folder / WEIGHTS).exists()
    assert not read_metrics(folder)  # an evaluation would not have fitted


@pytest.mark.parametrize("parts", ["step", "evaluation"])
def test_it_goes_on_to_the_same_bits(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: str
) -> None:
    folder, left = tmp_path / "run", [4 if parts == "step" else 1]

    def check(self: Deadline, *named: str) -> None:
        left[0] -= named == (parts,)
        if not left[0]:
            raise OutOfTime

    with monkeypatch.context() as patch:
        patch.setattr(Deadline, "check", check)
        assert case.train(folder) == 0
    assert not (folder / WEIGHTS).exists()
    assert case.resume(folder) == 0
    assert_same_run(folder, case)


def test_an_evaluation_that_takes_too_long_is_left_for_the_resume(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of the first one before it has begun; it changes the model on its way."""
    folder, start = tmp_path / "run", time.monotonic()

    def evaluate(self: Monitor, step: int) -> Any:
        self.evaluator.network.mean.assign(self.evaluator.network.mean + 1.0)
        for _ in range(600):
            time.sleep(0.1)

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "evaluate", evaluate)
        assert case.train(folder, "--minutes", "0.1") == 0
    assert time.monotonic() - start < 9
    assert not (folder / METRICS).exists()
    assert case.resume(folder) == 0
    for name in (LAST, WEIGHTS):
        assert_same_tensors(folder / name, case.folder / name)


def test_a_resume_ends_an_evaluation_that_takes_longer_than_the_time(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or each resume would begin it again, and no step would follow."""
    folder, evaluate = tmp_path / "run", Monitor.evaluate

    def slow(self: Monitor, step: int) -> Any:
        for _ in range(70):
            time.sleep(0.1)
        return evaluate(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "evaluate", slow)
        assert case.train(folder, "--minutes", "0.1") == 0
        assert not read_metrics(folder)
        assert case.train(folder, "--resume", "--minutes", "0.1") == 0
    first = read_metrics(case.folder)[0]["step"]
    assert [line["step"] for line in read_metrics(folder)] == [first]
    assert f"Evaluates step {first} first" in capsys.readouterr().out
    assert case.resume(folder) == 0
    assert_same_run(folder, case)


@pytest.mark.parametrize("said", ["a loss is not a number", ""])
def test_a_failure_at_the_end_of_the_time_does_not_cost_the_last_good_checkpoint(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """Whether the losses have shown it yet or not."""
    folder, train_steps, intervals = tmp_path / "run", trainer.train_steps, []

    def failing(training: Any, *arguments: Any) -> str:
        failure = train_steps(training, *arguments)
        intervals.append(training.step)
        if len(intervals) == 2:
            training.model.mean.assign(np.full(training.model.mean.shape, np.nan, np.float32))
            training.deadline.end = 0.0
            return said
        return failure

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_steps", failing)
        assert case.train(folder, "--minutes", "10") == (1 if said else 0)
    assert all(np.isfinite(x).all() for x in tensors(folder / LAST).values())
    assert case.resume(folder) == 0
    assert_same_tensors(folder / WEIGHTS, case.folder / WEIGHTS)


def test_the_step_that_compiles_says_nothing_about_the_next(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, calls = trainer.CompiledStep.__call__, []

    def slow(self: Any, *inputs: Any) -> Any:
        calls.append(1)
        time.sleep(3.0 if len(calls) == 1 else 0.0)
        return call(self, *inputs)

    monkeypatch.setattr(trainer.CompiledStep, "__call__", slow)
    more = "--set", "training.steps=1000000", "--set", "training.evaluate_every=500000"
    assert case.train(tmp_path / "run", *more, "--minutes", "0.1") == 0
    assert len(calls) > 1


class AlarmedEnd:
    """The alarm comes in its destructor, where Python does not raise what its handler does."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGALRM)


def test_an_alarm_that_python_ignores_comes_again_and_reports_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    monkeypatch.setattr(deadline, "AGAIN", 0.05)
    limit = Deadline(1e-4, time.monotonic() + 1.0)

    def block() -> None:
        with limit.alarm():
            AlarmedEnd()
            time.sleep(10)

    with pytest.raises(OutOfTime):
        block()
    assert not reported
    AlarmedEnd.__del__ = lambda self: 1 / 0  # type: ignore[assignment]
    AlarmedEnd()
    assert [x.exc_type for x in reported] == [ZeroDivisionError]


def test_an_interrupt_before_the_end_of_the_time(case: Case, tmp_path: Path) -> None:
    """A real process and a real Ctrl-C."""
    folder = tmp_path / "run"
    process = case.start(folder, "--set", "training.steps=100000", "--minutes", "5")
    wait_for(folder / METRICS, process)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 130, error
    assert "Interrupted" in out
    assert "Traceback" not in error
    assert case.train(folder, "--resume", "--minutes", "0.05") == 0


def test_the_time_that_parts_take_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    limit = Deadline(1.0, start=100.0)  # a checkpoint counts as 1 s, an evaluation as 12 s
    now[0] = 146.0
    limit.check("evaluation")
    with limit.measure("evaluation"):
        now[0] += 3.0
    now[0] = 155.0
    limit.check("evaluation")
    now[0] = 157.0
    with pytest.raises(OutOfTime):
        limit.check("evaluation")
    limit.check("step")
    with limit.measure("step"):
        now[0] += 1.5
    with pytest.raises(OutOfTime):
        limit.check("step")
    now[0] = 1e9
    Deadline().check("step", "evaluation")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "soon"])
def test_a_time_that_is_none_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(train.main, ["pxd_biggan_crops", "--minutes", value]) == 2
    assert "--minutes" in capsys.readouterr().err

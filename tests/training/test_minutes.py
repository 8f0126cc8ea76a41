"""A training that ends after some minutes, and goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from shared_runs import Case, assert_same_tensors, shared_case

from kerasgen.command import run
from kerasgen.run_folder import LAST, WEIGHTS, read_metrics
from kerasgen.training import deadline
from kerasgen.training.deadline import Deadline, OutOfTime
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
    for name in (LAST, WEIGHTS):
        assert_same_tensors(folder / name, case.folder / name)
    steps = [[x["step"] for x in read_metrics(f)] for f in (folder, case.folder)]
    assert steps[0] == steps[1]


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
    assert run(train.main, ["pxd_biggan", "--minutes", value]) == 2
    assert "--minutes" in capsys.readouterr().err

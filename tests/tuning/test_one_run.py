"""One real training of a study: its run folder, the test on other events, TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from point_sets import write_toy_jets
from small_study import small_study
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from kerasgen.data.point_source import divide
from kerasgen.data.points import PointFile
from kerasgen.models.trained import read_config
from kerasgen.tuning.comparison import compared, winner
from kerasgen.tuning.data import prepare
from kerasgen.tuning.table import log_space
from kerasgen.tuning.trials import finished


def test_a_training_of_its_own(tmp_path: Path):
    write_toy_jets(tmp_path / "jets.h5")
    study, out = small_study(tmp_path, tmp_path / "jets.h5"), tmp_path / "out"
    log_space(study, out)
    data, test = prepare(study, out)
    assert (data["data.events"], test) == (400, {"events": 600, "held_out": 200})
    about = {"values": {"loss.beta": 0.5}, "seed": 7, "steps": 4}
    signs: list[int] = []
    result = finished(study, out / "reruns" / "x", data, about, 0.5, test, lambda: signs.append(1))
    run = out / "reruns" / "x"
    assert result["status"] == "completed", (run.with_name("x.log")).read_text()
    config = read_config(run)
    assert (config.training.seed, config.training.steps, config.loss.beta) == (7, 4, 0.5)
    report = json.loads((run / "report/metrics.json").read_text())["metrics"]["w1p"]
    floor = max(report["floor"], report["floor_error"])
    assert result["objective"] == pytest.approx(report["value"] / floor)
    other = json.loads((run / "test/metrics.json").read_text())
    assert other["events"] == {"reference": 200, "generated": 150}
    assert result["test"]["candidates"]["generated"]["metrics"] == other["metrics"]
    with PointFile(tmp_path / "jets.h5") as file:
        seen = divide(file, config.data)
        kept = divide(file, study.config({"data.events": 600, "data.held_out": 200}).data)
    assert not set(kept.held_out) & {*seen.training, *seen.held_out}
    events = EventAccumulator(str(run / "logs"))
    events.Reload()
    (logged,) = events.Tensors("study/objective")
    assert make_ndarray(logged.tensor_proto) == pytest.approx(result["objective"])
    assert "_hparams_/session_start_info" in events.summary_metadata
    space = EventAccumulator(str(out / "logs"))
    space.Reload()
    assert "_hparams_/experiment" in space.summary_metadata
    assert finished(study, run, data, about, 0.5, test, lambda: None) == result  # not again


def trial(objective: float | None, steps: int = 8) -> dict:
    return {"objective": objective, "steps": steps, "reason": "why"}


def test_winner_is_among_the_longest_trials():
    found = [trial(1.0, 3), trial(3.0, 9), trial(None, 9), trial(2.0, 9)]
    assert winner(found) is found[3]


def test_comparison_by_hand():
    def rerun(kind: str, value: float) -> dict:
        return {"kind": kind, "objective": value, "test_objective": value, "reason": ""}

    runs = [rerun("tuned", x) for x in (1.0, 2.0, 3.0)] + [
        rerun("recipe", x) for x in (5.0, 6.0, 7.0)
    ]
    found = compared(runs)
    assert found["tuned"]["mean"] == 2.0
    assert found["tuned"]["error"] == pytest.approx(3**-0.5)
    assert (found["difference"], found["error"]) == (4.0, pytest.approx((2 / 3) ** 0.5))
    assert found["verdict"] == "tuned is better"
    close = [rerun("recipe", x) for x in (1.5, 2.5, 3.5)]
    assert compared(runs[:3] + close)["verdict"] == "the same within errors"
    assert compared(runs[:1])["verdict"] == "not compared"

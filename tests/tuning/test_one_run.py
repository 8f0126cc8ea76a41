"""One real training of a study: run folder, evaluation on the test events, TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from point_sets import write_toy_jets
from small_study import small_study
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from kerasgen.data.point_source import divide
from kerasgen.data.point_store import PointFile
from kerasgen.models.trained import read_config
from kerasgen.tuning.comparison import compare_with_recipe, winner
from kerasgen.tuning.data import prepare_events
from kerasgen.tuning.progress import log_search_space
from kerasgen.tuning.trials import Result, training_result


def test_a_training_of_its_own(tmp_path: Path):
    write_toy_jets(tmp_path / "jets.h5")
    study, out = small_study(tmp_path, tmp_path / "jets.h5"), tmp_path / "out"
    log_search_space(study, out)
    data, test = prepare_events(study, out)
    assert (data["data.events"], test) == (400, {"events": 600, "held_out": 200})
    details: Result = {"values": {"loss.beta": 0.5}, "seed": 7, "steps": 4}
    run = out / "reruns" / "x"
    result = training_result(study, run, data, details, 0.5, test, lambda: None)
    assert result["status"] == "completed", (run.with_name("x.log")).read_text()
    config = read_config(run)
    assert (config.training.seed, config.training.steps, config.loss.beta) == (7, 4, 0.5)
    report = json.loads((run / "report/metrics.json").read_text())["metrics"]["w1p"]
    floor = max(report["floor"], report["floor_error"])
    assert result["objective"] == pytest.approx(report["value"] / floor)
    second = json.loads((run / "test/metrics.json").read_text())
    assert second["events"] == {"reference": 200, "generated": 150}
    assert result["test"]["candidates"]["generated"]["metrics"] == second["metrics"]
    with PointFile(tmp_path / "jets.h5") as file:
        trained = divide(file, config.data)
        tested = divide(file, study.config({"data.events": 600, "data.held_out": 200}).data)
    assert not set(tested.held_out) & {*trained.training, *trained.held_out}
    events = EventAccumulator(str(run / "logs"))
    events.Reload()
    (logged,) = events.Tensors("study/objective")
    assert make_ndarray(logged.tensor_proto) == pytest.approx(result["objective"])
    assert "_hparams_/session_start_info" in events.summary_metadata
    space = EventAccumulator(str(out / "logs"))
    space.Reload()
    assert "_hparams_/experiment" in space.summary_metadata
    # A second call reads the result.
    assert training_result(study, run, data, details, 0.5, test, lambda: None) == result


@pytest.mark.slow
def test_a_training_on_jax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = tmp_path / "compiled"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    write_toy_jets(tmp_path / "jets.h5")
    study, run = small_study(tmp_path, tmp_path / "jets.h5"), tmp_path / "run"
    data, test = prepare_events(study, tmp_path / "out")
    details: Result = {"values": {"loss.beta": 0.5}, "seed": 7, "steps": 4}
    result = training_result(study, run, data, details, 0.5, test, lambda: None)
    assert result["status"] == "completed", run.with_name("run.log").read_text()
    assert result["test"]["events"] == {"reference": 200, "generated": 150}
    assert any(cache.iterdir())  # JAX has compiled, and not TensorFlow


def trial(objective: float | None, steps: int = 8) -> dict:
    return {"objective": objective, "steps": steps, "reason": "why"}


def test_winner_is_among_the_longest_trials():
    trials = [trial(1.0, 3), trial(3.0, 9), trial(None, 9), trial(2.0, 9)]
    assert winner(trials) is trials[3]


def test_comparison_by_hand():
    def rerun(kind: str, value: float) -> dict:
        return {"kind": kind, "objective": value, "test_objective": value, "reason": ""}

    runs = [rerun("tuned", x) for x in (1.0, 2.0, 3.0)] + [
        rerun("recipe", x) for x in (5.0, 6.0, 7.0)
    ]
    comparison = compare_with_recipe(runs)
    assert comparison["tuned"]["mean"] == 2.0
    assert comparison["tuned"]["error"] == pytest.approx(3**-0.5)
    assert (comparison["difference"], comparison["error"]) == (4.0, pytest.approx((2 / 3) ** 0.5))
    assert comparison["verdict"] == "tuned is better"
    close = [rerun("recipe", x) for x in (1.5, 2.5, 3.5)]
    assert compare_with_recipe(runs[:3] + close)["verdict"] == "the same within errors"
    assert compare_with_recipe(runs[:1])["verdict"] == "not compared"

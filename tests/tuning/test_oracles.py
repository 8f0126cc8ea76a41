"""The oracles under kills at every write, failures, and lost workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from point_sets import write_toy_jets
from small_study import deprecated_thread_names, small_study

from kerasgen.errors import InputError
from kerasgen.tuning import oracles
from kerasgen.tuning.oracles import DurableOracle, make_oracle

pytestmark = deprecated_thread_names


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jets") / "jets.h5"
    write_toy_jets(path)
    return path


def opened(study, folder: Path) -> DurableOracle:
    oracle = make_oracle(study)
    oracle._set_project_dir(str(folder), "keras_tuner")
    oracle.restore()
    return oracle


def run_trials(oracle: DurableOracle, log: list, failing: str = "") -> None:
    """Run all trials as a search does; ``log`` gets (id, values) of the trials that ended."""
    while (trial := oracle.create_trial("tuner0")).status != "STOPPED":
        values = dict(trial.hyperparameters.values)
        if values.get("network.encoder") == failing:
            trial.status = "FAILED"
        else:
            oracle.update_trial(trial.trial_id, {"objective": values["loss.beta"]})
            trial.status = "COMPLETED"
        oracle.end_trial(trial)
        log.append((trial.trial_id, values))


@pytest.mark.parametrize("kind", ["random", "hyperband"])
def test_killed_at_any_write_nothing_is_lost_or_repeated(tmp_path, data, kind, monkeypatch):
    study = small_study(tmp_path, data, oracle=f'"{kind}"', trials="6")
    write, writes = oracles.write_text, 0

    def killed_at(k: int, after: bool):
        count = 0

        def write_or_die(path: Path, text: str) -> None:
            nonlocal count
            count += 1
            if count == k and not after:
                raise Killed
            write(path, text)
            if count == k:
                raise Killed

        return write_or_die

    def counting(path: Path, text: str) -> None:
        nonlocal writes
        writes += 1
        write(path, text)

    unbroken: list = []
    with monkeypatch.context() as patch:
        patch.setattr(oracles, "write_text", counting)
        run_trials(opened(study, tmp_path / "unbroken"), unbroken)
    assert len(unbroken) == 6
    for k in range(1, writes + 1):
        folder, log = tmp_path / f"{k}", []
        with monkeypatch.context() as patch:
            patch.setattr(oracles, "write_text", killed_at(k, after=k % 2 == 0))
            with pytest.raises(Killed):
                run_trials(opened(study, folder), log)
        before = {x[0] for x in log}
        resumed: list = []
        oracle = opened(study, folder)
        run_trials(oracle, resumed)
        assert not before & {x[0] for x in resumed}  # no ended trial is repeated
        assert len(oracle.trials) == 6
        assert {t.status for t in oracle.trials.values()} == {"COMPLETED"}
        if kind == "random":
            ended = {t.trial_id: t.hyperparameters.values["loss.beta"]
                     for t in oracle.trials.values()}  # fmt: skip
            assert ended == {x: values["loss.beta"] for x, values in unbroken}


def test_a_failed_point_is_not_proposed_again(tmp_path, data):
    """The Gaussian process gets failed trials; otherwise it proposes the same point for ever."""
    study = small_study(tmp_path, data, oracle='"bayesian"', trials="6")
    log: list = []
    run_trials(opened(study, tmp_path / "out"), log, failing='"set"')
    points = [tuple(values.values()) for _, values in log]
    assert len(set(points)) == len(points) == 6
    assert {values["network.encoder"] for _, values in log} == {'"set"', '"dense"'}


def test_hyperband_repeats_good_trials_with_more_steps(tmp_path, data):
    study = small_study(tmp_path, data, oracle='"hyperband"', trials="16")
    log: list = []
    run_trials(opened(study, tmp_path / "out"), log)
    epochs = [values["tuner/epochs"] for _, values in log]
    assert set(epochs) == {1, 3, 9}
    values = {x: v["loss.beta"] for x, v in log}
    promoted = [v for _, v in log if "tuner/trial_id" in v]
    assert promoted
    for v in promoted:
        assert v["loss.beta"] == values[v["tuner/trial_id"]]


def test_the_trial_of_a_lost_worker_goes_to_another(tmp_path, data, monkeypatch, capsys):
    oracle = opened(small_study(tmp_path, data, trials="2"), tmp_path / "out")
    now = 0.0
    monkeypatch.setattr(oracles.time, "monotonic", lambda: now)
    lost, running = oracle.create_trial("w1"), oracle.create_trial("w2")
    assert oracle.create_trial("w3").status == "IDLE"  # no worker leaves: one of them may get lost
    now = oracles.WORKER_TIMEOUT - 1
    oracle.get_trial(running.trial_id)  # a heartbeat
    oracle.drop_lost_workers()
    assert set(oracle.ongoing_trials) == {"w1", "w2"}
    now = oracles.WORKER_TIMEOUT + 1
    oracle.drop_lost_workers()
    assert set(oracle.ongoing_trials) == {"w2"}
    assert "w1 is lost" in capsys.readouterr().out
    retried = oracle.create_trial("w3")
    assert (retried.trial_id, retried.status) == (lost.trial_id, "RUNNING")
    for trial in (retried, running, lost):  # the lost worker was only slow: the first result counts
        oracle.update_trial(trial.trial_id, {"objective": 1.0})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert sorted(oracle.end_order) == sorted({lost.trial_id, running.trial_id})
    assert oracle.create_trial("w3").status == "STOPPED"


def test_a_new_chief_restores_the_trials_of_its_workers(tmp_path, data):
    study = small_study(tmp_path, data)
    trial = opened(study, tmp_path / "out").create_trial("w1")
    chief = make_oracle(study)
    chief._set_project_dir(str(tmp_path / "out"), "keras_tuner")
    chief.chief = True
    chief.restore()
    assert chief.create_trial("w2").trial_id != trial.trial_id
    assert chief.create_trial("w1").trial_id == trial.trial_id
    single = opened(study, tmp_path / "out")  # no chief: takes over the trials of the workers
    assert single.create_trial("tuner0").trial_id == trial.trial_id


def test_a_damaged_state_is_one_line(tmp_path, data):
    study = small_study(tmp_path, data)
    opened(study, tmp_path / "out")
    (tmp_path / "out/keras_tuner/oracle.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        opened(study, tmp_path / "out")

"""The oracles of KerasTuner, made safe against a kill at any moment and against lost workers.

KerasTuner 1.4 writes its state in place and in several files. Here every file is written
atomically. After a kill two files may contradict each other: a trial that the oracle's own file
does not have has never begun, and a trial whose own file says that it ended has ended.

Private names of KerasTuner 1.4 in this package, for which setup.cfg excludes 1.5:

- ``Oracle._get_oracle_fname``, ``Oracle._get_trial_dir``: paths of the state;
- ``Oracle._save_trial``: overridden, to write atomically;
- ``Oracle._retry_queue``: trials of lost workers;
- ``BayesianOptimizationOracle._vectorize_trials``: overridden, to count failed trials;
- ``BaseTuner._run_and_update_trial``, and ``BaseTuner._try_run_and_update_trial``, overridden so
  that only failed trainings become failed trials (``tuner``).

The attributes ``trials``, ``ongoing_trials``, ``start_order``, ``end_order`` and ``tuner_ids`` of
an oracle are public names without documentation. Tests use ``Oracle._set_project_dir`` too.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner

from kerasgen.errors import InputError
from kerasgen.run_folder import write_text
from kerasgen.tuning.space import hyper_parameters
from kerasgen.tuning.study import Study

OBJECTIVE = "objective"
ENDED = ("COMPLETED", "FAILED")
WORKER_TIMEOUT = 120.0  # seconds without a heartbeat after which a worker counts as lost
# Hyperband: the shortest trials have 1 / 9 of the steps, one in three goes on to three times more.
HYPERBAND_EPOCHS, HYPERBAND_FACTOR = 9, 3
# Variance of the objective between seeds, in units of its variance over the space.
NOISE_VARIANCE = 0.02


class DurableOracle(keras_tuner.Oracle):
    """Durable state and lost workers, for the oracles of all studies; see the module.

    Attributes:
        on_end: is called with the id of a trial that has ended.
        chief: whether workers may be busy with trials while the oracle starts.
        last_heartbeat: time of the last heartbeat of each worker, monotonic seconds.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.on_end: Callable[[str], None] = lambda trial_id: None
        self.chief = False
        self.last_heartbeat: dict[str, float] = {}
        self.verbose = 0

    def save(self) -> None:
        write_text(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Any) -> None:
        folder = Path(self._get_trial_dir(trial.trial_id))
        write_text(folder / "trial.json", json.dumps(trial.get_state()))

    def restore(self) -> None:
        """Restore the state of a search that ended or was killed, or save that of a new search.

        Raises:
            InputError: a file of the state is damaged.
        """
        path = Path(self._get_oracle_fname())
        if not path.is_file():
            self.save()
            return
        try:
            working = json.loads(path.read_text("utf-8"))["ongoing_trials"]
            self.reload()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(f"{path.parent}: damaged ({type(error).__name__}: {error})") from None
        for trial_id in set(self.trials) - set(self.start_order):
            del self.trials[trial_id]
        status = {trial_id: self.trials[trial_id].status for trial_id in self.start_order}
        self.end_order += [
            x for x in self.start_order if status[x] in ENDED and x not in self.end_order
        ]
        if self.chief:  # workers may still be busy; if not, they are dropped after the timeout
            self.ongoing_trials = {
                worker: self.trials[x] for worker, x in working.items() if status[x] not in ENDED
            }
        busy = {trial.trial_id for trial in self.ongoing_trials.values()}
        waiting = [x for x in self.start_order if status[x] not in ENDED and x not in busy]
        self._retry_queue = waiting[::-1]  # taken from its end
        self.last_heartbeat = dict.fromkeys(self.ongoing_trials, time.monotonic())
        self.tuner_ids = set(self.ongoing_trials)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """As in KerasTuner, but workers stay while a trial is running whose worker may be lost."""
        self.last_heartbeat[tuner_id] = time.monotonic()
        trial = super().create_trial(tuner_id)
        if trial.status == "STOPPED" and self.ongoing_trials:
            self.tuner_ids.add(tuner_id)
            trial.status = "IDLE"
        return trial

    def get_trial(self, trial_id: str) -> Any:
        """As in KerasTuner; the request is the heartbeat of the worker that runs the trial."""
        for worker, trial in list(self.ongoing_trials.items()):
            if trial.trial_id == trial_id:
                self.last_heartbeat[worker] = time.monotonic()
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        """As in KerasTuner; if two workers have run the same trial, the first result counts."""
        if trial.trial_id in self.end_order:
            return
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        super().end_trial(trial)
        self.on_end(trial.trial_id)

    @keras_tuner.synchronized
    def drop_lost_workers(self) -> None:
        """Queue the trials of workers without heartbeats for other workers."""
        now = time.monotonic()
        for worker in self.tuner_ids | set(self.ongoing_trials):
            if now - self.last_heartbeat.setdefault(worker, now) < WORKER_TIMEOUT:
                continue
            self.tuner_ids.discard(worker)
            trial = self.ongoing_trials.pop(worker, None)
            if trial is not None:
                self._retry_queue.append(trial.trial_id)
                print(f"{worker} is lost, trial {trial.trial_id} goes to another", flush=True)
            self.save()

    def watch_workers(self) -> None:
        """Drop lost workers in the background until the process ends."""

        def drop_repeatedly() -> None:
            while True:
                time.sleep(WORKER_TIMEOUT / 10)
                self.drop_lost_workers()

        threading.Thread(target=drop_repeatedly, daemon=True).start()


class RandomOracle(DurableOracle, keras_tuner.oracles.RandomSearchOracle):
    """Random search."""


class HyperbandOracle(DurableOracle, keras_tuner.oracles.HyperbandOracle):
    """Hyperband: many short trials, the better ones are repeated with more steps."""


class BayesianOracle(DurableOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian optimisation with a Gaussian process; a failed trial has the worst score.

    The worst score is that of the completed trials. KerasTuner leaves failed trials out, so that
    the process proposes the same point again.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """As in KerasTuner, without warnings: few points often fit a length scale at its limit."""
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)

    def _vectorize_trials(self) -> Any:
        scores = [t.score for t in self.trials.values() if t.status == "COMPLETED"]
        failed = [t for t in self.trials.values() if t.status == "FAILED"]
        try:
            for trial in failed:
                trial.status, trial.score = "COMPLETED", max(scores)
            return super()._vectorize_trials()
        finally:
            for trial in failed:
                trial.status, trial.score = "FAILED", None


def make_oracle(study: Study) -> DurableOracle:
    """The oracle that a study asks for.

    Raises:
        InputError: a package is missing.
    """
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(OBJECTIVE, "min"),
        "hyperparameters": hyper_parameters(study.space),
        "seed": study.seed + 1,  # KerasTuner replaces 0 by a random seed
        "max_consecutive_failed_trials": study.trials + 1,  # see ``StudyTuner``
    }
    if study.oracle == "hyperband":
        oracle = HyperbandOracle(
            max_epochs=HYPERBAND_EPOCHS,
            factor=HYPERBAND_FACTOR,
            hyperband_iterations=study.trials,
            **options,
        )
        oracle.max_trials = study.trials
        return oracle
    if study.oracle == "random":
        return RandomOracle(max_trials=study.trials, **options)
    try:
        return BayesianOracle(
            max_trials=study.trials,
            num_initial_points=max(3, min(3 * len(study.space), study.trials // 3)),
            alpha=NOISE_VARIANCE,
            **options,
        )
    except ImportError:
        raise InputError(
            "oracle = 'bayesian' needs scikit-learn: pip install 'kerasgen[tuning]'"
        ) from None

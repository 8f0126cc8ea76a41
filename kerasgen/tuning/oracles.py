"""The oracles of KerasTuner, made safe against a kill at any moment and workers that vanish.

KerasTuner 1.4 writes its state in place and in several files. Here every file is written
atomically, and what two files say differently after a kill is settled when they are read: a trial
that the oracle's own file does not know has never begun, and one whose file has an end has ended.
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
LOST = 120.0  # seconds without a sign of life after which a worker's trial goes to another
# Hyperband: the shortest trials have 1 / 9 of the steps, one in three goes on to three times more.
LONGEST, FACTOR = 9, 3
NOISE = 0.02  # variance of the objective between seeds, in units of its variance over the space


class DurableOracle(keras_tuner.Oracle):
    """What the oracles of all studies share; see the module.

    Attributes:
        ended: is called with the id of a trial that has ended.
        chief: whether workers may be busy with trials while the oracle starts.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ended: Callable[[str], None] = lambda trial_id: None
        self.chief = False
        self.heard: dict[str, float] = {}
        self.verbose = 0

    def save(self) -> None:
        write_text(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Any) -> None:
        folder = Path(self._get_trial_dir(trial.trial_id))
        write_text(folder / "trial.json", json.dumps(trial.get_state()))

    def restore(self) -> None:
        """Go on where a search ended or was killed; a new search begins.

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
        if self.chief:  # their workers may still be busy; if not, they are missed after a while
            self.ongoing_trials = {
                worker: self.trials[x] for worker, x in working.items() if status[x] not in ENDED
            }
        busy = {trial.trial_id for trial in self.ongoing_trials.values()}
        waiting = [x for x in self.start_order if status[x] not in ENDED and x not in busy]
        self._retry_queue = waiting[::-1]  # taken from its end
        self.heard = dict.fromkeys(self.ongoing_trials, time.monotonic())
        self.tuner_ids = set(self.ongoing_trials)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """As in KerasTuner, but nobody leaves while a trial is under way that may get lost."""
        self.heard[tuner_id] = time.monotonic()
        trial = super().create_trial(tuner_id)
        if trial.status == "STOPPED" and self.ongoing_trials:
            self.tuner_ids.add(tuner_id)
            trial.status = "IDLE"
        return trial

    def get_trial(self, trial_id: str) -> Any:
        """As in KerasTuner; a worker asks for its trial now and then to show that it lives."""
        for worker, trial in list(self.ongoing_trials.items()):
            if trial.trial_id == trial_id:
                self.heard[worker] = time.monotonic()
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        """As in KerasTuner; of two workers with the same trial the first one counts."""
        if trial.trial_id in self.end_order:
            return
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        super().end_trial(trial)
        self.ended(trial.trial_id)

    @keras_tuner.synchronized
    def miss_workers(self) -> None:
        """Give the trials of workers that show no life to others."""
        now = time.monotonic()
        for worker in self.tuner_ids | set(self.ongoing_trials):
            if now - self.heard.setdefault(worker, now) < LOST:
                continue
            self.tuner_ids.discard(worker)
            trial = self.ongoing_trials.pop(worker, None)
            if trial is not None:
                self._retry_queue.append(trial.trial_id)
                print(f"{worker} is lost, trial {trial.trial_id} goes to another", flush=True)
            self.save()

    def watch_workers(self) -> None:
        """Miss workers in the background, as long as the process lives."""

        def watch() -> None:
            while True:
                time.sleep(LOST / 10)
                self.miss_workers()

        threading.Thread(target=watch, daemon=True).start()


class RandomOracle(DurableOracle, keras_tuner.oracles.RandomSearchOracle):
    """Values at random."""


class HyperbandOracle(DurableOracle, keras_tuner.oracles.HyperbandOracle):
    """Many short trials, of which the better ones are repeated with more steps."""


class BayesianOracle(DurableOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """A Gaussian process says where to search; failed trials count as the worst completed one.

    KerasTuner leaves failed trials out, so that the process proposes the same point again.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """As in KerasTuner; a scale at the end of its range is no news with so few points."""
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
        "seed": study.seed + 1,  # 0 would be drawn anew at every start
        "max_consecutive_failed_trials": study.trials + 1,  # see ``StudyTuner``
    }
    if study.oracle == "hyperband":
        oracle = HyperbandOracle(
            max_epochs=LONGEST, factor=FACTOR, hyperband_iterations=study.trials, **options
        )
        oracle.max_trials = study.trials
        return oracle
    if study.oracle == "random":
        return RandomOracle(max_trials=study.trials, **options)
    try:
        return BayesianOracle(
            max_trials=study.trials,
            num_initial_points=max(3, min(3 * len(study.space), study.trials // 3)),
            alpha=NOISE,
            **options,
        )
    except ImportError:
        raise InputError(
            "oracle = 'bayesian' needs scikit-learn: pip install 'kerasgen[tuning]'"
        ) from None

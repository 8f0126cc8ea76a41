"""The search of a study: KerasTuner asks for trials, in one process or on a chief and its workers.

``oracles`` lists the private names of KerasTuner that this package uses.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner

from kerasgen.errors import InputError, RunFailure
from kerasgen.tuning.oracles import HYPERBAND_EPOCHS, OBJECTIVE, DurableOracle
from kerasgen.tuning.space import recipe_values
from kerasgen.tuning.study import Study
from kerasgen.tuning.trials import read_results, run_trial

CHIEF_KEYS = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")
MAX_FAILED_START = 5  # failed trials, before any other result, that end the search
IDLE = 1.0  # seconds between the requests of a worker


def process_role(environment: Mapping[str, str] = os.environ) -> str:
    """The role that KerasTuner's variables give this process: "single", "chief" or "worker".

    Raises:
        InputError: some of the three are set, or the port is not a port.
    """
    given = [key for key in CHIEF_KEYS if environment.get(key)]
    if not given:
        return "single"
    missing = [key for key in CHIEF_KEYS if key not in given]
    if missing:
        raise InputError(f"{given[0]} is set, {missing[0]} is not: a chief and workers need both")
    port = environment["KERASTUNER_ORACLE_PORT"]
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"KERASTUNER_ORACLE_PORT = {port!r} is no port, 1 to 65535")
    return "chief" if "chief" in environment["KERASTUNER_TUNER_ID"] else "worker"


class StudyTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Trials of a study.

    Args:
        oracle: see ``make_oracle``.
        study: that is searched.
        out: folder of the study.
        data: recipe keys that name the prepared events.
    """

    def __init__(
        self, oracle: DurableOracle, study: Study, out: Path, data: dict[str, Any]
    ) -> None:
        self.study, self.out, self.data = study, out, data
        self.role = process_role()
        super().__init__(oracle=oracle, directory=str(out), project_name="keras_tuner")
        if self.role != "worker":
            oracle.chief = self.role == "chief"
            oracle.restore()
        if self.role == "chief":
            oracle.watch_workers()

    def save(self) -> None:
        """Do nothing: the oracle has all the state, and saves it itself."""

    def reload(self) -> None:
        """Do nothing: see ``DurableOracle.restore``."""

    def pre_create_trial(self) -> None:
        if self.role == "worker":
            time.sleep(IDLE)

    def _try_run_and_update_trial(self, trial: Any) -> None:
        """Record a training that fails; any other error, as a full disk, ends the search.

        KerasTuner records every error as a failed trial, and prints its traceback.
        """
        try:
            self._run_and_update_trial(trial)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FailedTrialError as error:
            trial.status, trial.message = "FAILED", str(error)

    def run_trial(self, trial: Any) -> dict[str, float]:
        """Run a trial and return log(1 + objective) for the oracle.

        The logarithm keeps the order of the objectives, but one trial that is a hundred times
        worse does not make all others equal to a Gaussian process.
        """
        chosen = trial.hyperparameters.values
        fraction = chosen.get("tuner/epochs", HYPERBAND_EPOCHS) / HYPERBAND_EPOCHS

        def heartbeat() -> None:
            self.oracle.get_trial(trial.trial_id)

        values = recipe_values(self.study.space, chosen)
        result = run_trial(
            self.study, self.out, self.data, trial.trial_id, values, fraction, heartbeat
        )
        if result["objective"] is None:
            raise keras_tuner.errors.FailedTrialError(result["reason"])
        return {OBJECTIVE: math.log1p(max(result["objective"], 0.0))}

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)
        trials = read_results(self.out / "trials")
        if len(trials) >= MAX_FAILED_START and all(x["objective"] is None for x in trials):
            reason = trials[-1]["reason"]
            raise RunFailure(f"the first {len(trials)} trials failed, the last one: {reason}")

"""The search of a study: KerasTuner asks for trials, here or on a chief and its workers."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner

from kerasgen.errors import InputError, RunFailure
from kerasgen.tuning.oracles import LONGEST, OBJECTIVE, DurableOracle
from kerasgen.tuning.space import values_of
from kerasgen.tuning.study import Study
from kerasgen.tuning.trials import results, run_trial

CHIEF_KEYS = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")
HOPELESS = 5  # trials that fail from the start, before anything else, end the search
IDLE = 1.0  # seconds between the questions of a worker


def role(environment: Mapping[str, str] = os.environ) -> str:
    """ "alone", "chief" or "worker", as KerasTuner's variables say.

    Raises:
        InputError: some of the three are set, or the port is none.
    """
    given = [key for key in CHIEF_KEYS if environment.get(key)]
    if not given:
        return "alone"
    missing = [key for key in CHIEF_KEYS if key not in given]
    if missing:
        raise InputError(f"{given[0]} is set, {missing[0]} is not: a chief and workers need both")
    port = environment["KERASTUNER_ORACLE_PORT"]
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"KERASTUNER_ORACLE_PORT = {port!r} is no port, 1 to 65535")
    return "chief" if "chief" in environment["KERASTUNER_TUNER_ID"] else "worker"


class StudyTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Trials of a study.

    Arguments:
        oracle: see ``make_oracle``.
        study: that is searched.
        out: folder of the study.
        data: recipe keys of the prepared data.
    """

    def __init__(
        self, oracle: DurableOracle, study: Study, out: Path, data: dict[str, Any]
    ) -> None:
        self.study, self.out, self.data = study, out, data
        self.role = role()
        super().__init__(oracle=oracle, directory=str(out), project_name="keras_tuner")
        if self.role != "worker":
            oracle.chief = self.role == "chief"
            oracle.restore()
        if self.role == "chief":
            oracle.watch_workers()

    def save(self) -> None:
        """The oracle has all the state, and saves it itself."""

    def reload(self) -> None:
        """See ``DurableOracle.restore``."""

    def pre_create_trial(self) -> None:
        if self.role == "worker":
            time.sleep(IDLE)

    def _try_run_and_update_trial(self, trial: Any) -> None:
        """A training that fails is a result; anything else, as a full disk, ends the search.

        KerasTuner makes failed trials of all errors, and prints their tracebacks.
        """
        try:
            self._run_and_update_trial(trial)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FailedTrialError as error:
            trial.status, trial.message = "FAILED", str(error)

    def run_trial(self, trial: Any) -> dict[str, float]:
        """Train; what the oracle is told is log(1 + objective).

        The order is that of the objective, but one trial that is a hundred times worse does not
        make all others equal in the eyes of a Gaussian process.
        """
        chosen = trial.hyperparameters.values
        share = chosen.get("tuner/epochs", LONGEST) / LONGEST

        def sign() -> None:
            self.oracle.get_trial(trial.trial_id)

        values = values_of(self.study.space, chosen)
        result = run_trial(self.study, self.out, self.data, trial.trial_id, values, share, sign)
        if result["objective"] is None:
            raise keras_tuner.errors.FailedTrialError(result["reason"])
        return {OBJECTIVE: math.log1p(max(result["objective"], 0.0))}

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)
        found = results(self.out / "trials")
        if len(found) >= HOPELESS and all(x["objective"] is None for x in found):
            reason = found[-1]["reason"]
            raise RunFailure(f"the first {len(found)} trials failed, the last one: {reason}")

"""The folder of a study, and the trainings in it: each in a process of its own.

``study.json`` (the searched space, so that no other study gets into the folder), ``keras_tuner/``
(the oracle), ``logs/`` (TensorBoard), ``trials/`` and ``reruns/``. Each training has its run folder
``07/``, its output ``07.log`` and its result ``07.json``. The result is written once, at the end,
and a training that has a result is never repeated.

A process of its own costs 4 s of processor time for the import of TensorFlow. It gives all memory
back, survives any crash of the training, can be ended by the clock, and starts from the same state
as ``kerasgen train``.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypedDict

import numpy as np

from kerasgen.config import RunConfig, as_table
from kerasgen.file_lock import file_lock
from kerasgen.run_folder import read_metrics, write_text
from kerasgen.tuning.study import HeldOutTest, Study, scaled_steps

POLL = 0.5  # seconds between checks of a running training
HEARTBEAT = 10.0  # seconds between heartbeats to the oracle
GRACE_PERIOD = 120.0  # seconds that an interrupted training has to save its checkpoint
MIN_COMPLETED = 4  # completed trials before one can be pruned
MAX_REASON = 300  # characters of the reason of a failure
COMMAND = [sys.executable, "-m", "kerasgen.tuning.one_run"]
# Values of "status" in results; a pruned trial is "stopped", as by the study's section [stop].
COMPLETED, FAILED, PRUNED = "completed", "failed", "stopped"


class Result(TypedDict, total=False):
    """The result of a training, as its JSON file holds it.

    Attributes:
        trial: number of the trial, as text; reruns have none.
        run, kind: name of the rerun, and "tuned" or "recipe"; trials have none.
        values: searched recipe keys.
        steps: training steps.
        seed: ``training.seed``.
        status: "completed", "failed" or "stopped".
        reason: of a status other than "completed"; else empty.
        objective: on the held-out events; None: failed or pruned.
        test_objective: on the test events.
        metrics, test: the part of both ``metrics.json`` that a study needs.
        seconds, processor_seconds: of the training.
        memory_mib, search_memory_mib: peak of the training, and of the process of the search.
    """

    trial: str
    run: str
    kind: str
    values: dict[str, Any]
    steps: int
    seed: int
    status: str
    reason: str
    objective: Any
    test_objective: float
    metrics: dict[str, Any]
    test: dict[str, Any]
    seconds: float
    processor_seconds: float
    memory_mib: float
    search_memory_mib: float


def training_seed(study: Study, kind: str, number: int) -> int:
    """The seed of one training of a study, below 2**31.

    Args:
        study: whose seed it is derived from.
        kind: "trials" or "reruns".
        number: of the training within its kind.
    """
    key = [study.seed, ("trials", "reruns").index(kind), number]
    return int(np.random.SeedSequence(key).generate_state(1)[0]) >> 1


def run_trial(
    study: Study,
    out: Path,
    data: dict[str, Any],
    trial_id: str,
    values: dict[str, Any],
    fraction: float,
    heartbeat: Callable[[], None],
) -> Result:
    """Run one trial of the search to its end and return its result.

    Args:
        study: that the trial belongs to.
        out: folder of the study.
        data: recipe keys that name the prepared events.
        trial_id: number of the trial, as text.
        values: recipe keys that the oracle chose.
        fraction: of the steps.
        heartbeat: is called every few seconds, to show that the trial is running.
    """
    details: Result = {
        "trial": trial_id,
        "values": values,
        "steps": scaled_steps(study.config(values), fraction)["training.steps"],
        "seed": training_seed(study, "trials", int(trial_id)),
    }
    run = out / "trials" / trial_id
    return training_result(study, run, data, details, fraction, None, heartbeat)


def training_result(
    study: Study,
    run: Path,
    data: dict[str, Any],
    details: Result,
    fraction: float,
    test: HeldOutTest | None,
    heartbeat: Callable[[], None],
) -> Result:
    """The result of a training: read if it was recorded, otherwise trained for and recorded.

    Args:
        study, data, fraction, heartbeat: as in ``run_trial``.
        run: run folder.
        details: part of the result: name of the training, values, steps, seed.
        test: test events for a second evaluation; None: no second evaluation.
    """
    run.parent.mkdir(parents=True, exist_ok=True)
    path = beside(run, ".json")
    with file_lock(beside(run, ".lock"), while_waiting=heartbeat) as lock:
        if not path.is_file():
            config = study.config(details["values"])
            change = data | scaled_steps(config, fraction) | {"training.seed": details["seed"]}
            config = study.config(details["values"] | change)
            outcome = train_in_process(study, run, config, test, lock, heartbeat)
            search = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            write_text(path, json.dumps(details | outcome | {"search_memory_mib": search}))
            if outcome["status"] == COMPLETED:
                for suffix in (".job", ".answer"):
                    beside(run, suffix).unlink(missing_ok=True)
        return json.loads(path.read_text("utf-8"))


def beside(run: Path, suffix: str) -> Path:
    """A file beside a run folder: the name of the folder with a suffix."""
    return run.with_name(run.name + suffix)


def train_in_process(
    study: Study, run: Path, config: RunConfig, test: HeldOutTest | None, lock: int,
    heartbeat: Callable[[], None],
) -> Result:  # fmt: skip
    """Train in a process of its own and return the status, the reason and the measured values.

    Args:
        study, run, test, heartbeat: as in ``training_result``.
        config: of the run.
        lock: file descriptor of the lock, which the process inherits.
    """
    job, answer = beside(run, ".job"), beside(run, ".answer")
    answer.unlink(missing_ok=True)
    task = {
        "config": as_table(config), "run": str(run), "result": str(answer), "test": test,
        "objective": study.objective,
    }  # fmt: skip
    write_text(job, json.dumps(task))
    with open(beside(run, ".log"), "a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*COMMAND, str(job)],
            stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, pass_fds=(lock,),
            start_new_session=True,
        )  # fmt: skip
        try:
            ended = wait_for_training(study, run, process, heartbeat)
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(GRACE_PERIOD)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdin.close()  # type: ignore[union-attr]
    if ended is not None:
        return {"status": ended[0], "reason": ended[1], "objective": None}
    if process.returncode or not answer.is_file():
        reason = failure_reason(beside(run, ".log"), process.returncode)
        return {"status": FAILED, "reason": reason, "objective": None}
    outcome = json.loads(answer.read_text("utf-8"))
    if not math.isfinite(outcome["objective"]):
        missing = f"a metric of {', '.join(study.objective)} has no value"
        return outcome | {"status": FAILED, "reason": missing, "objective": None}
    return outcome | {"status": COMPLETED, "reason": ""}


def wait_for_training(
    study: Study, run: Path, process: subprocess.Popen[bytes], heartbeat: Callable[[], None]
) -> tuple[str, str] | None:
    """Wait until a training ends by itself (None), or must be ended: status and reason."""
    began = last_heartbeat = time.monotonic()
    evaluations = 0
    while process.poll() is None:
        time.sleep(POLL)
        now = time.monotonic()
        if now - last_heartbeat > HEARTBEAT:
            heartbeat()
            last_heartbeat = now
        if study.time_limit and now - began > study.time_limit:
            return FAILED, f"time limit of {study.time_limit:.0f} s"
        if study.stop.metric and run.parent.name == "trials":
            lines = read_metrics(run)
            if len(lines) > evaluations:
                evaluations = len(lines)
                reason = pruning_reason(study, run, lines[-1])
                if reason:
                    return PRUNED, reason
    return None


def pruning_reason(study: Study, run: Path, line: dict[str, Any]) -> str:
    """Why a trial is pruned after an evaluation; empty if it goes on.

    Args:
        study: that the trial belongs to.
        run: run folder of the trial.
        line: of its ``metrics.jsonl``.
    """
    value = watched_value(study, line)
    others = []
    for path in run.parent.glob("*.json"):
        result = json.loads(path.read_text("utf-8"))
        if result["status"] == COMPLETED:
            lines = read_metrics(path.with_suffix(""))
            others += [watched_value(study, x) for x in lines if x["step"] == line["step"]]
    known = [x for x in others if x is not None]
    if value is None or len(known) < MIN_COMPLETED or value <= study.stop.factor * median(known):
        return ""
    return (
        f"{study.stop.metric} {value:.3g} at step {line['step']} is above "
        f"{study.stop.factor:g} x {median(known):.3g}, the median of the others"
    )


def watched_value(study: Study, line: dict[str, Any]) -> float | None:
    """The value of ``stop.metric`` in a line of ``metrics.jsonl``; None in final evaluations."""
    if "verdict" in line:
        return None
    return line.get(study.stop.metric, line["metrics"].get(study.stop.metric))


def failure_reason(log: Path, code: int) -> str:
    """Why a training ended early: its error message, its signal, or the last line of its log."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = [x.strip() for x in log.read_text("utf-8", "replace").splitlines() if x.strip()]
    errors = [x.removeprefix("kerasgen: ") for x in lines if x.startswith("kerasgen: ")]
    return (errors or lines or [f"exit code {code}"])[-1][:MAX_REASON]


def read_results(folder: Path) -> list[Result]:
    """All results in ``trials`` or ``reruns``, in the order of their file names."""
    return [json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("*.json"))]

"""The folder of a study, and the trainings in it: each in a process of its own.

``study.json`` (what is searched, so that no other study gets into the folder), ``keras_tuner/``
(the oracle), ``logs/`` (TensorBoard), ``trials/`` and ``reruns/``: of each training its run folder
``07/``, ``07.log`` with what it printed and ``07.json`` with what came out. The last is written
once, at the end, and a training that has it is never repeated.

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
from typing import Any

import numpy as np

from kerasgen.config import RunConfig, as_table
from kerasgen.file_lock import file_lock
from kerasgen.run_folder import read_metrics, write_text
from kerasgen.tuning.study import Study, scaled_steps

POLL = 0.5  # seconds between looks at a training
SIGN = 10.0  # seconds between signs of life
PATIENCE = 120.0  # seconds that an interrupted training has to save its checkpoint
ENOUGH = 4  # completed trials before one can be hopeless
COMMAND = [sys.executable, "-m", "kerasgen.tuning.one_run"]
COMPLETED, FAILED, STOPPED = "completed", "failed", "stopped"


def own_seed(study: Study, kind: str, number: int) -> int:
    """The seed of a training of a study, below 2**31."""
    key = [study.seed, ("trials", "reruns").index(kind), number]
    return int(np.random.SeedSequence(key).generate_state(1)[0]) >> 1


def run_trial(
    study: Study,
    out: Path,
    data: dict[str, Any],
    trial_id: str,
    values: dict[str, Any],
    share: float,
    sign: Callable[[], None],
) -> dict[str, Any]:
    """One trial of the search, to its end; its result.

    Args:
        study: that it belongs to.
        out: folder of the study.
        data: recipe keys that name the prepared data.
        trial_id: number of the trial, as text.
        values: recipe keys that the oracle chose.
        share: of the steps.
        sign: is called now and then, to show that the trial is alive.
    """
    about = {
        "trial": trial_id,
        "values": values,
        "steps": scaled_steps(study.config(values), share)["training.steps"],
        "seed": own_seed(study, "trials", int(trial_id)),
    }
    return finished(study, out / "trials" / trial_id, data, about, share, None, sign)


def finished(
    study: Study,
    run: Path,
    data: dict[str, Any],
    about: dict[str, Any],
    share: float,
    test: dict[str, int] | None,
    sign: Callable[[], None],
) -> dict[str, Any]:
    """The result of a training: read where there is one, otherwise trained for.

    Args:
        study, data, share, sign: as in ``run_trial``.
        run: run folder.
        about: goes into the result: values, steps, seed.
        test: events of the data and how many of them to evaluate on once more; None: not.
    """
    run.parent.mkdir(parents=True, exist_ok=True)
    path = beside(run, ".json")
    with file_lock(beside(run, ".lock"), while_waiting=sign) as lock:
        if not path.is_file():
            config = study.config(about["values"])
            change = data | scaled_steps(config, share) | {"training.seed": about["seed"]}
            found = train(study, run, study.config(about["values"] | change), test, lock, sign)
            search = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            write_text(path, json.dumps(about | found | {"search_memory_mib": search}))
            if found["status"] == COMPLETED:
                for suffix in (".job", ".answer"):
                    beside(run, suffix).unlink(missing_ok=True)
        return json.loads(path.read_text("utf-8"))


def beside(run: Path, suffix: str) -> Path:
    """A file beside a run folder."""
    return run.with_name(run.name + suffix)


def train(
    study: Study, run: Path, config: RunConfig, test: dict[str, int] | None, lock: int,
    sign: Callable[[], None],
) -> dict[str, Any]:  # fmt: skip
    """Train in a process of its own; what came out, or why nothing did."""
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
            reason = wait(study, run, process, sign)
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdin.close()  # type: ignore[union-attr]
    if reason is not None:
        return {"status": reason[0], "reason": reason[1], "objective": None}
    if process.returncode or not answer.is_file():
        reason_text = last_words(beside(run, ".log"), process.returncode)
        return {"status": FAILED, "reason": reason_text, "objective": None}
    found = json.loads(answer.read_text("utf-8"))
    if not math.isfinite(found["objective"]):
        missing = f"a metric of {', '.join(study.objective)} has no value"
        return found | {"status": FAILED, "reason": missing, "objective": None}
    return found | {"status": COMPLETED, "reason": ""}


def wait(
    study: Study, run: Path, process: subprocess.Popen[bytes], sign: Callable[[], None]
) -> tuple[str, str] | None:
    """Until the training ends by itself (None), or must not go on: status and reason."""
    began = shown = time.monotonic()
    seen = 0
    while process.poll() is None:
        time.sleep(POLL)
        now = time.monotonic()
        if now - shown > SIGN:
            sign()
            shown = now
        if study.time_limit and now - began > study.time_limit:
            return FAILED, f"time limit of {study.time_limit:.0f} s"
        if study.stop.metric and run.parent.name == "trials":
            lines = read_metrics(run)
            if len(lines) > seen:
                seen = len(lines)
                reason = hopeless(study, run, lines[-1])
                if reason:
                    return STOPPED, reason
    return None


def hopeless(study: Study, run: Path, line: dict[str, Any]) -> str:
    """Why a trial is hopeless after an evaluation; nothing if it is not."""
    value = watched(study, line)
    others = []
    for path in run.parent.glob("*.json"):
        result = json.loads(path.read_text("utf-8"))
        if result["status"] == COMPLETED:
            lines = read_metrics(path.with_suffix(""))
            others += [watched(study, x) for x in lines if x["step"] == line["step"]]
    known = [x for x in others if x is not None]
    if value is None or len(known) < ENOUGH or value <= study.stop.factor * median(known):
        return ""
    return (
        f"{study.stop.metric} {value:.3g} at step {line['step']} is above "
        f"{study.stop.factor:g} x {median(known):.3g}, the median of the others"
    )


def watched(study: Study, line: dict[str, Any]) -> float | None:
    """The number that a study watches, in a line of ``metrics.jsonl``; final ones have none."""
    if "verdict" in line:
        return None
    return line.get(study.stop.metric, line["metrics"].get(study.stop.metric))


def last_words(log: Path, code: int) -> str:
    """Why a training ended early: its complaint, the signal that ended it, or its last line."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = [x.strip() for x in log.read_text("utf-8", "replace").splitlines() if x.strip()]
    told = [x.removeprefix("kerasgen: ") for x in lines if x.startswith("kerasgen: ")]
    return (told or lines or [f"exit code {code}"])[-1][:300]


def results(folder: Path) -> list[dict[str, Any]]:
    """What has come out in ``trials`` or ``reruns``, in the order of their names."""
    return [json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("*.json"))]

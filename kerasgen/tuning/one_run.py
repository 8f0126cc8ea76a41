"""One training of a study in a process of its own: ``python -m kerasgen.tuning.one_run JOB.json``.

The run folder is the one that ``kerasgen train`` writes. Standard input is a pipe whose other end
the search holds: when the search is killed the pipe closes, and this process ends too.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasgen.command import run
from kerasgen.models.trained import config_from_table, read_config
from kerasgen.run_folder import write_text
from kerasgen.tuning.objective import OBJECTIVE_TAG, objective
from kerasgen.zoo.run import Execution, evaluate_run, resume, start


def end_with_the_search() -> None:
    """Kill this process silently as soon as standard input is at its end."""

    def wait_for_end_of_input() -> None:
        while os.read(0, 1):
            pass
        os._exit(137)

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()


def main(argv: list[str] | None = None) -> int:
    """Train, evaluate, and write the result."""
    job_path = Path((sys.argv[1:] if argv is None else argv)[0])
    job = json.loads(job_path.read_text("utf-8"))
    folder, began = Path(job["run"]), time.monotonic()
    if (folder / "config.toml").is_file():
        resume(read_config(folder).recipe, folder, Execution())
    else:
        start(config_from_table(job["config"]), folder, Execution())
    config = read_config(folder)
    result: dict[str, Any] = {"metrics": read_evaluation(folder / "report")}
    result["objective"] = objective(result["metrics"], job["objective"], config)
    log_objective(folder, config.training.steps, result["objective"])
    if job["test"]:
        out = folder / "test"
        if not (out / "metrics.json").is_file():
            evaluate_on_test(folder, out, **job["test"])
        result["test"] = read_evaluation(out)
        result["test_objective"] = objective(result["test"], job["objective"], config)
    result["seconds"] = time.monotonic() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result["processor_seconds"] = usage.ru_utime + usage.ru_stime
    result["memory_mib"] = usage.ru_maxrss / 1024
    write_text(Path(job["result"]), json.dumps(result))
    return 0


def read_evaluation(folder: Path) -> dict[str, Any]:
    """The part of the ``metrics.json`` of an evaluation that a study needs."""
    document = json.loads((folder / "metrics.json").read_text("utf-8"))
    candidates = document["candidates"].items()
    return {key: document[key] for key in ("candidate", "events", "data")} | {
        "candidates": {name: {"metrics": x["metrics"]} for name, x in candidates}
    }


def log_objective(folder: Path, step: int, value: float) -> None:
    """Write the objective beside the hyper-parameters of the run, for TensorBoard's HParams."""
    from kerasgen.training.event_log import EventLog

    with EventLog(folder / "logs") as log:
        log.scalar(OBJECTIVE_TAG, value, step)


def evaluate_on_test(folder: Path, out: Path, events: int, held_out: int) -> None:
    """Evaluate a run, without calibration, on events that no trial has seen.

    Args:
        folder: of the run.
        out: folder of the report.
        events: number of events of the data source, of which the last are the test events.
        held_out: number of test events.
    """
    config = read_config(folder)
    section: Any = config.data  # a dataclass of the algorithm
    data = replace(section, events=events, held_out=held_out)
    evaluate_run(
        folder, data, None, title=f"{config.recipe}: {folder.name}, test", out=out,
        seed=config.training.seed + 2, calibrated=False, bootstrap=False,
    )  # fmt: skip


if __name__ == "__main__":
    end_with_the_search()
    raise SystemExit(run(main))

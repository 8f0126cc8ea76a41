"""A search whose trainings take a moment: ``stand_in.py search ARGUMENTS`` and ``stand_in.py JOB``.

The processes, locks, pipes and files are real; only the training is replaced. It runs through
PHASES, records each in its run folder, and resumes there; a rate above 0.5 "diverges".
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

PHASES = 4


def train(job_path: Path) -> int:
    from kerasgen.tuning.one_run import end_with_the_search

    end_with_the_search()
    job = json.loads(job_path.read_text())
    run, config = Path(job["run"]), job["config"]
    run.mkdir(exist_ok=True)
    beta = config["loss"]["beta"]
    for phase in range(len(list(run.glob("phase-*"))), PHASES):
        time.sleep(float(os.environ.get("PHASE_SECONDS", "0.02")))
        (run / f"phase-{phase}").touch()
        line = {"step": phase, "metrics": {"w1_points": beta}}
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        with open(run.parent / "calls.txt", "a") as file:
            file.write(f"{run.name} {phase} {os.environ.get('KERASTUNER_TUNER_ID')}\n")
    if config["training"]["rate"] > 0.5:
        print("kerasgen: the loss is not a number")
        return 1
    metric = {"value": beta, "error": 0.1, "floor": 1.0, "floor_error": 0.1}
    document = {"candidate": "generated", "data": {}, "events": {},
                "candidates": {"generated": {"metrics": {"w1p": metric}}}}  # fmt: skip
    answer = {"metrics": document, "objective": beta, "seconds": 1.0, "processor_seconds": 1.0}
    if job["test"]:
        answer |= {"test": document, "test_objective": beta + config["training"]["seed"] * 1e-12}
    Path(job["result"]).write_text(json.dumps(answer))
    return 0


if __name__ == "__main__":
    if sys.argv[1] != "search":
        raise SystemExit(train(Path(sys.argv[1])))
    from kerasgen.command import run
    from kerasgen.tuning import oracles, search, trials

    trials.COMMAND[:] = [sys.executable, __file__]
    trials.POLL, trials.HEARTBEAT, oracles.WORKER_TIMEOUT = 0.02, 0.2, 3.0
    raise SystemExit(run(search.main, sys.argv[2:]))

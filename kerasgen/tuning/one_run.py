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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kerasgen.cli import run
from kerasgen.data.store import checksum
from kerasgen.training.run_folder import write_text
from kerasgen.tuning.objective import OBJECTIVE_TAG, objective
from kerasgen.zoo import train
from kerasgen.zoo.config import SPARSE_VAE, from_table, read_config


def end_with_the_search() -> None:
    """Kill this process, without a word, as soon as standard input is at its end."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(137)

    threading.Thread(target=wait, daemon=True).start()


def main(argv: list[str] | None = None) -> int:
    """Train, evaluate, and write what came out."""
    job_path = Path((sys.argv[1:] if argv is None else argv)[0])
    job = json.loads(job_path.read_text("utf-8"))
    folder, began = Path(job["run"]), time.monotonic()
    if (folder / "config.toml").is_file():
        train.resume(read_config(folder).recipe, folder, [], False, None)
    else:
        train.start(from_table(job["config"]), folder, False)
    config = read_config(folder)
    result: dict[str, Any] = {"metrics": document(folder / "report")}
    result["objective"] = objective(result["metrics"], job["objective"], config)
    log_objective(folder, config.training.steps, result["objective"])
    if job["test"]:
        out = folder / "test"
        if not (out / "metrics.json").is_file():
            evaluate_again(folder, out, **job["test"])
        result["test"] = document(out)
        result["test_objective"] = objective(result["test"], job["objective"], config)
    result["seconds"] = time.monotonic() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result["processor_seconds"] = usage.ru_utime + usage.ru_stime
    result["memory_mib"] = usage.ru_maxrss / 1024
    write_text(Path(job["result"]), json.dumps(result))
    return 0


def document(folder: Path) -> dict[str, Any]:
    """The ``metrics.json`` of an evaluation, the part that a study needs."""
    found = json.loads((folder / "metrics.json").read_text("utf-8"))
    return {key: found[key] for key in ("candidate", "events", "data")} | {
        "candidates": {name: {"metrics": x["metrics"]} for name, x in found["candidates"].items()}
    }


def log_objective(folder: Path, step: int, value: float) -> None:
    """Beside the hyper-parameters of the run, where TensorBoard's HParams looks for it."""
    import tensorflow as tf

    with tf.summary.create_file_writer(str(folder / "logs")).as_default(step=step):
        tf.summary.scalar(OBJECTIVE_TAG, value)


def evaluate_again(folder: Path, out: Path, events: int, held_out: int) -> None:
    """Evaluate a run on events that it was neither trained nor selected with.

    Args:
        folder: of the run.
        out: folder of the report.
        events: of the data source, of which the last are taken.
        held_out: how many of them.
    """
    config = read_config(folder)
    data = replace(config.data, events=events, held_out=held_out)
    if config.architecture == SPARSE_VAE:
        evaluate_sets_again(config, folder, out, data)
    else:
        evaluate_events_again(config, folder, out, data)


def evaluate_sets_again(config: Any, folder: Path, out: Path, data: Any) -> None:
    """As ``evaluate_again``, of point sets."""
    from kerasgen.training.point_data import point_file, read_sets
    from kerasgen.zoo.point_sets.evaluate import evaluate_sets, generate_sets
    from kerasgen.zoo.point_sets.trained import load_trained_points

    trained = load_trained_points(folder)
    seed = config.training.seed + 2
    with point_file(config.data) as file:
        training, _ = read_sets(file, config.data)
        _, held_out = read_sets(file, data)
        evaluate_sets(
            held_out, generate_sets(trained.generator, range(config.evaluation.events), seed),
            training, trained.form, out, f"{config.recipe}: {folder.name}, test",
            config.evaluation, asdict(config), {file.path.name: checksum(file.path)},
        )  # fmt: skip


def evaluate_events_again(config: Any, folder: Path, out: Path, data: Any) -> None:
    """As ``evaluate_again``, of a pixel detector, without calibration."""
    from kerasgen.training.data import division, event_file
    from kerasgen.zoo.evaluation import evaluate_hits
    from kerasgen.zoo.generate import event_hits
    from kerasgen.zoo.trained import load_trained

    trained = load_trained(str(folder), calibrated=False)
    with event_file(data.source, data.events, data.seed, data.channels) as file:
        _, held_out = division(file, data.events, data.held_out)
        real = file.read_events(held_out.start, held_out.stop)
        generated = event_hits(
            trained.generator, file.geometry, range(config.evaluation.events),
            config.training.seed + 2,
        )  # fmt: skip
        evaluate_hits(
            real, {"uncalibrated": generated}, file.geometry, out,
            f"{config.recipe}: {folder.name}, test", asdict(config),
            {file.path.name: checksum(file.path)},
        )  # fmt: skip


if __name__ == "__main__":
    end_with_the_search()
    raise SystemExit(run(main))

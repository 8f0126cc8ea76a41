"""Training on JAX: killed and resumed, a run ends in the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from shared_runs import assert_same_tensors
from small_run import CHANGES, wait_for, write_events

from kerasgen.run_folder import BEST, LAST, METRICS, read_metrics

# Checkpoints in the middle; no export, no report.
STEPS = ["training.steps=6", "training.evaluate_every=2"]
SCRIPT = """
import sys
from pathlib import Path
from kerasgen.models.algorithm import algorithm_of
from kerasgen.run_folder import create_run
from kerasgen.training.trainer import train
from kerasgen.zoo.recipes import load_config
from kerasgen.config import to_toml

events, folder, resume, *changes = sys.argv[1:]
config = load_config("pxd_biggan_crops", changes=[f"data.source={events!r}", *changes])
algorithm = algorithm_of(config.algorithm)
with algorithm.kind.open(config.data) as data:
    if resume == "no":
        Path(folder).mkdir()
        create_run(Path(folder), to_toml(config), data.schema.to_json())
    train(algorithm, config, Path(folder), data, resume == "yes")
"""


def start(events: Path, folder: Path, resume: str) -> subprocess.Popen[str]:
    """A training in a process of its own, on JAX."""
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiles in half the time
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(events), str(folder), resume, *CHANGES, *STEPS],
        env=environment, cwd=events.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def test_killed_after_a_checkpoint_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """A real SIGKILL, after the first evaluation of a step."""
    events = tmp_path / "events.h5"
    write_events(events)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(events, killed, "no")
    wait_for(killed / METRICS, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [x["step"] for x in read_metrics(killed)] == [2], "killed too late to test anything"
    for folder, resume in ((whole, "no"), (killed, "yes")):
        process = start(events, folder, resume)
        _, error = process.communicate()
        assert process.returncode == 0, error
    for name in (LAST, BEST):
        assert_same_tensors(killed / name, whole / name)
    metrics = [
        [{k: v for k, v in x.items() if k != "time"} for x in read_metrics(folder)]
        for folder in (killed, whole)
    ]
    assert metrics[0] == metrics[1]
    assert [x["step"] for x in metrics[0]] == [2, 4, 6]

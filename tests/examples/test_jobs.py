"""The job files of HTCondor and SLURM, run with the variables that these systems set."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from toy_run import write_toy_run

from kerasgen.data.store import EventFile

EXAMPLES = Path(__file__).parents[2] / "examples"


def environment(**more: str) -> dict[str, str]:
    """Environment variables with the command ``kerasgen`` of these tests on PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path} | more


def events_of(path: Path) -> list[int]:
    with EventFile(path) as file:
        return file.events.tolist()


def test_array_jobs_divide_the_events(tmp_path: Path) -> None:
    run = write_toy_run(tmp_path / "toy-1")
    submit = (EXAMPLES / "htcondor" / "generate.sub").read_text()
    (line,) = re.findall(r"^arguments = (.*)$", submit, re.M)
    model, folder, events, _, shards, process = shlex.split(line)
    assert process == "$(Process)"
    assert f"\nqueue {shards}\n" in submit
    assert np.gcd(int(events), int(shards)) == int(shards)
    assert model.startswith(folder.rpartition("/")[0])
    condor = ["./generate.sh", str(run), str(tmp_path), "5", "7", "2", "0"]
    slurm = ["bash", "generate.sbatch"]
    task = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MAX": "1", "MODEL": str(run)}
    task |= {"FOLDER": str(tmp_path), "EVENTS": "5"}
    jobs = [
        subprocess.Popen(condor, cwd=EXAMPLES / "htcondor", env=environment()),
        subprocess.Popen(slurm, cwd=EXAMPLES / "slurm", env=environment(**task)),
    ]
    assert [job.wait(timeout=200) for job in jobs] == [0, 0]
    parts = sorted(tmp_path.glob("*.h5"))
    assert [p.name for p in parts] == ["background-7-00000.h5", "background-7-00001.h5"]
    assert [e for p in parts for e in events_of(p)] == [0, 1, 2, 3, 4]

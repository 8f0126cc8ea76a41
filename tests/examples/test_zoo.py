"""The examples with models of the zoo, unchanged, with few events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from shared_runs import SMALL
from small_run import write_events

from kerasgen.data.store import EventFile
from kerasgen.models.cluster_growth.algorithm import ALGORITHM

EXAMPLES = Path(__file__).parents[2] / "examples"


def call(command: list[str], cwd: Path) -> str:
    """Run a process with the command ``kerasgen`` of these tests on PATH; its standard output."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_own_hits_to_a_report(tmp_path: Path) -> None:
    write_events(tmp_path / "mine.h5")
    changes = SMALL["pixels"] | dict(ALGORITHM.smallest) | {"training.evaluate_every": 5}
    sets = [x for key, value in changes.items() for x in ("--set", f"{key}={value}")]
    script = EXAMPLES / "own_hits" / "train.sh"
    call(["bash", str(script), "mine.h5", "out", *sets], tmp_path)
    document = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
    assert set(document["candidates"]) >= {"uncalibrated", "calibrated"}
    assert (tmp_path / "out" / "report" / "report.html").stat().st_size > 10_000
    assert list((tmp_path / "out" / "run" / "exported").glob("pxd_biggan/1/saved_model.pb"))


def test_released_model_over_signal(tmp_path: Path) -> None:
    printed = call([sys.executable, str(EXAMPLES / "overlay" / "overlay_events.py"), "2"], tmp_path)
    assert "2 events" in printed
    with EventFile(tmp_path / "overlay.h5") as file:
        hits = file.read_events(0, 2)
    assert 50_000 < len(hits.adu) / 2 < 90_000  # 69 300 of background
    assert (tmp_path / "overlay.png").stat().st_size > 10_000

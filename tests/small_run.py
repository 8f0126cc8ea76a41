"""A detector, events and recipe changes small enough to train in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from kerasgen.data.geometry import Geometry, geometry_from_json
from kerasgen.data.hits import from_dense
from kerasgen.data.store import EventWriter

# Every technique is on, at the smallest size.
CHANGES = [
    "generator.channels=8", "generator.blocks=1", "generator.attention=[4,4]",
    "generator.noise_channels=6", "generator.latent_size=2", "generator.noise_gain=0.5",
    "generator.embedding_size=4",
    "discriminator.channels=8", "discriminator.blocks=1", "discriminator.attention=[2,4]",
    "discriminator.embedding_size=4",
    "training.crop=[16,32]", "training.batch=4", "training.steps=12", "training.evaluate_every=6",
    "training.evaluate_events=2", "training.warm_up=2", "training.precision=float32",
    "loss.discriminator_steps=1", "data.events=0", "data.held_out=4",
    "calibration.events=2", "evaluation.events=4",
]  # fmt: skip


def geometry() -> Geometry:
    """Three sensors of 30 x 48 pixels."""
    sensors = [
        {"name": n, "id": 32 * i, "layer": 1, "ladder": i}
        for i, n in enumerate(("1.1.1", "1.2.1", "1.10.1"))
    ]
    text = json.dumps(
        {"name": "small", "rows": 30, "cols": 48, "threshold": 7, "max_charge": 255,
         "sensors": sensors}
    )  # fmt: skip
    return geometry_from_json(text)


def write_events(path: Path, events: int = 12) -> None:
    """Events of short horizontal clusters."""
    detector = geometry()
    rng = np.random.default_rng(1)
    with EventWriter(path, detector, "tests") as writer:
        for event in range(events):
            images = np.zeros((3, 30, 48), np.int64)
            for image in images:
                for _ in range(rng.poisson(8)):
                    row, col = rng.integers(30), rng.integers(44)
                    image[row, col : col + rng.integers(1, 5)] = rng.integers(7, 60)
            writer.write(from_dense(images, np.arange(3), np.full(3, event)))


def train_command(data: Path, run: Path, *more: str) -> list[str]:
    """The command line of a small training."""
    sets = [x for change in CHANGES for x in ("--set", change)]
    start = [sys.executable, "-m", "kerasgen.zoo.train", "pxd_biggan_crops"]
    return [*start, "--data", str(data), "--run", str(run), *sets, *more]


def resume_command(run: Path) -> list[str]:
    """The command line that goes on with a run."""
    start = [sys.executable, "-m", "kerasgen.zoo.train", "pxd_biggan_crops"]
    return [*start, "--run", str(run), "--resume"]


def run_process(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A real process, away from the checkout, to its end."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 400) -> None:
    """Until the file is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.01)

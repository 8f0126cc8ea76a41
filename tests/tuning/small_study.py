"""Studies small enough for tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasgen.tuning.study import Study, read_study

STUDY = """
recipe = "jet_vae"
oracle = "random"
objective = ["w1p"]
trials = 4
test = 200
[space]
loss.beta = { low = 0.1, high = 10.0, log = true }
network.latent_size = { low = 2, high = 8 }
network.encoder = { choices = ["dense", "set"] }
[set]
data.source = "DATA"
data.events = 0
data.held_out = 150
data.points = 0
data.classes = []
training.steps = 8
training.batch = 32
training.evaluate_every = 4
training.evaluate_events = 100
network.width = 8
evaluation.events = 150
evaluation.batches = 2
evaluation.batch = 20
"""


def write_study(folder: Path, data: Path, text: str = STUDY, **changes: str) -> Path:
    """The study as a file; ``changes`` of top-level keys, as TOML."""
    for key, value in changes.items():
        lines = [x for x in text.splitlines() if not x.startswith(f"{key} =")]
        text = "\n".join([f"{key} = {value}", *lines])
    path = folder / "small.toml"
    path.write_text(text.replace("DATA", str(data)))
    return path


def small_study(folder: Path, data: Path, **changes: str) -> Study:
    return read_study(str(write_study(folder, data, **changes)))


# KerasTuner 1.4.8 asks for the name of its thread by deprecated methods.
deprecated_thread_names = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]

"""A small finished run of each algorithm, trained once for all tests of a session.

Every worker of pytest-xdist finds it in the folder that the workers share.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from point_sets import write_toy_jets
from small_run import write_events

from kerasgen.command import run
from kerasgen.config import RunConfig, to_toml
from kerasgen.file_lock import file_lock
from kerasgen.models.algorithm import Algorithm, algorithm_of
from kerasgen.models.trained import config_from_table, read_config
from kerasgen.run_folder import LAST, WEIGHTS, read_metrics
from kerasgen.zoo import train

WRITE = {"pixels": write_events, "points": write_toy_jets}
SMALL = {
    "pixels": {"data.events": 0, "data.held_out": 4, "training.evaluate_events": 2,
               "evaluation.events": 4},
    "points": {"data.events": 0, "data.held_out": 200, "training.evaluate_events": 100,
               "evaluation.events": 150, "evaluation.batches": 2, "evaluation.batch": 20},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A small run of an algorithm, trained through the command, and how to train it again.

    Attributes:
        algorithm: of the run.
        home: holds the events, the recipe and the run.
    """

    algorithm: Algorithm
    home: Path

    @property
    def folder(self) -> Path:
        """The run folder; tests do not write into it."""
        return self.home / "run"

    @property
    def events(self) -> Path:
        return self.home / "events.h5"

    @property
    def recipe(self) -> Path:
        return self.home / "small.toml"

    @property
    def config(self) -> RunConfig:
        return read_config(self.folder)

    def train(self, folder: Path, *more: str) -> int:
        """Train the same run in another folder."""
        return run(train.main, [str(self.recipe), "--run", str(folder), *more])

    def resume(self, folder: Path) -> int:
        """Go on with a run of this case."""
        return self.train(folder, "--resume")

    def start(self, folder: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
        """The same training as a process."""
        command = [sys.executable, "-m", "kerasgen", "train", str(self.recipe)]
        return subprocess.Popen(
            [*command, "--run", str(folder), *more],
            cwd=folder.parent,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def shared_case(name: str, root: Path) -> Case:
    """The run of an algorithm; the first one that asks trains it.

    Args:
        name: of the algorithm.
        root: folder that all workers of the session share.
    """
    case = Case(algorithm_of(name), root / f"small {name}")
    case.home.mkdir(exist_ok=True)
    with file_lock(case.home / "lock"):
        if not case.recipe.exists():
            WRITE[case.algorithm.kind.name](case.events)
            case.recipe.write_text(small_recipe(case))
            assert case.train(case.folder) == 0
    return case


def small_recipe(case: Case) -> str:
    """The recipe of the smallest run of an algorithm on the events of a case."""
    table: dict[str, Any] = {"recipe": "small", "algorithm": case.algorithm.name}
    changes = SMALL[case.algorithm.kind.name] | case.algorithm.smallest
    changes |= {"training.evaluate_every": 3, "data.source": str(case.events)}
    for key, value in changes.items():
        section, name = key.split(".")
        table.setdefault(section, {})[name] = value
    return to_toml(config_from_table(table))


def arrays(events: Any) -> dict[str, np.ndarray]:
    """The columns of events by name."""
    return {name: np.asarray(x) for name, x in vars(events).items()}


def tensors(path: Path) -> dict[str, np.ndarray]:
    """Every array of a weights file by its path."""
    found = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def assert_same_tensors(path: Path, other: Path) -> None:
    """Assert that two weights files hold the same bits."""
    a, b = tensors(path), tensors(other)
    assert a.keys() == b.keys()
    assert a
    for key, values in a.items():
        np.testing.assert_array_equal(values, b[key], err_msg=f"{path.name}: {key}")


def assert_same_run(folder: Path, case: Case) -> None:
    for name in (LAST, WEIGHTS):
        assert_same_tensors(folder / name, case.folder / name)
    lines = [[x["step"] for x in read_metrics(f)] for f in (folder, case.folder)]
    assert lines[0] == lines[1]

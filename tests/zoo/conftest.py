"""A run of toy events, its model, and some of its events."""

from __future__ import annotations

from pathlib import Path

import pytest
from generated_events import generated
from toy_run import write_toy_run

from kerasgen.data.hits import Hits
from kerasgen.models.trained import Trained, load_trained


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_run(tmp_path_factory.mktemp("runs") / "toy-1")


@pytest.fixture(scope="module")
def trained(run_folder: Path) -> Trained:
    return load_trained(run_folder)


@pytest.fixture(scope="module")
def six(run_folder: Path) -> Hits:
    """Events 2 to 7 of seed 9."""
    return generated(run_folder, 6, 9, first_event=2)

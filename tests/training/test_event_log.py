"""TensorBoard's event files: each step once, and no silence about a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from full_disk import largest_file
from matplotlib.figure import Figure

# The one that TensorBoard uses; that of ``event_accumulator`` keeps every tensor.
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from kerasgen.training.event_log import EventLog


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def test_steps_that_are_repeated_stand_once(tmp_path: Path) -> None:
    """Killed after step 5, gone on from 2; then back from 4 to 3."""
    with EventLog(tmp_path) as log:
        for step in range(1, 6):
            log.scalar("loss", step, step)
    with EventLog(tmp_path) as log:
        log.drop_from(3)
        for step in (3, 4):
            log.scalar("loss", 10 * step, step)
        log.drop_from(4)
        log.scalar("loss", 44, 4)
    found = read(tmp_path).Tensors("loss")
    values = [(x.step, float(make_ndarray(x.tensor_proto))) for x in found]
    assert values == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 44.0)]


def test_figures_and_histograms_come_back(tmp_path: Path) -> None:
    figure = Figure(figsize=(3, 2), dpi=100)
    with EventLog(tmp_path) as log:
        log.figure("hits", figure, 1)
        log.histogram("charge", np.arange(10.0), 1)
    events = read(tmp_path)
    width, height, png = make_ndarray(events.Tensors("hits")[0].tensor_proto)
    assert (width, height) == (b"300", b"200")
    assert png.startswith(b"\x89PNG")
    assert make_ndarray(events.Tensors("charge")[0].tensor_proto)[:, 2].sum() == 10
    plugins = {
        tag: events.SummaryMetadata(tag).plugin_data.plugin_name for tag in ("hits", "charge")
    }
    assert plugins == {"hits": "images", "charge": "histograms"}


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for step in range(100):
        log.scalar("loss", 0.0, step)
    with largest_file(1000), pytest.raises(OSError, match="File too large") as refused:
        log.flush()
    log.close()  # there is room again
    assert refused.value.errno == errno.EFBIG
    assert Path(refused.value.filename).parent == tmp_path

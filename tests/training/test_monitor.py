"""When an evaluation during training sees a collapse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_run import CHANGES, geometry, write_events

from kerasgen.data.store import EventFile
from kerasgen.metrics.summary import summarise
from kerasgen.models.pxd_gan.build import build_generator
from kerasgen.training.monitor import Monitor
from kerasgen.zoo.recipes import load_config


@pytest.mark.parametrize("before", [None, 0.9, 0.02])
def test_images_that_repeat_are_a_collapse_if_they_once_did_not(
    tmp_path: Path, before: float | None
) -> None:
    """``before``: diversity that an earlier evaluation found missing; None: there was none."""
    write_events(tmp_path / "events.h5")
    config = load_config("pxd_biggan", changes=[*CHANGES, "data.source='events.h5'"])
    generator = build_generator("sub_pixel", config.generator, geometry(), 1, "float32", "tested")
    if before is not None:
        line = {"step": 6, "metrics": {"diversity": before}, "score": 1.0}
        (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    with EventFile(tmp_path / "events.h5") as file:
        monitor = Monitor(config, tmp_path, file, range(4, 12), generator, 6)
        monitor.close()
        real = file.read_events(0, 4)
    first = real.take(np.tile(np.arange(3), 4))  # one event over and over
    first.event[:] = np.repeat(np.arange(4), 3)
    assert not monitor.collapse(summarise(real, geometry()), len(real.adu))
    found = monitor.collapse(summarise(first, geometry()), len(first.adu))
    assert ("repeats its images" in found) == (before == 0.02)

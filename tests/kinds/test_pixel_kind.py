"""When an evaluation during training sees a collapse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_run import geometry, write_events

from kerasgen.data.hits import without
from kerasgen.data.store import EventFile
from kerasgen.kinds.hit_reference import HitReference


@pytest.mark.parametrize("before", [None, 0.9, 0.02])
def test_images_that_repeat_are_a_collapse_if_they_once_did_not(
    tmp_path: Path, before: float | None
) -> None:
    """``before``: diversity that an earlier evaluation found missing; None: there was none."""
    write_events(tmp_path / "events.h5")
    history = [] if before is None else [{"step": 6, "metrics": {"diversity": before}}]
    with EventFile(tmp_path / "events.h5") as file:
        reference = HitReference(file.read_events(4, 12), geometry(), 2)
        real = file.read_events(0, 4)
    first = real.take(np.tile(np.arange(3), 4))  # one event over and over
    first.event[:] = np.repeat(np.arange(4), 3)
    assert reference.compare(real, history).failure == ""
    failure = reference.compare(first, history).failure
    assert ("repeats its images" in failure) == (before == 0.02)


def test_events_without_hits_are_a_failure(tmp_path: Path) -> None:
    write_events(tmp_path / "events.h5")
    with EventFile(tmp_path / "events.h5") as file:
        reference = HitReference(file.read_events(0, 8), geometry(), 2)
        empty = file.read_events(8, 12)
    empty = empty.where(empty.adu < 0)
    comparison = reference.compare(empty, [])
    assert comparison.failure == "the generator makes no hits"
    assert comparison.score == float("inf")
    assert reference.figures(empty, comparison) == {}


def test_pixels_that_never_fire_are_not_compared(tmp_path: Path) -> None:
    """Training on masked data: hits of the generator there change no metric."""
    write_events(tmp_path / "events.h5")
    left_out = np.zeros((3, geometry().rows, geometry().cols), np.bool_)
    left_out[1] = left_out[:, :5] = True
    with EventFile(tmp_path / "events.h5") as file:
        real, generated = file.read_events(4, 12), file.read_events(0, 4)
    reference = HitReference(real, geometry(), 2, left_out)
    elsewhere = without(generated, left_out)
    assert len(elsewhere.adu) < len(generated.adu)
    assert reference.compare(generated, []).values == reference.compare(elsewhere, []).values
    plain = HitReference(real, geometry(), 2)
    assert plain.compare(generated, []).values != reference.compare(generated, []).values

"""Background added to signal in memory: charges, seeds, and other detectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from signal_events import GEOMETRY, NUMBERS, signal_events

from kerasgen.data.hits import to_dense
from kerasgen.data.level_table import LevelTable
from kerasgen.errors import InputError
from kerasgen.serving.overlay import MAX_EXPERIMENT, MAX_RUN, MAX_SEED, add_background, run_seed


class Fixed:
    """A generator of one image for all sensors: three fired pixels in row 0."""

    types = (4,)

    def digits(self, sensor: Any, seed: Any) -> dict[str, Any]:
        hits = np.array([[0, 1, 7], [0, 2, 250], [0, 3, 30]], np.int16)
        return {"count": np.full(len(sensor), 3), "hits": np.tile(hits, (len(sensor), 1, 1))}


def test_charges_add_saturate_and_pass_the_threshold() -> None:
    """A signal below the threshold counts if background lifts it above; else it is dropped."""
    signal = signal_events(c1=5, c2=10, c4=100, c5=6)
    found = add_background(signal, NUMBERS, Fixed(), GEOMETRY)
    images = to_dense(found, GEOMETRY)
    np.testing.assert_array_equal(images[0, 0, :7], [0, 12, 255, 30, 100, 0, 0])
    np.testing.assert_array_equal(images[1, 0, :7], [0, 7, 250, 30, 0, 0, 0])
    assert not images[:, 1:].any()
    np.testing.assert_array_equal(found.type[:4], [4, 4, 4, 0])
    np.testing.assert_array_equal(found.event, signal.event)


class Levelled(Fixed):
    """The same, with a charge of ten times the level in column 0."""

    def digits_level(self, sensor: Any, seed: Any, level: Any) -> dict[str, Any]:
        hits = np.zeros((len(sensor), 1, 3), np.int16)
        hits[:, 0, 2] = 10 * level[:, 0]
        return {"count": np.ones(len(sensor), int), "hits": hits}


def test_the_level_of_the_background_reaches_the_generator() -> None:
    found = add_background(signal_events(c1=9), NUMBERS, Levelled(), GEOMETRY, level=1.5)
    images = to_dense(found, GEOMETRY)
    np.testing.assert_array_equal(images[:, 0, :3], [[15, 9, 0], [15, 0, 0], [15, 0, 0]])
    with pytest.raises(InputError, match=r"level -1: allowed: 0\.\.10"):
        add_background(signal_events(c1=9), NUMBERS, Levelled(), GEOMETRY, level=-1)


def test_every_event_has_the_level_of_its_run() -> None:
    numbers = np.array([[1, 7, 3], [1, 8, 3], [1, 9, 3]])
    table = LevelTable("levels.csv", [(7, 7), (9, 12)], [1.5, 0.5], other=3.0)
    signal = signal_events(3, c1=9)
    found = add_background(signal, numbers, Levelled(), GEOMETRY, level=table)
    images = to_dense(found, GEOMETRY)[:: len(GEOMETRY.sensors)]
    # 5 ADU are below the threshold.
    np.testing.assert_array_equal(images[:, 0, 0], [15, 30, 0])


def test_every_production_and_run_has_a_unique_seed() -> None:
    assert run_seed(0, 0, 17) == 17
    numbers = [
        (s, e, r) for s in (0, 1, MAX_SEED) for e in (0, 1, MAX_EXPERIMENT) for r in (0, 1, MAX_RUN)
    ]
    found = {run_seed(*n) for n in numbers}
    assert len(found) == len(numbers)
    assert max(found) < 2**63
    for bad in ((MAX_SEED + 1, 0, 0), (0, MAX_EXPERIMENT + 1, 0), (0, 0, MAX_RUN + 1),
                (-1, 0, 0)):  # fmt: skip
        with pytest.raises(InputError, match=r"allowed: 0\.\."):
            run_seed(*bad)


def test_numbers_of_other_events_are_refused() -> None:
    with pytest.raises(InputError, match="3 images and three numbers for each event"):
        add_background(signal_events(2), NUMBERS, Fixed(), GEOMETRY)


def test_sensors_of_another_geometry_are_refused() -> None:
    signal = replace(signal_events(c1=9), sensor=np.array([0, 1, 1], np.uint16))
    with pytest.raises(InputError, match="same sensors"):
        add_background(signal, NUMBERS, Fixed(), GEOMETRY)

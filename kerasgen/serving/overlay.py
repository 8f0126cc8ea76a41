"""Generated background added to signal events, instead of stored background read from disk.

The background of an event depends on the seed pair (``run_seed``, event number): a production does
not depend on its division into jobs, and no two of its events share a background.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, check_values, concatenate, overlay, sort_hits
from kerasgen.data.level import Level
from kerasgen.data.level_table import LevelTable
from kerasgen.data.pixel_events import Digitizer, one_event
from kerasgen.errors import InputError

# Highest experiment, run and production seed: together they fill the 63 bits of a run seed.
MAX_EXPERIMENT, MAX_RUN, MAX_SEED = 2**16 - 1, 2**24 - 1, 2**23 - 1


def run_seed(seed: int, experiment: int, run: int) -> int:
    """Run seed of the background of one run, unique for each (seed, experiment, run).

    With seed and experiment 0 it is the run number, so that ``kerasgen generate --seed RUN`` writes
    the same background.

    Args:
        seed: of the production, in 0..2^23 - 1.
        experiment: in 0..2^16 - 1.
        run: in 0..2^24 - 1.

    Raises:
        InputError: a number outside its range.
    """
    limits = {"seed": MAX_SEED, "experiment": MAX_EXPERIMENT, "run": MAX_RUN}
    for (name, highest), value in zip(limits.items(), (seed, experiment, run), strict=True):
        if not 0 <= value <= highest:
            raise InputError(f"{name} {value}: allowed: 0..{highest}")
    return seed << 40 | experiment << 24 | run


def add_background(
    signal: Hits,
    numbers: NDArray[np.int64],
    generator: Digitizer,
    geometry: Geometry,
    seed: int = 0,
    level: Level | LevelTable | None = None,
) -> Hits:
    """Add generated background to signal events, on all sensors.

    Charges of signal and background on one pixel are added, up to the maximum charge of the
    geometry; pixels below its threshold after that are dropped. The type of a pixel is that of the
    higher charge.

    Args:
        signal: complete events, the hits of an image in any order; charges below the threshold
            are allowed, as in a simulation without zero suppression.
        numbers: [events, 3], experiment, run and event number of each event.
        generator: an object with ``digits``: a generator, an exported model, a client.
        geometry: of signal and generator.
        seed: of the production.
        level: of the background, see ``one_event``; or of each run.

    Raises:
        InputError: numbers that do not match the events or are outside their range, sensors or
            charges that the geometry does not have, or no such level.
    """
    sensors = len(geometry.sensors)
    if numbers.shape != (len(signal) // sensors, 3) or len(signal) % sensors:
        raise InputError(
            f"{len(signal)} images and numbers {list(numbers.shape)}: expected {sensors} images "
            "and three numbers for each event"
        )
    background = concatenate(
        [
            one_event(
                generator,
                geometry,
                event,
                run_seed(seed, experiment, run),
                level.at(run) if isinstance(level, LevelTable) else level,
            )
            for experiment, run, event in numbers.tolist()
        ]
    )
    merged = overlay(signal, background, geometry)
    fired = merged.where(merged.adu >= geometry.threshold)
    check_values(fired, geometry, "overlay")
    return sort_hits(fired, geometry)

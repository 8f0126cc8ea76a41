"""Generated pixel hits: from the answer of a generator to ``Hits``."""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.level import LEVEL, Level, level_columns


class Digitizer(Protocol):
    """A generator of hits: ``EventGenerator``, an exported model, or a client of a server."""

    types: tuple[int, ...]

    def digits(self, sensor: Any, seed: Any) -> dict[str, Any]: ...


def event_hits(
    generator: Digitizer, geometry: Geometry, events: range, seed: int, level: Level | None = None
) -> Hits:
    """Hits of the given event numbers, all sensors each, in memory; ``level``: as ``one_event``."""
    return concatenate([one_event(generator, geometry, event, seed, level) for event in events])


def one_event(
    generator: Digitizer, geometry: Geometry, event: int, seed: int, level: Level | None = None
) -> Hits:
    """Hits of all sensors of one event of one run seed.

    Args:
        generator, geometry: of the hits.
        event, seed: number of the event, and run seed.
        level: of the background, for a generator that has ``digits_level``; None: as in training.

    Raises:
        InputError: no such level.
    """
    sensors = len(geometry.sensors)
    sensor = np.arange(sensors, dtype=np.int32)
    pair = np.tile(np.array([seed, event], np.int64), (sensors, 1))
    if level is None:
        answer = generator.digits(sensor=sensor, seed=pair)
    else:
        columns = np.array(level_columns(level, generator.types), np.float32)
        levels = {LEVEL: np.tile(columns, (sensors, 1))}
        answer = cast(Any, generator).digits_level(sensor=sensor, seed=pair, **levels)
    found = {name: np.asarray(x) for name, x in answer.items()}
    count, hits = found["count"], found["hits"]
    there = np.arange(hits.shape[1]) < count[:, None]
    row, col, adu = hits[there].T.astype(np.uint16)
    kind = found["type"][there] if "type" in found else np.full(len(row), generator.types[0])
    return Hits(
        np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        row,
        col,
        adu,
        kind.astype(np.uint8),
        sensor.astype(np.uint16),
        pair[:, 1],
    )

"""Training batches: states of growing clusters with their next token and charge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.kinds.pixels import PixelData
from kerasgen.models.cluster_growth.growth import (
    STOP,
    GrownClusters,
    GrowthSteps,
    grown_clusters,
    growth_steps,
)
from kerasgen.models.cluster_growth.settings import Config
from kerasgen.models.cluster_growth.statistics import (
    CLASSES,
    SensorStatistics,
    charge_level,
)

BLOCK_EVENTS = 4  # whose growth steps are mixed


class GrowthBatches:
    """``Batches`` of growth steps; see there.

    The steps of BLOCK_EVENTS random events are shuffled and make a fixed number of batches; their
    weight is that of the steps in the block, so that large clusters count in full.

    Args:
        config: of the run.
        data: open events.
        statistics: of the training events.
    """

    def __init__(self, config: Config, data: PixelData, statistics: SensorStatistics) -> None:
        self.data, self.table = data, statistics.charge
        self.seed, self.batch = config.training.seed, config.training.batch
        self.recent = config.network.recent
        events = np.arange(data.training.start, data.training.stop)
        self.events, self.block_events = events, min(BLOCK_EVENTS, len(events))
        # Mean steps of an event by the first events: how many batches a block has.
        hits = data.training_events(4 * self.block_events)
        tokens = 2 * len(hits.row) / (len(hits) / len(data.schema.sensors))
        self.block_steps = max(1, int(tokens * self.block_events / self.batch))
        self.block: tuple[int, Any] = (-1, None)

    def batch_at(self, step: int) -> dict[str, Any]:
        """See ``Batches.batch_at``: a state of ``ClusterNetwork``, and of its next token

        ``token`` [B]; ``charge_class`` [B], 0 without a pixel; ``weight`` [B].
        """
        number, place = divmod(step, self.block_steps)
        if self.block[0] != number:
            self.block = number, self.load(number)
        clusters, level, sensor, steps, order = self.block[1]
        rows = order[(place * self.batch + np.arange(self.batch)) % len(order)]
        weight = np.float32(len(order) / (self.block_steps * self.batch))
        found = examples(clusters, level, sensor, steps, rows, self.recent)
        return found | {"weight": np.full(self.batch, weight)}

    def load(self, number: int) -> tuple[Any, ...]:
        """The clusters of a block, their charge levels and sensors, growth steps and an order."""
        rng = np.random.default_rng([self.seed, number])
        hits: list[Hits] = []
        while not any(len(x.adu) for x in hits):  # there are hits: the algorithm has checked it
            events = np.sort(rng.choice(self.events, self.block_events, replace=False))
            hits = [self.data.file.read_events(int(e), int(e) + 1) for e in events]
        return block_of_events(hits, self.data.schema, self.table, rng)


def block_of_events(
    events: list[Hits], geometry: Geometry, table: NDArray[np.float32], rng: np.random.Generator
) -> tuple[GrownClusters, NDArray[np.float32], NDArray[np.int64], GrowthSteps, NDArray[np.int64]]:
    """The clusters of events with random charges within an ADU, and all steps in random order."""
    hits = concatenate(events)
    clusters = grown_clusters(hits, geometry)
    sensor = hits.sensor[clusters.image].astype(np.int64)
    level = charge_level(clusters.adu + rng.uniform(-0.5, 0.5, len(clusters)), sensor, table)
    steps = growth_steps(clusters)
    return clusters, level, sensor, steps, rng.permutation(len(steps))


def examples(
    clusters: GrownClusters,
    level: NDArray[np.float32],
    sensor: NDArray[np.int64],
    steps: GrowthSteps,
    rows: NDArray[np.int64],
    recent: int,
) -> dict[str, Any]:
    """The states before some steps, with the answers; see ``GrowthBatches.batch_at``.

    Args:
        clusters: of some events.
        level, sensor: [n], of each pixel.
        steps: of the clusters.
        rows: of the steps.
        recent: latest pixels of a cluster in its state.
    """
    first, head, end, token = (x[rows] for x in (steps.first, steps.head, steps.end, steps.token))
    before = np.maximum(end - 1, 0)
    known = end - first
    latest = end[:, None] - 1 - np.arange(recent)
    there = latest >= first[:, None]
    latest = np.where(there, latest, first[:, None])
    low_row, high_row, high_col, level_sum = extents(clusters, level)
    empty = known == 0

    def so_far(values: NDArray[Any], start: NDArray[Any]) -> NDArray[Any]:
        return np.where(empty, start[first], values[before])

    state = {
        "sensor": sensor[first],
        "first": np.stack([clusters.row[first], clusters.col[first]], 1),
        "head": np.stack([clusters.row[head], clusters.col[head]], 1),
        "last": steps.last[rows],
        "known": known,
        "done": head - first,
        "low_row": so_far(low_row, clusters.row),
        "high_row": so_far(high_row, clusters.row),
        "high_col": so_far(high_col, clusters.col),
        "pixel_row": clusters.row[latest],
        "pixel_col": clusters.col[latest],
        "pixel_number": np.where(there, latest - first[:, None], -1),
        "token": token,
        "charge_class": np.where(token == STOP, 0, charge_classes(level)[np.minimum(
            end, len(level) - 1)]),
    }  # fmt: skip
    state = {name: x.astype(np.int32) for name, x in state.items()}
    return state | {
        "level_sum": np.where(empty, 0, level_sum[before]).astype(np.float32),
        "pixel_level": np.where(there, level[latest], 0).astype(np.float32),
    }


def charge_classes(level: NDArray[np.float32]) -> NDArray[np.int64]:
    """Class of charge levels, 0 .. CLASSES - 1."""
    return np.minimum((level * CLASSES).astype(np.int64), CLASSES - 1)


def extents(
    clusters: GrownClusters, level: NDArray[np.float32]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Lowest row, highest row and column, and sum of levels of a cluster up to each pixel."""
    shift = clusters.first * (1 + max(clusters.row.max(initial=0), clusters.col.max(initial=0)))

    def highest(x: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.maximum.accumulate(x + shift) - shift

    low_row = -highest(-clusters.row + clusters.row.max(initial=0)) + clusters.row.max(initial=0)
    total = np.cumsum(level, dtype=np.float64)
    before = total[clusters.first] - level[clusters.first]
    return low_row, highest(clusters.row), highest(clusters.col), total - before

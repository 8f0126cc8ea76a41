"""Training batches: states of growing clusters with their next token and charge."""

from __future__ import annotations

from dataclasses import dataclass
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
    Ints,
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


@dataclass(frozen=True)
class GrowthBlock:
    """Some events, ready for their growth steps; n pixels.

    Attributes:
        clusters: their pixels.
        level, sensor, charge_class: [n], charge level, its class, and sensor of each pixel.
        steps: of the clusters.
        order: of the steps, random.
        low_row, high_row, high_col, level_sum: [n], extent and sum of levels of the cluster up to
            each pixel.
    """

    clusters: GrownClusters
    level: NDArray[np.float32]
    sensor: Ints
    steps: GrowthSteps
    order: Ints
    charge_class: Ints
    low_row: Ints
    high_row: Ints
    high_col: Ints
    level_sum: NDArray[np.float64]


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
        self.number, self.block = 0, self.load(0)

    def batch_at(self, step: int) -> dict[str, Any]:
        """See ``Batches.batch_at``: a state of ``ClusterNetwork``, and of its next token

        ``token`` [B]; ``charge_class`` [B], 0 without a pixel; ``weight`` [B].
        """
        number, place = divmod(step, self.block_steps)
        if self.number != number:
            self.number, self.block = number, self.load(number)
        order = self.block.order
        rows = order[(place * self.batch + np.arange(self.batch)) % len(order)]
        weight = np.float32(len(order) / (self.block_steps * self.batch))
        return examples(self.block, rows, self.recent) | {"weight": np.full(self.batch, weight)}

    def load(self, number: int) -> GrowthBlock:
        """The events of a block, a pure function of (seed, number)."""
        rng = np.random.default_rng([self.seed, number])
        hits: list[Hits] = []
        while not any(len(x.adu) for x in hits):  # there are hits: the algorithm has checked it
            events = np.sort(rng.choice(self.events, self.block_events, replace=False))
            hits = [self.data.file.read_events(int(e), int(e) + 1) for e in events]
        return block_of_events(hits, self.data.schema, self.table, rng)


def block_of_events(
    events: list[Hits], geometry: Geometry, table: NDArray[np.float32], rng: np.random.Generator
) -> GrowthBlock:
    """The clusters of events with random charges within an ADU, and all steps in random order."""
    hits = concatenate(events)
    clusters = grown_clusters(hits, geometry)
    sensor = hits.sensor[clusters.image].astype(np.int64)
    level = charge_level(clusters.adu + rng.uniform(-0.5, 0.5, len(clusters)), sensor, table)
    steps = growth_steps(clusters)
    top = max(clusters.row.max(initial=0), clusters.col.max(initial=0))
    shift = clusters.first * (1 + top)

    def highest(x: Ints) -> Ints:
        return np.maximum.accumulate(x + shift) - shift

    total = np.cumsum(level, dtype=np.float64)
    return GrowthBlock(
        clusters, level, sensor, steps, rng.permutation(len(steps)),
        np.minimum((level * CLASSES).astype(np.int64), CLASSES - 1),
        top - highest(top - clusters.row), highest(clusters.row), highest(clusters.col),
        total - (total[clusters.first] - level[clusters.first]),
    )  # fmt: skip


def examples(block: GrowthBlock, rows: Ints, recent: int) -> dict[str, Any]:
    """The states before some steps, with the answers; see ``GrowthBatches.batch_at``.

    Args:
        block: of events.
        rows: of its steps.
        recent: latest pixels of a cluster in its state.
    """
    clusters, steps, level = block.clusters, block.steps, block.level
    first, head, end, token = (x[rows] for x in (steps.first, steps.head, steps.end, steps.token))
    before = np.maximum(end - 1, 0)
    known = end - first
    latest = end[:, None] - 1 - np.arange(recent)
    there = latest >= first[:, None]
    latest = np.where(there, latest, first[:, None])
    empty = known == 0

    def so_far(values: NDArray[Any], start: NDArray[Any]) -> NDArray[Any]:
        return np.where(empty, start[first], values[before])

    state = {
        "sensor": block.sensor[first],
        "first": np.stack([clusters.row[first], clusters.col[first]], 1),
        "head": np.stack([clusters.row[head], clusters.col[head]], 1),
        "last": steps.last[rows],
        "known": known,
        "done": head - first,
        "low_row": so_far(block.low_row, clusters.row),
        "high_row": so_far(block.high_row, clusters.row),
        "high_col": so_far(block.high_col, clusters.col),
        "pixel_row": clusters.row[latest],
        "pixel_col": clusters.col[latest],
        "pixel_number": np.where(there, latest - first[:, None], -1),
        "token": token,
        "charge_class": np.where(
            token == STOP, 0, block.charge_class[np.minimum(end, len(level) - 1)]
        ),
    }  # fmt: skip
    state = {name: x.astype(np.int32) for name, x in state.items()}
    return state | {
        "level_sum": np.where(empty, 0, block.level_sum[before]).astype(np.float32),
        "pixel_level": np.where(there, level[latest], 0).astype(np.float32),
    }

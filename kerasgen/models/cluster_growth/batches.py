"""Training batches: states of growing clusters with their next token and charge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, concatenate, overlay
from kerasgen.kinds.pixels import PixelData
from kerasgen.models.cluster_growth import numpy_functions as xp
from kerasgen.models.cluster_growth.activity import activity_of
from kerasgen.models.cluster_growth.growth import (
    NOTHING,
    GrownClusters,
    GrowthSteps,
    Ints,
    grown_clusters,
    growth_steps,
)
from kerasgen.models.cluster_growth.network import sum_terms
from kerasgen.models.cluster_growth.plan import beyond_gap, plans_of
from kerasgen.models.cluster_growth.settings import AdversarialSettings, Config
from kerasgen.models.cluster_growth.statistics import (
    CLASSES,
    SensorStatistics,
    charge_level,
)

BLOCK_EVENTS = 4  # whose growth steps are mixed
STEPS_PER_BEGIN = 4  # growth steps of a batch for each beginning cluster


@dataclass(frozen=True)
class GrowthBlock:
    """Some events, ready for their growth steps; n pixels.

    Attributes:
        clusters: their pixels.
        level, sensor, charge_class: [n], charge level, its class, and sensor of each pixel.
        activity: [n, ACTIVITY], of the cluster of each pixel.
        steps: of the clusters.
        order: of the steps, random.
        begins: [clusters], their first pixels, in random order.
        plan: [n, PARTS + SIZES], of the cluster of each pixel.
        gaps: [n], of the cluster up to each pixel.
        low_row, high_row, high_col: [n], extent of the cluster up to each pixel.
        sums: [n, SUMS], of the ``sum_terms`` of the cluster up to each pixel.
    """

    clusters: GrownClusters
    level: NDArray[np.float32]
    sensor: Ints
    activity: NDArray[np.float32]
    steps: GrowthSteps
    order: Ints
    begins: Ints
    plan: Ints
    gaps: Ints
    charge_class: Ints
    low_row: Ints
    high_row: Ints
    high_col: Ints
    sums: NDArray[np.float64]


class GrowthBatches:
    """``Batches`` of growth steps; see there.

    The steps of BLOCK_EVENTS random events are shuffled and make a fixed number of batches; their
    weight is that of the steps in the block, so that large clusters count in full. Beside them a
    batch has beginning clusters, weighted in the same way. In the adversarial stage a block lasts
    until its clusters have been used once: a discriminator learns by heart what it sees again.

    Args:
        config: of the run.
        data: open events.
        statistics: of the training events.
    """

    def __init__(self, config: Config, data: PixelData, statistics: SensorStatistics) -> None:
        self.data, self.statistics = data, statistics
        self.seed, self.batch = config.training.seed, config.training.batch
        self.recent, self.types = config.network.recent, tuple(config.data.channels)
        self.superposed = config.training.superposed
        self.adversarial, self.likelihood_steps = config.adversarial, config.training.steps
        events = np.arange(data.training.start, data.training.stop)
        self.events, self.block_events = events, min(BLOCK_EVENTS, len(events))
        # Mean steps of an event by the first events: how many batches a block has.
        hits = data.training_events(4 * self.block_events)
        blocks = len(hits) / len(data.schema.sensors) / self.block_events
        clusters = grown_clusters(hits.split_types(self.types), data.schema)
        self.block_steps = max(1, int(len(growth_steps(clusters)) / blocks / self.batch))
        whole = len(suitable(clusters, self.adversarial)[0])
        self.stage_steps = max(1, int(whole / blocks / clusters_of_step(self.adversarial)))
        self.number, self.block = 0, self.load(0)

    def batch_at(self, step: int) -> dict[str, Any]:
        """See ``Batches.batch_at``: a state of ``ClusterNetwork``, and of its next token

        ``token`` [B]; ``charge_class`` [B], 0 without a pixel; ``weight`` [B]. Of B /
        STEPS_PER_BEGIN beginning clusters, ``begin_sensor``, ``begin_activity``, ``begin_first``
        and ``begin_plan``, as in the state; ``begin_class``, of the first charge;
        ``begin_weight``. In the adversarial stage ``clusters``, see ``whole_clusters``.
        """
        number, place = self.block_of(step)
        if self.number != number:
            self.number, self.block = number, self.load(number)
        block, found = self.block, dict[str, Any]()
        begins = max(self.batch // STEPS_PER_BEGIN, 1)
        for name, order, batch, part in (
            ("weight", block.order, self.batch, partial(examples, recent=self.recent)),
            ("begin_weight", block.begins, begins, beginnings),
        ):
            rows = order[(place * batch + np.arange(batch)) % len(order)]
            found |= part(block, rows)
            # The mean over the batch, times this, is a sum over the block / its growth steps.
            weight = len(order) / (self.block_steps * self.batch)
            found[name] = np.full(batch, weight, np.float32)
        if step >= self.likelihood_steps:
            rng = np.random.default_rng([self.seed, number, 1])
            found["clusters"] = whole_clusters(block, self.adversarial, rng, place)
        return found

    def block_of(self, step: int) -> tuple[int, int]:
        """Number of the block of a step, and number of the step in the block."""
        before = self.likelihood_steps
        if step < before:
            return divmod(step, self.block_steps)
        number, place = divmod(step - before, self.stage_steps)
        return 1 + before // self.block_steps + number, place

    def load(self, number: int) -> GrowthBlock:
        """The events of a block, a pure function of (seed, number)."""
        rng = np.random.default_rng([self.seed, number])
        while True:  # until there are hits and clusters: the algorithm has checked that some are
            events = np.sort(rng.choice(self.events, self.block_events, replace=False))
            hits = [self.event(e) for e in events]
            if not any(len(x.adu) for x in hits):
                continue
            levels = 1 + (rng.random(len(hits)) < self.superposed)
            for k in np.flatnonzero(levels > 1):
                hits[k] = overlay(hits[k], self.event(rng.choice(self.events)), self.data.schema)
            block = block_of_events(
                hits, self.data.schema, self.statistics, self.recent, rng, self.types, levels
            )
            if not self.adversarial.steps or len(suitable(block.clusters, self.adversarial)[0]):
                return block

    def event(self, number: int) -> Hits:
        """One event of the file."""
        return self.data.file.read_events(int(number), int(number) + 1)


def block_of_events(
    events: list[Hits],
    geometry: Geometry,
    statistics: SensorStatistics,
    recent: int,
    rng: np.random.Generator,
    types: tuple[int, ...] = (),
    levels: NDArray[Any] | None = None,
) -> GrowthBlock:
    """The clusters of events with random charges within an ADU, and all steps in random order.

    Args:
        events: of all sensors.
        geometry: of the detector.
        statistics: of the training events.
        recent: latest pixels of a cluster in its state.
        rng: of charges and orders.
        types: background types, whose hits make clusters of their own; empty: all are one.
        levels: of the background of the events; None: 1.
    """
    whole = concatenate(events)
    hits = whole.split_types(types)
    clusters = grown_clusters(hits, geometry)
    sensor = hits.sensor[clusters.image].astype(np.int64)
    charge = clusters.adu + rng.uniform(-0.5, 0.5, len(clusters))
    level = charge_level(charge, sensor, statistics.charge)
    by_event = np.ones(len(events)) if levels is None else levels
    level_of_image = np.repeat(by_event, [len(x) for x in events]).astype(np.float32)
    usual = (statistics.rate[:, None] * statistics.share)[whole.sensor].ravel()
    level_of_image = level_of_image.repeat(max(len(types), 1))
    begins = np.flatnonzero(clusters.is_first)
    which, row, col = (x[begins] for x in (clusters.image, clusters.row, clusters.col))
    activity = activity_of(
        xp, statistics, (geometry.rows, geometry.cols), which, sensor[begins], row, col,
        usual * level_of_image, level_of_image,
    )[np.cumsum(clusters.is_first) - 1]  # fmt: skip
    steps = growth_steps(clusters)
    top = max(clusters.row.max(initial=0), clusters.col.max(initial=0))
    shift = clusters.first * (1 + top)

    def highest(x: Ints) -> Ints:
        return np.maximum.accumulate(x + shift) - shift

    places = np.stack([clusters.row, clusters.col], 1)
    terms = sum_terms(np, places - places[clusters.first], level)
    total = np.cumsum(terms, axis=0, dtype=np.float64)
    plans = plans_of(clusters, recent, types)
    plan = np.repeat(plans, np.diff(begins, append=len(clusters)), axis=0)
    gaps = np.cumsum(beyond_gap(clusters, recent))
    return GrowthBlock(
        clusters, level, sensor, activity, steps, rng.permutation(len(steps)),
        rng.permutation(begins), plan, gaps - gaps[clusters.first],
        np.minimum((level * CLASSES).astype(np.int64), CLASSES - 1),
        top - highest(top - clusters.row), highest(clusters.row), highest(clusters.col),
        total - (total[clusters.first] - terms[clusters.first]),
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
    latest = end[:, None] - 1 - np.arange(recent)
    latest = np.maximum(latest, first[:, None])  # beyond the known ones anything
    state = {
        "sensor": block.sensor[first],
        "first": np.stack([clusters.row[first], clusters.col[first]], 1),
        "head": np.stack([clusters.row[head], clusters.col[head]], 1),
        "last": steps.last[rows],
        "known": end - first,
        "done": head - first,
        "low": np.stack([block.low_row[end - 1], clusters.col[first]], 1),
        "high": np.stack([block.high_row[end - 1], block.high_col[end - 1]], 1),
        "token": token,
        "charge_class": np.where(
            token == NOTHING, 0, block.charge_class[np.minimum(end, len(level) - 1)]
        ),
        "plan": block.plan[first],
        "gaps": block.gaps[end - 1],
    }  # fmt: skip
    state = {name: x.astype(np.int32) for name, x in state.items()}
    pixels = np.stack([clusters.row[latest], clusters.col[latest], level[latest]], 1)
    return state | {
        "activity": block.activity[first],
        "sums": block.sums[end - 1].astype(np.float32),
        "pixels": pixels.astype(np.float32),
    }


def beginnings(block: GrowthBlock, first: Ints) -> dict[str, Any]:
    """Clusters with these first pixels, before they grow; see ``GrowthBatches.batch_at``."""
    clusters = block.clusters
    return {
        "begin_sensor": block.sensor[first].astype(np.int32),
        "begin_activity": block.activity[first],
        "begin_first": np.stack([clusters.row[first], clusters.col[first]], 1).astype(np.int32),
        "begin_plan": block.plan[first].astype(np.int32),
        "begin_class": block.charge_class[first].astype(np.int32),
    }


def whole_clusters(
    block: GrowthBlock, settings: AdversarialSettings, rng: np.random.Generator, place: int = 0
) -> dict[str, Any]:
    """Clusters of a step of the adversarial stage, M of them, the largest first.

    Args:
        block: of events.
        settings: of the stage.
        rng: puts the clusters in order, from the start for each step.
        place: number of the step in the block; steps have different clusters, while there are some.

    Returns:
        ``sensor``, ``activity`` [M]; ``first`` [M, 2], row and column of the first pixel; ``plan``
        [M, PARTS + SIZES]; ``pixels`` [M, K, 3], row, column and charge level in the order of
        growth; ``count`` [M], how many of them are pixels, at most K.
    """
    clusters, most = block.clusters, settings.largest
    begins, size = suitable(clusters, settings)
    rows = clusters_of_step(settings)
    chosen = rng.permutation(len(begins))[(place * rows + np.arange(rows)) % len(begins)]
    chosen = chosen[np.argsort(-size[chosen], kind="stable")]
    first, count = begins[chosen], size[chosen]
    pixel = first[:, None] + np.minimum(np.arange(most), count[:, None] - 1)
    pixels = np.stack([clusters.row[pixel], clusters.col[pixel], block.level[pixel]], -1)
    begin = beginnings(block, first)
    return {name: begin[f"begin_{name}"] for name in ("sensor", "activity", "first", "plan")} | {
        "pixels": pixels.astype(np.float32),
        "count": count.astype(np.int32),
    }


def clusters_of_step(settings: AdversarialSettings) -> int:
    """M, clusters of a step of the adversarial stage."""
    return settings.clusters * settings.discriminator_steps


def suitable(clusters: GrownClusters, settings: AdversarialSettings) -> tuple[Ints, Ints]:
    """First pixels and sizes of the clusters that the adversarial stage is about."""
    begins = np.flatnonzero(clusters.is_first)
    size = np.diff(begins, append=len(clusters))
    chosen = (size >= settings.smallest) & (size <= settings.largest)
    return begins[chosen], size[chosen]

"""Clusters of the first events of a sample: pattern of pixels, sensor, event and descriptors.

Small clusters are not kept: their patterns are few, so everything repeats them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.clusters import label_clusters
from kerasgen.metrics.copies import mix_bits

MAX_EVENTS = 400  # of a sample; 400 PXD events: 1.7 million clusters of 6 pixels or more, 40 MB
MIN_SIZE = 6  # pixels of a cluster that is kept
DESCRIBED_SIZE = 16  # pixels of a cluster with descriptors
DESCRIPTORS = (
    "log size", "log extent u", "log extent v", "log charge", "log highest charge",
    "deviation u", "deviation v", "correlation u v", "charge centre u", "charge centre v",
    "charge deviation u", "charge deviation v", "log second highest charge", "log lowest charge",
)  # fmt: skip
ROW = np.uint64(1 << 32)


@dataclass(frozen=True)
class ClusterSample:
    """Clusters of ``events`` events.

    Attributes:
        events: number of events, whether they have clusters or not.
        sensor: int16 [clusters], index in the geometry.
        event: int32 [clusters], counted from 0, ascending.
        size: int32 [clusters], pixels, at least ``MIN_SIZE``.
        pattern: uint64 [clusters], hash of the pixels relative to each other; charges and place do
            not matter.
        described: int64 [large], clusters of at least ``DESCRIBED_SIZE`` pixels, ascending.
        descriptors: float32 [large, len(DESCRIPTORS)], numbers that describe them.
    """

    events: int
    sensor: NDArray[np.int16]
    event: NDArray[np.int32]
    size: NDArray[np.int32]
    pattern: NDArray[np.uint64]
    described: NDArray[np.int64]
    descriptors: NDArray[np.float32]

    def first(self, events: int) -> ClusterSample:
        """Clusters of the first events."""
        n = int(np.searchsorted(self.event, events))
        large = int(np.searchsorted(self.described, n))
        return ClusterSample(
            min(events, self.events), self.sensor[:n], self.event[:n], self.size[:n],
            self.pattern[:n], self.described[:large], self.descriptors[:large],
        )  # fmt: skip


def sample_clusters(hits: Hits, geometry: Geometry) -> ClusterSample:
    """Clusters of whole events, all sensors of the geometry once per event.

    Args:
        hits: of the events.
        geometry: the detector.
    """
    sensors = len(geometry.sensors)
    label = label_clusters(hits, geometry)
    kept = (np.bincount(label) if len(label) else label)[label] >= MIN_SIZE
    hit = np.flatnonzero(kept)[np.argsort(label[kept], kind="stable")]
    label, image = label[hit], hits.image[hit]
    row, col, adu = (x[hit].astype(np.int64) for x in (hits.row, hits.col, hits.adu))
    start = np.flatnonzero(np.diff(label, prepend=-1))
    if not len(start):
        return empty_sample(len(hits) // sensors)
    size = np.diff(start, append=len(label))
    order = np.argsort(image[start], kind="stable")  # clusters event by event
    large = order[size[order] >= DESCRIBED_SIZE]
    pattern = pattern_hashes(row, col, start, size)
    return ClusterSample(
        len(hits) // sensors,
        hits.sensor[image[start[order]]].astype(np.int16),
        (image[start[order]] // sensors).astype(np.int32),
        size[order].astype(np.int32),
        pattern[order],
        np.flatnonzero(size[order] >= DESCRIBED_SIZE),
        describe(row, col, adu, start[large], size[large]),
    )


def empty_sample(events: int) -> ClusterSample:
    """Events without clusters of at least ``MIN_SIZE`` pixels."""
    return ClusterSample(
        events, np.zeros(0, np.int16), np.zeros(0, np.int32), np.zeros(0, np.int32),
        np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, len(DESCRIPTORS)), np.float32),
    )  # fmt: skip


def pattern_hashes(
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    start: NDArray[np.int64],
    size: NDArray[np.int64],
) -> NDArray[np.uint64]:
    """uint64 [clusters]: sum of hashes of the pixels relative to the smallest row and column.

    Args:
        row, col: [pixels], those of a cluster follow each other.
        start, size: [clusters], first pixel and number of pixels.
    """
    u, v = (x - np.repeat(np.minimum.reduceat(x, start), size) for x in (row, col))
    return np.add.reduceat(mix_bits(u.astype(np.uint64) * ROW + v.astype(np.uint64)), start)


def describe(
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    adu: NDArray[np.int64],
    start: NDArray[np.int64],
    size: NDArray[np.int64],
) -> NDArray[np.float32]:
    """float32 [clusters, len(DESCRIPTORS)], about equal in scale.

    Args:
        row, col, adu: [pixels].
        start, size: [clusters], at least two pixels each.
    """
    if not len(start):
        return np.zeros((0, len(DESCRIPTORS)), np.float32)
    first: NDArray[np.int64] = np.cumsum(size) - size
    cluster = np.repeat(np.arange(len(size)), size)
    pixel = np.arange(len(cluster)) + (start - first)[cluster]

    def total(x: NDArray) -> NDArray[np.float64]:
        return np.add.reduceat(x.astype(np.float64), first)

    charge = adu[pixel]
    centred, extents = [], []
    for x in (row[pixel], col[pixel]):
        low, high = np.minimum.reduceat(x, first), np.maximum.reduceat(x, first)
        extents.append(high - low + 1)
        centred.append(x - (total(x) / size)[cluster])
    u, v = centred
    sum_charge = total(charge)
    deviations = [np.sqrt(total(x * x) / size) for x in centred]
    product = np.maximum(deviations[0] * deviations[1], 1e-3)
    centres = [total(x * charge) / sum_charge for x in centred]
    spreads = [np.sqrt(total(x * x * charge) / sum_charge) for x in centred]
    order = np.lexsort((charge, cluster))
    last = first + size - 1
    values = [
        np.log(size), *(np.log(x) for x in extents),
        np.log(sum_charge), np.log(charge[order[last]]),
        *(np.log1p(x) for x in deviations), total(u * v) / size / product,
        *(c / (1 + d) for c, d in zip(centres, deviations, strict=True)),
        *(np.log((1 + s) / (1 + d)) for s, d in zip(spreads, deviations, strict=True)),
        np.log(charge[order[last - 1]]), np.log(charge[order[first]]),
    ]  # fmt: skip
    return np.stack(values, axis=1).astype(np.float32)


def join_samples(parts: list[ClusterSample]) -> ClusterSample:
    """Clusters of parts of a sample, whose events are renumbered in their order."""
    if not parts:
        return empty_sample(0)
    event = np.cumsum([0, *(p.events for p in parts)])
    first = np.cumsum([0, *(len(p.sensor) for p in parts)])
    moved = {
        "event": [p.event + n for p, n in zip(parts, event.tolist(), strict=False)],
        "described": [p.described + n for p, n in zip(parts, first.tolist(), strict=False)],
    }
    names = [f.name for f in fields(ClusterSample) if f.name != "events"]
    arrays = (np.concatenate(moved.get(k) or [getattr(p, k) for p in parts]) for k in names)
    joined = dict(zip(names, arrays, strict=True))
    joined["event"] = joined["event"].astype(np.int32)
    return ClusterSample(events=int(event[-1]), **joined)


def first_events(hits: Hits, geometry: Geometry, at_most: int) -> tuple[Hits, int]:
    """The first of whole events, and how many they are."""
    sensors = len(geometry.sensors)
    n = min(len(hits) // sensors, at_most)
    whole = n * sensors == len(hits)
    return (hits if whole else hits.take(np.arange(n * sensors))), n


class ClusterRecorder:
    """Receives events in blocks and keeps the clusters of the first of them.

    Args:
        geometry: of the events.
        events: number of events to record, at most.
    """

    def __init__(self, geometry: Geometry, events: int = MAX_EVENTS) -> None:
        self.geometry, self.events = geometry, events
        self.parts: list[ClusterSample] = []
        self.done = 0

    def add(self, hits: Hits) -> None:
        """Record a block of events; those beyond ``events`` are left out."""
        some, n = first_events(hits, self.geometry, self.events - self.done)
        if n:
            self.parts.append(sample_clusters(some, self.geometry))
            self.done += n

    @property
    def sample(self) -> ClusterSample:
        """All clusters recorded."""
        return join_samples(self.parts)

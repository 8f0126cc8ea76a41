"""Memorisation of clusters: generated clusters that are unusually near to one training cluster.

Large clusters have descriptors of extent, shape and charge (``cluster_samples``). A cluster counts
as memorised if its nearest training cluster of the same sensor is nearer than ``MAX_RATIO`` times
the second nearest: a ratio, because where clusters are frequent all of them are near (ratio test,
Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94). Held-out real clusters, which are compared in
the same way, reach this ratio by chance. Every training event counts, so that a generator that
keeps clusters of a few of them is seen. Training clusters are fixed, and no cluster is compared
with its own sample: a bootstrap of events gives the error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.bootstrap import mean_and_deviation, resample_events
from kerasgen.metrics.cluster_repeats import MIN_CLUSTERS
from kerasgen.metrics.cluster_samples import DESCRIPTORS, ClusterSample, sample_clusters
from kerasgen.metrics.verdict import judged_metric

ABOUT = (
    "Fraction of large clusters that lie at one training cluster, above that of real events; "
    "0 if below."
)
MAX_RATIO = 0.5  # of the distances to the nearest and the second nearest training cluster
MAX_CLUSTERS = 10_000  # of a sample, equally many of each event
MAX_DISTANCES = 2**24  # between clusters and training clusters that are in memory at a time
Floats = NDArray[np.float64]
Counts = tuple[Floats, Floats]


@dataclass(frozen=True)
class TrainingClusters:
    """Descriptors of the large clusters of all training events.

    Attributes:
        sensor: int16 [clusters].
        descriptors: float32 [clusters, len(DESCRIPTORS)].
    """

    sensor: NDArray[np.int16]
    descriptors: NDArray[np.float32]


class TrainingRecorder:
    """Receives training events in blocks and keeps the descriptors of their large clusters.

    Args:
        geometry: of the events.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.sensor = [np.zeros(0, np.int16)]
        self.descriptors = [np.zeros((0, len(DESCRIPTORS)), np.float32)]

    def add(self, hits: Hits) -> None:
        """Record a block of events."""
        found = sample_clusters(hits, self.geometry)
        self.sensor.append(found.sensor[found.described])
        self.descriptors.append(found.descriptors)

    @property
    def clusters(self) -> TrainingClusters:
        """All clusters recorded."""
        return TrainingClusters(np.concatenate(self.sensor), np.concatenate(self.descriptors))


def distance_ratios(
    sensor: NDArray[np.integer], descriptors: NDArray[np.float32], training: TrainingClusters
) -> Floats:
    """Distance to the nearest over that to the second nearest training cluster of the sensor.

    Args:
        sensor: [clusters].
        descriptors: [clusters, len(DESCRIPTORS)].
        training: whose standard deviations are the unit of each descriptor.

    Returns:
        [clusters], 1 where a sensor has fewer than two training clusters or both are equally near.
    """
    found = np.ones(len(sensor))
    deviation = training.descriptors.std(axis=0) if len(training.sensor) else np.ones(1)
    scale = np.where(deviation > 0, deviation, 1).astype(np.float32)
    for k in np.unique(sensor):
        known = training.descriptors[training.sensor == k] / scale
        if len(known) < 2:
            continue
        centre = known.mean(axis=0)
        known = known - centre
        square = (known**2).sum(axis=1)
        rows = np.flatnonzero(sensor == k)
        chunk = max(1, MAX_DISTANCES // len(known))
        for start in range(0, len(rows), chunk):
            some = rows[start : start + chunk]
            mine = descriptors[some] / scale - centre
            nearest = np.argpartition(square - 2 * mine @ known.T, 1, axis=1)[:, :2]
            gap = ((mine[:, None] - known[nearest]).astype(np.float64) ** 2).sum(axis=2)
            first, second = np.sqrt(np.sort(gap, axis=1)).T
            found[some] = np.where(second > 0, first / np.where(second > 0, second, 1), 1.0)
    return found


def memorised_by_event(sample: ClusterSample, training: TrainingClusters, seed: int) -> Counts:
    """Numbers of memorised and of all compared clusters, [events] each.

    Args:
        sample: clusters.
        training: of all training events.
        seed: chooses the clusters of an event that are compared.
    """
    event = sample.event[sample.described].astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(event))
    order = order[np.argsort(event[order], kind="stable")]
    first = np.searchsorted(event[order], np.arange(sample.events))
    rank = np.arange(len(order)) - first[event[order]]
    rows = order[rank < -(-MAX_CLUSTERS // max(sample.events, 1))]
    sensor = sample.sensor[sample.described[rows]]
    ratio = distance_ratios(sensor, sample.descriptors[rows], training)
    near = (ratio < MAX_RATIO).astype(np.float64)
    memorised = np.bincount(event[rows], near, sample.events).astype(np.float64)
    return memorised, np.bincount(event[rows], minlength=sample.events).astype(np.float64)


def cluster_memorised(reference: Counts, candidate: Counts, seed: int) -> dict[str, Any]:
    """The metric from ``judged_metric``; its floor is that of held-out real events.

    One-sided: a candidate with a smaller fraction than real events has the value 0.

    With fewer than ``MIN_CLUSTERS`` clusters on a side there is no judgement.

    Args:
        reference, candidate: from ``memorised_by_event``, of held-out and of generated events.
        seed: of the resampling.
    """
    n, m = len(reference[0]), len(candidate[0])
    resampling = resample_events(n, m, np.random.default_rng(seed))

    def excess(first: NDArray[Any], second: NDArray[Any], other: Counts) -> Floats:
        return np.maximum(fraction(second, other) - fraction(first, reference), 0)

    value = float(excess(np.ones(n), np.ones(m), candidate))
    error = mean_and_deviation(excess(resampling.reference, resampling.candidate, candidate))[1]
    splits = resampling.scale * excess(~resampling.part, resampling.part, reference)
    floor = mean_and_deviation(splits)
    if min(reference[1].sum(), candidate[1].sum()) < MIN_CLUSTERS:
        value, floor = math.nan, (math.nan, math.nan)
    return judged_metric(value, error, *floor, "fraction", m)


def fraction(weight: NDArray[Any], counts: Counts) -> Floats:
    """Memorised clusters over all of them, of weighted events; NaN without clusters.

    Args:
        weight: [..., events].
        counts: from ``memorised_by_event``.
    """
    memorised, clusters = weight @ counts[0], weight @ counts[1]
    return np.divide(memorised, clusters, out=np.full(clusters.shape, np.nan), where=clusters > 0)
